"""What only the SQLite store does: a file that another has, is damaged, or cannot be written."""

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from registry.store.interfaces import StoreError, Transaction
from registry.store.sqlite import SqliteStore


async def fill(store: SqliteStore, count: int) -> None:
    for number in range(count):
        await store.commit(Transaction({f"key/{number}": os.urandom(2000)}))


def test_what_was_committed_is_there_after_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "folder" / "r.sqlite"
        store = SqliteStore(path)
        await store.open()
        await fill(store, 5)
        await store.close()
        with pytest.raises(StoreError, match="closed"):
            await store.revision()
        again = SqliteStore(path)
        await again.open()
        assert await again.revision() == 5
        assert len(await again.read("key/")) == 5
        await again.close()

    asyncio.run(run())


def test_every_commit_is_synced_before_it_is_acknowledged(tmp_path: Path) -> None:
    async def run() -> int:
        store = SqliteStore(tmp_path / "r.sqlite")
        await store.open()
        connection = store._connection
        assert connection is not None
        (level,) = connection.execute("PRAGMA synchronous").fetchone()
        await store.close()
        return int(level)

    assert asyncio.run(run()) == 2  # FULL


def damage(path: Path) -> None:
    """Overwrite pages in the middle of a file."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(8192))


def test_a_damaged_file_is_replaced_by_its_backup(tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "r.sqlite"
        store = SqliteStore(path)
        await store.open()
        await fill(store, 60)
        backup = await store.backup()
        assert backup == tmp_path / "r.sqlite.backup"
        assert backup.stat().st_mode & 0o077 == 0
        await fill(store, 5)
        await store.close()
        damage(path)
        again = SqliteStore(path)
        said = await again.open()
        assert said.startswith("damaged (")
        assert "and the backup of " in said
        assert await again.revision() == 60
        await again.close()
        healthy = SqliteStore(path)
        assert await healthy.open() == ""
        await healthy.close()

    asyncio.run(run())
    assert len([*tmp_path.glob("r.sqlite.damaged-*")]) == 1
    assert (tmp_path / "r.sqlite").stat().st_mode & 0o077 == 0


def test_a_damaged_file_without_a_backup_stops_the_start(tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "r.sqlite"
        store = SqliteStore(path)
        await store.open()
        await fill(store, 60)
        await store.close()
        damage(path)
        before = path.read_bytes()
        with pytest.raises(StoreError, match="asectl registry backup makes one"):
            await SqliteStore(path).open()
        assert path.read_bytes() == before

    asyncio.run(run())


def test_a_file_of_something_else_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    path.write_text("no database" * 200)
    with pytest.raises(StoreError, match="not a database"):
        asyncio.run(SqliteStore(path).open())
    assert path.read_text() == "no database" * 200


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(StoreError, match="format 9"):
        asyncio.run(SqliteStore(path).open())


def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path) -> None:
    """The limit of pages stands for the end of the disk: SQLite reports both as SQLITE_FULL."""

    async def run() -> None:
        store = SqliteStore(tmp_path / "r.sqlite")
        await store.open()
        await fill(store, 3)
        connection = store._connection
        assert connection is not None
        connection.execute("PRAGMA max_page_count = 20")
        with pytest.raises(StoreError, match="full; see that its disk has room"):
            await store.commit(Transaction({"large": os.urandom(200_000)}))
        assert await store.revision() == 3
        connection.execute("PRAGMA max_page_count = 100000")
        await fill(store, 1)
        assert await store.revision() == 4
        await store.close()

    asyncio.run(run())


def test_a_file_that_another_process_writes_is_named(tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "r.sqlite"
        store = SqliteStore(path)
        await store.open()
        other = sqlite3.connect(path)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="only one registry may use a file"):
            await fill(store, 1)
        other.close()
        await fill(store, 1)
        await store.close()

    asyncio.run(run())


def test_a_file_is_of_one_registry_and_its_owner(tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "r.sqlite"
        store = SqliteStore(path)
        await store.open()
        with pytest.raises(StoreError, match="another process uses it"):
            await SqliteStore(path).open()
        await store.close()
        again = SqliteStore(path)
        await again.open()
        await again.close()

    asyncio.run(run())
    assert (tmp_path / "r.sqlite").stat().st_mode & 0o077 == 0


def test_a_commit_whose_caller_left_is_seen_by_those_that_watch(tmp_path: Path) -> None:
    async def run() -> None:
        store = SqliteStore(tmp_path / "r.sqlite")
        await store.open()
        changes = store.watch(0)
        upcoming = asyncio.ensure_future(anext(changes))
        commit = asyncio.ensure_future(store.commit(Transaction({"a": b"1"})))
        await asyncio.sleep(0)
        # The thread has made the change before the event loop hears of it.
        store._thread.submit(lambda: None).result()
        commit.cancel()
        async with asyncio.timeout(30):
            assert (await upcoming).revision == 1
        await changes.aclose()  # type: ignore[attr-defined]
        await store.close()

    asyncio.run(run())
