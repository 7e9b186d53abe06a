"""A simulated loader works, queues, refuses, slows down and reports as one would."""

from random import Random

import pytest

from bench.lb.actors import SimLoader, SimRequest
from bench.lb.cell import Cell
from bench.lb.world import VirtualTimeLoop
from lb.endpoints.report import Report


class Stage:
    """One loader, and what came of it."""

    def __init__(self, **cell: float | bool) -> None:
        self.world = VirtualTimeLoop()
        self.ended: list[tuple[float, str]] = []
        self.reports: list[Report] = []
        made = Cell(loaders=1, slots=2, **cell)  # type: ignore[arg-type]
        self.loader = SimLoader(
            0,
            made,
            self.world,
            Random(1),
            self.over,
            self.reports.append,
        )

    def over(self, request: SimRequest) -> None:
        self.ended.append((round(self.world.now, 6), request.gateway))

    def take(self, name: str, work: float) -> bool:
        return self.loader.try_accept(SimRequest(self.world.now, work, name, "", is_measured=True))

    def until(self, time: float) -> None:
        over: list[int] = []
        self.world.call_at(time, lambda: over.append(1))
        self.world.run(lambda: not over)


def test_two_at_a_time_the_others_in_order() -> None:
    stage = Stage()
    for name in "abcd":
        assert stage.take(name, 0.1)
    stage.until(1.0)
    assert stage.ended == [(0.1, "a"), (0.1, "b"), (0.2, "c"), (0.2, "d")]
    assert stage.loader.limiter.inflight == 0


def test_beyond_its_limit_it_refuses() -> None:
    stage = Stage(limit=3)
    assert [stage.take(name, 0.1) for name in "abcd"] == [True, True, True, False]


def test_what_runs_goes_on_at_the_new_speed() -> None:
    stage = Stage()
    stage.take("a", 0.1)
    stage.world.call_at(0.05, stage.loader._change_speed, 0.5)
    stage.until(0.5)
    assert stage.ended[0] == (0.15, "a"), "half of the work took twice as long"


def test_it_reports_at_once_when_it_matters_else_to_show_that_it_lives() -> None:
    stage = Stage()
    stage.loader.start()
    assert len(stage.reports) == 1
    stage.until(0.201)
    assert len(stage.reports) == 5, "each 50 ms"
    stage.take("a", 9.0)
    stage.take("b", 9.0)
    stage.until(0.2102)
    assert stage.reports[-1].load.running == 2
    assert stage.reports[-1].load.requests_by_gateway == {"a": 1, "b": 1}


def test_or_each_so_many_seconds_alone() -> None:
    stage = Stage(report=1.0)
    stage.loader.start()
    stage.take("a", 9.0)
    stage.take("b", 9.0)
    stage.until(10.0)
    assert len(stage.reports) == pytest.approx(11, abs=1)
