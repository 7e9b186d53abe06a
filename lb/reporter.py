"""A loader's side of the report: one stream to each hub, kept up as long as the loader lives."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from random import Random

from google.protobuf.message import DecodeError

from lb.access import Access
from lb.meter import Meter
from lb.report import Live, Report, write
from lb.trigger import Trigger
from rpc.status import RpcError, Status
from rpc.streaming import stream_responses
from schemas.wire import ReportControl

METHOD = "/ase.v1.LoadBalancer/Report"

_logger = logging.getLogger("ase.reporter")
# A lost hub is asked again after so many seconds, each time twice as many, at the most so many.
_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0
_REFUSALS = (Status.INVALID_ARGUMENT, Status.PERMISSION_DENIED, Status.UNAUTHENTICATED)


class Reporter:
    """Reports the figures of a meter to every hub, when `lb/trigger.py` says so.

    `report(first)` makes the next report; `changed()` is what the meter calls. `clock` gives
    seconds that never step back.
    """

    def __init__(
        self,
        hubs: list[str],
        report: Callable[[bool], Report],
        meter: Meter,
        *,
        clock: Callable[[], float],
        rng: Random,
        access: Access,
    ) -> None:
        self._streams = [_Stream(hub, report, meter, clock, rng, access) for hub in hubs]
        self._tasks: list[asyncio.Task[None]] = []

    def changed(self) -> None:
        """Note that the figures changed."""
        for stream in self._streams:
            stream.look()

    def start(self) -> None:
        """Begin to report."""
        self._tasks = [asyncio.create_task(stream.run()) for stream in self._streams]

    async def leave(self, timeout: float = 1.0) -> None:
        """Let the last report (live = 0) go out, then stop. Waits `timeout` seconds at most."""
        self.changed()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Stream:
    """The stream to one hub."""

    def __init__(
        self,
        hub: str,
        report: Callable[[bool], Report],
        meter: Meter,
        clock: Callable[[], float],
        rng: Random,
        access: Access,
    ) -> None:
        self._hub = hub
        self._report = report
        self._meter = meter
        self._clock = clock
        self._rng = rng
        self._access = access
        self._trigger = Trigger()
        self._matters = asyncio.Event()
        self._left = False

    def look(self) -> None:
        """Note that the figures changed; most changes do not matter to anybody."""
        if not self._matters.is_set() and self._trigger.matters(self._meter):
            self._matters.set()

    async def run(self) -> None:
        """Report until the loader has left; a broken stream is made anew, ever more patiently."""
        pause, lost = _PAUSE_S, False
        while not self._left:
            channel = self._access.channel(self._hub)
            try:
                async for data in stream_responses(
                    channel.stream(METHOD, metadata=self._access.metadata), self._reports()
                ):
                    self._trigger.tune(ReportControl.FromString(data))
                    if lost:
                        _logger.info("reporting again", extra={"hub": self._hub})
                    pause, lost = _PAUSE_S, False
            except (RpcError, DecodeError) as error:
                facts = {"hub": self._hub, "reason": str(error)}
                if isinstance(error, RpcError) and error.status in _REFUSALS:
                    _logger.error("report refused", extra=facts)  # noqa: TRY400
                elif not lost:
                    _logger.warning("hub lost; trying on", extra=facts)
                lost = True
            finally:
                await channel.close()
            if not self._left:
                await asyncio.sleep(pause * self._rng.uniform(0.8, 1.2))
                pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def _reports(self) -> AsyncIterator[bytes]:
        first = True
        while not self._left:
            self._matters.clear()
            report = self._report(first)
            self._trigger.sent(self._meter, self._clock())
            self._left = report.load.live is Live.DOWN
            yield write(report).SerializeToString()
            first = False
            await self._due()

    async def _due(self) -> None:
        """Return when the next report is to go out."""
        while True:
            wait = self._trigger.due(self._meter) - self._clock()
            if wait <= 0:
                return
            if self._matters.is_set() and self._trigger.matters(self._meter):
                await asyncio.sleep(wait)  # the gap
                return
            self._matters.clear()  # what had changed has changed back
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._matters.wait()
