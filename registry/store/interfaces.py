"""What the registry needs of a store: records by key with revisions, in transactions. Values only.

Both stores pass the same tests (`tests/registry/store`).
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol


class ConflictError(Exception):
    """A transaction expected other revisions than the store has; nothing was changed."""


class StoreCompactedError(Exception):
    """The changes after a revision are not kept any more; `oldest` is the first that can follow."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"changes before revision {oldest} are not kept")
        self.oldest = oldest


class StoreError(Exception):
    """The store cannot be read or written now; `str()` says where, why, and the cure."""


class StoreLockedError(StoreError):
    """Another process has the store, which takes one at a time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record, and the revision at which it was last changed."""

    value: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class RecordChange:
    """The new value of a key, None if it was deleted."""

    key: str
    value: bytes | None


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What one transaction has changed, at its revision."""

    revision: int
    changes: tuple[RecordChange, ...]


@dataclass(frozen=True, slots=True)
class Transaction:
    """Changes that are made together or not at all.

    `expected` are the revisions that keys must have, 0: the key must not exist.
    """

    puts: Mapping[str, bytes] = field(default_factory=dict)
    deletes: frozenset[str] = frozenset()
    expected: Mapping[str, int] = field(default_factory=dict)


class Store(Protocol):
    """Records by key. Revisions count the transactions of the store and never go back.

    Every method raises StoreError if the store cannot be reached, read or written.
    """

    async def read(self, prefix: str, *, after: str = "", limit: int = 0) -> dict[str, Entry]:
        """Return the records whose key begins with `prefix`, ordered by key.

        `after` leaves out the keys up to and with it; `limit` is their number at most, 0: all.
        """

    async def get(self, key: str) -> Entry | None:
        """Return one record, None if there is none."""

    async def put_content(self, digest: str, content: bytes) -> None:
        """Keep a content by its digest; it never changes, and is no part of `watch`."""

    async def get_content(self, digest: str) -> bytes | None:
        """Return a content, None if there is none of that digest."""

    async def revision(self) -> int:
        """Return the revision of the last transaction."""

    async def commit(self, transaction: Transaction) -> int:
        """Make the changes and return their revision, when they will outlive a crash.

        Raises ConflictError if a key has another revision than expected.
        """

    def watch(self, after: int) -> AsyncIterator[ChangeSet]:
        """Yield every later transaction, in order and without a gap, as it is committed.

        Raises StoreCompactedError if the next one is not kept any more.
        """

    async def close(self) -> None:
        """Release what the store has open."""


class Presence(Protocol):
    """Who is here: short texts by key that all registries of a cluster see, until their end.

    Entries of a registry that has died end by themselves.
    """

    async def put(self, entries: Mapping[str, bytes | None]) -> None:
        """Set entries; None removes one. Raises StoreError."""

    async def read(self) -> Mapping[str, bytes]:
        """Return all entries. Raises StoreError."""

    def watch(self) -> AsyncIterator[Mapping[str, bytes | None]]:
        """Yield all entries, then what changes. Raises StoreError."""

    async def close(self) -> None:
        """Remove the entries of this registry."""
