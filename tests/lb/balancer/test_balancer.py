"""Tickets give back exactly once, whatever ends the block; a million of them leave nothing."""

import asyncio
import gc
from collections.abc import Callable
from math import log
from random import Random
from typing import Any

import pytest

from bench.lb.world import VirtualTimeLoop
from lb.balancer.balancer import Balancer
from lb.balancer.least_expected_delay import LeastExpectedDelay
from lb.balancer.policies import policy_factories
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.outlier import EjectionState
from lb.endpoints.report import Instance, Load, Report, ReportMode
from lb.endpoints.table import EndpointTable
from schemas.model.errors import (
    CLIENT_GONE,
    DEADLINE,
    INPUT_REFUSED,
    LOADER_FULL,
    LOADER_LOST,
    NO_INSTANCE,
    UNREACHABLE,
    WRAPPER_RAISED,
    AseError,
)


class Fleet:
    """Instances, a balancer over them, a virtual clock; what was told of health."""

    def __init__(self, count: int = 1, *, total: int = 4, digest: str = "d", **more: Any) -> None:
        self.world = VirtualTimeLoop()
        self.table = EndpointTable("g", silence_timeout=None)
        self.seq = 1
        self.instances = [
            Instance("ase", "ocr", f"a:{n}", 7, digest=digest, total=total, best=total)
            for n in range(count)
        ]
        self.health: list[str] = []
        rng = Random(1)
        self.balancer = Balancer(
            self.table,
            lambda: LeastExpectedDelay(rng),
            clock=self.world.clock,
            rng=rng,
            call_later=self.world.call_later,
            on_ejection_change=self.told,
            **more,
        )
        self.report()

    def told(self, entry: Endpoint) -> None:
        self.health.append(f"{entry.instance.addr} {entry.outlier_detector.state.value}")

    def report(self, **figures: Any) -> None:
        self.seq += 1
        for instance in self.instances:
            load = Load(self.seq, served=99, **figures)
            self.table.apply(Report(instance, load), self.world.now)

    def entry(self, number: int = 0) -> Endpoint:
        found = self.table.get(self.instances[number].key)
        assert found is not None
        return found

    def end(self, error: BaseException | None = None) -> None:
        """Let a request end."""
        try:
            with self.balancer.acquire("ocr", "d"):
                if error is not None:
                    raise error
        except BaseException as raised:
            if raised is not error:
                raise

    def go_on(self, until: float) -> None:
        over: list[int] = []
        self.world.call_at(until, lambda: over.append(1))
        self.world.run(lambda: not over)


def test_a_place_is_counted_and_given_back() -> None:
    fleet = Fleet()
    with fleet.balancer.acquire("ocr", "d") as ticket:
        assert ticket.instance.addr == "a:0"
        assert fleet.entry().inflight == 1
    assert fleet.entry().inflight == 0
    ticket.release()
    assert fleet.entry().inflight == 0, "a second release does nothing"


@pytest.mark.parametrize(
    ("error", "ghosts"),
    [
        (AseError(LOADER_LOST), 0),
        (AseError(LOADER_FULL), 0),
        (AseError(UNREACHABLE), 0),
        (AseError(DEADLINE), 1),
        (AseError(CLIENT_GONE), 1),
        (ValueError("x"), 1),
        (asyncio.CancelledError(), 1),
        (TimeoutError(), 1),
        (KeyboardInterrupt(), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_end_gives_it_back(error: BaseException, ghosts: int) -> None:
    fleet = Fleet()
    fleet.end(error)
    assert (fleet.entry().inflight, fleet.entry().abandoned) == (0, ghosts)
    fleet.report(requests_by_gateway={})
    assert fleet.entry().outstanding() == 0


def test_a_dropped_ticket_gives_back_and_is_told() -> None:
    fleet = Fleet()
    ticket: Any = fleet.balancer.acquire("ocr", "d")
    assert fleet.entry().inflight == 1
    del ticket
    gc.collect()
    assert fleet.entry().inflight == 0
    assert fleet.balancer.counts.leaked == 1
    fleet.end()
    assert fleet.balancer.counts.leaked == 1, "one that was given back is not dropped"


def test_cancelled_tasks_give_it_back() -> None:
    fleet = Fleet(total=100)

    async def hold() -> None:
        with fleet.balancer.acquire("ocr", "d"):
            await asyncio.Event().wait()

    async def main() -> None:
        tasks = [asyncio.create_task(hold()) for _ in range(100)]
        await asyncio.sleep(0)
        assert fleet.entry().inflight == 100
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert fleet.entry().inflight == 0


def test_a_million_requests_of_which_a_tenth_is_cancelled_leave_nothing() -> None:
    fleet, rng = Fleet(8, total=1000), Random(3)
    ends = [AseError(CLIENT_GONE), AseError(LOADER_LOST), TimeoutError(), asyncio.CancelledError()]
    held: list[Any] = []
    for number in range(1_000_000):
        ticket = fleet.balancer.acquire("ocr", "d")
        if number % 10:
            held.append(ticket)
        else:
            error = ends[number // 10 % 4]
            ticket.__exit__(type(error), error, None)
        if number % 100 == 0:
            fleet.report(requests_by_gateway={})
        if len(held) > 500:
            held[rng.randrange(500)].release()
            held[rng.randrange(500)] = held.pop()
    for ticket in held:
        ticket.release()
    held.clear()
    del ticket
    fleet.report(requests_by_gateway={})
    assert [entry.inflight for entry in fleet.table] == [0] * 8
    assert [entry.outstanding() for entry in fleet.table] == [0] * 8


@pytest.mark.parametrize(("told", "active", "found"), [("d", "d", 1), ("d", "e", 0), ("", "e", 1)])
def test_only_the_active_schema_gets_traffic(told: str, active: str, found: int) -> None:
    fleet = Fleet(digest=told)
    if found:
        with fleet.balancer.acquire("ocr", active):
            assert fleet.entry().inflight == 1
    else:
        with pytest.raises(AseError) as caught:
            fleet.balancer.acquire("ocr", active)
        assert caught.value.spec is NO_INSTANCE


def test_nobody_is_an_error() -> None:
    fleet = Fleet()
    with pytest.raises(AseError, match="'other'"):
        fleet.balancer.acquire("other", "d")
    with pytest.raises(AseError) as caught:
        fleet.balancer.acquire("ocr", "d", ["a:0"])
    assert caught.value.spec is NO_INSTANCE


def failing(error: AseError, times: int) -> Callable[[Fleet], None]:
    def act(fleet: Fleet) -> None:
        for _ in range(times):
            fleet.end(error)

    return act


@pytest.mark.parametrize(
    ("act", "standing"),
    [
        (failing(AseError(WRAPPER_RAISED), 4), EjectionState.ADMITTED),
        (failing(AseError(WRAPPER_RAISED), 5), EjectionState.EJECTED),
        (failing(AseError(DEADLINE), 5), EjectionState.EJECTED),
        (failing(AseError(INPUT_REFUSED), 9), EjectionState.ADMITTED),  # the caller's fault
        (failing(AseError(CLIENT_GONE), 9), EjectionState.ADMITTED),
        (failing(AseError(LOADER_FULL), 1), EjectionState.ADMITTED),
        (failing(AseError(UNREACHABLE), 1), EjectionState.EJECTED),
    ],
    ids=range(7),
)
def test_failures_of_the_loader_eject_it(
    act: Callable[[Fleet], None], standing: EjectionState
) -> None:
    fleet = Fleet(total=100)
    act(fleet)
    assert fleet.entry().outlier_detector.state is standing
    assert fleet.health == (["a:0 ejected"] if standing is EjectionState.EJECTED else [])


def test_an_ejected_one_is_tried_by_one_request_and_comes_back() -> None:
    fleet = Fleet(3, total=100)
    bad = fleet.entry(0)
    bad.outlier_detector.record_unreachable(0.0, Random(1))
    fleet.table.invalidate_pool("ocr")
    for _ in range(50):
        with fleet.balancer.acquire("ocr", "d") as ticket:
            assert ticket.instance.addr != "a:0"
    fleet.go_on(2.0)
    first = fleet.balancer.acquire("ocr", "d")
    assert first.instance.addr == "a:0", "its trial"
    for _ in range(50):
        with fleet.balancer.acquire("ocr", "d") as ticket:
            assert ticket.instance.addr != "a:0", "one alone"
    first.release()
    assert fleet.health[-1] == "a:0 in"
    chosen = set()
    for _ in range(50):
        with fleet.balancer.acquire("ocr", "d") as ticket:
            chosen.add(ticket.instance.addr)
    assert "a:0" in chosen


@pytest.mark.parametrize("name", list(policy_factories(Random(1), lambda *_: None)))
def test_with_any_policy_an_ejected_one_comes_back(name: str) -> None:
    fleet = Fleet(3, total=100)
    rng = Random(2)
    made = policy_factories(rng, lambda *_: None)[name]
    balancer = Balancer(
        fleet.table, made, clock=fleet.world.clock, rng=rng, call_later=fleet.world.call_later
    )
    fleet.entry(0).outlier_detector.record_unreachable(0.0, rng)
    fleet.table.invalidate_pool("ocr")
    fleet.go_on(2.0)
    chosen = []
    for _ in range(60):
        with balancer.acquire("ocr", "d") as ticket:
            chosen.append(ticket.instance.addr)
    assert chosen[0] == "a:0", "its trial"
    assert "a:0" in chosen[1:], "and then its share"


def test_a_place_that_was_not_used_tells_nothing() -> None:
    fleet = Fleet(1, total=1)
    for _ in range(10):
        ticket = fleet.balancer.acquire("ocr", "d")
        ticket.release_unused()
        ticket.release_unused()
    entry = fleet.entry()
    assert (entry.inflight, entry.abandoned, entry.outlier_detector.state) == (
        0,
        0,
        EjectionState.ADMITTED,
    )
    assert fleet.balancer.counts.leaked == 0


def test_a_trial_that_told_nothing_is_had_again() -> None:
    fleet = Fleet(3, total=100)
    fleet.entry(0).outlier_detector.record_unreachable(0.0, Random(1))
    fleet.table.invalidate_pool("ocr")
    fleet.go_on(2.0)
    with (
        pytest.raises(asyncio.CancelledError),
        fleet.balancer.acquire("ocr", "d") as ticket,
    ):
        assert ticket.instance.addr == "a:0"
        raise asyncio.CancelledError
    with fleet.balancer.acquire("ocr", "d") as ticket:
        assert ticket.instance.addr == "a:0"


def test_who_refused_is_full_until_it_reports() -> None:
    fleet = Fleet(total=4)
    fleet.end(AseError(LOADER_FULL))
    with pytest.raises(AseError) as caught:
        fleet.balancer.acquire("ocr", "d")
    assert caught.value.spec is LOADER_FULL
    fleet.report(running=1, requests_by_gateway={})
    fleet.end()


def test_who_never_reports_is_asked_again() -> None:
    fleet = Fleet(0)
    fleet.table.add_static(Instance("ase", "ocr", "s:1", total=4, best=4), 0.0)
    fleet.end(AseError(LOADER_FULL))
    with pytest.raises(AseError):
        fleet.balancer.acquire("ocr", "d")
    fleet.go_on(0.02)
    fleet.end()


def test_all_full_waits_for_the_first_place_that_is_given_back() -> None:
    fleet = Fleet(2, total=1)
    one, two = fleet.balancer.acquire("ocr", "d"), fleet.balancer.acquire("ocr", "d")
    with pytest.raises(AseError) as caught:
        fleet.balancer.acquire("ocr", "d")
    assert caught.value.spec is LOADER_FULL
    over: list[Any] = []
    fleet.balancer.wait("ocr", "d", "", 1.0, False, over.append)
    fleet.world.call_at(0.3, one.release)
    fleet.go_on(0.301)
    assert over[0].outcome().instance.addr == "a:0"
    two.release()
    with fleet.balancer.acquire("ocr", "d"):
        assert fleet.entry(1).inflight == 1


def test_who_comes_later_does_not_overtake() -> None:
    fleet = Fleet(1, total=1)
    held = fleet.balancer.acquire("ocr", "d")
    over: list[Any] = []
    fleet.balancer.wait("ocr", "d", "", 1.0, False, over.append)
    held.release()
    with pytest.raises(AseError) as caught:
        fleet.balancer.acquire("ocr", "d")
    assert caught.value.spec is LOADER_FULL
    fleet.go_on(0.001)
    assert over[0].outcome().instance.addr == "a:0"


def test_a_report_of_room_wakes_and_a_newcomer_too() -> None:
    fleet = Fleet(1, total=4)
    fleet.report(running=4, requests_by_gateway={})
    over: list[Any] = []
    fleet.balancer.wait("ocr", "d", "", 1.0, False, over.append)
    fleet.go_on(0.1)
    assert not over
    for _ in range(50):  # each report with the probability of our share
        fleet.report(running=3, requests_by_gateway={})
    fleet.go_on(0.1001)
    assert len(over) == 1


def test_no_more_than_so_many_wait() -> None:
    fleet = Fleet(1, total=1, max_waiting=2)
    held = fleet.balancer.acquire("ocr", "d")
    over: list[Any] = []
    for _ in range(3):
        fleet.balancer.wait("ocr", "d", "", 1.0, False, over.append)
    fleet.go_on(0.5)
    assert len(over) == 1, "the third is told at once"
    with pytest.raises(AseError) as caught:
        over[0].outcome()
    assert caught.value.spec is LOADER_FULL
    held.release()


def test_retries_have_a_budget() -> None:
    fleet = Fleet()
    assert sum(fleet.balancer.try_acquire_retry() for _ in range(50)) == 10
    for _ in range(51):
        fleet.end()
    assert sum(fleet.balancer.try_acquire_retry() for _ in range(50)) == 10


def test_of_static_instances_the_slower_gets_less() -> None:
    fleet = Fleet(0)
    for name in ("slow", "fast"):
        fleet.table.add_static(Instance("ase", "ocr", f"{name}:1", total=100, best=4), 0.0)
    for _ in range(400):
        ticket = fleet.balancer.acquire("ocr", "")
        fleet.world.now += 0.1 if ticket.instance.addr == "slow:1" else 0.01
        ticket.release()
        fleet.table.expire(fleet.world.now)
    told = {entry.instance.addr: entry.load_weight for entry in fleet.table}
    assert told["slow:1"] > 5 * told["fast:1"]


def test_a_static_instance_counts_by_what_is_unanswered() -> None:
    fleet = Fleet(0)
    fleet.table.add_static(Instance("ase", "ocr", "s:1", total=2, best=2), 0.0)
    (entry,) = fleet.table
    assert entry.report_mode is ReportMode.NONE
    one, two = fleet.balancer.acquire("ocr", ""), fleet.balancer.acquire("ocr", "")
    assert entry.outstanding() == 2
    with pytest.raises(AseError):
        fleet.balancer.acquire("ocr", "")
    one.release(CLIENT_GONE, abandoned=True)
    two.release()
    assert entry.outstanding() == 0, "nobody would tell when a ghost is gone"


def test_five_failures_of_the_whole_fleet_eject() -> None:
    fleet = Fleet(2)
    fleet.report()
    fleet.instances.pop()
    fleet.seq += 1
    load = Load(fleet.seq, served=104, errors=5)
    fleet.table.apply(Report(fleet.instances[0], load), fleet.world.now)
    assert fleet.health == ["a:0 ejected"]
    assert fleet.balancer.counts.ejections == {"reported_failures": 1}
    with fleet.balancer.acquire("ocr", "d") as ticket:
        assert ticket.instance.addr == "a:1"


def test_answers_are_compared_with_what_was_expected_when_they_were_asked_for() -> None:
    fleet = Fleet(1)
    fleet.report(service_ms=20.0)
    entry = fleet.entry()
    before = fleet.balancer.acquire("ocr", "d")
    expected = entry.expected_ms()
    fleet.report(service_ms=80.0)
    fleet.go_on(0.02)
    before.release()
    assert entry.latency_samples == 1
    assert entry.latency_log_ratio == pytest.approx(log(20.0 / expected), abs=0.01)
    fleet.end(AseError(LOADER_LOST))
    assert entry.latency_samples == 1, "failures are another matter"
