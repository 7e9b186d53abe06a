"""How fast a queue of requests is served, from the times between the last slots. Pure."""

from collections import deque
from typing import Final

_SAMPLES: Final = 32
_MIN_SAMPLES: Final = 4


class DrainRate:
    """Mean time between two slots that a queue gets, over the last 32 of them.

    Times are in seconds. Only the time while requests wait counts: `start` begins it, and `stop`
    ends it. The time since the last slot counts too, so that the mean grows if no slot comes.
    """

    __slots__ = ("_intervals", "_last_slot_at", "started_at")

    def __init__(self) -> None:
        self._intervals: deque[float] = deque(maxlen=_SAMPLES)
        self._last_slot_at = 0.0
        self.started_at = 0.0

    def start(self, now: float) -> None:
        """Note that a request waits, and none did before."""
        self.started_at = self._last_slot_at = now

    def record_slot(self, now: float) -> None:
        """Note that a waiting request got a slot."""
        self._intervals.append(now - self._last_slot_at)
        self._last_slot_at = now

    def mean_interval(self, now: float) -> float | None:
        """Return the mean time between two slots while requests wait; None before four slots."""
        count = len(self._intervals)
        if count < _MIN_SAMPLES:
            return None
        return (sum(self._intervals) + now - self._last_slot_at) / count
