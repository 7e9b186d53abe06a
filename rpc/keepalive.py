"""Whether a silent peer is asked for a sign of life, or given up. Pure; `now` in seconds.

A peer that allows it is asked as often as need be, so that a frozen one is found in 3 s. Another
ends a connection that asks too often (gRPC A8: two pings between two frames that bring something),
so it is asked twice in one silence and has long to answer.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


@dataclass(frozen=True, slots=True)
class KeepaliveParams:
    """How a peer is asked.

    `silence`: seconds without a byte before a ping; `patience`: seconds a ping may go unanswered;
    `most`: pings between two frames that bring something, None = no limit.
    """

    keepalive_time: float
    keepalive_timeout: float
    max_pings_without_data: int | None


FREQUENT_KEEPALIVE: Final = KeepaliveParams(
    keepalive_time=1.0, keepalive_timeout=1.5, max_pings_without_data=None
)
CONSERVATIVE_KEEPALIVE: Final = KeepaliveParams(
    keepalive_time=5.0, keepalive_timeout=20.0, max_pings_without_data=2
)


class Verdict(Enum):
    """What is to be done now."""

    WAIT = "wait"
    PING = "ping"
    DEAD = "dead"


class Keepalive:
    """Looks after one connection while calls are under way on it."""

    def __init__(self, params: KeepaliveParams) -> None:
        self._params = params
        self._last_received = 0.0
        self._useful_frames = -1
        self._pings_without_data = 0
        self._ping_sent_at: float | None = None

    @property
    def check_interval(self) -> float:
        """Return how often `look` wants to be called, in seconds."""
        return min(self._params.keepalive_time, self._params.keepalive_timeout) / 4

    def begin(self, now: float) -> None:
        """Start to look: before, nothing was under way, and silence meant nothing."""
        self._last_received, self._ping_sent_at = now, None

    def check(self, now: float, last_received: float, useful_frames: int) -> Verdict:
        """Return what to do. `heard`: when a byte last came; `useful`: frames that brought much."""
        if useful_frames != self._useful_frames:
            self._useful_frames, self._pings_without_data = useful_frames, 0
        if last_received > self._last_received:
            self._last_received, self._ping_sent_at = last_received, None
        if self._ping_sent_at is not None:
            timed_out = now - self._ping_sent_at >= self._params.keepalive_timeout
            return Verdict.DEAD if timed_out else Verdict.WAIT
        max_pings = self._params.max_pings_without_data
        if now - self._last_received < self._params.keepalive_time or (
            max_pings is not None and self._pings_without_data >= max_pings
        ):
            return Verdict.WAIT
        self._pings_without_data += 1
        self._ping_sent_at = now
        return Verdict.PING
