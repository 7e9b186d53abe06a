"""Subscriber to the ORCA stream of an instance that does not report to a hub."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from itertools import count
from random import Random

from google.protobuf.message import DecodeError

from lb.endpoints.report import Instance
from lb.endpoints.table import EndpointTable
from lb.reporter.orca_report import load_from_orca
from rpc.backoff import Backoff
from rpc.client import Channel
from rpc.message_stream import stream_responses
from rpc.status import RpcError, Status
from schemas.wire import Duration, OrcaLoadReport, OrcaLoadReportRequest

METHOD = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"
_RETRY_DELAY_S, _MAX_RETRY_DELAY_S = 0.5, 30.0

_logger = logging.getLogger("ase.lb")


class OrcaSubscriber:
    """Applies the ORCA reports of an instance to a table, one each `interval` seconds.

    If the server does not implement the method, the subscriber stops (gRFC A51). After any other
    end of the stream it reconnects with exponential back-off from 0.5 s to 30 s. `clock` returns
    monotonic seconds.
    """

    def __init__(
        self,
        instance: Instance,
        interval: float,
        table: EndpointTable,
        *,
        clock: Callable[[], float],
        rng: Random,
    ) -> None:
        self._instance = instance
        self._interval = interval
        self._table = table
        self._clock = clock
        self._rng = rng
        self._seq = count(1)

    async def run(self) -> None:
        """Follow the stream until the server replies UNIMPLEMENTED."""
        backoff = Backoff(self._rng, _RETRY_DELAY_S, _MAX_RETRY_DELAY_S)
        while True:
            channel = Channel(self._instance.addr, frequent_keepalive=False)
            try:
                async for data in stream_responses(channel.stream(METHOD), self._requests()):
                    report = OrcaLoadReport.FromString(data)
                    load = load_from_orca(report, self._instance.total, next(self._seq))
                    self._table.apply_static_load(self._instance, load, self._clock())
                    backoff.reset()
            except (RpcError, DecodeError) as error:
                log_fields = {"instance": self._instance.addr, "reason": str(error)}
                _logger.warning("orca stream lost", extra=log_fields)
                if isinstance(error, RpcError) and error.status is Status.UNIMPLEMENTED:
                    return
            finally:
                self._table.discard_reported_load(self._instance.key)
                await channel.close()
            await asyncio.sleep(backoff.next_delay())

    async def _requests(self) -> AsyncIterator[bytes]:
        seconds, fraction = divmod(self._interval, 1.0)
        interval = Duration(seconds=int(seconds), nanos=int(fraction * 1e9))
        yield OrcaLoadReportRequest(report_interval=interval).SerializeToString()
