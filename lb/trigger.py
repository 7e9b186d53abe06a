"""When a loader reports: soon when it matters, else now and then to show that it lives. Pure.

Design: reference "load-balancing" 6.3; what each threshold costs: `docs/load-balancing.md`.
"""

from typing import Final

from lb.meter import Meter
from lb.report import Live
from schemas.wire import ReportControl

KEEPALIVE: Final = 0.05
GAP: Final = 0.005
_LEAST_GAP: Final = 0.001
_SLOWER: Final = 0.15
_MOST: Final = 4
_ERRORS: Final = 3


class Trigger:
    """Decides when the figures of a meter are worth a report, for one hub.

    `gap`: least seconds between two reports, less for who works in less than four times that;
    `keepalive`: longest silence; `threshold`: least change in requests held, 0: half of the
    licences, from 2 to 4. A hub may set them anew: a gap longer than usual holds for everyone.
    `paused` by it, only the keep-alives go out.
    """

    def __init__(self, gap: float = GAP, keepalive: float = KEEPALIVE, threshold: int = 0) -> None:
        self.gap = gap
        self.keepalive = keepalive
        self.threshold = threshold
        self.paused = False
        self._told_gap = False
        self._sent_at = 0.0
        self._used = 0
        self._best = 0
        self._errors = 0
        self._service_ms = 0.0
        self._live: Live | None = None

    def matters(self, meter: Meter) -> bool:
        """Return whether something changed that pickers should know soon.

        That is: so many requests more or fewer; a free licence where there was none, or room where
        there was none; another slot time; errors; a turn of its life.
        """
        used, before = meter.used, self._used
        if meter.live is not self._live:
            return True
        if self.paused:
            return False
        if abs(used - before) >= (self.threshold or min(_MOST, max(2, meter.best // 2))):
            return True
        if used < meter.best <= before or used < meter.total <= before or meter.best != self._best:
            return True
        if abs(meter.service_ms - self._service_ms) > _SLOWER * self._service_ms:
            return True
        return meter.errors - self._errors >= _ERRORS

    def due(self, meter: Meter) -> float:
        """Return when the next report is to go out, in seconds; what is past means at once."""
        return self._sent_at + (self._gap(meter) if self.matters(meter) else self.keepalive)

    def tune(self, control: ReportControl) -> None:
        """Take in a hub's wishes; zero means "as you were"."""
        if control.gap_ms:
            self.gap = control.gap_ms / 1000
            self._told_gap = self.gap > GAP
        if control.keepalive_ms:
            self.keepalive = control.keepalive_ms / 1000
        if control.threshold:
            self.threshold = control.threshold
        self.paused = control.pause

    def _gap(self, meter: Meter) -> float:
        """Return the gap: a report must not be older than what it tells of lasts."""
        if self._told_gap or meter.service_ms <= 0:
            return self.gap
        return min(self.gap, max(_LEAST_GAP, meter.service_ms / 4000))

    def sent(self, meter: Meter, now: float) -> None:
        """Take in that the meter's figures of now were reported."""
        self._sent_at = now
        self._used, self._best, self._live = meter.used, meter.best, meter.live
        self._service_ms, self._errors = meter.service_ms, meter.errors
