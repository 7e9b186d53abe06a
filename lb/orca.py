"""ORCA, the load report that gRPC and Envoy read: ours written as one, others' read. Pure.

Source: xds.data.orca.v3, gRFC A51; reference "load-balancing" 1.1.
"""

from typing import Final

from lb.meter import Meter
from lb.report import MAX_QUEUE, MAX_SERVICE_MS, Load
from schemas.wire import OrcaLoadReport

# A rate over less time says nothing.
_SETTLED_S: Final = 0.2


def load_of(report: OrcaLoadReport, total: int, seq: int) -> Load:
    """Return an ORCA report as the load of an instance with so many licences.

    A loader of ours tells its licences; of others the utilisation of the application, or of the
    processor where that is not told, stands for the share that is taken. Nonsense reads as idle.
    """
    named = report.named_metrics
    service_ms = named.get("ase.service_ms", 0.0)
    if "ase.running" in named:
        running, queued = _count(named["ase.running"]), _count(named.get("ase.queued", 0.0))
    else:
        told = report.application_utilization or report.cpu_utilization
        used = _count(told * total)
        running = min(used, total)
        queued = used - running
    return Load(
        seq,
        running=running,
        queued=queued,
        service_ms=service_ms if 0 <= service_ms <= MAX_SERVICE_MS else 0.0,
        served=seq,
    )


def _count(told: float) -> int:
    return round(told) if 0 <= told <= MAX_QUEUE else 0


class OrcaMeter:
    """Writes the figures of a meter as ORCA reports; rates are of the time between two looks.

    `application_utilization` is requests held by licences, above 1 while some wait.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._then = 0.0
        self._served = self._errors = 0
        self._rate = self._error_rate = 0.0

    def report(self, now: float) -> OrcaLoadReport:
        """Return the report of now, in seconds that never step back."""
        meter = self._meter
        seconds = now - self._then
        if seconds >= _SETTLED_S:
            if self._then:
                self._rate = (meter.served - self._served) / seconds
                self._error_rate = (meter.errors - self._errors) / seconds
            self._then, self._served, self._errors = now, meter.served, meter.errors
        running = min(meter.used, meter.best)
        return OrcaLoadReport(
            application_utilization=meter.used / meter.best,
            rps_fractional=self._rate,
            eps=self._error_rate,
            named_metrics={
                "ase.total": meter.total,
                "ase.best": meter.best,
                "ase.idle": meter.best - meter.used,
                "ase.running": running,
                "ase.queued": meter.used - running,
                "ase.service_ms": meter.service_ms,
            },
        )
