"""The records of the registry in one SQLite file, for one registry process.

The write-ahead log is synced before a commit returns (`synchronous = FULL`), so that what was
acknowledged outlives a crash of the machine (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

import asyncio
import contextlib
import fcntl
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from registry.store.interfaces import (
    ChangeSet,
    ConflictError,
    Entry,
    RecordChange,
    StoreCompactedError,
    StoreError,
    StoreLockedError,
    Transaction,
)

_Result = TypeVar("_Result")

_FORMAT: Final = 1  # of the tables, as PRAGMA user_version
_LOCK_TIMEOUT_S: Final = 2.0
_TABLES: Final = """
CREATE TABLE records (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL);
CREATE TABLE contents (digest TEXT PRIMARY KEY, content BLOB NOT NULL);
CREATE TABLE history (
    revision INTEGER NOT NULL, position INTEGER NOT NULL, key TEXT NOT NULL, value BLOB,
    PRIMARY KEY (revision, position)
);
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO meta VALUES ('revision', 0), ('oldest', 1);
"""
_PUT: Final = """
INSERT INTO records VALUES (?1, ?2, ?3)
ON CONFLICT (key) DO UPDATE SET value = ?2, revision = ?3
"""
# Old history is deleted when this many revisions more than asked for are kept.
_TRIM_STEP: Final = 100
_PAGE: Final = 100  # revisions that a watch reads at once
BACKUP_SUFFIX: Final = ".backup"


class SqliteStore:
    """A `Store` in a file. One thread reads and writes it, in the order of the calls.

    `_committed` is set by each commit, to wake those that watch. `_history` is the number of
    revisions that `watch` can resume from.
    """

    def __init__(self, path: Path, history: int = 10_000) -> None:
        """Use the file at `path`; `open` creates it."""
        self._path = path
        self._history = history
        self._thread = ThreadPoolExecutor(1, "registry-store")
        self._connection: sqlite3.Connection | None = None
        self._committed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
        self._lock_file: IO[bytes] | None = None

    async def open(self) -> str:
        """Open the file; create it if it is missing. Return what a damaged file was replaced by.

        A file that fails SQLite's check is kept under another name, and the newest backup takes
        its place; the result says so. It is "" for a file without a fault. Raises StoreError if it
        cannot be opened, or is damaged and there is no backup.
        """
        self._loop = asyncio.get_running_loop()
        return await self._run(self._open)

    async def read(self, prefix: str, *, after: str = "", limit: int = 0) -> dict[str, Entry]:
        """Return records; see `Store`."""

        def select(connection: sqlite3.Connection) -> dict[str, Entry]:
            rows = connection.execute(
                "SELECT key, value, revision FROM records "
                "WHERE key >= ?1 AND key < ?2 AND key > ?3 ORDER BY key LIMIT ?4",
                [prefix, prefix + "\U0010ffff", after, limit or -1],
            )
            return {key: Entry(value, revision) for key, value, revision in rows}

        return await self._execute(select)

    async def get(self, key: str) -> Entry | None:
        """Return one record; see `Store`."""

        def select(connection: sqlite3.Connection) -> Entry | None:
            query = "SELECT value, revision FROM records WHERE key = ?"
            row = connection.execute(query, [key]).fetchone()
            return Entry(*row) if row else None

        return await self._execute(select)

    async def put_content(self, digest: str, content: bytes) -> None:
        """Keep a content; see `Store`."""

        def insert(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute(
                    "INSERT OR IGNORE INTO contents VALUES (?, ?)", [digest, content]
                )

        await self._execute(insert)

    async def get_content(self, digest: str) -> bytes | None:
        """Return a content; see `Store`."""

        def select(connection: sqlite3.Connection) -> bytes | None:
            query = "SELECT content FROM contents WHERE digest = ?"
            row = connection.execute(query, [digest]).fetchone()
            return row[0] if row else None

        return await self._execute(select)

    async def revision(self) -> int:
        """Return the revision of the last transaction."""
        return await self._execute(_read_revision)

    async def commit(self, transaction: Transaction) -> int:
        """Make the changes; see `Store`."""
        return await self._execute(lambda connection: self._commit(connection, transaction))

    def _wake_watchers(self) -> None:
        """Wake those that watch; called in the thread, also when the caller was cancelled."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(self._note_commit)

    def _note_commit(self) -> None:
        self._committed.set()

    async def watch(self, after: int) -> AsyncIterator[ChangeSet]:
        """Yield later transactions; see `Store`."""
        revision = after
        while True:
            committed = self._committed
            page = await self._execute(partial(_read_history, after=revision))
            for change_set in page:
                yield change_set
                revision = change_set.revision
            if page:
                continue
            await committed.wait()
            if self._committed is committed:
                self._committed = asyncio.Event()

    async def backup(self, path: Path | None = None) -> Path:
        """Write a copy of the whole store and return its path, by default beside the store.

        It appears when it is whole (https://www.sqlite.org/backup.html). Raises StoreError.
        """
        destination = path or self._path.with_name(self._path.name + BACKUP_SUFFIX)

        def copy(connection: sqlite3.Connection) -> Path:
            part = destination.with_name(destination.name + ".part")
            part.unlink(missing_ok=True)
            part.touch(0o600)  # like the store: it may have files of keys
            with contextlib.closing(sqlite3.connect(part)) as target:
                connection.backup(target)
            part.replace(destination)
            return destination

        return await self._execute(copy)

    async def close(self) -> None:
        """Close the file, when what runs has ended."""
        if self._is_closed:
            return
        self._is_closed = True
        with contextlib.suppress(StoreError):
            await self._run(self._close)
        self._thread.shutdown()

    def _open(self) -> str:
        self._lock()
        try:
            return self._open_locked()
        except BaseException:
            self._unlock()
            raise

    def _open_locked(self) -> str:
        replaced = ""
        try:
            connection = _connect(self._path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            replaced = self._restore(str(error))
            connection = _connect(self._path)
        self._connection = connection
        return replaced

    def _lock(self) -> None:
        """Keep other registries from the file: each would serve what the others do not know."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock_path = self._path.with_name(f"{self._path.name}.lock")
        self._lock_file = lock_path.open("ab")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._unlock()
            cure = "only one process may use a file; with etcd there may be several"
            raise StoreLockedError(f"{self._path}: another process uses it; {cure}") from None

    def _unlock(self) -> None:
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    def _restore(self, fault: str) -> str:
        """Put the backup in the place of a damaged file; return what was done."""
        backup = self._path.with_name(self._path.name + BACKUP_SUFFIX)
        if not backup.exists():
            cure = "restore it from a copy; asectl registry backup makes one"
            raise StoreError(f"{self._path}: damaged ({fault}), and there is no {backup}; {cure}")
        damaged = self._path.with_name(f"{self._path.name}.damaged-{int(time.time())}")
        for suffix in ("", "-wal", "-shm"):
            file = self._path.with_name(self._path.name + suffix)
            if file.exists():
                file.rename(damaged.with_name(damaged.name + suffix))
        self._path.touch(0o600)
        self._path.write_bytes(backup.read_bytes())
        made_at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(backup.stat().st_mtime))
        return f"damaged ({fault}); kept as {damaged.name}, and the backup of {made_at} UTC is used"

    def _commit(self, connection: sqlite3.Connection, transaction: Transaction) -> int:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for key, expected in transaction.expected.items():
                query = "SELECT revision FROM records WHERE key = ?"
                row = connection.execute(query, [key]).fetchone()
                if (row[0] if row else 0) != expected:
                    raise ConflictError(key)
            revision = _read_revision(connection) + 1
            rows: list[tuple[str, bytes | None]] = [*transaction.puts.items()]
            rows += [(key, None) for key in sorted(transaction.deletes)]
            for position, (key, value) in enumerate(rows):
                if value is None:
                    connection.execute("DELETE FROM records WHERE key = ?", [key])
                else:
                    connection.execute(_PUT, [key, value, revision])
                connection.execute(
                    "INSERT INTO history VALUES (?, ?, ?, ?)", [revision, position, key, value]
                )
            connection.execute("UPDATE meta SET value = ? WHERE name = 'revision'", [revision])
            if revision % _TRIM_STEP == 0:
                oldest = max(1, revision - self._history + 1)
                connection.execute("DELETE FROM history WHERE revision < ?", [oldest])
                connection.execute("UPDATE meta SET value = ? WHERE name = 'oldest'", [oldest])
        self._wake_watchers()
        return revision

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._unlock()

    async def _execute(self, operation: Callable[[sqlite3.Connection], _Result]) -> _Result:
        connection = self._connection
        if connection is None or self._is_closed:
            raise StoreError(f"{self._path}: the store is closed")
        return await self._run(lambda: operation(connection))

    async def _run(self, operation: Callable[[], _Result]) -> _Result:
        """Run an operation in the thread of the file; raise its errors as StoreError."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, operation)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self._path}: {error}; {_cure(error)}") from error


def _connect(path: Path) -> sqlite3.Connection:
    """Open a file and create its tables if it has none. Raises sqlite3.Error or StoreError."""
    path.touch(0o600)  # there may be a file of keys among the contents
    connection = sqlite3.connect(
        path, timeout=_LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, _FORMAT):
            raise StoreError(f"{path}: it has format {version} and not {_FORMAT}")
        if version == 0:
            connection.executescript(f"BEGIN;{_TABLES}PRAGMA user_version = {_FORMAT};COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection


def _read_revision(connection: sqlite3.Connection) -> int:
    row: Any = connection.execute("SELECT value FROM meta WHERE name = 'revision'").fetchone()
    return int(row[0])


def _read_history(connection: sqlite3.Connection, after: int) -> list[ChangeSet]:
    """Return the next transactions after a revision, a page. Raises StoreCompactedError."""
    (oldest,) = connection.execute("SELECT value FROM meta WHERE name = 'oldest'").fetchone()
    # A revision that the store has not reached is one of a store before a backup was restored.
    if after + 1 < oldest or after > _read_revision(connection):
        raise StoreCompactedError(oldest)
    rows = connection.execute(
        "SELECT revision, key, value FROM history WHERE revision > ?1 AND revision <= ?2 "
        "ORDER BY revision, position",
        [after, after + _PAGE],
    )
    changes: dict[int, list[RecordChange]] = {}
    for revision, key, value in rows:
        changes.setdefault(revision, []).append(RecordChange(key, value))
    return [ChangeSet(revision, tuple(items)) for revision, items in changes.items()]


def _cure(error: Exception) -> str:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return "another process writes it; only one registry may use a file"
    return "see that its disk has room and that this user may write it"
