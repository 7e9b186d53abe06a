"""A loader's side of the report: one stream to each hub, kept up as long as the loader lives."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from random import Random

from lb.report import Live, Report, write
from rpc.client import Channel
from rpc.status import RpcError, Status
from rpc.streaming import streamed

METHOD = "/ase.v1.LoadBalancer/Report"

_logger = logging.getLogger("ase.reporter")
_REFUSALS = (Status.INVALID_ARGUMENT, Status.PERMISSION_DENIED, Status.UNAUTHENTICATED)


class Reporter:
    """Reports to every hub at once when something changed, and at least each `keepalive` seconds.

    `report(first)` makes the next report; `changed()` is what the meter calls. `gap` is the least
    time between two reports, in seconds: changes within it travel as one.
    """

    def __init__(
        self,
        hubs: list[str],
        report: Callable[[bool], Report],
        *,
        rng: Random,
        keepalive: float = 0.5,
        gap: float = 0.005,
    ) -> None:
        self._streams = [_Stream(hub, report, rng, keepalive, gap) for hub in hubs]
        self._tasks: list[asyncio.Task[None]] = []

    def changed(self) -> None:
        """Note that the figures changed."""
        for stream in self._streams:
            stream.changed.set()

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
    def __init__(
        self,
        hub: str,
        report: Callable[[bool], Report],
        rng: Random,
        keepalive: float,
        gap: float,
    ) -> None:
        self.changed = asyncio.Event()
        self._hub = hub
        self._report = report
        self._rng = rng
        self._keepalive = keepalive
        self._gap = gap
        self._left = False

    async def run(self) -> None:
        """Report until the loader has left; a broken stream is made anew, ever more patiently."""
        pause, lost = 0.1, False
        while not self._left:
            channel = Channel(self._hub)
            try:
                async for _control in streamed(channel.open(METHOD), self._reports()):
                    if lost:
                        _logger.info("reporting again", extra={"hub": self._hub})
                    pause, lost = 0.1, False
            except RpcError as error:
                facts = {"hub": self._hub, "reason": str(error)}
                if error.status in _REFUSALS:
                    _logger.error("report refused", extra=facts)  # noqa: TRY400
                elif not lost:
                    _logger.warning("hub lost; trying on", extra=facts)
                lost = True
            finally:
                await channel.close()
            if not self._left:
                await asyncio.sleep(pause * self._rng.uniform(0.8, 1.2))
                pause = min(pause * 2, 1.0)

    async def _reports(self) -> AsyncIterator[bytes]:
        first = True
        while not self._left:
            self.changed.clear()
            report = self._report(first)
            self._left = report.load.live is Live.DOWN
            yield write(report).SerializeToString()
            first = False
            await asyncio.sleep(self._gap)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._keepalive):
                    await self.changed.wait()
