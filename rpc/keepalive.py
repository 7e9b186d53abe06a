"""Keepalive: whether to ping a silent peer or to declare it dead. Pure; `now` is in seconds.

A peer that allows frequent pings is pinged without limit, so that a frozen one is detected within
3 s. Other peers close a connection that pings too often (gRFC A8: two pings between two HEADERS or
DATA frames are allowed). They get at most two pings per silence, and a long timeout.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


@dataclass(frozen=True, slots=True)
class KeepaliveParams:
    """When a peer is pinged, in the terms of gRPC.

    - `keepalive_time`: seconds without a received byte before a ping.
    - `keepalive_timeout`: seconds to wait for a byte after a ping.
    - `max_pings_without_data`: pings between two useful frames; None means no limit.
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


class KeepaliveAction(Enum):
    """What to do after a check: nothing, send a PING, or close the connection."""

    WAIT = "wait"
    PING = "ping"
    DEAD = "dead"


class Keepalive:
    """The keepalive state of one connection, while calls are active on it.

    Any received byte proves that the peer is alive and settles the outstanding ping.
    `_ping_sent_at` is None if no ping is outstanding. `_pings_without_data` is reset only by a
    HEADERS or DATA frame of the peer, since the peer counts pings between those. All times are
    readings of one clock, in seconds.
    """

    def __init__(self, params: KeepaliveParams) -> None:
        self._params = params
        self._last_received = 0.0
        self._useful_frames = -1
        self._pings_without_data = 0
        self._ping_sent_at: float | None = None

    def next_check_in(self, now: float) -> float:
        """Return after how many seconds to call `check` again.

        While a ping is outstanding, it is called at short intervals; else when a ping may be due.
        """
        params = self._params
        interval = min(params.keepalive_time, params.keepalive_timeout) / 4
        if self._ping_sent_at is not None:
            return interval
        return max(interval, self._last_received + params.keepalive_time - now)

    def begin(self, now: float) -> None:
        """Start the silence at `now`: without an active call, silence does not count."""
        self._last_received, self._ping_sent_at = now, None

    def check(self, now: float, last_received: float, useful_frames: int) -> KeepaliveAction:
        """Return what to do now.

        `last_received` is the time of the last received byte, in the clock of `now`.
        `useful_frames` is the running total of `Connection.useful_frames`.
        """
        if useful_frames != self._useful_frames:
            self._useful_frames, self._pings_without_data = useful_frames, 0
        if last_received > self._last_received:
            self._last_received, self._ping_sent_at = last_received, None
        if self._ping_sent_at is not None:
            timed_out = now - self._ping_sent_at >= self._params.keepalive_timeout
            return KeepaliveAction.DEAD if timed_out else KeepaliveAction.WAIT
        max_pings = self._params.max_pings_without_data
        if now - self._last_received < self._params.keepalive_time or (
            max_pings is not None and self._pings_without_data >= max_pings
        ):
            return KeepaliveAction.WAIT
        self._pings_without_data += 1
        self._ping_sent_at = now
        return KeepaliveAction.PING
