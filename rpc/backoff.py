"""How long to wait before the next attempt to connect. Pure; chance is handed in.

Source: gRPC "Connection Backoff Protocol", with shorter times: loaders are near.
"""

from random import Random

INITIAL_BACKOFF_S = 0.1
MAX_BACKOFF_S = 2.0
_MULTIPLIER = 1.6
_JITTER = 0.2


class Backoff:
    """The delay before the next attempt: grows with each failure, shrinks with a success.

    `initial` and `maximum` are seconds, before a jitter of 20 % to either side, so that peers that
    failed together do not come back together.
    """

    def __init__(
        self, rng: Random, initial: float = INITIAL_BACKOFF_S, maximum: float = MAX_BACKOFF_S
    ) -> None:
        self._rng = rng
        self._initial = initial
        self._maximum = maximum
        self._delay = initial

    def next_delay(self) -> float:
        """Note a failure; return the seconds to wait before the next attempt."""
        delay = self._delay
        self._delay = min(delay * _MULTIPLIER, self._maximum)
        return delay * self._rng.uniform(1 - _JITTER, 1 + _JITTER)

    def reset(self) -> None:
        """Note a success."""
        self._delay = self._initial
