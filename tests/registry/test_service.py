"""The registry itself: commands at the same time, a clock that steps, a store that is lost."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry import commands
from registry.access import Actor
from registry.errors import Refusal, RegistryError
from registry.records import AuditEntry, FileKind
from registry.service import Registry
from registry.state import RegistryState
from registry.store.interfaces import ChangeSet, StoreError, Transaction
from registry.store.sqlite import SqliteStore
from tests.registry.documents import NAME, ref

ANN = Actor("ann", {}, "ann")


def inspect(_: str, __: bytes) -> tuple[FileKind, str, list[str]]:
    return FileKind.CONFIG, "text/plain", []


class FlakyStore(SqliteStore):
    """A store that is lost while `is_lost`."""

    is_lost = False

    async def commit(self, transaction: Transaction) -> int:
        if self.is_lost:
            raise StoreError("the disk is full")
        return await super().commit(transaction)

    async def watch(self, after: int) -> AsyncIterator[ChangeSet]:
        async for change_set in super().watch(after):
            if self.is_lost:
                raise StoreError("the disk is full")
            yield change_set


async def start(path: Path, clock: list[float]) -> tuple[Registry, FlakyStore, asyncio.Task[None]]:
    store = FlakyStore(path / "r.sqlite")
    await store.open()
    registry = Registry(store, inspect, lambda: clock[0])
    await registry.load()
    return registry, store, asyncio.create_task(registry.follow_store())


async def stop(store: FlakyStore, task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.close()


def test_changes_at_the_same_time_are_all_made(tmp_path: Path) -> None:
    async def run() -> None:
        registry, store, task = await start(tmp_path, [1.0])

        def put(number: int) -> commands.Author:
            file = f"{number}.txt"
            return lambda state, author: commands.put_file(state, author, NAME, file, ref(b"1"))  # type: ignore[return-value]

        await asyncio.gather(*(registry.execute(ANN, put(n)) for n in range(8)))  # type: ignore[arg-type]
        assert len(commands.draft_files(registry.state, NAME)) == 8
        await stop(store, task)

    asyncio.run(run())


def test_a_clock_that_steps_back_loses_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        clock = [2_000_000_000.0]
        registry, store, task = await start(tmp_path, clock)
        for number, at in enumerate((2_000_000_000.0, 1_000_000_000.0, 1_500_000_000.0)):
            clock[0] = at
            content = str(number).encode()

            def put(state: RegistryState, author: commands.Author) -> Transaction:
                return commands.put_file(state, author, NAME, "a", ref(content))  # noqa: B023

            def publish(state: RegistryState, author: commands.Author) -> Transaction:
                return commands.publish(state, author, NAME, "")

            await registry.execute(ANN, put)
            await registry.execute(ANN, publish)
        numbers = [release.number for release in registry.state.releases(NAME)]
        assert numbers == [3, 2, 1]
        assert registry.state.publication(NAME)[0].stable == 3
        entries = await registry.audit("", 100)
        times = [AuditEntry.from_bytes(entry.value).at for entry in entries.values()]
        assert times == sorted(times)
        assert len(times) == 6
        await stop(store, task)

    asyncio.run(run())


def test_a_store_that_is_lost_refuses_changes_and_serves_the_last_state(tmp_path: Path) -> None:
    async def run() -> None:
        registry, store, task = await start(tmp_path, [1.0])

        def put(state: RegistryState, author: commands.Author) -> Transaction:
            return commands.put_file(state, author, NAME, "a", ref(b"1"))

        await registry.execute(ANN, put)
        store.is_lost = True
        with pytest.raises(RegistryError, match="the disk is full") as raised:
            await registry.execute(ANN, put)
        assert raised.value.kind is Refusal.UNAVAILABLE
        assert set(commands.draft_files(registry.state, NAME)) == {"a"}
        store.is_lost = False
        await registry.execute(ANN, put)
        assert registry.store_problem == ""
        await stop(store, task)

    asyncio.run(run())
