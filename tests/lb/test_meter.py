"""Licences: taken, freed, refused, and what the report says of them."""

from lb.meter import Meter
from lb.report import Live


def test_no_more_than_total_are_taken() -> None:
    heard: list[int] = []
    meter = Meter(2, lambda: heard.append(1))
    assert [meter.take("g") for _ in range(3)] == [True, True, False]
    assert meter.running == 2
    load = meter.load()
    assert (load.running, load.rejected, load.acc) == (2, 1, {"g": 2})
    meter.free(10.0, good=True)
    assert meter.take("h")
    assert meter.load().acc == {"g": 2, "h": 1}
    assert len(heard) == 5, "every change is told"


def test_only_good_requests_tell_how_long_work_takes() -> None:
    meter = Meter(1, lambda: None)
    for held, good in ((10.0, True), (0.1, False), (20.0, True)):
        assert meter.take("g")
        meter.free(held, good=good)
    load = meter.load()
    assert load.service_ms == 10.0 + (20.0 - 10.0) * 0.2
    assert (load.served, load.errors) == (3, 1)


def test_a_draining_loader_takes_nothing() -> None:
    meter = Meter(1, lambda: None)
    meter.turn(Live.DRAINING)
    assert not meter.take("g")
    assert meter.load().live is Live.DRAINING


def test_reports_are_numbered() -> None:
    meter = Meter(1, lambda: None)
    assert [meter.load().seq for _ in range(3)] == [1, 2, 3]


def test_gateways_that_come_and_go_are_forgotten() -> None:
    meter = Meter(1, lambda: None)
    for number in range(3000):
        meter.take(f"g{number}")
        meter.free(1.0, good=True)
    assert len(meter.load().acc) <= 1024
