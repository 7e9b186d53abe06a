"""Who is here, in the memory of the only registry process."""

import asyncio
from collections.abc import AsyncIterator, Mapping


class MemoryPresence:
    """A `Presence` for one process: nothing outlives it."""

    def __init__(self) -> None:
        self._entries: dict[str, bytes] = {}
        self._watchers: set[asyncio.Queue[Mapping[str, bytes | None]]] = set()

    async def put(self, entries: Mapping[str, bytes | None]) -> None:
        """Set or remove entries."""
        for key, value in entries.items():
            if value is None:
                self._entries.pop(key, None)
            else:
                self._entries[key] = value
        for queue in self._watchers:
            queue.put_nowait(entries)

    async def read(self) -> Mapping[str, bytes]:
        """Return all entries."""
        return dict(self._entries)

    async def watch(self) -> AsyncIterator[Mapping[str, bytes | None]]:
        """Yield all entries, then what changes."""
        queue: asyncio.Queue[Mapping[str, bytes | None]] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            yield dict(self._entries)
            while True:
                yield await queue.get()
        finally:
            self._watchers.discard(queue)

    async def close(self) -> None:
        """Remove all entries."""
        await self.put(dict.fromkeys(self._entries))
