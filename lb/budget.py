"""How many second attempts there may be: a share of the requests, and a few each second. Pure.

Without it, retries of all would double the load of a fleet that is failing (reference
"load-balancing" 6.6, "reliability" 6 L6).
"""

from typing import Final

_SHARE: Final = 0.2
_PER_SECOND: Final = 10.0
_MOST: Final = 100.0


class RetryBudget:
    """A bucket of second attempts. Each request puts `share` in, each second `per_second`."""

    __slots__ = ("_left", "_per_second", "_share", "_then")

    def __init__(self, share: float = _SHARE, per_second: float = _PER_SECOND) -> None:
        self._share = share
        self._per_second = per_second
        self._left = per_second
        self._then = 0.0

    def request(self) -> None:
        """Take in that a request is served."""
        left = self._left + self._share
        self._left = min(_MOST, left)

    def retry(self, now: float) -> bool:
        """Return whether there may be a second attempt, and count it."""
        elapsed = max(0.0, now - self._then)
        self._then = now
        self._left = min(_MOST, self._left + min(1.0, elapsed) * self._per_second)
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
