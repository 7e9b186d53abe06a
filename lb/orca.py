"""ORCA, the load report that gRPC and Envoy read: ours written as one. Pure.

Source: xds.data.orca.v3, gRFC A51; reference "load-balancing" 1.1.
"""

from typing import Final

from lb.meter import Meter
from schemas.wire import OrcaLoadReport

# A rate over less time says nothing.
_SETTLED_S: Final = 0.2


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
