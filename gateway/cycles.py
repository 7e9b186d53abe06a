"""uvicorn's cycle of a request that goes to Starlette; what it writes goes by the outbox."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.door import WAKE_RECEIVE_KEY
from gateway.outbox import WriteBatcher


class _BatchingTransport:
    """A transport as a cycle uses one; head and body of an answer are one write."""

    def __init__(self, transport: asyncio.Transport, write_batcher: WriteBatcher) -> None:
        self._transport = transport
        self._write_batcher = write_batcher
        self._call_soon = asyncio.get_running_loop().call_soon
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        self._write_batcher.put(self._transport, data, self._call_soon)

    def close(self) -> None:
        self._write_batcher.flush()
        self._transport.close()


def create_asgi_cycle(
    connection: HttpToolsProtocol,
    write_batcher: WriteBatcher,
    *,
    expects_continue: bool,
    keep_alive: bool,
) -> RequestResponseCycle:
    """Return the cycle of the request whose scope a connection has just made."""
    message_event = asyncio.Event()
    cast("dict[str, Any]", connection.scope)[WAKE_RECEIVE_KEY] = message_event.set
    return RequestResponseCycle(
        scope=connection.scope,
        transport=cast(
            "asyncio.Transport", _BatchingTransport(connection.transport, write_batcher)
        ),
        flow=connection.flow,
        logger=connection.logger,
        access_logger=connection.access_logger,
        access_log=False,
        default_headers=connection.server_state.default_headers,
        message_event=message_event,
        expect_100_continue=expects_continue,
        keep_alive=keep_alive,
        on_response=connection.on_response_complete,
    )
