"""When a loader reports: soon when it matters, else now and then to show that it lives. Pure.

Design: reference "load-balancing" 6.3; what each threshold costs: `docs/load-balancing.md`.
"""

from typing import Final

from lb.endpoints.report import ServingState
from lb.reporter.limiter import ConcurrencyLimiter
from schemas.wire import ReportControl

KEEPALIVE_S: Final = 0.05
REPORT_GAP_S: Final = 0.005
_MIN_GAP_S: Final = 0.001
_SERVICE_TIME_CHANGE: Final = 0.15
_MAX_THRESHOLD: Final = 4
_MIN_NEW_ERRORS: Final = 3


class ReportSchedule:
    """Decides when the figures of a meter are worth a report, for one hub.

    `gap`: least seconds between two reports, less for who works in less than four times that;
    `keepalive`: longest silence; `threshold`: least change in requests held, 0: half of the
    licences, from 2 to 4. A hub may set them anew: a gap longer than usual holds for everyone.
    `paused` by it, only the keep-alives go out.
    """

    def __init__(
        self, gap: float = REPORT_GAP_S, keepalive: float = KEEPALIVE_S, threshold: int = 0
    ) -> None:
        self.gap = gap
        self.keepalive = keepalive
        self.threshold = threshold
        self.is_paused = False
        self._has_hub_gap = False
        self._sent_at = 0.0
        self._sent_inflight = 0
        self._sent_slots = 0
        self._sent_errors = 0
        self._sent_service_ms = 0.0
        self._sent_serving_state: ServingState | None = None

    def should_report(self, limiter: ConcurrencyLimiter) -> bool:
        """Return whether something changed that pickers should know soon.

        That is: so many requests more or fewer; a free licence where there was none, or room where
        there was none; another slot time; errors; a turn of its life.
        """
        inflight, sent_inflight = limiter.inflight, self._sent_inflight
        if limiter.serving_state is not self._sent_serving_state:
            return True
        if self.is_paused:
            return False
        if abs(inflight - sent_inflight) >= (
            self.threshold or min(_MAX_THRESHOLD, max(2, limiter.best // 2))
        ):
            return True
        if (
            inflight < limiter.best <= sent_inflight
            or inflight < limiter.total <= sent_inflight
            or limiter.best != self._sent_slots
        ):
            return True
        if (
            abs(limiter.service_ms - self._sent_service_ms)
            > _SERVICE_TIME_CHANGE * self._sent_service_ms
        ):
            return True
        return limiter.errors - self._sent_errors >= _MIN_NEW_ERRORS

    def next_report_at(self, limiter: ConcurrencyLimiter) -> float:
        """Return when the next report is to go out, in seconds; what is past means at once."""
        return self._sent_at + (
            self._effective_gap(limiter) if self.should_report(limiter) else self.keepalive
        )

    def configure(self, control: ReportControl) -> None:
        """Take in a hub's wishes; zero means "as you were"."""
        if control.gap_ms:
            self.gap = control.gap_ms / 1000
            self._has_hub_gap = self.gap > REPORT_GAP_S
        if control.keepalive_ms:
            self.keepalive = control.keepalive_ms / 1000
        if control.threshold:
            self.threshold = control.threshold
        self.is_paused = control.pause

    def _effective_gap(self, limiter: ConcurrencyLimiter) -> float:
        """Return the gap: a report must not be older than what it tells of lasts."""
        if self._has_hub_gap or limiter.service_ms <= 0:
            return self.gap
        return min(self.gap, max(_MIN_GAP_S, limiter.service_ms / 4000))

    def mark_sent(self, limiter: ConcurrencyLimiter, now: float) -> None:
        """Take in that the meter's figures of now were reported."""
        self._sent_at = now
        self._sent_inflight, self._sent_slots, self._sent_serving_state = (
            limiter.inflight,
            limiter.best,
            limiter.serving_state,
        )
        self._sent_service_ms, self._sent_errors = limiter.service_ms, limiter.errors
