"""How long to wait before the next attempt to connect. Pure; chance is handed in.

Source: gRPC "Connection Backoff Protocol", with shorter times: loaders are near.
"""

from random import Random

FIRST_S = 0.1
MOST_S = 2.0
_GROWTH = 1.6
_JITTER = 0.2


class Backoff:
    """Grows with each failure, and begins anew after a success."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._pause = FIRST_S

    def failed(self) -> float:
        """Take in a failure; return how many seconds to leave the peer alone."""
        pause = self._pause
        self._pause = min(pause * _GROWTH, MOST_S)
        return pause * self._rng.uniform(1 - _JITTER, 1 + _JITTER)

    def worked(self) -> None:
        """Take in a success."""
        self._pause = FIRST_S
