"""Exponential backoff between attempts to connect. Pure; randomness is a parameter.

Source: gRPC "Connection Backoff Protocol", with shorter delays, since loaders are close by.
"""

from random import Random

INITIAL_BACKOFF_S = 0.1
MAX_BACKOFF_S = 2.0
_MULTIPLIER = 1.6
_JITTER = 0.2


class Backoff:
    """The delay before the next attempt, from `initial` to `maximum` seconds.

    It grows by a factor of 1.6 with each failure; `reset` returns to `initial`. A jitter of 20 %
    either way is applied to the returned delay, so that peers that failed together do not reconnect
    together.
    """

    def __init__(
        self, rng: Random, initial: float = INITIAL_BACKOFF_S, maximum: float = MAX_BACKOFF_S
    ) -> None:
        self._rng = rng
        self._initial = initial
        self._maximum = maximum
        self._delay = initial

    def next_delay(self) -> float:
        """Record a failure and return the delay before the next attempt, in seconds."""
        delay = self._delay
        self._delay = min(delay * _MULTIPLIER, self._maximum)
        return delay * self._rng.uniform(1 - _JITTER, 1 + _JITTER)

    def reset(self) -> None:
        """Record a success: the next delay is `initial` again."""
        self._delay = self._initial
