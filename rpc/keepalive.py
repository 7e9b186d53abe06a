"""Whether a silent peer is asked for a sign of life, or given up. Pure; `now` in seconds.

A peer that allows it is asked as often as need be, so that a frozen one is found in 3 s. Another
ends a connection that asks too often (gRPC A8: two pings between two frames that bring something),
so it is asked twice in one silence and has long to answer.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


@dataclass(frozen=True, slots=True)
class Manner:
    """How a peer is asked.

    `silence`: seconds without a byte before a ping; `patience`: seconds a ping may go unanswered;
    `most`: pings between two frames that bring something, None = no limit.
    """

    silence: float
    patience: float
    most: int | None


OFTEN: Final = Manner(silence=1.0, patience=1.5, most=None)
SELDOM: Final = Manner(silence=5.0, patience=20.0, most=2)


class Verdict(Enum):
    """What is to be done now."""

    WAIT = "wait"
    PING = "ping"
    DEAD = "dead"


class Keepalive:
    """Looks after one connection while calls are under way on it."""

    def __init__(self, manner: Manner) -> None:
        self._manner = manner
        self._heard = 0.0
        self._useful = -1
        self._pings = 0
        self._asked: float | None = None

    @property
    def period(self) -> float:
        """Return how often `look` wants to be called, in seconds."""
        return min(self._manner.silence, self._manner.patience) / 4

    def begin(self, now: float) -> None:
        """Start to look: before, nothing was under way, and silence meant nothing."""
        self._heard, self._asked = now, None

    def look(self, now: float, heard: float, useful: int) -> Verdict:
        """Return what to do. `heard`: when a byte last came; `useful`: frames that brought much."""
        if useful != self._useful:
            self._useful, self._pings = useful, 0
        if heard > self._heard:
            self._heard, self._asked = heard, None
        if self._asked is not None:
            late = now - self._asked >= self._manner.patience
            return Verdict.DEAD if late else Verdict.WAIT
        most = self._manner.most
        if now - self._heard < self._manner.silence or (most is not None and self._pings >= most):
            return Verdict.WAIT
        self._pings += 1
        self._asked = now
        return Verdict.PING
