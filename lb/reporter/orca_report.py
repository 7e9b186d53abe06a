"""ORCA load reports, as used by gRPC and Envoy: writes our own, reads those of others. Pure.

Source: xds.data.orca.v3, gRFC A51; `docs/load-balancing.md`.
"""

from typing import Final

from lb.endpoints.report import MAX_QUEUE, MAX_SERVICE_MS, Load
from lb.reporter.limiter import ConcurrencyLimiter
from schemas.wire import OrcaLoadReport

# Least time in seconds over which a rate is meaningful.
_MIN_RATE_WINDOW_S: Final = 0.2


def load_from_orca(report: OrcaLoadReport, total: int, seq: int) -> Load:
    """Return an ORCA report as the load of an instance with `total` slots.

    Our loaders report their running and queued requests as named metrics. For other servers, the
    application utilization stands for the share of slots in use, or the CPU utilization if the
    former is missing. An invalid value counts as idle. `served` is set to `seq`.
    """
    metrics = report.named_metrics
    service_ms = metrics.get("ase.service_ms", 0.0)
    if "ase.running" in metrics:
        running, queued = (
            _bounded_count(metrics["ase.running"]),
            _bounded_count(metrics.get("ase.queued", 0.0)),
        )
    else:
        utilization = report.application_utilization or report.cpu_utilization
        inflight = _bounded_count(utilization * total)
        running = min(inflight, total)
        queued = inflight - running
    return Load(
        seq,
        running=running,
        queued=queued,
        service_ms=service_ms if 0 <= service_ms <= MAX_SERVICE_MS else 0.0,
        served=seq,
    )


def _bounded_count(value: float) -> int:
    return round(value) if 0 <= value <= MAX_QUEUE else 0


class OrcaReportBuilder:
    """Builds ORCA reports from the figures of a limiter.

    `application_utilization` is `inflight` / `best`, above 1 while requests are queued. The rates,
    per second, are those between the last two measurements, which are at least 0.2 s apart.
    `_measured_at` is the time of the last one in seconds, with the counters `_last_served` and
    `_last_errors`.
    """

    def __init__(self, limiter: ConcurrencyLimiter) -> None:
        self._limiter = limiter
        self._measured_at = 0.0
        self._last_served = self._last_errors = 0
        self._rate = self._error_rate = 0.0

    def build_report(self, now: float) -> OrcaLoadReport:
        """Return the report at `now`, in monotonic seconds."""
        limiter = self._limiter
        seconds = now - self._measured_at
        if seconds >= _MIN_RATE_WINDOW_S:
            if self._measured_at:
                self._rate = (limiter.served - self._last_served) / seconds
                self._error_rate = (limiter.errors - self._last_errors) / seconds
            self._measured_at, self._last_served, self._last_errors = (
                now,
                limiter.served,
                limiter.errors,
            )
        running = min(limiter.inflight, limiter.best)
        return OrcaLoadReport(
            application_utilization=limiter.inflight / limiter.best,
            rps_fractional=self._rate,
            eps=self._error_rate,
            named_metrics={
                "ase.total": limiter.total,
                "ase.best": limiter.best,
                "ase.idle": limiter.best - limiter.inflight,
                "ase.running": running,
                "ase.queued": limiter.inflight - running,
                "ase.service_ms": limiter.service_ms,
            },
        )
