"""Waiting for room: in order, for a time, woken by what gives room; and never twice answered."""

from collections.abc import Callable

import pytest

from bench.lb.world import VirtualTimeLoop
from lb.balancer.pending_queue import POLL_INTERVAL_S, PendingQueue, PendingRequest
from schemas.model.errors import LOADER_FULL, NO_INSTANCE, AseError


class Places:
    """So many places, and a virtual clock."""

    def __init__(self, free: int = 0) -> None:
        self.free = free
        self.error: AseError | None = None
        self.world = VirtualTimeLoop()
        self.line = PendingQueue(self.acquire, self.world.clock, self.world.call_later)
        self.told: list[str] = []

    def acquire(self, digest: str, _exclude: tuple[str, ...], _key: str) -> str:
        if self.error is not None:
            raise self.error
        if not self.free:
            raise AseError(LOADER_FULL)
        self.free -= 1
        return f"place for {digest}"

    def wait(self, name: str, seconds: float = 1.0, *, ahead: bool = False) -> PendingRequest:
        return self.line.enqueue(name, "", seconds, self.done, at_front=ahead)

    def done(self, waiter: PendingRequest) -> None:
        try:
            self.told.append(f"{self.world.now:.2f} {waiter.outcome()}")
        except AseError as error:
            self.told.append(f"{self.world.now:.2f} {error.spec.name}")

    def pass_until(self, time: float, then: Callable[[], None] = lambda: None) -> None:
        over: list[int] = []
        self.world.call_at(time, then)
        self.world.call_at(time, lambda: over.append(1))
        self.world.run(lambda: not over)


def test_first_come_first_served_when_there_is_room() -> None:
    places = Places()
    for name in "abc":
        places.wait(name)

    def room() -> None:
        places.free = 2
        places.line.notify_capacity()

    places.pass_until(0.5, room)
    places.pass_until(0.5)
    assert places.told == ["0.50 place for a", "0.50 place for b"]
    assert len(places.line) == 1


def test_it_looks_by_itself_too() -> None:
    places = Places()
    places.wait("a")
    places.pass_until(0.1, lambda: setattr(places, "free", 1))
    places.pass_until(0.1 + 2 * POLL_INTERVAL_S)
    assert [line.partition(" ")[2] for line in places.told] == ["place for a"]


def test_who_had_its_turn_goes_ahead() -> None:
    places = Places()
    places.wait("a")
    places.wait("refused", ahead=True)
    places.free = 1
    places.line.notify_capacity()
    places.pass_until(0.001)
    assert places.told == ["0.00 place for refused"]


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_not_for_ever(seconds: float) -> None:
    places = Places()
    places.wait("a", seconds)
    places.pass_until(2.0)
    assert places.told == [f"{seconds:.2f} full"]
    assert len(places.line) == 0


def test_another_error_ends_the_wait_of_all() -> None:
    places = Places()
    places.wait("a")
    places.wait("b")
    places.error = AseError(NO_INSTANCE)
    places.line.notify_capacity()
    places.pass_until(0.001)
    assert places.told == ["0.00 no_instance"] * 2


def test_who_went_away_is_not_told_and_takes_no_place() -> None:
    places = Places()
    first = places.wait("a")
    places.wait("b")
    first.cancel()
    first.cancel()
    places.free = 1
    places.line.notify_capacity()
    places.pass_until(3.0)
    assert places.told == ["0.00 place for b"]


def test_a_place_is_given_after_room_returned() -> None:
    """Whoever gives a place back is not in the middle of somebody else's request."""
    places = Places()
    places.wait("a")
    places.free = 1
    places.line.notify_capacity()
    assert places.told == []


def test_whose_time_is_over_gets_no_place() -> None:
    """Held up itself, the loop looks late: the place is for somebody who still waits."""
    places = Places()
    places.wait("late", 0.1)
    places.wait("b", 9.0)
    places.free = 1
    places.world.now = 0.5
    places.line._serve_waiting()
    assert [line.partition(" ")[2] for line in places.told] == ["full", "place for b"]
