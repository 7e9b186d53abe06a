"""Requests that wait at the gateway while every instance of a service is full. Pure.

Slots are shared among applications by weight (start-time fair queueing: P. Goyal, H. Vin and
H. Cheng, SIGCOMM 1996). Each slot that an application gets takes 1 / weight of virtual time; the
one whose time is the least gets the next slot. An application that begins to wait has the virtual
time of the queue, which passes with each slot, so one with few requests goes before those that have
had their share. The requests of one are served first come, first served; those that a loader has
refused are served first. All wait for a bounded time.

The first request tries to get a lease when this gateway releases one, when a report shows free
capacity, or when the poll timer fires.
Every gateway sees a report at the same time, so each tries only with the probability that the free
capacity is its share (figures in `docs/load-balancing.md`). Poll timers of different gateways fire
at different times, so a poll always tries.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from math import inf
from typing import Any, Final, Generic, TypeVar

from lb.balancer.drain_rate import DrainRate
from rpc.bounded_cache import BoundedCache
from rpc.timer import CallLater, Timer
from schemas.model.errors import DEADLINE, LOADER_FULL, AseError

# Interval in seconds at which the queue looks for free capacity by itself.
POLL_INTERVAL_S: Final = 0.01
# Applications contend for this time in seconds after requests of two of them had to wait.
CONTENTION_S: Final = 10.0
_FULL_MESSAGE: Final = "every instance is full, and was all the while"
# Applications without requests whose next start is remembered.
_MAX_LATER_STARTS: Final = 1024
# A request may join if those before it are expected to be served within this share of its time.
# While the queue is younger than that time, it may be a burst: then the whole time counts.
_MAX_EXPECTED_SHARE: Final = 0.5


# Requests of an application that are looked at behind the first one, when that waits for one
# version of the model: another version may be free.
_MAX_PASSED: Final = 32
EQUAL_WEIGHTS: Final[Mapping[str, int]] = {}

Result = TypeVar("Result")


class PendingRequest(Generic[Result]):
    """A request that waits for a lease, of the application `app_id`.

    `on_done` is called once with the request, when it has a lease or an error; it is not called
    after `cancel`. `deadline` is in seconds of the queue's clock. `_timer` runs until then.
    """

    __slots__ = ("_on_done", "_queue", "_result", "_timer", "app_id", "deadline", "digest", "key")

    def __init__(
        self,
        queue: "PendingQueue[Result]",
        digest: str,
        key: str,
        app_id: str,
        deadline: float,
        on_done: Callable[["PendingRequest[Result]"], None],
    ) -> None:
        self._queue = queue
        self._on_done = on_done
        self._result: Result | AseError | None = None
        self._timer: Timer | None = None
        self.digest = digest
        self.key = key
        self.app_id = app_id
        self.deadline = deadline

    def cancel(self) -> None:
        """Stop waiting; `on_done` is not called."""
        self._queue.remove(self)
        self._cancel_timer()

    def outcome(self) -> Result:
        """Return the lease.

        Raises AseError 10110 if no instance had capacity in time, 20002 if no live instance was
        left.
        """
        result = self._result
        if isinstance(result, AseError):
            raise result
        assert result is not None  # noqa: S101 (it has finished)
        return result

    def start_timer(
        self, call_later: CallLater, seconds: float, callback: Callable[[], None]
    ) -> None:
        """Call `callback` after `seconds`, unless the request finishes or is cancelled first."""
        self._timer = call_later(seconds, callback)

    def finish(self, result: Result | AseError) -> None:
        """Set the result, a lease or an AseError, and call `on_done`."""
        self._result = result
        self._cancel_timer()
        self._on_done(self)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _AppQueue(Generic[Result]):
    """The pending requests of one application, in order, and how fast it gets slots.

    `start` is the virtual time of its next slot.
    """

    __slots__ = ("drain_rate", "requests", "start", "weight")

    def __init__(self, now: float, weight: int, start: float) -> None:
        self.weight = weight
        self.start = start
        self.requests: deque[PendingRequest[Result]] = deque()
        self.drain_rate = DrainRate()
        self.drain_rate.start(now)


class PendingQueue(Generic[Result]):
    """The pending requests of one service, in the order in which they are served.

    `acquire(digest, exclude, key, only_free_slots)` returns a lease or raises AseError. `clock`
    returns seconds, `call_later(seconds, callback)` schedules a callback. `weights` are those of
    applications, by app id, other than 1. `has_versions(digest)` returns whether requests are
    shared among versions, which may be full or not.

    `_refused` has the requests that a loader has refused, which have had a slot. `_by_app` has the
    queues of the applications that have other requests, `_waiting_weight` is the sum of their
    weights. `_later_starts` has the starts of applications without requests, where they are after
    `_virtual_time`. The poll timer runs while requests wait. At most one call of `_serve_waiting`
    is scheduled at a time; `_is_serve_scheduled` is True until it runs. `_last_app_id` is the
    application of the latest request, which came at `_last_app_at`; `_other_app_at` is when the
    latest one of another application came.
    """

    __slots__ = (
        "_acquire", "_by_app", "_call_later", "_clock", "_drain_rate", "_has_versions",
        "_is_polling", "_is_serve_scheduled", "_last_app_at", "_last_app_id", "_later_starts",
        "_other_app_at", "_refused", "_size", "_virtual_time", "_waiting_weight", "_weights",
    )  # fmt: skip

    def __init__(
        self,
        acquire: Callable[[str, tuple[str, ...], str, bool], Result],
        clock: Callable[[], float],
        call_later: CallLater,
        weights: Mapping[str, int] = EQUAL_WEIGHTS,
        has_versions: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._weights = weights
        self._has_versions = has_versions
        self._acquire = acquire
        self._clock = clock
        self._call_later = call_later
        self._by_app: dict[str, _AppQueue[Result]] = {}
        self._refused: deque[PendingRequest[Result]] = deque()
        self._virtual_time = 0.0
        self._waiting_weight = 0
        self._later_starts: BoundedCache[str, float] = BoundedCache(_MAX_LATER_STARTS)
        self._size = 0
        self._drain_rate = DrainRate()
        self._is_polling = self._is_serve_scheduled = False
        self._last_app_id = ""
        self._last_app_at = self._other_app_at = -inf

    def is_contended(self, now: float) -> bool:
        """Return whether requests of more than one application have had to wait lately.

        Then a request is better held here, where applications share slots, than in the queue of a
        loader, where those of others would wait behind it.
        """
        return now - self._other_app_at < CONTENTION_S

    def __len__(self) -> int:
        return self._size

    def can_serve_in_time(self, app_id: str, timeout: float) -> bool:
        """Return whether a new request of an application can expect a slot within `timeout`.

        True if no request would be served before it, or if it is not known yet how fast they are.
        Those before it are the application's own, and those that the others get meanwhile. The
        rate at which the application itself gets slots counts too: requests that come later take
        slots as well.
        """
        own = self._by_app.get(app_id)
        own_count = len(own.requests) if own is not None else 0
        ahead, turns = own_count, own_count // self._weights.get(app_id, 1) + 1
        for other_id, other in self._by_app.items():
            if other_id != app_id:
                ahead += min(len(other.requests), turns * other.weight)
        now = self._clock()
        interval = self._drain_rate.mean_interval(now)
        if not ahead or interval is None:
            return True
        expected_s = ahead * interval
        own_interval = own.drain_rate.mean_interval(now) if own is not None else None
        if own_interval is not None:
            expected_s = max(expected_s, own_count * own_interval)
        is_young = now - self._drain_rate.started_at < timeout
        return expected_s <= timeout * (1.0 if is_young else _MAX_EXPECTED_SHARE)

    def heaviest_app(self) -> tuple[str, float]:
        """Return the application with the most virtual time to wait for, and that time."""
        sizes = [
            (len(queue.requests) / queue.weight, app_id) for app_id, queue in self._by_app.items()
        ]
        size, app_id = max(sizes, default=(0.0, ""))
        return app_id, size

    def backlog_of(self, app_id: str, further: int) -> float:
        """Return the virtual time of an application's waiting requests and of `further` ones."""
        queue = self._by_app.get(app_id)
        waiting = len(queue.requests) if queue is not None else 0
        return (waiting + further) / self._weights.get(app_id, 1)

    def reject_last(self, app_id: str) -> None:
        """Reject the request of an application that came last, to make place for another one."""
        request = self._by_app[app_id].requests[-1]
        self.remove(request)
        request.finish(AseError(LOADER_FULL, _FULL_MESSAGE))

    def enqueue(
        self,
        digest: str,
        key: str,
        app_id: str,
        timeout: float,
        on_done: Callable[[PendingRequest[Result]], None],
        *,
        at_front: bool,
    ) -> PendingRequest[Result]:
        """Add a request that waits for at most `timeout` seconds, and return it.

        `at_front` places it first: for a request that had a lease before and was rejected by the
        instance.
        """
        now = self._clock()
        if timeout > 0:
            if app_id != self._last_app_id:
                self._last_app_id, self._other_app_at = app_id, self._last_app_at
            self._last_app_at = now
        request = PendingRequest(self, digest, key, app_id, now + timeout, on_done)
        if not self._size:
            self._drain_rate.start(now)
        self._size += 1
        if at_front:
            self._refused.append(request)
        else:
            self._queue_of(app_id, now).requests.append(request)
        request.start_timer(self._call_later, max(0.0, timeout), lambda: self._expire(request))
        self._start_polling()
        return request

    def remove(self, request: PendingRequest[Result]) -> None:
        """Remove the request if it is still queued."""
        if request in self._refused:
            self._refused.remove(request)
            self._size -= 1
            return
        queue = self._by_app.get(request.app_id)
        if queue is None or request not in queue.requests:
            return
        queue.requests.remove(request)
        self._size -= 1
        if not queue.requests:
            del self._by_app[request.app_id]
            self._waiting_weight -= queue.weight
            if queue.start > self._virtual_time:
                self._later_starts.add(request.app_id, queue.start)

    def notify_capacity(self) -> None:
        """Schedule an attempt to serve the first requests, because capacity may be free."""
        if self._size and not self._is_serve_scheduled:
            self._is_serve_scheduled = True
            self._call_later(0.0, self._serve_waiting)

    def _serve_waiting(self) -> None:
        self._is_serve_scheduled = False
        while self._size:
            queue = self._next_app() if not self._refused else None
            first = queue.requests[0] if queue is not None else self._refused[0]
            result: Result | AseError
            try:
                if first.deadline <= self._clock():
                    raise AseError(DEADLINE)
                now = self._clock()
                result = self._acquire(first.digest, (), first.key, self.is_contended(now))
                self._drain_rate.record_slot(now)
                if queue is not None:  # a refused request has taken its virtual time before
                    self._charge(queue, now)
            except AseError as error:
                if error.spec is LOADER_FULL:
                    if self._has_versions(first.digest):
                        self._serve_other_keys(first.key)
                    return
                result = (
                    error if error.spec is not DEADLINE else AseError(LOADER_FULL, _FULL_MESSAGE)
                )
            self.remove(first)
            first.finish(result)

    def _serve_other_keys(self, key: str) -> None:
        """Serve requests that go to another version than those of `key`, whose version is full.

        In the order of the queue: those that a loader has refused, then by the virtual time of
        their applications.
        """
        now = self._clock()
        full = {key}
        for refused in [*self._refused]:
            if refused.key not in full and refused.deadline > now:
                self._try_serve(refused, None, full, now)
        while len(full) < _MAX_PASSED:
            upcoming = [
                (queue, request)
                for queue in self._by_app.values()
                if (request := _first_other(queue.requests, full, now)) is not None
            ]
            if not upcoming:
                return
            queue, request = min(upcoming, key=lambda pair: pair[0].start)
            self._try_serve(request, queue, full, now)

    def _try_serve(
        self,
        request: PendingRequest[Result],
        queue: "_AppQueue[Result] | None",
        full: set[str],
        now: float,
    ) -> None:
        """Serve a request that waits, and charge its queue; else note its key as `full`."""
        try:
            result = self._acquire(request.digest, (), request.key, self.is_contended(now))
        except AseError:
            full.add(request.key)
            return
        self._drain_rate.record_slot(now)
        if queue is not None:
            self._charge(queue, now)
        self.remove(request)
        request.finish(result)

    def _queue_of(self, app_id: str, now: float) -> _AppQueue[Result]:
        """Return the queue of an application, which may begin to wait with it."""
        queue = self._by_app.get(app_id)
        if queue is None:
            if not self._by_app:  # nobody waits: all begin at the same time
                self._virtual_time = 0.0
                self._later_starts.entries.clear()
            start = max(self._virtual_time, self._later_starts.entries.pop(app_id, 0.0))
            queue = self._by_app[app_id] = _AppQueue(now, self._weights.get(app_id, 1), start)
            self._waiting_weight += queue.weight
        return queue

    def _next_app(self) -> _AppQueue[Result]:
        """Return the queue of the application that gets the next slot; there is one."""
        return min(self._by_app.values(), key=_start_of)

    def _charge(self, queue: _AppQueue[Result], now: float) -> None:
        """Take the virtual time of a slot from an application, and let that of all pass.

        It passes even if each slot is for an application that has just begun to wait, as if one
        more of weight 1 waited; else one that has had a slot would never get another.
        """
        passed = 1 / (self._waiting_weight + 1)
        self._virtual_time = max(self._virtual_time + passed, queue.start)
        queue.start += 1 / queue.weight
        queue.drain_rate.record_slot(now)

    def _expire(self, request: PendingRequest[Result]) -> None:
        self.remove(request)
        request.finish(AseError(LOADER_FULL, _FULL_MESSAGE))

    def _start_polling(self) -> None:
        if not self._is_polling:
            self._is_polling = True
            self._call_later(POLL_INTERVAL_S, self._poll)

    def _poll(self) -> None:
        self._is_polling = False
        if self._size:
            self.notify_capacity()
            self._start_polling()


def _start_of(queue: _AppQueue[Any]) -> float:
    return queue.start


def _first_other(
    requests: Iterable[PendingRequest[Result]], keys: Collection[str], now: float
) -> PendingRequest[Result] | None:
    """Return the first request of a key that is not among `keys`, and that waits still."""
    for request in islice(requests, _MAX_PASSED):
        if request.key not in keys and request.deadline > now:
            return request
    return None
