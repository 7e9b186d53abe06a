"""Subscribes to the ORCA stream of an instance that does not report to a hub."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from itertools import count
from random import Random

from google.protobuf.message import DecodeError

from lb.orca import load_of
from lb.report import Instance
from lb.table import Table
from rpc.client import Channel
from rpc.status import RpcError, Status
from rpc.streaming import stream_responses
from schemas.wire import Duration, OrcaLoadReport, OrcaLoadReportRequest

METHOD = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"
_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0

_logger = logging.getLogger("ase.lb")


class OrcaSubscriber:
    """Tells a table what an instance streams, each `interval` seconds.

    A server that has no such method is not asked again (gRFC A51); after other ends it is, ever
    more patiently. `clock` gives seconds that never step back.
    """

    def __init__(
        self,
        instance: Instance,
        interval: float,
        table: Table,
        *,
        clock: Callable[[], float],
        rng: Random,
    ) -> None:
        self._instance = instance
        self._interval = interval
        self._table = table
        self._clock = clock
        self._rng = rng
        self._numbers = count(1)

    async def run(self) -> None:
        """Follow the stream, for ever."""
        pause = _PAUSE_S
        while True:
            channel = Channel(self._instance.addr, frequent_keepalive=False)
            try:
                async for data in stream_responses(channel.stream(METHOD), self._wish()):
                    report = OrcaLoadReport.FromString(data)
                    load = load_of(report, self._instance.total, next(self._numbers))
                    self._table.tell(self._instance, load, self._clock())
                    pause = _PAUSE_S
            except (RpcError, DecodeError) as error:
                facts = {"instance": self._instance.addr, "reason": str(error)}
                _logger.warning("orca stream lost", extra=facts)
                if isinstance(error, RpcError) and error.status is Status.UNIMPLEMENTED:
                    return
            finally:
                self._table.fade(self._instance.key)
                await channel.close()
            await asyncio.sleep(pause * self._rng.uniform(0.8, 1.2))
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def _wish(self) -> AsyncIterator[bytes]:
        seconds, rest = divmod(self._interval, 1.0)
        interval = Duration(seconds=int(seconds), nanos=int(rest * 1e9))
        yield OrcaLoadReportRequest(report_interval=interval).SerializeToString()
