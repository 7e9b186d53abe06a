"""Licences: taken, freed, refused, and what the report says of them."""

from math import sqrt

import pytest

from lb.endpoints.report import ServingState
from lb.reporter.limiter import ConcurrencyLimiter, default_queue_size


def test_no_more_than_total_are_taken() -> None:
    heard: list[int] = []
    meter = ConcurrencyLimiter(2, lambda: heard.append(1))
    assert [meter.try_acquire("g") for _ in range(3)] == [True, True, False]
    assert meter.inflight == 2
    load = meter.next_load()
    assert (load.running, load.queued, load.rejected, load.requests_by_gateway) == (
        2,
        0,
        1,
        {"g": 2},
    )
    meter.release("g", 10.0, succeeded=True)
    assert meter.try_acquire("h")
    assert meter.next_load().requests_by_gateway == {"g": 1, "h": 1}
    assert len(heard) == 5, "every change is told"


def test_beyond_best_they_wait() -> None:
    meter = ConcurrencyLimiter(3, lambda: None, best=1)
    assert [meter.try_acquire(name) for name in "abcd"] == [True, True, True, False]
    load = meter.next_load()
    assert (load.running, load.queued, load.requests_by_gateway) == (1, 2, {"a": 1, "b": 1, "c": 1})
    meter.release("a", 1.0, succeeded=True)
    assert (meter.next_load().running, meter.next_load().queued) == (1, 1)
    meter.release("b", 1.0, succeeded=True)
    meter.release("c", 1.0, succeeded=True)
    assert meter.next_load().requests_by_gateway == {}


def test_only_good_requests_tell_how_long_work_takes() -> None:
    meter = ConcurrencyLimiter(1, lambda: None)
    for worked, good in ((10.0, True), (0.1, False), (40.0, True)):
        assert meter.try_acquire("g")
        meter.release("g", worked, succeeded=good, failed=not good)
    load = meter.next_load()
    assert load.service_ms == pytest.approx(sqrt(10.0 * 40.0)), "the first ones count alike"
    assert (load.served, load.errors) == (3, 1)


def test_one_long_request_does_not_make_a_loader_slow_and_many_do() -> None:
    meter = ConcurrencyLimiter(1, lambda: None)

    def serve(worked: float, times: int) -> float:
        for _ in range(times):
            assert meter.try_acquire("g")
            meter.release("g", worked, succeeded=True)
        return meter.service_ms

    assert serve(10.0, 500) == pytest.approx(10.0)
    assert serve(1000.0, 1) < 10.5
    assert serve(20.0, 500) == pytest.approx(20.0, rel=0.05)


def test_a_draining_loader_takes_nothing() -> None:
    meter = ConcurrencyLimiter(1, lambda: None)
    meter.set_serving_state(ServingState.DRAINING)
    assert not meter.try_acquire("g")
    assert meter.next_load().serving_state is ServingState.DRAINING


def test_reports_are_numbered() -> None:
    meter = ConcurrencyLimiter(1, lambda: None)
    assert [meter.next_load().seq for _ in range(3)] == [1, 2, 3]


def test_a_report_is_of_its_moment() -> None:
    meter = ConcurrencyLimiter(2, lambda: None)
    meter.try_acquire("g")
    load = meter.next_load()
    meter.try_acquire("g")
    assert (load.running, load.requests_by_gateway) == (1, {"g": 1})


def test_as_many_wait_as_are_worked_on_and_at_least_a_few() -> None:
    assert [default_queue_size(best) for best in (1, 2, 3, 4, 8, 100)] == [16, 8, 5, 4, 8, 100]
