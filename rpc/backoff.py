"""How long to wait before the next attempt to connect. Pure; chance is handed in.

Source: gRPC "Connection Backoff Protocol", with shorter times: loaders are near.
"""

from random import Random

INITIAL_BACKOFF_S = 0.1
MAX_BACKOFF_S = 2.0
_MULTIPLIER = 1.6
_JITTER = 0.2


class Backoff:
    """Grows with each failure, and begins anew after a success."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._delay = INITIAL_BACKOFF_S

    def next_delay(self) -> float:
        """Take in a failure; return how many seconds to leave the peer alone."""
        delay = self._delay
        self._delay = min(delay * _MULTIPLIER, MAX_BACKOFF_S)
        return delay * self._rng.uniform(1 - _JITTER, 1 + _JITTER)

    def reset(self) -> None:
        """Take in a success."""
        self._delay = INITIAL_BACKOFF_S
