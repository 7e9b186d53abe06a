"""The store of keys: one SQLite file beside `ase.yaml`, which `asectl key` writes.

All gateway processes read it. SQLite's rollback journal makes each change whole or nothing, also
after a crash (https://www.sqlite.org/atomiccommit.html).
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from gateway.access.api_key import HASH_KEY_BYTES
from gateway.access.identity import NO_LIMITS, CallerLimits, Identity
from gateway.access.key_table import EMPTY_TABLE, KeySourceError, KeyTable, StoredKey

# Of the tables, as PRAGMA user_version. Format 1 had no roles.
_FORMAT: Final = 2
_ADD_ROLES: Final = "ALTER TABLE keys ADD COLUMN roles TEXT NOT NULL DEFAULT '[]'"
_LOCK_TIMEOUT_S: Final = 2.0
_TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE keys (
    id TEXT PRIMARY KEY, app TEXT NOT NULL, hash BLOB NOT NULL, secret TEXT NOT NULL,
    services TEXT NOT NULL, limits TEXT NOT NULL, comment TEXT NOT NULL,
    created_at REAL NOT NULL, expires_at REAL NOT NULL, revoked_at REAL NOT NULL,
    roles TEXT NOT NULL DEFAULT '[]'
);
"""
_INSERT: Final = "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SELECT: Final = """
SELECT id, app, hash, secret, services, limits, comment, created_at, expires_at, revoked_at, {roles}
FROM keys ORDER BY created_at, id
"""
_REVOKE: Final = """
UPDATE keys SET revoked_at = ?1 WHERE id = ?2 AND (revoked_at = 0 OR revoked_at > ?1)
"""


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key with what only its owner reads: when it was created (Unix time), and a comment."""

    key: StoredKey
    created_at: float
    comment: str = ""


class KeyStore:
    """The file of keys. A connection is opened for each operation; there are few of them."""

    def __init__(self, path: Path, lock_timeout: float = _LOCK_TIMEOUT_S) -> None:
        """Use the file at `path`; another process may lock it for `lock_timeout` seconds."""
        self._path = path
        self._lock_timeout = lock_timeout

    def create(self, hash_key: bytes) -> None:
        """Create the file, which only its owner may read, if there is none.

        `hash_key` are the random bytes with which its keys are hashed. Raises KeySourceError.
        """
        if self._path.exists():
            return
        # Made under another name: a process that finds the file finds it whole.
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        try:
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            with _transaction(part, self._lock_timeout) as connection:
                connection.executescript(_TABLES)
                connection.execute("INSERT INTO meta VALUES ('hash_key', ?)", [hash_key])
                connection.execute(f"PRAGMA user_version = {_FORMAT}")
            with contextlib.suppress(FileExistsError):  # another process was faster
                os.link(part, self._path)
        except OSError as error:
            raise KeySourceError(f"{self._path}: cannot be created: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)

    def hash_key(self) -> bytes:
        """Return the bytes with which keys are hashed. Raises KeySourceError."""
        with self._connect() as connection:
            return _hash_key(connection, self._path)

    def add(self, entry: KeyEntry) -> None:
        """Add a key. Raises KeySourceError."""
        key, identity = entry.key, entry.key.identity
        limits = asdict(identity.limits)
        row = [
            identity.key_id, identity.app_id, key.key_hash, key.secret,
            json.dumps(sorted(identity.services)), json.dumps(limits), entry.comment,
            entry.created_at, key.expires_at, key.revoked_at, json.dumps(sorted(identity.roles)),
        ]  # fmt: skip
        with self._connect() as connection:
            if _format(connection) == 1:
                connection.execute(_ADD_ROLES)
                connection.execute(f"PRAGMA user_version = {_FORMAT}")
            connection.execute(_INSERT, row)

    def revoke(self, key_id: str, at: float) -> bool:
        """Revoke a key from the Unix time `at` on; return False if there is none of that id.

        Raises KeySourceError.
        """
        with self._connect() as connection:
            if not connection.execute("SELECT 1 FROM keys WHERE id = ?", [key_id]).fetchone():
                return False
            connection.execute(_REVOKE, [at, key_id])
        return True

    def entries(self) -> list[KeyEntry]:
        """Return all keys in the order of their creation. Raises KeySourceError."""
        with self._connect() as connection:
            roles = "'[]'" if _format(connection) == 1 else "roles"
            rows = connection.execute(_SELECT.format(roles=roles)).fetchall()
            return [_entry(row) for row in rows]

    def load(self) -> tuple[KeyTable, object]:
        """Return the keys, and a token that differs after each change. Raises KeySourceError."""
        token = self.change_token()
        with self._connect() as connection:
            hash_key = _hash_key(connection, self._path)
        return KeyTable(hash_key, [entry.key for entry in self.entries()]), token

    def change_token(self) -> object:
        """Return what differs after each change of the file. Raises KeySourceError."""
        try:
            stat = self._path.stat()
        except OSError as error:
            raise KeySourceError(
                f"{self._path}: {error.strerror}; run asectl key create"
            ) from error
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _connect(self) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        self.change_token()  # a file that is missing must not be created empty
        return _transaction(self._path, self._lock_timeout)


@contextlib.contextmanager
def _transaction(path: Path, lock_timeout: float) -> Iterator[sqlite3.Connection]:
    """Open a file for one transaction: committed at the end, rolled back by an error."""
    try:
        with (
            contextlib.closing(sqlite3.connect(path, timeout=lock_timeout)) as connection,
            connection,
        ):
            yield connection
    except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
        raise KeySourceError(f"{path}: {error}; {_cure(error)}") from error


class KeyFile:
    """The keys of a file, as a gateway process reads them: a `KeySource`."""

    def __init__(self, store: KeyStore) -> None:
        """Read the store. Raises KeySourceError."""
        self._store = store
        self._table, self._token = EMPTY_TABLE, object()
        self._table, self._token = store.load()

    def table(self) -> KeyTable:
        """Return the keys as last read."""
        return self._table

    def refresh(self) -> str:
        """Read the file again if it changed; return what went wrong, "" if nothing did."""
        try:
            if self._store.change_token() != self._token:
                self._table, self._token = self._store.load()
        except KeySourceError as error:
            return str(error)
        return ""


def _cure(error: Exception) -> str:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return "another process writes it; try again"
    if isinstance(error, sqlite3.OperationalError):
        return "see that its disk has room and that this user may write it"
    return "it is no file of asectl key, or damaged; restore it, or create another one"


def _hash_key(connection: sqlite3.Connection, path: Path) -> bytes:
    version = _format(connection)
    if version not in (1, _FORMAT):
        raise KeySourceError(f"{path}: it has format {version} and not {_FORMAT}")
    row = connection.execute("SELECT value FROM meta WHERE name = 'hash_key'").fetchone()
    if row is None or len(row[0]) != HASH_KEY_BYTES:
        raise KeySourceError(f"{path}: its hash key is missing")
    value: bytes = row[0]
    return value


def _format(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _entry(row: tuple[Any, ...]) -> KeyEntry:
    (
        key_id, app, key_hash, secret, services, limits, comment,
        created_at, expires_at, revoked_at, roles,
    ) = row  # fmt: skip
    own_limits = CallerLimits(**json.loads(limits))
    identity = Identity(
        app,
        key_id,
        frozenset(json.loads(services)),
        "hmac" if secret else "key",
        own_limits if own_limits != NO_LIMITS else NO_LIMITS,
        roles=frozenset(json.loads(roles)),
    )
    return KeyEntry(
        StoredKey(identity, key_hash, secret, expires_at, revoked_at), created_at, comment
    )
