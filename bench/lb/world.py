"""Virtual time: what is to happen, and when. Pure."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class Timer:
    """Something that will happen, unless it is cancelled."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Let it not happen."""
        self._call = None

    def fire(self) -> None:
        """Let it happen."""
        if self._call is not None:
            self._call()


class World:
    """A clock that jumps from one thing that happens to the next. `now` in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0

    def clock(self) -> float:
        """Return the time."""
        return self.now

    def at(self, time: float, call: Callable[..., None], *arguments: Any) -> None:
        """Let something happen at a time; of one time, in the order they were told."""
        self._number += 1
        heappush(self._due, (time, self._number, call, arguments))

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Let something happen after so many seconds, unless it is cancelled."""
        timer = Timer(call)
        self.at(self.now + seconds, timer.fire)
        return timer

    def run(self, goes_on: Callable[[], bool]) -> None:
        """Let time pass while `goes_on`, and something is to happen."""
        due = self._due
        while due and goes_on():
            self.now, _, call, arguments = heappop(due)
            call(*arguments)
