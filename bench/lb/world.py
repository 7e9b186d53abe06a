"""Virtual time: what is to happen, and when. Pure."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class TimerHandle:
    """Something that will happen, unless it is cancelled."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Let it not happen."""
        self._callback = None

    def fire(self) -> None:
        """Let it happen."""
        if self._callback is not None:
            self._callback()


class VirtualTimeLoop:
    """A clock that jumps from one thing that happens to the next. `now` in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._scheduled: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0

    def clock(self) -> float:
        """Return the time."""
        return self.now

    def call_at(self, when: float, callback: Callable[..., None], *args: Any) -> None:
        """Let something happen at a time; of one time, in the order they were told."""
        self._sequence += 1
        heappush(self._scheduled, (when, self._sequence, callback, args))

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        """Let something happen after so many seconds, unless it is cancelled."""
        timer = TimerHandle(callback)
        self.call_at(self.now + seconds, timer.fire)
        return timer

    def run(self, should_continue: Callable[[], bool]) -> None:
        """Let time pass while `goes_on`, and something is to happen."""
        scheduled = self._scheduled
        while scheduled and should_continue():
            self.now, _, callback, args = heappop(scheduled)
            callback(*args)
