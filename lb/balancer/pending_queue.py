"""Requests that wait at the gateway while every instance holds all it takes. Pure.

First come, first served, for a bounded time: one gets a place when this gateway gives one back,
when a report tells of room, or when it looks again by itself. A report is seen by every gateway at
once, so each follows it with the probability that the room is its share (figures in
`docs/load-balancing.md`); looking again at times of its own it need not share with anybody.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from schemas.model.errors import DEADLINE, LOADER_FULL, AseError

# A request that waits looks for room by itself so often, in seconds.
POLL_INTERVAL_S: Final = 0.01
_FULL_MESSAGE: Final = "every instance is full, and was all the while"


class Timer(Protocol):
    """What `later` returns."""

    def cancel(self) -> Any:
        """Do not call."""


CallLater = Callable[[float, Callable[[], None]], Timer]


class PendingRequest:
    """A request that waits for a place; `done` is told when it has one, or will have none."""

    __slots__ = ("_on_done", "_queue", "_result", "_timer", "deadline", "digest", "key")

    def __init__(
        self,
        queue: "PendingQueue",
        digest: str,
        key: str,
        deadline: float,
        on_done: Callable[["PendingRequest"], None],
    ) -> None:
        self._queue = queue
        self._on_done = on_done
        self._result: Any = None
        self._timer: Timer | None = None
        self.digest = digest
        self.key = key
        self.deadline = deadline

    def cancel(self) -> None:
        """Wait no more; `done` is not told."""
        self._queue.remove(self)
        self._cancel_timer()

    def outcome(self) -> Any:
        """Return the ticket. Raises AseError 10110 when there was no room in time."""
        if isinstance(self._result, AseError):
            raise self._result
        return self._result

    def start_timer(
        self, call_later: CallLater, seconds: float, callback: Callable[[], None]
    ) -> None:
        """Let `call` be called after so many seconds, unless it ends before."""
        self._timer = call_later(seconds, callback)

    def finish(self, result: Any) -> None:
        """Give it a ticket, or an error."""
        self._result = result
        self._cancel_timer()
        self._on_done(self)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class PendingQueue:
    """The requests of one service that wait.

    `acquire(digest, exclude, key)` gives a ticket or raises AseError; `clock` gives seconds,
    `later(s, call)` calls after so many.
    """

    __slots__ = ("_acquire", "_call_later", "_clock", "_is_serve_scheduled", "_requests")

    def __init__(
        self,
        acquire: Callable[[str, tuple[str, ...], str], Any],
        clock: Callable[[], float],
        call_later: CallLater,
    ) -> None:
        self._acquire = acquire
        self._clock = clock
        self._call_later = call_later
        self._requests: deque[PendingRequest] = deque()
        self._is_serve_scheduled = False

    def __len__(self) -> int:
        return len(self._requests)

    def enqueue(
        self,
        digest: str,
        key: str,
        timeout: float,
        on_done: Callable[[PendingRequest], None],
        *,
        at_front: bool,
    ) -> PendingRequest:
        """Let a request wait for so many seconds at most; `ahead` of others if it had its turn."""
        request = PendingRequest(self, digest, key, self._clock() + timeout, on_done)
        if at_front:
            self._requests.appendleft(request)
        else:
            self._requests.append(request)
        self._schedule_poll(request)
        return request

    def remove(self, request: PendingRequest) -> None:
        """Take one out that waits no more."""
        if request in self._requests:
            self._requests.remove(request)

    def notify_capacity(self) -> None:
        """Take in that there may be room: soon, the first in line look for it."""
        if self._requests and not self._is_serve_scheduled:
            self._is_serve_scheduled = True
            self._call_later(0.0, self._serve_waiting)

    def _serve_waiting(self) -> None:
        self._is_serve_scheduled = False
        while self._requests:
            first = self._requests[0]
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

    def _schedule_poll(self, request: PendingRequest) -> None:
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
