"""uvicorn's cycle of a request that goes to Starlette; what it writes goes by the outbox."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.door import WAKE
from gateway.outbox import Outbox


class _Corked:
    """A transport as a cycle uses one; head and body of an answer are one write."""

    def __init__(self, transport: asyncio.Transport, outbox: Outbox) -> None:
        self._transport = transport
        self._outbox = outbox
        self._call_soon = asyncio.get_running_loop().call_soon
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        self._outbox.put(self._transport, data, self._call_soon)

    def close(self) -> None:
        self._outbox.flush()
        self._transport.close()


def asgi_cycle(
    door: HttpToolsProtocol, outbox: Outbox, *, expects: bool, keep_alive: bool
) -> RequestResponseCycle:
    """Return the cycle of the request whose scope a connection has just made."""
    event = asyncio.Event()
    cast("dict[str, Any]", door.scope)[WAKE] = event.set
    return RequestResponseCycle(
        scope=door.scope,
        transport=cast("asyncio.Transport", _Corked(door.transport, outbox)),
        flow=door.flow,
        logger=door.logger,
        access_logger=door.access_logger,
        access_log=False,
        default_headers=door.server_state.default_headers,
        message_event=event,
        expect_100_continue=expects,
        keep_alive=keep_alive,
        on_response=door.on_response_complete,
    )
