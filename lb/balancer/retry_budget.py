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

    Each request adds `share` tokens and each second `per_second` tokens. They are added when a
    retry is tried, so that a request without a retry costs nothing. The time since the last retry
    counts for at most 1 s. `_seen_requests` are the requests whose tokens were added.
    """

    __slots__ = ("_per_second", "_seen_requests", "_share", "_tokens", "_updated_at")

    def __init__(self, share: float = _SHARE, per_second: float = _PER_SECOND) -> None:
        self._share = share
        self._per_second = per_second
        self._tokens = per_second
        self._updated_at = 0.0
        self._seen_requests = 0

    def try_acquire(self, requests: int, now: float) -> bool:
        """Return whether a retry is allowed at `now` seconds, and remove its token.

        `requests` is the number of all requests so far.
        """
        elapsed_s = min(1.0, max(0.0, now - self._updated_at))
        new_requests = requests - self._seen_requests
        self._updated_at, self._seen_requests = now, requests
        added = new_requests * self._share + elapsed_s * self._per_second
        self._tokens = min(_MAX_TOKENS, self._tokens + added)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
