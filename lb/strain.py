"""How hard a hub is pressed, told by how late it gets to what was due. Pure.

What is pressed does less of the same: frames and reports come seldomer, twice at each level, so
that a hub with too much to do tells older figures, and never none.
"""

from typing import Final

MOST: Final = 6
# The mean lateness is over about so many beats. A level is left upwards when it is more than half
# a gap, downwards when it is less than an eighth; no sooner than so many seconds after it began.
_BEATS: Final = 16
_MUCH, _LITTLE = 1 / 2, 1 / 8
_UP_S: Final = 0.2
_DOWN_S: Final = 3.0


class Strain:
    """The level of strain, from 0 to MOST; each level stands for twice the time between beats."""

    def __init__(self) -> None:
        self.level = 0
        self._late = 0.0
        self._since = 0.0

    def stretched(self, seconds: float) -> float:
        """Return a time between beats under the present strain."""
        return seconds * (1 << self.level)

    def beat(self, late: float, gap: float, now: float) -> None:
        """Take in a beat that came `late` seconds after it was due, `gap` after the last one."""
        self._late += (late - self._late) / _BEATS
        stood = now - self._since
        if self._late > gap * _MUCH and stood >= _UP_S and self.level < MOST:
            self._turn(self.level + 1, now)
        elif self._late < gap * _LITTLE and stood >= _DOWN_S and self.level:
            self._turn(self.level - 1, now)

    def _turn(self, level: int, now: float) -> None:
        self.level, self._since, self._late = level, now, 0.0
