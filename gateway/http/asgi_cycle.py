"""uvicorn's cycle of a request that Starlette serves; it writes through the `WriteBatcher`."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.http.server_context import BODY_ERROR_KEY, WAKE_RECEIVE_KEY
from gateway.http.write_batch import WriteBatcher
from schemas.model.errors import AseError


class _BatchingTransport:
    """The part of a transport that a cycle uses; head and body of a response become one write."""

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


class _CloseDelimitedCycle(RequestResponseCycle):
    """A response to HTTP/1.0: a body of unknown length ends with the connection (RFC 9112, 6.3)."""

    async def send(self, message: Any) -> None:
        """Send a message of the application, without the chunked coding."""
        if message["type"] == "http.response.start":
            names = [name.lower() for name, _ in message.get("headers", ())]
            self._has_length = b"content-length" in names
            if not self._has_length:
                self.chunked_encoding = False
        elif not self._has_length:
            self.expected_content_length = len(message.get("body", b""))  # of this part
        await super().send(message)


class AsgiCycle:
    """A request that the ASGI application serves, as a `Cycle`; uvicorn's own cycle does the rest.

    `start_task` runs the application for uvicorn's cycle. `chunked`: the client knows the chunked
    transfer coding.

    If the application does not read the body (`reads_body`), it is run when all of the body has
    arrived and was dropped: otherwise it could answer 200 to a request whose body is malformed.
    `_drops_body` is True until then. If the body fails, `send_error` answers it.
    """

    def __init__(
        self,
        connection: HttpToolsProtocol,
        write_batcher: WriteBatcher,
        start_task: Callable[[RequestResponseCycle], None],
        send_error: Callable[[AseError], None],
        *,
        reads_body: bool,
        expects_continue: bool,
        keep_alive: bool,
        chunked: bool,
    ) -> None:
        message_event = asyncio.Event()
        scope = cast("dict[str, Any]", connection.scope)
        scope[WAKE_RECEIVE_KEY] = message_event.set
        transport = _BatchingTransport(connection.transport, write_batcher)
        self._transport = transport
        self._start_task = start_task
        self._send_error = send_error
        self._drops_body = not reads_body
        self._expects_continue = expects_continue
        self._is_started = False
        self._error: AseError | None = None
        cycle_type = RequestResponseCycle if chunked else _CloseDelimitedCycle
        self._cycle = cycle_type(
            scope=connection.scope,
            transport=cast("asyncio.Transport", transport),
            flow=connection.flow,
            logger=connection.logger,
            access_logger=connection.access_logger,
            access_log=False,
            default_headers=connection.server_state.default_headers,
            message_event=message_event,
            expect_100_continue=expects_continue and reads_body,
            keep_alive=keep_alive,
            on_response=connection.on_response_complete,
        )

    @property
    def keep_alive(self) -> bool:
        """Return whether the connection is kept after the response."""
        return self._cycle.keep_alive

    @keep_alive.setter
    def keep_alive(self, keep: bool) -> None:
        self._cycle.keep_alive = keep

    @property
    def response_complete(self) -> bool:
        """Return whether the response is written."""
        return self._cycle.response_complete

    def start(self) -> None:
        """Run the application, or wait for the end of a body that it does not read."""
        self._is_started = True
        if self._error is not None:
            self._send_error(self._error)
        elif not self._drops_body:
            self._start_task(self._cycle)
        elif self._expects_continue:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def serve(self, body: bytes) -> None:
        """Run the application: the body is whole, and the application reads it."""
        self._cycle.body += body
        self._is_started = True
        self.complete_body()
        self._start_task(self._cycle)

    def add_body_chunk(self, data: bytes) -> int:
        """Hand a chunk to `receive`; return the bytes that it has not read yet."""
        if self._drops_body:
            return 0
        self._cycle.body += data
        self._cycle.message_event.set()
        return len(self._cycle.body)

    def complete_body(self) -> None:
        """Let `receive` return the end of the body; run the application if it waited for that."""
        self._cycle.more_body = False
        self._cycle.message_event.set()
        if self._drops_body:
            self._drops_body = False
            if self._is_started:
                self._start_task(self._cycle)

    def fail_body(self, error: AseError) -> None:
        """End the body with an error, which the application finds in its scope if it runs."""
        self._cycle.keep_alive = False
        if self._drops_body:
            self._error = error
            if self._is_started:
                self._send_error(error)
            return
        cast("dict[str, Any]", self._cycle.scope)[BODY_ERROR_KEY] = error
        self.complete_body()

    def on_disconnect(self) -> None:
        """Let `receive` return the disconnect."""
        self._cycle.disconnected = True
        self._cycle.message_event.set()

    def resume_writing(self) -> None:
        """Do nothing: `send` waits for the flow control of the connection."""
