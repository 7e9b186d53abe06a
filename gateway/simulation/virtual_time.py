"""Virtual time: a clock and an event queue without waiting. Pure."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class TimerHandle:
    """A scheduled callback that can be cancelled."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Drop the callback, so that `fire` does nothing."""
        self._callback = None

    def fire(self) -> None:
        """Call the callback, unless it was cancelled."""
        if self._callback is not None:
            self._callback()


class VirtualTimeLoop:
    """An event loop whose clock jumps to the time of the next callback; `now` is in seconds.

    `_scheduled` is a heap of (time, sequence number, callback, arguments). The sequence number
    keeps callbacks with the same time in the order in which they were scheduled.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._scheduled: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0

    def clock(self) -> float:
        """Return `now`, the virtual time in seconds."""
        return self.now

    def call_at(self, when: float, callback: Callable[..., None], *args: Any) -> None:
        """Schedule a callback at the time `when`; callbacks with the same time run in order."""
        self._sequence += 1
        heappush(self._scheduled, (when, self._sequence, callback, args))

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        """Schedule a callback after `seconds`; return a handle that can cancel it."""
        timer = TimerHandle(callback)
        self.call_at(self.now + seconds, timer.fire)
        return timer

    def run(self, should_continue: Callable[[], bool]) -> None:
        """Run the scheduled callbacks in order while `should_continue` returns True.

        Returns early if no callback is left.
        """
        scheduled = self._scheduled
        while scheduled and should_continue():
            self.now, _, callback, args = heappop(scheduled)
            callback(*args)
