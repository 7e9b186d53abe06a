"""A loader's reporter: one report stream to each hub, kept open as long as the loader runs."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection
from functools import partial
from random import Random

from google.protobuf.message import DecodeError

from lb.credentials import HubCredentials
from lb.endpoints.report import Report, ServingState, encode_report
from lb.reporter.limiter import ConcurrencyLimiter
from lb.reporter.schedule import ReportSchedule
from rpc.backoff import Backoff
from rpc.message_stream import stream_responses
from rpc.status import RpcError, Status
from schemas.wire import ReportControl

METHOD = "/ase.v1.LoadBalancer/Report"

_logger = logging.getLogger("ase.reporter")
# Delay in seconds before reconnecting to a lost hub; it doubles each time, up to the maximum.
_RETRY_DELAY_S = 0.1
_MAX_RETRY_DELAY_S = 1.0
_REJECTION_STATUSES = (Status.INVALID_ARGUMENT, Status.PERMISSION_DENIED, Status.UNAUTHENTICATED)


class Reporter:
    """Reports the figures of a limiter to every hub, as `lb/reporter/schedule.py` decides.

    `make_report(is_first)` returns the next report; the first report of a stream includes the
    schema document. The limiter calls `notify_change` after each change. `clock` returns monotonic
    seconds.
    """

    def __init__(
        self,
        hubs: list[str],
        make_report: Callable[[bool], Report],
        limiter: ConcurrencyLimiter,
        *,
        clock: Callable[[], float],
        rng: Random,
        credentials: HubCredentials,
    ) -> None:
        self._new_stream = partial(
            _ReportStream,
            make_report=make_report,
            limiter=limiter,
            clock=clock,
            rng=rng,
            credentials=credentials,
        )
        self._streams = {hub: self._new_stream(hub) for hub in hubs}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def notify_change(self) -> None:
        """Note that the figures of the limiter changed; wakes the streams that must report it."""
        for stream in self._streams.values():
            stream.notify_change()

    def start(self) -> None:
        """Start the streams as tasks of the running event loop."""
        self._tasks = {
            hub: asyncio.create_task(stream.run()) for hub, stream in self._streams.items()
        }

    def set_hubs(self, hubs: Collection[str]) -> None:
        """Report to these hubs from now on. Requires `start`."""
        for hub in hubs:
            if hub not in self._streams:
                self._streams[hub] = self._new_stream(hub)
                self._tasks[hub] = asyncio.create_task(self._streams[hub].run())
        for hub in [*self._streams]:
            if hub not in hubs:
                del self._streams[hub]
                self._tasks.pop(hub).cancel()

    async def shutdown(self, timeout: float = 1.0) -> None:
        """Send the last report (live = 0), then stop; wait at most `timeout` seconds.

        The limiter must be DOWN already, otherwise the streams do not end by themselves.
        """
        self.notify_change()
        tasks = [*self._tasks.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _ReportStream:
    """The report stream to one hub.

    `_report_wanted` is set while a change waits to be reported. `_is_finished` is True after the
    report that the loader is DOWN; the stream then ends.
    """

    def __init__(
        self,
        hub: str,
        make_report: Callable[[bool], Report],
        limiter: ConcurrencyLimiter,
        clock: Callable[[], float],
        rng: Random,
        credentials: HubCredentials,
    ) -> None:
        self._hub = hub
        self._make_report = make_report
        self._limiter = limiter
        self._clock = clock
        self._rng = rng
        self._credentials = credentials
        self._schedule = ReportSchedule()
        self._report_wanted = asyncio.Event()
        self._is_finished = False

    def notify_change(self) -> None:
        """Wake the stream if a report is due sooner than it waits; most changes need none."""
        schedule, limiter = self._schedule, self._limiter
        if not self._report_wanted.is_set() and (
            schedule.should_report(limiter) or schedule.ends_idleness(limiter)
        ):
            self._report_wanted.set()

    async def run(self) -> None:
        """Report until the loader has left; reconnect a broken stream with exponential back-off."""
        backoff, is_disconnected = Backoff(self._rng, _RETRY_DELAY_S, _MAX_RETRY_DELAY_S), False
        while not self._is_finished:
            channel = self._credentials.open_channel(self._hub)
            try:
                async for data in stream_responses(
                    channel.stream(METHOD, metadata=self._credentials.metadata), self._requests()
                ):
                    self._schedule.configure(ReportControl.FromString(data))
                    if is_disconnected:
                        _logger.info("reporting again", extra={"hub": self._hub})
                    backoff.reset()
                    is_disconnected = False
            except (RpcError, DecodeError) as error:
                log_fields = {"hub": self._hub, "reason": str(error)}
                if isinstance(error, RpcError) and error.status in _REJECTION_STATUSES:
                    _logger.error("report refused", extra=log_fields)  # noqa: TRY400
                elif not is_disconnected:
                    _logger.warning("hub lost; trying on", extra=log_fields)
                is_disconnected = True
            finally:
                await channel.close()
            if not self._is_finished:
                await asyncio.sleep(backoff.next_delay())

    async def _requests(self) -> AsyncIterator[bytes]:
        is_first = True
        while not self._is_finished:
            self._report_wanted.clear()
            report = self._make_report(is_first)
            self._schedule.mark_sent(self._limiter, self._clock())
            self._is_finished = report.load.serving_state is ServingState.DOWN
            yield encode_report(report).SerializeToString()
            is_first = False
            await self._wait_until_due()

    async def _wait_until_due(self) -> None:
        """Wait until the next report is due."""
        while True:
            wait_s = self._schedule.next_report_at(self._limiter) - self._clock()
            if wait_s <= 0:
                return
            if self._report_wanted.is_set() and self._schedule.should_report(self._limiter):
                await asyncio.sleep(wait_s)  # the least gap between two reports
                return
            self._report_wanted.clear()  # the change was undone, or only a keep-alive comes sooner
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._report_wanted.wait()
