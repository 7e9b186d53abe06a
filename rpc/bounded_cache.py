"""A cache of bounded size, which evicts the entry that was added first. Pure."""

from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """Values by key, at most `max_entries` of them.

    `entries` is a plain dict, oldest entry first: callers read it and remove entries from it, at no
    more cost than that of a dict. Only `add` adds to it. Adding a new key to a full cache evicts
    the entry that was added first, whether it was read or not.
    """

    __slots__ = ("_max_entries", "entries")

    def __init__(self, max_entries: int) -> None:
        self.entries: dict[Key, Value] = {}
        self._max_entries = max_entries

    def add(self, key: Key, value: Value) -> None:
        """Add an entry as the latest one; an entry of the same key is replaced."""
        entries = self.entries
        entries.pop(key, None)
        if len(entries) >= self._max_entries:
            del entries[next(iter(entries))]
        entries[key] = value
