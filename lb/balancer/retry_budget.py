"""Retry budget: a share of the requests, plus a few retries per second. Pure.

Without a budget, retries of all requests would double the load of a failing fleet
(`docs/load-balancing.md`, `docs/architecture.md`).
"""

from typing import Final

_SHARE: Final = 0.2
_PER_SECOND: Final = 10.0
_MAX_TOKENS: Final = 100.0


class RetryBudget:
    """Token bucket for retries, of at most 100 tokens.

    Each request adds `share` tokens and each second `per_second` tokens. The time since the last
    retry counts for at most 1 s.
    """

    __slots__ = ("_per_second", "_share", "_tokens", "_updated_at")

    def __init__(self, share: float = _SHARE, per_second: float = _PER_SECOND) -> None:
        self._share = share
        self._per_second = per_second
        self._tokens = per_second
        self._updated_at = 0.0

    def add_request(self) -> None:
        """Add the tokens of one request."""
        tokens = self._tokens + self._share
        self._tokens = min(_MAX_TOKENS, tokens)

    def try_acquire(self, now: float) -> bool:
        """Return whether a retry is allowed at `now` seconds, and remove its token."""
        elapsed = max(0.0, now - self._updated_at)
        self._updated_at = now
        self._tokens = min(_MAX_TOKENS, self._tokens + min(1.0, elapsed) * self._per_second)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
