"""A simulated loader works, queues, refuses, slows down and reports as one would."""

from random import Random

import pytest

from bench.lb.actors import SimLoader, SimRequest
from bench.lb.cell import Cell
from bench.lb.virtual_time import VirtualTimeLoop
from lb.endpoints.report import Report


class SimLoaderFixture:
    """One loader, and what came of it."""

    def __init__(self, **cell_options: float | bool) -> None:
        self.loop = VirtualTimeLoop()
        self.completions: list[tuple[float, str]] = []
        self.reports: list[Report] = []
        config = Cell(loaders=1, slots=2, **cell_options)  # type: ignore[arg-type]
        self.loader = SimLoader(
            0,
            config,
            self.loop,
            Random(1),
            self.record_completion,
            self.reports.append,
        )

    def record_completion(self, request: SimRequest) -> None:
        self.completions.append((round(self.loop.now, 6), request.gateway))

    def accept(self, name: str, work_s: float) -> bool:
        return self.loader.try_accept(SimRequest(self.loop.now, work_s, name, "", is_measured=True))

    def run_until(self, end_at: float) -> None:
        fired: list[int] = []
        self.loop.call_at(end_at, lambda: fired.append(1))
        self.loop.run(lambda: not fired)


def test_requests_queue_in_order_beyond_the_slots() -> None:
    fixture = SimLoaderFixture()
    for name in "abcd":
        assert fixture.accept(name, 0.1)
    fixture.run_until(1.0)
    assert fixture.completions == [(0.1, "a"), (0.1, "b"), (0.2, "c"), (0.2, "d")]
    assert fixture.loader.limiter.inflight == 0


def test_requests_beyond_the_limit_are_rejected() -> None:
    fixture = SimLoaderFixture(limit=3)
    assert [fixture.accept(name, 0.1) for name in "abcd"] == [True, True, True, False]


def test_running_requests_continue_at_the_new_speed() -> None:
    fixture = SimLoaderFixture()
    fixture.accept("a", 0.1)
    fixture.loop.call_at(0.05, fixture.loader._change_speed, 0.5)
    fixture.run_until(0.5)
    assert fixture.completions[0] == (0.15, "a"), "half of the work took twice as long"


def test_reports_on_change_and_keepalive() -> None:
    fixture = SimLoaderFixture()
    fixture.loader.start()
    assert len(fixture.reports) == 1
    fixture.run_until(0.201)
    assert len(fixture.reports) == 5, "each 50 ms"
    fixture.accept("a", 9.0)
    fixture.accept("b", 9.0)
    fixture.run_until(0.2102)
    assert fixture.reports[-1].load.running == 2
    assert fixture.reports[-1].load.requests_by_gateway == {"a": 1, "b": 1}


def test_periodic_reports_ignore_changes() -> None:
    fixture = SimLoaderFixture(report=1.0)
    fixture.loader.start()
    fixture.accept("a", 9.0)
    fixture.accept("b", 9.0)
    fixture.run_until(10.0)
    assert len(fixture.reports) == pytest.approx(11, abs=1)
