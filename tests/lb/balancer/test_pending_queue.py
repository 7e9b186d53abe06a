"""Waiting for room: in order, for a time, woken by what gives room; and never twice answered."""

from collections.abc import Callable, Mapping

import pytest

from gateway.simulation.virtual_time import VirtualTimeLoop
from lb.balancer.pending_queue import (
    CONTENTION_S,
    EQUAL_WEIGHTS,
    POLL_INTERVAL_S,
    PendingQueue,
    PendingRequest,
)
from schemas.model.errors import LOADER_FULL, NO_INSTANCE, AseError


class SlotPool:
    """So many places, and a virtual clock."""

    def __init__(self, free: int = 0, weights: Mapping[str, int] = EQUAL_WEIGHTS) -> None:
        self.free = free
        self.error: AseError | None = None
        self.loop = VirtualTimeLoop()
        self.queue = PendingQueue(self.acquire, self.loop.clock, self.loop.call_later, weights)
        self.outcomes: list[str] = []
        self.only_free_slots: list[bool] = []  # of each attempt

    def acquire(
        self, digest: str, _exclude: tuple[str, ...], _key: str, only_free_slots: bool
    ) -> str:
        self.only_free_slots.append(only_free_slots)
        if self.error is not None:
            raise self.error
        if not self.free:
            raise AseError(LOADER_FULL)
        self.free -= 1
        return f"place for {digest}"

    def enqueue(
        self, name: str, timeout: float = 1.0, *, app_id: str = "", at_front: bool = False
    ) -> PendingRequest:
        return self.queue.enqueue(name, "", app_id, timeout, self.record_outcome, at_front=at_front)

    def serve(self, count: int) -> list[str]:
        """Free so many places; return who got one."""
        before = len(self.outcomes)
        self.free += count
        self.queue.notify_capacity()
        self.run_until(self.loop.now + 1e-6)
        return [outcome.rpartition(" ")[2] for outcome in self.outcomes[before:]]

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


def test_applications_share_slots() -> None:
    """One sends far more than the other: both get every second place."""
    pool = SlotPool()
    for number in range(6):
        pool.enqueue(f"heavy{number}", app_id="heavy")
    for number in range(2):
        pool.enqueue(f"light{number}", app_id="light")
    assert pool.serve(3) == ["heavy0", "light0", "heavy1"]
    pool.enqueue("third", app_id="third")
    assert pool.serve(6) == ["light1", "third", "heavy2", "heavy3", "heavy4", "heavy5"]
    assert len(pool.queue) == 0


def test_application_with_few_requests_goes_first() -> None:
    pool = SlotPool()
    for number in range(20):
        pool.enqueue(f"heavy{number}", app_id="heavy")
    assert pool.serve(3) == ["heavy0", "heavy1", "heavy2"]
    for number in range(3):
        pool.enqueue(f"light{number}", app_id="light")
        assert pool.serve(2) == [f"light{number}", f"heavy{number + 3}"]


def test_application_does_not_gain_by_leaving_the_queue() -> None:
    """It had its slot of this round; what it sends next waits for that of the other."""
    pool = SlotPool()
    for number in range(4):
        pool.enqueue(f"other{number}", app_id="other")
    pool.enqueue("first", app_id="hopper")
    assert pool.serve(2) == ["other0", "first"]
    pool.enqueue("second", app_id="hopper")
    pool.enqueue("third", app_id="hopper")
    assert pool.serve(3) == ["other1", "second", "other2"]


def test_slots_are_in_proportion_to_the_weights() -> None:
    pool = SlotPool(weights={"big": 3})
    for number in range(80):
        pool.enqueue(f"big{number}", app_id="big")
        pool.enqueue(f"small{number}", app_id="small")
    for _ in range(10):
        served = pool.serve(8)
        assert sum(name.startswith("big") for name in served) == 6


def test_weight_counts_in_what_is_ahead_and_in_who_makes_place() -> None:
    pool = SlotPool(weights={"big": 10})
    for number in range(30):
        pool.enqueue(f"big{number}", app_id="big", timeout=100.0)
    for number in range(4):
        pool.enqueue(f"small{number}", app_id="small", timeout=100.0)
    assert pool.queue.heaviest_app() == ("small", 4.0)
    assert pool.queue.backlog_of("big", 1) == 3.1
    assert pool.queue.backlog_of("new", 1) == 1.0


def test_a_rejected_request_goes_first() -> None:
    pool = SlotPool()
    for name in ("a0", "b0"):
        pool.enqueue(name, app_id=name[0])
    assert pool.serve(1) == ["a0"]
    pool.enqueue("a0", app_id="a", at_front=True)
    assert pool.serve(2) == ["a0", "b0"]


def test_the_last_request_of_the_heaviest_makes_place() -> None:
    pool = SlotPool()
    for name in ("a0", "b0", "b1", "b2"):
        pool.enqueue(name, app_id=name[0])
    assert pool.queue.heaviest_app() == ("b", 3)
    pool.queue.reject_last("b")
    assert pool.outcomes == ["0.00 full"]
    assert (pool.queue.backlog_of("b", 0), pool.queue.backlog_of("c", 0), len(pool.queue)) == (
        2,
        0,
        3,
    )
    assert pool.serve(3) == ["a0", "b0", "b1"]


def serve_regularly(pool: SlotPool, interval: float, count: int) -> None:
    """Let so many requests of `x` be served, one after each interval, while another one waits."""
    pool.enqueue("x", 100.0, app_id="x")
    for _ in range(count):
        pool.enqueue("x", 100.0, app_id="x")
        pool.run_until(pool.loop.now + interval)
        pool.serve(1)


def test_who_cannot_be_served_in_time_may_not_wait() -> None:
    pool = SlotPool()
    serve_regularly(pool, 0.1, 20)  # longer than the time-out: it is no burst
    assert pool.queue.backlog_of("x", 0) == 1
    assert pool.queue.can_serve_in_time("x", 1.0)
    for _ in range(4):
        pool.enqueue("x", 100.0, app_id="x")
    assert pool.queue.can_serve_in_time("x", 1.1), "five of 0.1 s: half of the time"
    assert not pool.queue.can_serve_in_time("x", 0.9)
    assert pool.queue.can_serve_in_time("y", 0.3), "it waits for one of the other alone"
    assert not pool.queue.can_serve_in_time("y", 0.1)


def test_a_burst_may_take_all_the_time() -> None:
    pool = SlotPool()
    serve_regularly(pool, 0.1, 8)
    pool.serve(1)
    for _ in range(9):
        pool.enqueue("x", 1.0, app_id="x")
    assert pool.queue.can_serve_in_time("x", 1.0)
    for _ in range(4):
        pool.enqueue("x", 1.0, app_id="x")
    assert not pool.queue.can_serve_in_time("x", 1.0)


def test_slots_that_others_take_count() -> None:
    """Another application takes every second slot, and never has more than one request waiting."""
    pool = SlotPool()
    for _ in range(60):
        pool.enqueue("x", 100.0, app_id="x")
    for _ in range(50):
        pool.enqueue("y", 100.0, app_id="y")
        pool.run_until(pool.loop.now + 0.1)
        pool.serve(2)
    assert (pool.queue.backlog_of("x", 0), pool.queue.backlog_of("y", 0)) == (10, 0)
    assert pool.queue.can_serve_in_time("x", 2.1), "10 of 0.1 s: half of the time"
    assert not pool.queue.can_serve_in_time("x", 1.9)


def test_the_first_may_always_wait() -> None:
    pool = SlotPool()
    serve_regularly(pool, 5.0, 8)
    pool.serve(1)
    assert len(pool.queue) == 0
    assert pool.queue.can_serve_in_time("x", 0.001), "else nobody would notice that it is faster"


def test_places_in_loaders_are_not_used_while_applications_contend() -> None:
    pool = SlotPool()
    pool.enqueue("a", app_id="x")
    pool.enqueue("b", app_id="x")
    assert pool.serve(1) == ["a"]
    assert not any(pool.only_free_slots), "one application alone may use them"
    pool.enqueue("c", app_id="y")
    pool.only_free_slots.clear()
    assert pool.serve(2) == ["c", "b"]
    assert pool.only_free_slots == [True, True]
    assert pool.queue.is_contended(pool.loop.now)
    assert not pool.queue.is_contended(pool.loop.now + CONTENTION_S)


def test_applications_that_cannot_wait_do_not_contend() -> None:
    pool = SlotPool()
    for app_id in "xyx":
        pool.enqueue("a", timeout=0.0, app_id=app_id)
    assert not pool.queue.is_contended(pool.loop.now)


def test_new_applications_do_not_starve_one_that_has_had_a_slot() -> None:
    pool = SlotPool()
    served: list[str] = []
    for number in range(100):
        pool.enqueue(f"new{number}", app_id=f"new{number}")
        pool.enqueue(f"other{number}", app_id=f"other{number}")
        if not number % 10:
            pool.enqueue(f"old{number}", app_id="old")
        served += pool.serve(2)
    assert sum(name.startswith("old") for name in served) >= 9


def test_refused_requests_are_served_first_and_in_order() -> None:
    pool = SlotPool()
    for name in ("b0", "c0"):
        pool.enqueue(name, app_id=name[0])
    for name in ("a0", "a1"):
        pool.enqueue(name, app_id="a", at_front=True)
    gone = pool.enqueue("a2", app_id="a", at_front=True)
    gone.cancel()
    pool.enqueue("a3", app_id="a")
    assert pool.serve(5) == ["a0", "a1", "b0", "c0", "a3"]
    assert len(pool.queue) == 0


def test_applications_that_come_and_go_leave_nothing() -> None:
    pool = SlotPool()
    pool.enqueue("a", app_id="a")
    for number in range(3000):
        pool.enqueue("b", app_id=f"b{number}").cancel()
    assert len(pool.queue) == 1
    assert pool.serve(1) == ["a"]
