"""ORCA load reports of a loader: out of band as a stream, and in the trailers of responses.

Source: gRFC A51 (xds.data.orca.v3).
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from lb.reporter.orca_report import OrcaReportBuilder
from rpc.server import CallContext, StreamHandler, first_request
from schemas.wire import OrcaLoadReportRequest

SERVICE = "xds.service.orca.v3.OpenRcaService"
TRAILER = "endpoint-load-metrics-bin"
# A shorter interval, or none, in a client's request is raised to this.
_MIN_INTERVAL_S = 0.1


class OrcaService:
    """Serves the load of this loader to ORCA clients such as Envoy and gRPC.

    `meter` builds the reports. `clock` returns seconds and never steps back.
    """

    def __init__(self, meter: OrcaReportBuilder, clock: Callable[[], float]) -> None:
        self._meter = meter
        self._clock = clock

    def stream_methods(self) -> dict[str, StreamHandler]:
        """Return the handler of `StreamCoreMetrics`, by its full path."""
        return {f"/{SERVICE}/StreamCoreMetrics": self._stream_core_metrics}

    def attach_report(self, call: CallContext) -> None:
        """Add the report to the trailers of a call, unless it comes from an Athena gateway.

        Such a gateway sends the metadata `ase-gateway`. It gets fresher load reports from the hubs.
        """
        if "ase-gateway" not in call.metadata:
            report = self._meter.build_report(self._clock()).SerializeToString()
            call.trailers.append((TRAILER, report))

    async def _stream_core_metrics(
        self, requests: AsyncIterator[bytes], _call: CallContext
    ) -> AsyncIterator[bytes]:
        """Report at once, then at the requested interval.

        Raises RpcError INVALID_ARGUMENT if there is no request, and DecodeError.
        """
        request = OrcaLoadReportRequest.FromString(await first_request(requests))
        interval = request.report_interval
        interval_s = max(_MIN_INTERVAL_S, interval.seconds + interval.nanos / 1e9)
        while True:
            yield self._meter.build_report(self._clock()).SerializeToString()
            await asyncio.sleep(interval_s)
