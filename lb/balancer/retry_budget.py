"""How many second attempts there may be: a share of the requests, and a few each second. Pure.

Without it, retries of all would double the load of a fleet that is failing (reference
"load-balancing" 6.6, "reliability" 6 L6).
"""

from typing import Final

_SHARE: Final = 0.2
_PER_SECOND: Final = 10.0
_MAX_TOKENS: Final = 100.0


class RetryBudget:
    """A bucket of second attempts. Each request puts `share` in, each second `per_second`."""

    __slots__ = ("_per_second", "_share", "_tokens", "_updated_at")

    def __init__(self, share: float = _SHARE, per_second: float = _PER_SECOND) -> None:
        self._share = share
        self._per_second = per_second
        self._tokens = per_second
        self._updated_at = 0.0

    def add_request(self) -> None:
        """Take in that a request is served."""
        tokens = self._tokens + self._share
        self._tokens = min(_MAX_TOKENS, tokens)

    def try_acquire(self, now: float) -> bool:
        """Return whether there may be a second attempt, and count it."""
        elapsed = max(0.0, now - self._updated_at)
        self._updated_at = now
        self._tokens = min(_MAX_TOKENS, self._tokens + min(1.0, elapsed) * self._per_second)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
