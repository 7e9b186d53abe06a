"""The file of keys: each change is whole, and what is wrong with a file is said."""

import asyncio
import contextlib
import logging
import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.access.identity import NO_LIMITS, CallerLimits, Identity
from gateway.access.key_store import KeyEntry, KeyFile, KeyStore
from gateway.access.key_table import KeySourceError, KeyTable, StoredKey
from gateway.access.key_watch import watch_keys

HASH_KEY = b"h" * 32
LIMITS = CallerLimits(20.0, 40, 8, 100_000, 30)
ENTRY = KeyEntry(
    StoredKey(Identity("é", "k1", frozenset({"b", "a"}), "key", LIMITS), b"1" * 32, "", 5.0),
    1.0,
    "a comment",
)
PAIR = KeyEntry(StoredKey(Identity("shop", "k2", method="hmac"), b"", "s3cret"), 2.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys.sqlite"
    store = KeyStore(path)
    store.create(HASH_KEY)
    store.add(ENTRY)
    store.add(PAIR)
    return path


def test_entries_are_read_as_they_were_written(path: Path) -> None:
    assert KeyStore(path).entries() == [ENTRY, PAIR]
    assert KeyStore(path).hash_key() == HASH_KEY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_key_without_limits_costs_no_meter(path: Path) -> None:
    """The limiter asks whether they are these very limits."""
    limited, free = KeyStore(path).entries()
    assert limited.key.identity.limits == LIMITS
    assert free.key.identity.limits is NO_LIMITS


def test_store_is_created_once(path: Path) -> None:
    KeyStore(path).create(b"i" * 32)
    assert KeyStore(path).hash_key() == HASH_KEY


def test_key_is_revoked_and_stays_so(path: Path) -> None:
    store = KeyStore(path)
    assert not store.revoke("k9", 7.0)
    assert store.revoke("k1", 7.0)
    assert store.revoke("k1", 9.0)
    assert [entry.key.revoked_at for entry in store.entries()] == [7.0, 0.0]
    assert store.revoke("k1", 3.0)
    assert store.entries()[0].key.revoked_at == 3.0


def test_an_id_is_used_once(path: Path) -> None:
    with pytest.raises(KeySourceError, match="UNIQUE"):
        KeyStore(path).add(PAIR)


def test_process_that_is_killed_while_it_writes_leaves_the_store_as_it_was(path: Path) -> None:
    program = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA cache_size = 1')\n"
        "connection.execute('BEGIN')\n"
        "connection.execute('DELETE FROM keys')\n"
        "connection.execute('CREATE TABLE fill AS SELECT randomblob(100000)')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, path], check=False).returncode == -9
    assert path.with_name(path.name + "-journal").exists()
    assert KeyStore(path).entries() == [ENTRY, PAIR]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "has format 0"),
        (b"no database" * 1000, "file is not a database; it is no file of asectl key"),
    ],
)
def test_other_files_are_refused(path: Path, content: bytes, problem: str) -> None:
    path.write_bytes(content)
    with pytest.raises(KeySourceError, match=problem):
        KeyFile(KeyStore(path))


def test_half_a_file_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(KeySourceError, match=r"keys\.sqlite: "):
        KeyFile(KeyStore(path))


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(KeySourceError, match=r"No such file.*; run asectl key create"):
        KeyFile(KeyStore(tmp_path / "keys.sqlite"))
    assert not (tmp_path / "keys.sqlite").exists()
    with pytest.raises(KeySourceError, match="cannot be created: No such file"):
        KeyStore(tmp_path / "missing" / "keys.sqlite").create(HASH_KEY)


def test_locked_store_says_so(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(KeySourceError, match="locked; another process writes it"):
            KeyStore(path, lock_timeout=0.01).entries()


def test_changes_are_read_and_failures_keep_the_last_keys(path: Path) -> None:
    keys = KeyFile(KeyStore(path))
    first = keys.table()
    assert len(first) == 2
    assert keys.refresh() == ""
    assert keys.table() is first
    KeyStore(path).add(KeyEntry(replace(PAIR.key, identity=Identity("x", "k3")), 3.0))
    assert keys.refresh() == ""
    assert len(keys.table()) == 3
    content = path.read_bytes()
    path.write_bytes(b"x" * 100)
    assert "not a database" in keys.refresh()
    assert len(keys.table()) == 3
    path.write_bytes(content)
    assert keys.refresh() == ""
    path.unlink()
    assert "No such file" in keys.refresh()
    assert len(keys.table()) == 3


class LogEvents(logging.Handler):
    """The messages that are logged; `next` waits for one more."""

    def __init__(self) -> None:
        super().__init__()
        self._queue: asyncio.Queue[str] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self._queue.put_nowait(record.getMessage())

    async def next(self) -> str:
        async with asyncio.timeout(30):
            return await self._queue.get()


def test_gateway_logs_a_failure_once_and_the_change_after_it(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    keys, store, content = KeyFile(KeyStore(path)), KeyStore(path), path.read_bytes()
    refreshes = 0

    class Counted:
        def table(self) -> KeyTable:
            return keys.table()

        def refresh(self) -> str:
            nonlocal refreshes
            refreshes += 1
            if refreshes == 5:
                path.write_bytes(content)
                store.revoke("k2", 1.0)
            return keys.refresh()

    async def main() -> list[str]:
        events = LogEvents()
        logging.getLogger("ase.gateway").addHandler(events)
        watch = asyncio.ensure_future(watch_keys(Counted(), 0.001))
        try:
            return [await events.next(), await events.next()]
        finally:
            watch.cancel()
            logging.getLogger("ase.gateway").removeHandler(events)

    path.write_bytes(b"x" * 100)
    assert asyncio.run(main()) == ["keys not read; the last ones stay valid", "keys changed"]
    assert refreshes >= 5


def test_a_file_of_the_format_without_roles_is_read_and_changed_by_the_next_key(
    path: Path,
) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE keys DROP COLUMN roles")
        connection.execute("PRAGMA user_version = 1")
    store = KeyStore(path)
    assert store.entries() == [ENTRY, PAIR]
    assert store.revoke("k2", 7.0)
    identity = Identity("ops", "k3", method="key", roles=frozenset({"editor@shop", "reader"}))
    with_roles = KeyEntry(StoredKey(identity, b"3" * 32), 3.0)
    store.add(with_roles)
    assert store.entries()[2] == with_roles
    assert store.entries()[0] == ENTRY
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
