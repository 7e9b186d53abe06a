"""Overload level of a hub, derived from the lateness of its ticks. Pure.

Each level doubles the interval between frames and between reports. An overloaded hub thus sends
older figures instead of none.
"""

from typing import Final

MAX_LEVEL: Final = 6
# The mean lateness covers about 16 ticks. The level rises if the mean exceeds half of the interval,
# at the earliest 0.2 s after the level began. It falls if the mean is below an eighth of the
# interval, at the earliest 3 s after the level began.
_SMOOTHING_TICKS: Final = 16
_HIGH_LATENESS, _LOW_LATENESS = 1 / 2, 1 / 8
_RAISE_AFTER_S: Final = 0.2
_LOWER_AFTER_S: Final = 3.0


class OverloadLevel:
    """Overload level from 0 to MAX_LEVEL; each level doubles the interval between ticks.

    `_level_since` is the time of the last change in seconds. `_mean_lateness`, in seconds, restarts
    at 0 with each change.
    """

    def __init__(self) -> None:
        self.level = 0
        self._mean_lateness = 0.0
        self._level_since = 0.0

    def scale_interval(self, seconds: float) -> float:
        """Return the interval at the current level; `seconds` is the interval at level 0."""
        return seconds * (1 << self.level)

    def tick(self, lateness: float, interval: float, now: float) -> None:
        """Record a tick and change the level by at most one step.

        The tick ran `lateness` seconds after it was due. `interval` is the scheduled time since the
        previous tick in seconds, at the current level.
        """
        self._mean_lateness += (lateness - self._mean_lateness) / _SMOOTHING_TICKS
        level_age = now - self._level_since
        if (
            self._mean_lateness > interval * _HIGH_LATENESS
            and level_age >= _RAISE_AFTER_S
            and self.level < MAX_LEVEL
        ):
            self._set_level(self.level + 1, now)
        elif (
            self._mean_lateness < interval * _LOW_LATENESS
            and level_age >= _LOWER_AFTER_S
            and self.level
        ):
            self._set_level(self.level - 1, now)

    def _set_level(self, level: int, now: float) -> None:
        self.level, self._level_since, self._mean_lateness = level, now, 0.0
