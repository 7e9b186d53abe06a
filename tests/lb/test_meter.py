"""Licences: taken, freed, refused, and what the report says of them."""

from math import sqrt

import pytest

from lb.meter import Meter, usual_queue
from lb.report import Live


def test_no_more_than_total_are_taken() -> None:
    heard: list[int] = []
    meter = Meter(2, lambda: heard.append(1))
    assert [meter.take("g") for _ in range(3)] == [True, True, False]
    assert meter.used == 2
    load = meter.load()
    assert (load.running, load.queued, load.rejected, load.held) == (2, 0, 1, {"g": 2})
    meter.free("g", 10.0, good=True)
    assert meter.take("h")
    assert meter.load().held == {"g": 1, "h": 1}
    assert len(heard) == 5, "every change is told"


def test_beyond_best_they_wait() -> None:
    meter = Meter(3, lambda: None, best=1)
    assert [meter.take(name) for name in "abcd"] == [True, True, True, False]
    load = meter.load()
    assert (load.running, load.queued, load.held) == (1, 2, {"a": 1, "b": 1, "c": 1})
    meter.free("a", 1.0, good=True)
    assert (meter.load().running, meter.load().queued) == (1, 1)
    meter.free("b", 1.0, good=True)
    meter.free("c", 1.0, good=True)
    assert meter.load().held == {}


def test_only_good_requests_tell_how_long_work_takes() -> None:
    meter = Meter(1, lambda: None)
    for worked, good in ((10.0, True), (0.1, False), (40.0, True)):
        assert meter.take("g")
        meter.free("g", worked, good=good, failed=not good)
    load = meter.load()
    assert load.service_ms == pytest.approx(sqrt(10.0 * 40.0)), "the first ones count alike"
    assert (load.served, load.errors) == (3, 1)


def test_one_long_request_does_not_make_a_loader_slow_and_many_do() -> None:
    meter = Meter(1, lambda: None)

    def serve(worked: float, times: int) -> float:
        for _ in range(times):
            assert meter.take("g")
            meter.free("g", worked, good=True)
        return meter.service_ms

    assert serve(10.0, 500) == pytest.approx(10.0)
    assert serve(1000.0, 1) < 10.5
    assert serve(20.0, 500) == pytest.approx(20.0, rel=0.05)


def test_a_draining_loader_takes_nothing() -> None:
    meter = Meter(1, lambda: None)
    meter.turn(Live.DRAINING)
    assert not meter.take("g")
    assert meter.load().live is Live.DRAINING


def test_reports_are_numbered() -> None:
    meter = Meter(1, lambda: None)
    assert [meter.load().seq for _ in range(3)] == [1, 2, 3]


def test_a_report_is_of_its_moment() -> None:
    meter = Meter(2, lambda: None)
    meter.take("g")
    load = meter.load()
    meter.take("g")
    assert (load.running, load.held) == (1, {"g": 1})


def test_as_many_wait_as_are_worked_on_and_at_least_a_few() -> None:
    assert [usual_queue(best) for best in (1, 2, 3, 4, 8, 100)] == [16, 8, 5, 4, 8, 100]
