"""The event bus: order, replay, watchers that are too slow."""

import asyncio

from deploy.engine.events import Event, EventBus


def test_watchers_get_what_is_kept_and_what_comes() -> None:
    async def main() -> None:
        bus = EventBus(lambda: 5.0)
        bus.publish("service.status", "a", status="pending")
        bus.publish("service.status", "b", status="running")
        events = bus.watch(after=5001, subject="b")
        assert await anext(aiter(events)) == Event(
            5002, "service.status", "b", 5.0, {"status": "running"}
        )
        bus.publish("service.status", "a", status="running")
        bus.publish("service.status", "b", status="failed")
        assert (await anext(aiter(events))).data == {"status": "failed"}
        assert bus.counts == {"service.status": 4}

    asyncio.run(main())


def test_a_slow_watcher_loses_the_oldest_and_holds_up_nobody() -> None:
    async def main() -> None:
        bus = EventBus(lambda: 0.0)
        sink: list[int] = []
        bus.add_sink(lambda event: sink.append(event.number))
        events = bus.watch()
        first = asyncio.ensure_future(anext(aiter(events)))
        await asyncio.sleep(0)
        for _ in range(1500):
            bus.publish("pipeline.step", "a")
        assert (await first).number > 1
        assert bus.dropped == 500
        assert len(sink) == 1500
        numbers = [(await anext(aiter(events))).number for _ in range(999)]
        assert numbers[-1] == 1500

    asyncio.run(main())
