"""When a loader reports: soon after a relevant change, otherwise as a keep-alive. Pure.

The design and the cost of each threshold: `docs/load-balancing.md`.
"""

from typing import Final

from lb.endpoints.report import ServingState
from lb.reporter.limiter import ConcurrencyLimiter
from schemas.wire import ReportControl

KEEPALIVE_S: Final = 0.05
# Of a loader without requests, whose figures do not change: each report wakes two processes.
IDLE_KEEPALIVE_S: Final = 0.2
REPORT_GAP_S: Final = 0.005
_MIN_GAP_S: Final = 0.001
_SERVICE_TIME_CHANGE: Final = 0.15
_MAX_THRESHOLD: Final = 4
_MIN_NEW_ERRORS: Final = 3


class ReportSchedule:
    """Decides when the figures of a limiter are worth a report to one hub.

    `gap` is the least time between two reports in seconds. A loader whose service time is shorter
    than 4 x `gap` uses a quarter of its service time instead, at least 1 ms. `keepalive` is the
    longest time without a report in seconds, and `idle_keepalive` that of a loader without requests
    that has reported so; a hub asks for a longer one if it expects it. `threshold` is the least
    change of `inflight` that is reported; 0 means half of the slots, limited to 2..4. A hub may
    change all of them. If its gap is longer than REPORT_GAP_S, the gap applies to every loader,
    fast ones too. While `is_paused`, only keep-alives and changes of the serving state are sent.
    `_sent_*` are the figures of the last report; `should_report` compares the current ones with
    them.
    """

    def __init__(
        self, gap: float = REPORT_GAP_S, keepalive: float = KEEPALIVE_S, threshold: int = 0
    ) -> None:
        self.gap = gap
        self.keepalive = self.idle_keepalive = keepalive
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
        """Return whether something changed that gateways should know soon.

        That is: another serving state; `threshold` requests more or fewer; a free slot or a free
        place in the queue when there was none; another number of slots; a service time that differs
        by more than 15 %; at least 3 new errors.
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
        """Return when the next report is due, in seconds; a time in the past means now."""
        if self.should_report(limiter):
            return self._sent_at + self._effective_gap(limiter)
        is_idle = not limiter.inflight and not self._sent_inflight
        return self._sent_at + (self.idle_keepalive if is_idle else self.keepalive)

    def ends_idleness(self, limiter: ConcurrencyLimiter) -> bool:
        """Return whether requests have come since a report of none: `next_report_at` is sooner."""
        return not self._sent_inflight and limiter.inflight > 0

    def configure(self, control: ReportControl) -> None:
        """Apply the settings that a hub sent; a field that is zero keeps the current setting."""
        if control.gap_ms:
            self.gap = control.gap_ms / 1000
            self._has_hub_gap = self.gap > REPORT_GAP_S
        if control.keepalive_ms:
            self.keepalive = control.keepalive_ms / 1000
            self.idle_keepalive = max(self.keepalive, control.idle_keepalive_ms / 1000)
        if control.threshold:
            self.threshold = control.threshold
        self.is_paused = control.pause

    def _effective_gap(self, limiter: ConcurrencyLimiter) -> float:
        """Return the least time between two reports in seconds.

        Short requests need a short gap: the reported load must not be older than a request lasts.
        """
        if self._has_hub_gap or limiter.service_ms <= 0:
            return self.gap
        return min(self.gap, max(_MIN_GAP_S, limiter.service_ms / 4000))

    def mark_sent(self, limiter: ConcurrencyLimiter, now: float) -> None:
        """Record that the current figures of the limiter were reported at `now` seconds."""
        self._sent_at = now
        self._sent_inflight, self._sent_slots, self._sent_serving_state = (
            limiter.inflight,
            limiter.best,
            limiter.serving_state,
        )
        self._sent_service_ms, self._sent_errors = limiter.service_ms, limiter.errors
