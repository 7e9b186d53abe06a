"""The keys that are valid, as one snapshot of the store. Pure.

A store loads a new table when it changes; requests are checked against the table alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.access import api_key
from gateway.access.identity import Identity


@dataclass(frozen=True, slots=True)
class StoredKey:
    """An API key, or a pair of key and secret for signatures.

    `key_hash` is the hash of an API key (`api_key.key_hash`), `secret` the secret of a pair; the
    other one is empty. `expires_at` and `revoked_at` are Unix times in seconds, 0 means never.
    """

    identity: Identity
    key_hash: bytes = b""
    secret: str = ""
    expires_at: float = 0.0
    revoked_at: float = 0.0

    def problem(self, now: float) -> str:
        """Return why the key is not valid at the Unix time `now`; "" if it is."""
        if self.revoked_at and now >= self.revoked_at:
            return "it was revoked"
        if self.expires_at and now >= self.expires_at:
            return "it has expired"
        return ""


class KeyTable:
    """The keys of a store by their hash, and the pairs by the name that requests give."""

    __slots__ = ("_by_id", "_hash_key", "_keys", "_pairs", "revoked")

    def __init__(self, hash_key: bytes, keys: Iterable[StoredKey]) -> None:
        """Create a table; `hash_key` is the key of the hashes. `revoked` keys are counted."""
        self._hash_key = hash_key
        self.revoked = 0
        self._keys: dict[bytes, StoredKey] = {}
        self._pairs: dict[str, StoredKey] = {}
        self._by_id: dict[str, StoredKey] = {}
        for key in keys:
            self.revoked += key.revoked_at > 0.0
            self._by_id[key.identity.key_id] = key
            if key.secret:
                self._pairs[key.identity.key_id] = key
            else:
                self._keys[key.key_hash] = key

    def __len__(self) -> int:
        return len(self._keys) + len(self._pairs)

    def find_key(self, key: str) -> StoredKey | None:
        """Return the stored key of an API key.

        Only hashes are compared, so that the time says nothing about keys that exist.
        """
        return self._keys.get(api_key.key_hash(key, self._hash_key))

    def find_by_id(self, key_id: str) -> StoredKey | None:
        """Return the key or pair of an id."""
        return self._by_id.get(key_id)

    def find_pair(self, key_id: str) -> StoredKey | None:
        """Return the pair whose public half is `key_id`."""
        return self._pairs.get(key_id)


EMPTY_TABLE: Final = KeyTable(bytes(api_key.HASH_KEY_BYTES), ())


class KeySourceError(Exception):
    """Keys cannot be read or written; `str()` says where, why, and what to do if it is known."""


class KeySource(Protocol):
    """Where keys come from: a file, and the registry later."""

    def table(self) -> KeyTable:
        """Return the keys as last read."""

    def refresh(self) -> str:
        """Read the keys again if they changed; return what went wrong, "" if nothing did.

        After a failure the last table stays.
        """


class StaticKeys:
    """A key source that never changes."""

    def __init__(self, table: KeyTable = EMPTY_TABLE) -> None:
        self._table = table

    def table(self) -> KeyTable:
        """Return the table."""
        return self._table

    def refresh(self) -> str:
        """Do nothing."""
        return ""
