"""How hard a hub is pressed, told by how late it gets to what was due. Pure.

What is pressed does less of the same: frames and reports come seldomer, twice at each level, so
that a hub with too much to do tells older figures, and never none.
"""

from typing import Final

MAX_LEVEL: Final = 6
# The mean lateness is over about so many beats. A level is left upwards when it is more than half
# a gap, downwards when it is less than an eighth; no sooner than so many seconds after it began.
_SMOOTHING_TICKS: Final = 16
_HIGH_LATENESS, _LOW_LATENESS = 1 / 2, 1 / 8
_RAISE_AFTER_S: Final = 0.2
_LOWER_AFTER_S: Final = 3.0


class OverloadLevel:
    """The level of strain, from 0 to MOST; each level stands for twice the time between beats."""

    def __init__(self) -> None:
        self.level = 0
        self._mean_lateness = 0.0
        self._level_since = 0.0

    def scale_interval(self, seconds: float) -> float:
        """Return a time between beats under the present strain."""
        return seconds * (1 << self.level)

    def tick(self, lateness: float, interval: float, now: float) -> None:
        """Take in a beat that came `late` seconds after it was due, `gap` after the last one."""
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
