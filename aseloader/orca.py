"""A loader's load by ORCA: out of band as a stream, and in the trailers of its answers."""

import asyncio
from collections.abc import AsyncIterator, Callable

from google.protobuf.message import DecodeError

from lb.orca import OrcaReportBuilder
from rpc.server import CallContext, StreamHandler
from rpc.status import RpcError, Status
from schemas.wire import OrcaLoadReportRequest

SERVICE = "xds.service.orca.v3.OpenRcaService"
TRAILER = "endpoint-load-metrics-bin"
# What a client asks for that is shorter, or nothing, is raised to it.
_LEAST_S = 0.1


class Orca:
    """Serves a loader's load to those who read ORCA; `clock` gives seconds."""

    def __init__(self, meter: OrcaReportBuilder, clock: Callable[[], float]) -> None:
        self._meter = meter
        self._clock = clock

    def stream(self) -> dict[str, StreamHandler]:
        """Return the streaming method, by path."""
        return {f"/{SERVICE}/StreamCoreMetrics": self._core_metrics}

    def trail(self, call: CallContext) -> None:
        """Attach the report to an answer, unless a gateway of ours asked: it has better."""
        if "ase-gateway" not in call.metadata:
            report = self._meter.build_report(self._clock()).SerializeToString()
            call.trailers.append((TRAILER, report))

    async def _core_metrics(
        self, requests: AsyncIterator[bytes], _call: CallContext
    ) -> AsyncIterator[bytes]:
        """Report at once, and then as often as was asked for."""
        try:
            asked = OrcaLoadReportRequest.FromString(await anext(aiter(requests)))
        except (DecodeError, StopAsyncIteration):
            raise RpcError(Status.INVALID_ARGUMENT, "not an OrcaLoadReportRequest") from None
        interval = asked.report_interval
        seconds = max(_LEAST_S, interval.seconds + interval.nanos / 1e9)
        while True:
            yield self._meter.build_report(self._clock()).SerializeToString()
            await asyncio.sleep(seconds)
