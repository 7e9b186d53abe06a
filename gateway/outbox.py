"""Answers of one turn of the loop, written one behind the other.

Between two answers there is all the work of the second. Whoever reads them would be woken for each,
and the processor's caches turned over twice; written together they cost a third less.
"""

import asyncio
from collections.abc import Callable
from typing import Final

_MOST: Final = 1 << 18


class Outbox:
    """What is to be written to all connections of a gateway when this turn of the loop is over.

    Order is kept, and no more than 256 KiB. `flush` before a connection is written to in another
    way, or closed.
    """

    __slots__ = ("_size", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []
        self._size = 0

    def put(
        self, transport: asyncio.Transport, data: bytes, call_soon: Callable[..., object]
    ) -> None:
        """Take what is to be written; `call_soon` is the loop's."""
        waiting = self._waiting
        if not waiting:
            call_soon(self.flush)
        waiting.append((transport, data))
        self._size += len(data)
        if self._size > _MOST:
            self.flush()

    def flush(self) -> None:
        """Write what waits; what one connection was given in a row is one write."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        at, end = 0, len(waiting)
        while at < end:
            transport, data = waiting[at]
            at += 1
            if at < end and waiting[at][0] is transport:
                pieces = [data]
                while at < end and waiting[at][0] is transport:
                    pieces.append(waiting[at][1])
                    at += 1
                data = b"".join(pieces)
            if not transport.is_closing():
                transport.write(data)
