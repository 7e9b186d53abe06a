"""A loader's load by ORCA: out of band as a stream, and in the trailers of its answers."""

import asyncio
from collections.abc import AsyncIterator, Callable

from google.protobuf.message import DecodeError

from lb.reporter.orca_report import OrcaReportBuilder
from rpc.server import CallContext, StreamHandler
from rpc.status import RpcError, Status
from schemas.wire import OrcaLoadReportRequest

SERVICE = "xds.service.orca.v3.OpenRcaService"
TRAILER = "endpoint-load-metrics-bin"
# What a client asks for that is shorter, or nothing, is raised to it.
_MIN_INTERVAL_S = 0.1


class OrcaService:
    """Serves a loader's load to those who read ORCA; `clock` gives seconds."""

    def __init__(self, meter: OrcaReportBuilder, clock: Callable[[], float]) -> None:
        self._meter = meter
        self._clock = clock

    def stream_methods(self) -> dict[str, StreamHandler]:
        """Return the streaming method, by path."""
        return {f"/{SERVICE}/StreamCoreMetrics": self._stream_core_metrics}

    def attach_report(self, call: CallContext) -> None:
        """Attach the report to an answer, unless a gateway of ours asked: it has better."""
        if "ase-gateway" not in call.metadata:
            report = self._meter.build_report(self._clock()).SerializeToString()
            call.trailers.append((TRAILER, report))

    async def _stream_core_metrics(
        self, requests: AsyncIterator[bytes], _call: CallContext
    ) -> AsyncIterator[bytes]:
        """Report at once, and then as often as was asked for."""
        try:
            request = OrcaLoadReportRequest.FromString(await anext(aiter(requests)))
        except (DecodeError, StopAsyncIteration):
            raise RpcError(Status.INVALID_ARGUMENT, "not an OrcaLoadReportRequest") from None
        interval = request.report_interval
        interval_s = max(_MIN_INTERVAL_S, interval.seconds + interval.nanos / 1e9)
        while True:
            yield self._meter.build_report(self._clock()).SerializeToString()
            await asyncio.sleep(interval_s)
