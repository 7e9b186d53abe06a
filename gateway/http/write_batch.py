"""Answers of one turn of the loop, written one behind the other.

Between two answers there is all the work of the second. Whoever reads them would be woken for each,
and the processor's caches turned over twice; written together they cost a third less.
"""

import asyncio
from collections.abc import Callable
from typing import Final

_MAX_PENDING_BYTES: Final = 1 << 18


class WriteBatcher:
    """What is to be written to all connections of a gateway when this turn of the loop is over.

    Order is kept, and no more than 256 KiB. `flush` before a connection is written to in another
    way, or closed.
    """

    __slots__ = ("_pending", "_pending_bytes")

    def __init__(self) -> None:
        self._pending: list[tuple[asyncio.Transport, bytes]] = []
        self._pending_bytes = 0

    def put(
        self, transport: asyncio.Transport, data: bytes, call_soon: Callable[..., object]
    ) -> None:
        """Take what is to be written; `call_soon` is the loop's."""
        pending = self._pending
        if not pending:
            call_soon(self.flush)
        pending.append((transport, data))
        self._pending_bytes += len(data)
        if self._pending_bytes > _MAX_PENDING_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits; what one connection was given in a row is one write."""
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        index, count = 0, len(pending)
        while index < count:
            transport, data = pending[index]
            index += 1
            if index < count and pending[index][0] is transport:
                chunks = [data]
                while index < count and pending[index][0] is transport:
                    chunks.append(pending[index][1])
                    index += 1
                data = b"".join(chunks)
            if not transport.is_closing():
                transport.write(data)
