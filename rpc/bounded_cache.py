"""A cache of bounded size, which evicts the entry that was added first. Pure."""

from typing import Final, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """Values by key, at most `max_entries` of them.

    Adding a new key to a full cache evicts the entry that was added first, whether it was read or
    not: a lookup then costs no more than one in a dict. Values are never None.
    """

    __slots__ = ("_entries", "_max_entries")

    def __init__(self, max_entries: int) -> None:
        self._entries: Final[dict[Key, Value]] = {}
        self._max_entries = max_entries

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Value | None:
        """Return the value of a key, or None."""
        return self._entries.get(key)

    def add(self, key: Key, value: Value) -> None:
        """Add an entry as the latest one; an entry of the same key is replaced."""
        entries = self._entries
        entries.pop(key, None)
        if len(entries) >= self._max_entries:
            del entries[next(iter(entries))]
        entries[key] = value

    def pop(self, key: Key) -> Value | None:
        """Remove an entry; return its value, or None if there is none."""
        return self._entries.pop(key, None)
