"""Answers of one turn of the loop, written one behind the other.

Between two answers there is all the work of the second. Whoever reads them would be woken for each,
and the processor's caches turned over twice; written together they cost a third less.
"""

import asyncio
from collections.abc import Callable


class Outbox:
    """What is to be written to all connections of a gateway when this turn of the loop is over.

    Order is kept; `flush` before a connection is written to in another way, or closed.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def put(
        self, transport: asyncio.Transport, data: bytes, call_soon: Callable[..., object]
    ) -> None:
        """Take what is to be written; `call_soon` is the loop's."""
        waiting = self._waiting
        if not waiting:
            call_soon(self.flush)
        waiting.append((transport, data))

    def flush(self) -> None:
        """Write what waits."""
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            if not transport.is_closing():
                transport.write(data)
