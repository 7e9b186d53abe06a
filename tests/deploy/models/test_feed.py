"""The feed over a real store: snapshots, changes, where a reader goes on, what it may see."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from deploy.event_stream import StreamedEvent
from deploy.models.feed import ModelFeed, model_to_json
from deploy.positions.records import Application, Model, encode_record
from registry.store.interfaces import Transaction
from registry.store.sqlite import SqliteStore

BATTERY = Application("battery", "drones", "how long they fly")
OTHER = Application("other", "secret")
MODEL = Model(
    "lstm",
    "1",
    "battery",
    accuracy=0.8,
    members={"wrapper": "w.py", "modelUrl": "https://h/a", "modelDigest": "a" * 64, "env": []},
    access_token="t",
)


class Log:
    """A store, and what readers of its feed get."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store

    async def put(self, *records: Application | Model) -> int:
        puts = {record.key: encode_record(record) for record in records}
        return await self.store.commit(Transaction(puts))

    async def delete(self, record: Application | Model) -> int:
        return await self.store.commit(Transaction(deletes=frozenset({record.key})))

    async def read(self, after: int, count: int) -> list[StreamedEvent]:
        feed = ModelFeed(self.store, lambda _, project: project != "secret")
        events: list[StreamedEvent] = []
        async with asyncio.timeout(20):
            async for event in feed.follow(after):
                events.append(event)
                if len(events) == count:
                    break
        return events


def run(folder: Path, scenario: Callable[[Log], Awaitable[None]]) -> None:
    @asynccontextmanager
    async def opened() -> AsyncIterator[SqliteStore]:
        store = SqliteStore(folder / "deploy.sqlite")
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    async def main() -> None:
        async with opened() as store:
            await scenario(Log(store))

    asyncio.run(main())


def names(events: list[StreamedEvent]) -> list[str]:
    return [event.name for event in events]


def test_reader_gets_all_there_is_and_then_what_changes(tmp_path: Path) -> None:
    async def scenario(log: Log) -> None:
        revision = await log.put(BATTERY, OTHER, MODEL)
        events = await log.read(0, 4)
        assert names(events) == ["snapshot_begin", "application_add", "model_add", "snapshot_end"]
        assert events[1].data["application"]["project"] == "drones"
        assert events[2].data["model"] == model_to_json(MODEL)
        assert [event.number for event in events] == [0, 0, 0, revision]
        assert Model.read(events[2].data["model"], 0.0) == MODEL

        better = Model("lstm", "2", "battery", members={"wrapper": "w.py"})
        added = await log.put(better)
        await log.put(OTHER)
        removed = await log.delete(better)
        events = await log.read(revision, 2)
        assert [(event.name, event.number) for event in events] == [
            ("model_add", added), ("model_delete", removed),
        ]  # fmt: skip
        assert events[1].data == {"application": "battery", "model": "lstm:2"}

    run(tmp_path, scenario)


def test_application_that_was_deleted_since_is_not_in_the_snapshot(tmp_path: Path) -> None:
    async def scenario(log: Log) -> None:
        await log.put(BATTERY)
        feed = ModelFeed(log.store, lambda _, __: True).follow(0)
        async with asyncio.timeout(20):
            seen = [await anext(feed) for _ in range(3)]
            deleted = await log.delete(BATTERY)
            last = await anext(feed)
        assert last == StreamedEvent(deleted, "application_delete", {"application": "battery"})
        # A reader who comes back has not heard whose it was.
        events = await log.read(seen[-1].number, 2)
        assert names(events) == ["snapshot_begin", "snapshot_end"]

    run(tmp_path, scenario)


def test_record_that_changes_is_an_update(tmp_path: Path) -> None:
    async def scenario(log: Log) -> None:
        revision = await log.put(BATTERY, MODEL)
        first = await log.put(BATTERY, MODEL)  # one change with two events
        events = await log.read(revision, 2)
        assert [(event.name, event.number) for event in events] == [
            ("application_update", 0), ("model_update", first),
        ]  # fmt: skip

    run(tmp_path, scenario)


def test_reader_whose_place_is_not_kept_gets_a_snapshot(tmp_path: Path) -> None:
    async def scenario(log: Log) -> None:
        await log.put(BATTERY)
        for _ in range(3):
            await log.put(MODEL)
        store: Any = log.store

        def forget(connection: Any) -> None:
            connection.execute("UPDATE meta SET value = 4 WHERE name = 'oldest'")

        await store._execute(forget)
        assert names(await log.read(1, 4))[0] == "snapshot_begin"

    run(tmp_path, scenario)
