"""Requests that wait at the gateway while every instance of a service is full. Pure.

Requests are served first come, first served, and wait for a bounded time. The first request tries
to get a lease when this gateway releases one, when a report shows free capacity, or when its poll
timer fires. Every gateway sees a report at the same time, so each tries only with the probability
that the free capacity is its share (figures in `docs/load-balancing.md`). Poll timers of different
gateways fire at different times, so a poll always tries.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from rpc.timer import CallLater, Timer
from schemas.model.errors import DEADLINE, LOADER_FULL, AseError

# Interval in seconds at which a pending request looks for free capacity by itself.
POLL_INTERVAL_S: Final = 0.01
_FULL_MESSAGE: Final = "every instance is full, and was all the while"


Result = TypeVar("Result")


class PendingRequest(Generic[Result]):
    """A request that waits for a lease.

    `on_done` is called once with the request, when it has a lease or an error; it is not called
    after `cancel`. `deadline` is in seconds of the queue's clock. `_timer` runs while the request
    waits.
    """

    __slots__ = ("_on_done", "_queue", "_result", "_timer", "deadline", "digest", "key")

    def __init__(
        self,
        queue: "PendingQueue[Result]",
        digest: str,
        key: str,
        deadline: float,
        on_done: Callable[["PendingRequest[Result]"], None],
    ) -> None:
        self._queue = queue
        self._on_done = on_done
        self._result: Result | AseError | None = None
        self._timer: Timer | None = None
        self.digest = digest
        self.key = key
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


class PendingQueue(Generic[Result]):
    """The pending requests of one service, in the order in which they are served.

    `acquire(digest, exclude, key)` returns a lease or raises AseError. `clock` returns seconds,
    `call_later(seconds, callback)` schedules a callback. Every queued request has one poll timer.
    At most one call of `_serve_waiting` is scheduled at a time; `_is_serve_scheduled` is True until
    it runs.
    """

    __slots__ = ("_acquire", "_call_later", "_clock", "_is_serve_scheduled", "_requests")

    def __init__(
        self,
        acquire: Callable[[str, tuple[str, ...], str], Result],
        clock: Callable[[], float],
        call_later: CallLater,
    ) -> None:
        self._acquire = acquire
        self._clock = clock
        self._call_later = call_later
        self._requests: deque[PendingRequest[Result]] = deque()
        self._is_serve_scheduled = False

    def __len__(self) -> int:
        return len(self._requests)

    def enqueue(
        self,
        digest: str,
        key: str,
        timeout: float,
        on_done: Callable[[PendingRequest[Result]], None],
        *,
        at_front: bool,
    ) -> PendingRequest[Result]:
        """Add a request that waits for at most `timeout` seconds, and return it.

        `at_front` places it first: for a request that had a lease before and was rejected by the
        instance.
        """
        request = PendingRequest(self, digest, key, self._clock() + timeout, on_done)
        if at_front:
            self._requests.appendleft(request)
        else:
            self._requests.append(request)
        self._schedule_poll(request)
        return request

    def remove(self, request: PendingRequest[Result]) -> None:
        """Remove the request if it is still queued."""
        if request in self._requests:
            self._requests.remove(request)

    def notify_capacity(self) -> None:
        """Schedule an attempt to serve the first requests, because capacity may be free."""
        if self._requests and not self._is_serve_scheduled:
            self._is_serve_scheduled = True
            self._call_later(0.0, self._serve_waiting)

    def _serve_waiting(self) -> None:
        self._is_serve_scheduled = False
        while self._requests:
            first = self._requests[0]
            result: Result | AseError
            try:
                if first.deadline <= self._clock():
                    raise AseError(DEADLINE)
                result = self._acquire(first.digest, (), first.key)
            except AseError as error:
                if error.spec is LOADER_FULL:
                    return
                result = (
                    error if error.spec is not DEADLINE else AseError(LOADER_FULL, _FULL_MESSAGE)
                )
            self._requests.popleft()
            first.finish(result)

    def _schedule_poll(self, request: PendingRequest[Result]) -> None:
        remaining = request.deadline - self._clock()

        def look() -> None:
            if request.deadline - self._clock() <= 0:
                self.remove(request)
                request.finish(AseError(LOADER_FULL, _FULL_MESSAGE))
                return
            self._schedule_poll(request)
            if self._requests[0] is request:
                self.notify_capacity()

        request.start_timer(self._call_later, max(0.0, min(remaining, POLL_INTERVAL_S)), look)
