"""The fan-out of a hub: what changed goes out at once, then in beats; nobody goes without."""

import asyncio
import time
from collections.abc import AsyncIterator

from lb.endpoints.lifecycle import EndpointEvent
from lb.endpoints.report import Instance, Load, Report
from lb.endpoints.table import EndpointTable
from lb.hub.broadcast import Broadcaster
from lb.hub.counters import HubCounts
from schemas.wire import Frame, WatchRequest

ONE = Instance("ase", "ocr", "a:1", 7, total=4)
TWO = Instance("ase", "asr", "b:1", 8, total=2)


class Told:
    """A hub's table whose changes are told."""

    def __init__(self, gap: float) -> None:
        self.table = EndpointTable()
        self.counts = HubCounts()
        self.fanout = Broadcaster(
            self.table, {}, epoch=9, clock=time.monotonic, gap=gap, counts=self.counts
        )
        self._running = asyncio.ensure_future(self.fanout.run())

    def report(self, instance: Instance, seq: int) -> None:
        self.table.apply(Report(instance, Load(seq)), time.monotonic())
        self.fanout.mark_changed(instance)

    def watch(self, *services: str) -> AsyncIterator[bytes]:
        return self.fanout.subscribe(WatchRequest(gateway="g", subsvc=services))

    def end(self) -> None:
        self._running.cancel()


async def _next(frames: AsyncIterator[bytes]) -> Frame:
    return Frame.FromString(await asyncio.wait_for(anext(frames), 10.0))


def test_changes_within_a_gap_go_out_in_one_frame_to_each() -> None:
    async def main() -> None:
        told = Told(gap=0.3)
        told.report(ONE, 1)
        watches = [told.watch(), told.watch(), told.watch("asr")]
        for frames in watches[:2]:
            first = await _next(frames)
            assert (first.hub_epoch, first.snapshot, len(first.loads)) == (9, True, 1)
        assert not (await _next(watches[2])).loads
        told.report(ONE, 2)
        assert [(await _next(frames)).loads[0].seq for frames in watches[:2]] == [2, 2]
        for seq in range(3, 9):
            told.report(ONE, seq)
            await asyncio.sleep(0)
        assert [(await _next(frames)).loads[0].seq for frames in watches[:2]] == [8, 8]
        told.report(TWO, 1)
        assert [load.seq for load in (await _next(watches[2])).loads] == [1]
        told.end()

    asyncio.run(main())


def test_a_departure_goes_out_and_a_quiet_hub_tells_that_it_lives() -> None:
    async def main() -> None:
        told = Told(gap=0.001)
        told.report(ONE, 1)
        frames = told.watch()
        await _next(frames)
        for change in told.table.remove(ONE.key, 7, EndpointEvent.REPORTED_DOWN):
            told.fanout.mark_removed(change)
        frame = await _next(frames)
        while not frame.gone:
            frame = await _next(frames)
        assert not frame.loads
        quiet = await _next(frames)
        assert (len(quiet.loads), len(quiet.gone), quiet.version) == (0, 0, frame.version + 1)
        assert told.counts.frames == quiet.version
        told.end()

    asyncio.run(main())


def test_who_follows_no_more_is_forgotten() -> None:
    async def main() -> None:
        told = Told(gap=0.001)
        frames = told.watch()
        await _next(frames)
        await frames.aclose()  # type: ignore[attr-defined]
        told.report(ONE, 1)
        fresh = await _next(told.watch())
        assert [load.seq for load in fresh.loads] == [1]
        assert told.counts.frames == 2
        told.end()

    asyncio.run(main())
