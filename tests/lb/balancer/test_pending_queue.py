"""Waiting for room: in order, for a time, woken by what gives room; and never twice answered."""

from collections.abc import Callable

import pytest

from bench.lb.virtual_time import VirtualTimeLoop
from lb.balancer.pending_queue import POLL_INTERVAL_S, PendingQueue, PendingRequest
from schemas.model.errors import LOADER_FULL, NO_INSTANCE, AseError


class SlotPool:
    """So many places, and a virtual clock."""

    def __init__(self, free: int = 0) -> None:
        self.free = free
        self.error: AseError | None = None
        self.loop = VirtualTimeLoop()
        self.queue = PendingQueue(self.acquire, self.loop.clock, self.loop.call_later)
        self.outcomes: list[str] = []

    def acquire(self, digest: str, _exclude: tuple[str, ...], _key: str) -> str:
        if self.error is not None:
            raise self.error
        if not self.free:
            raise AseError(LOADER_FULL)
        self.free -= 1
        return f"place for {digest}"

    def enqueue(self, name: str, timeout: float = 1.0, *, at_front: bool = False) -> PendingRequest:
        return self.queue.enqueue(name, "", timeout, self.record_outcome, at_front=at_front)

    def record_outcome(self, request: PendingRequest) -> None:
        try:
            self.outcomes.append(f"{self.loop.now:.2f} {request.outcome()}")
        except AseError as error:
            self.outcomes.append(f"{self.loop.now:.2f} {error.spec.name}")

    def run_until(self, end_at: float, callback: Callable[[], None] = lambda: None) -> None:
        fired: list[int] = []
        self.loop.call_at(end_at, callback)
        self.loop.call_at(end_at, lambda: fired.append(1))
        self.loop.run(lambda: not fired)


def test_requests_are_served_in_order() -> None:
    pool = SlotPool()
    for name in "abc":
        pool.enqueue(name)

    def room() -> None:
        pool.free = 2
        pool.queue.notify_capacity()

    pool.run_until(0.5, room)
    pool.run_until(0.5)
    assert pool.outcomes == ["0.50 place for a", "0.50 place for b"]
    assert len(pool.queue) == 1


def test_queue_polls_for_capacity() -> None:
    pool = SlotPool()
    pool.enqueue("a")
    pool.run_until(0.1, lambda: setattr(pool, "free", 1))
    pool.run_until(0.1 + 2 * POLL_INTERVAL_S)
    assert [result.partition(" ")[2] for result in pool.outcomes] == ["place for a"]


def test_request_enqueued_at_front_is_served_first() -> None:
    pool = SlotPool()
    pool.enqueue("a")
    pool.enqueue("refused", at_front=True)
    pool.free = 1
    pool.queue.notify_capacity()
    pool.run_until(0.001)
    assert pool.outcomes == ["0.00 place for refused"]


@pytest.mark.parametrize("timeout", [0.0, 0.3])
def test_wait_times_out(timeout: float) -> None:
    pool = SlotPool()
    pool.enqueue("a", timeout)
    pool.run_until(2.0)
    assert pool.outcomes == [f"{timeout:.2f} full"]
    assert len(pool.queue) == 0


def test_other_error_fails_all_waiting_requests() -> None:
    pool = SlotPool()
    pool.enqueue("a")
    pool.enqueue("b")
    pool.error = AseError(NO_INSTANCE)
    pool.queue.notify_capacity()
    pool.run_until(0.001)
    assert pool.outcomes == ["0.00 no_instance"] * 2


def test_cancelled_request_takes_no_slot() -> None:
    pool = SlotPool()
    request = pool.enqueue("a")
    pool.enqueue("b")
    request.cancel()
    request.cancel()
    pool.free = 1
    pool.queue.notify_capacity()
    pool.run_until(3.0)
    assert pool.outcomes == ["0.00 place for b"]


def test_slot_is_not_assigned_inside_notify_capacity() -> None:
    """Whoever gives a place back is not in the middle of somebody else's request."""
    pool = SlotPool()
    pool.enqueue("a")
    pool.free = 1
    pool.queue.notify_capacity()
    assert pool.outcomes == []


def test_expired_request_gets_no_slot() -> None:
    """Held up itself, the loop looks late: the place is for somebody who still waits."""
    pool = SlotPool()
    pool.enqueue("late", 0.1)
    pool.enqueue("b", 9.0)
    pool.free = 1
    pool.loop.now = 0.5
    pool.queue._serve_waiting()
    assert [result.partition(" ")[2] for result in pool.outcomes] == ["full", "place for b"]
