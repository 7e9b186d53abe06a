"""Requests that wait at the gateway while every instance holds all it takes. Pure.

First come, first served, for a bounded time: one gets a place when this gateway gives one back,
when a report tells of room, or when it looks again by itself. A report is seen by every gateway at
once, so each follows it with the probability that the room is its share (figures in
`docs/load-balancing.md`); looking again at times of its own it need not share with anybody.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from schemas.errors import DEADLINE, LOADER_FULL, AseError

# A request that waits looks for room by itself so often, in seconds.
AGAIN_S: Final = 0.01
_ALL_THE_WHILE: Final = "every instance is full, and was all the while"


class Timer(Protocol):
    """What `later` returns."""

    def cancel(self) -> Any:
        """Do not call."""


Later = Callable[[float, Callable[[], None]], Timer]


class Waiter:
    """A request that waits for a place; `done` is told when it has one, or will have none."""

    __slots__ = ("_done", "_line", "_result", "_timer", "digest", "key", "until")

    def __init__(
        self, line: "Line", digest: str, key: str, until: float, done: Callable[["Waiter"], None]
    ) -> None:
        self._line = line
        self._done = done
        self._result: Any = None
        self._timer: Timer | None = None
        self.digest = digest
        self.key = key
        self.until = until

    def cancel(self) -> None:
        """Wait no more; `done` is not told."""
        self._line.leave(self)
        self._stop()

    def outcome(self) -> Any:
        """Return the ticket. Raises AseError 10110 when there was no room in time."""
        if isinstance(self._result, AseError):
            raise self._result
        return self._result

    def arm(self, later: Later, seconds: float, call: Callable[[], None]) -> None:
        """Let `call` be called after so many seconds, unless it ends before."""
        self._timer = later(seconds, call)

    def end(self, result: Any) -> None:
        """Give it a ticket, or an error."""
        self._result = result
        self._stop()
        self._done(self)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Line:
    """The requests of one service that wait.

    `acquire(digest, exclude, key)` gives a ticket or raises AseError; `clock` gives seconds,
    `later(s, call)` calls after so many.
    """

    __slots__ = ("_acquire", "_clock", "_later", "_serving", "_waiters")

    def __init__(
        self,
        acquire: Callable[[str, tuple[str, ...], str], Any],
        clock: Callable[[], float],
        later: Later,
    ) -> None:
        self._acquire = acquire
        self._clock = clock
        self._later = later
        self._waiters: deque[Waiter] = deque()
        self._serving = False

    def __len__(self) -> int:
        return len(self._waiters)

    def join(
        self, digest: str, key: str, seconds: float, done: Callable[[Waiter], None], *, ahead: bool
    ) -> Waiter:
        """Let a request wait for so many seconds at most; `ahead` of others if it had its turn."""
        waiter = Waiter(self, digest, key, self._clock() + seconds, done)
        if ahead:
            self._waiters.appendleft(waiter)
        else:
            self._waiters.append(waiter)
        self._look_later(waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Take one out that waits no more."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def room(self) -> None:
        """Take in that there may be room: soon, the first in line look for it."""
        if self._waiters and not self._serving:
            self._serving = True
            self._later(0.0, self._serve)

    def _serve(self) -> None:
        self._serving = False
        while self._waiters:
            first = self._waiters[0]
            try:
                if first.until <= self._clock():
                    raise AseError(DEADLINE)
                result = self._acquire(first.digest, (), first.key)
            except AseError as error:
                if error.spec is LOADER_FULL:
                    return
                result = (
                    error if error.spec is not DEADLINE else AseError(LOADER_FULL, _ALL_THE_WHILE)
                )
            self._waiters.popleft()
            first.end(result)

    def _look_later(self, waiter: Waiter) -> None:
        left = waiter.until - self._clock()

        def look() -> None:
            if waiter.until - self._clock() <= 0:
                self.leave(waiter)
                waiter.end(AseError(LOADER_FULL, _ALL_THE_WHILE))
                return
            self._look_later(waiter)
            if self._waiters[0] is waiter:
                self.room()

        waiter.arm(self._later, max(0.0, min(left, AGAIN_S)), look)
