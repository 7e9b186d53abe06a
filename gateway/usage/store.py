"""The file of usage: a SQLite database that all gateway processes write, and `asectl usage` reads.

The request id is the primary key: a row that is written again, because it was not known whether it
had been, counts once.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gateway.access.meters import period_start
from gateway.usage.row import UsageRow
from schemas.model.errors import (
    CONCURRENCY_LIMITED,
    QUOTA_USED,
    RATE_LIMITED,
    SERVICE_NOT_ALLOWED,
)

_FORMAT: Final = 2  # of the tables, as PRAGMA user_version
_LOCK_TIMEOUT_S: Final = 5.0
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS usage (
    sid TEXT PRIMARY KEY, at REAL NOT NULL, app TEXT NOT NULL, key TEXT NOT NULL,
    service TEXT NOT NULL, code INTEGER NOT NULL, bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL, loader_s REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS usage_at ON usage (at);
CREATE TABLE IF NOT EXISTS units (
    sid TEXT NOT NULL, name TEXT NOT NULL, amount INTEGER NOT NULL, PRIMARY KEY (sid, name)
) WITHOUT ROWID;
"""
_INSERT: Final = "INSERT OR IGNORE INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
GROUPS: Final = ("app", "key", "service", "code")
_SUM_NAMES: Final = ("requests", "errors", "bytes_in", "bytes_out", "loader_s")
_SUMS: Final = (
    "COUNT(*) AS requests, SUM(code != 0) AS errors, SUM(bytes_in) AS bytes_in, "
    "SUM(bytes_out) AS bytes_out, ROUND(SUM(loader_s), 3) AS loader_s"
)


# Codes of requests that were refused before they counted.
_REFUSALS: Final = tuple(
    spec.code for spec in (SERVICE_NOT_ALLOWED, QUOTA_USED, RATE_LIMITED, CONCURRENCY_LIMITED)
)


class UsageStoreError(Exception):
    """The file cannot be read or written; `str()` says which, and why."""


class UsageStore:
    """The rows of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def create(self) -> None:
        """Create the file if there is none. Raises UsageStoreError."""
        with self._connect() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_TABLES)
            connection.execute(f"PRAGMA user_version = {_FORMAT}")

    def add(self, rows: Sequence[UsageRow]) -> None:
        """Write rows in one transaction. Raises UsageStoreError."""
        with self._connect() as connection:
            connection.executemany(_INSERT, [row[:-1] for row in rows])
            units = [(row.sid, *item) for row in rows for item in row.units.items()]
            connection.executemany("INSERT OR IGNORE INTO units VALUES (?, ?, ?)", units)

    def delete_before(self, at: float) -> None:
        """Delete the rows of what ended before the Unix time `at`. Raises UsageStoreError."""
        with self._connect() as connection:
            connection.execute(
                "DELETE FROM units WHERE sid IN (SELECT sid FROM usage WHERE at < ?)", [at]
            )
            connection.execute("DELETE FROM usage WHERE at < ?", [at])

    def sums(self, groups: Sequence[str], since: float) -> list[dict[str, Any]]:
        """Return the sums since a Unix time, by `groups`, which are some of `GROUPS`.

        `units` of a row are sums by their name. Raises UsageStoreError.
        """
        columns = ", ".join(name for name in GROUPS if name in groups)
        by = f" GROUP BY {columns} ORDER BY requests DESC" if columns else ""
        query = f"SELECT {columns}{', ' if columns else ''}{_SUMS} FROM usage WHERE at >= ?{by}"  # noqa: S608 (names of columns)
        with self._connect() as connection:
            cursor = connection.execute(query, [since])
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
            units = self._unit_sums(connection, columns, since)
        group_names = names[: -len(_SUM_NAMES)]
        return [
            {**row, "units": units.get(tuple(row[name] for name in group_names), {})}
            for row in rows
        ]

    def _unit_sums(
        self, connection: sqlite3.Connection, columns: str, since: float
    ) -> dict[tuple[Any, ...], dict[str, int]]:
        """Return the sums of units by name, for each group; none of a file of before there were."""
        query = "SELECT 1 FROM sqlite_master WHERE name = 'units'"
        if connection.execute(query).fetchone() is None:
            return {}
        by = f"{columns}, name" if columns else "name"
        rows = connection.execute(
            f"SELECT {by}, SUM(amount) FROM units JOIN usage USING (sid) WHERE at >= ? "  # noqa: S608
            f"GROUP BY {by}",
            [since],
        )
        sums: dict[tuple[Any, ...], dict[str, int]] = {}
        for *group, name, amount in rows:
            sums.setdefault(tuple(group), {})[name] = amount
        return sums

    def used_by_key(self, wall_now: float) -> Mapping[str, tuple[int, int]]:
        """Return the requests of each key in the present day and month that were not refused.

        Raises UsageStoreError.
        """
        day, month = period_start(wall_now, 1), period_start(wall_now, 30)
        query = (
            "SELECT key, SUM(at >= ?), COUNT(*) FROM usage "
            "WHERE at >= ? AND key != '' AND code NOT IN (?, ?, ?, ?) GROUP BY key"
        )
        with self._connect() as connection:
            rows = connection.execute(query, [day, month, *_REFUSALS]).fetchall()
        return {key: (int(of_day), int(of_month)) for key, of_day, of_month in rows}

    @contextlib.contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            with (
                contextlib.closing(
                    sqlite3.connect(self._path, timeout=_LOCK_TIMEOUT_S)
                ) as connection,
                connection,
            ):
                connection.execute("PRAGMA synchronous = NORMAL")
                yield connection
        except sqlite3.Error as error:
            raise UsageStoreError(f"{self._path}: {error}") from error
