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

INSTANCE = Instance("ase", "ocr", "a:1", 7, total=4)
OTHER_INSTANCE = Instance("ase", "asr", "b:1", 8, total=2)


class HubFixture:
    """A hub's table whose changes are told."""

    def __init__(self, gap: float) -> None:
        self.table = EndpointTable()
        self.counts = HubCounts()
        self.broadcaster = Broadcaster(
            self.table, {}, epoch=9, clock=time.monotonic, gap=gap, counts=self.counts
        )
        self._task = asyncio.ensure_future(self.broadcaster.run())

    def report(self, instance: Instance, seq: int) -> None:
        self.table.apply(Report(instance, Load(seq)), time.monotonic())
        self.broadcaster.mark_changed(instance)

    def watch(self, *services: str) -> AsyncIterator[bytes]:
        return self.broadcaster.subscribe(WatchRequest(gateway="g", subsvc=services))

    def stop(self) -> None:
        self._task.cancel()


async def _next_frame(frames: AsyncIterator[bytes]) -> Frame:
    return Frame.FromString(await asyncio.wait_for(anext(frames), 10.0))


def test_changes_within_an_interval_share_one_frame() -> None:
    async def main() -> None:
        hub = HubFixture(gap=0.3)
        hub.report(INSTANCE, 1)
        watches = [hub.watch(), hub.watch(), hub.watch("asr")]
        for frames in watches[:2]:
            snapshot = await _next_frame(frames)
            assert (snapshot.hub_epoch, snapshot.snapshot, len(snapshot.loads)) == (9, True, 1)
        assert not (await _next_frame(watches[2])).loads
        hub.report(INSTANCE, 2)
        assert [(await _next_frame(frames)).loads[0].seq for frames in watches[:2]] == [2, 2]
        for seq in range(3, 9):
            hub.report(INSTANCE, seq)
            await asyncio.sleep(0)
        assert [(await _next_frame(frames)).loads[0].seq for frames in watches[:2]] == [8, 8]
        hub.report(OTHER_INSTANCE, 1)
        assert [load.seq for load in (await _next_frame(watches[2])).loads] == [1]
        hub.stop()

    asyncio.run(main())


def test_removals_are_sent_and_idle_hub_sends_keepalives() -> None:
    async def main() -> None:
        hub = HubFixture(gap=0.001)
        hub.report(INSTANCE, 1)
        frames = hub.watch()
        await _next_frame(frames)
        for change in hub.table.remove(INSTANCE.key, 7, EndpointEvent.REPORTED_DOWN):
            hub.broadcaster.mark_removed(change)
        frame = await _next_frame(frames)
        while not frame.gone:
            frame = await _next_frame(frames)
        assert not frame.loads
        keepalive = await _next_frame(frames)
        assert (len(keepalive.loads), len(keepalive.gone), keepalive.version) == (
            0,
            0,
            frame.version + 1,
        )
        assert hub.counts.frames == keepalive.version
        hub.stop()

    asyncio.run(main())


def test_closed_subscription_is_removed() -> None:
    async def main() -> None:
        hub = HubFixture(gap=0.001)
        frames = hub.watch()
        await _next_frame(frames)
        await frames.aclose()  # type: ignore[attr-defined]
        hub.report(INSTANCE, 1)
        snapshot = await _next_frame(hub.watch())
        assert [load.seq for load in snapshot.loads] == [1]
        assert hub.counts.frames == 2
        hub.stop()

    asyncio.run(main())
