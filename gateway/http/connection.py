"""The HTTP/1.1 connection: uvicorn's httptools protocol, with what no ASGI application can do.

It limits requests in size and in time, validates each head in one place, answers pipelined requests
one at a time in the order received, and serves unary requests without an ASGI cycle (`FastPath`).
Rejections have the same envelope as all other errors.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.access.peer import Peer
from gateway.http import head_validation
from gateway.http.asgi_cycle import AsgiCycle
from gateway.http.asgi_scope import asgi_scope
from gateway.http.fast_path import FastPath
from gateway.http.head_reader import PostHead
from gateway.http.memory_limits import UNCOUNTED_BYTES
from gateway.http.pipeline import Cycle, PipelineQueue
from gateway.http.raw_input import RawInput
from gateway.http.server_context import BODY_GRACE_S, ServerContext, slow_body_error
from gateway.http.timeouts import ConnectionTimer, Wait, WriteStallMonitor
from gateway.request import checks
from gateway.request.response import HttpError, HttpResponse
from rpc.certificate import verified_certificate
from rpc.reset import reset_connection
from schemas.model.errors import AseError

# A client that still sends after its last response gets this time, and may send this number of
# bytes, before the connection is closed (RFC 9112, 9.6).
_LINGER_S = 1.0
_LINGER_BYTES = 1 << 20
# Bytes that a client has not read, above which they are counted (`UnreadOutput`) and nothing more
# is written to it. The kernel's buffer, which is full then, keeps a client that reads busy.
# At 4 KiB a session of many small messages pauses too often and carries a fifth fewer of them.
_HIGH_WATER = 1 << 14

# A chunk size beyond this is rejected as malformed, as a Content-Length of 19 digits is.
_MAX_CHUNK = 10**18 - 1
# Bytes before the end of a read in which the head of an incomplete chunk may begin.
_MAX_CHUNK_HEAD = 64
# A body may have this number of chunks of any size.
_MAX_TINY_CHUNKS = 10_000

_BAD_REQUEST_LINE = "the request line must be method, target and HTTP/1.1, with one space between"
_HEADERS_TOO_LARGE = "headers are larger than %d bytes"


class HttpConnection(HttpToolsProtocol):
    """One HTTP/1.1 connection of a client.

    Input: `_in_message` is True from the first byte of a request to its last one, `_in_head` until
    its head is complete. `_is_chunked`: its body is in chunks.
    `_receiving_cycle` is the request whose body is being received, else None.
    With `_ignoring_input` all further input is discarded, because the last request of the
    connection is complete, a request was rejected, or the connection is lost or handed over.
    `_lingering` implies `_ignoring_input`: the last response is written, and the client still gets
    time to read it. `_rewritten_head` is a head without its Upgrade header, to be parsed again.
    `_callback_error` is the error that a parser callback raised; the parser hides it.

    Counters, in bytes: `_header_bytes` of the header fields of the current head, `_body_bytes` of
    the current body, `_skipped_blank_bytes` of the blank line before the current request,
    `_unreported_bytes` read since the parser last reported a header, a chunk or a part of a body,
    `_trailer_bytes` of the trailer fields, `_discarded_bytes` discarded as ignored input.
    `_chunk_count` is the number of chunks of the current body, `_chunk_data_bytes` the bytes of the
    chunk that has begun, or -1 between chunks.

    Timers: `_timer` is armed only while the connection waits for the client to send something.
    `_stall_monitor` aborts the connection of a client that does not read. `_body_started_at` is the
    time of the event loop, in seconds, at which the wait for the current body began.
    """

    def __init__(
        self,
        *,
        server_context: ServerContext,
        source: tuple[str, int] | None = None,
        **uvicorn_args: Any,
    ) -> None:
        """Create it; `source` is the client's address if a load balancer has named it."""
        super().__init__(**uvicorn_args)
        self._source = source
        self._server_context = server_context
        self._limits = server_context.limits
        self._callback_error: HttpError | None = None
        self.url = b""
        self._in_head = self._in_message = self._ignoring_input = self._lingering = False
        self._rewritten_head = b""
        self._header_bytes = self._unreported_bytes = self._body_bytes = (
            self._skipped_blank_bytes
        ) = self._trailer_bytes = self._discarded_bytes = self._chunk_count = 0
        self._chunk_data_bytes = -1
        self._is_chunked = False
        self._raw_input = RawInput()
        # The cycle whose body is arriving; it may be current or wait in the pipeline.
        self._receiving_cycle: Cycle | None = None
        self._body_started_at = 0.0
        self._timer = ConnectionTimer(self.loop, self._on_timeout)

    # The connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the first head; answer 503 if there are too many connections."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._stall_monitor = WriteStallMonitor(
            transport, self._limits.stall_timeout, self._server_context.unread_output
        )
        self._pipeline = PipelineQueue(self.loop, transport, self.flow, self._on_request_started)
        self.client = self._source or self.client
        certificate = verified_certificate(transport.get_extra_info("peercert"))
        self._peer = Peer(self.client[0] if self.client else "", certificate)
        self._fast_path = FastPath(
            self,
            transport,
            self._pipeline,
            self._timer,
            server_context=self._server_context,
            server_state=self.server_state,
            peer=self._peer,
        )
        if len(self.connections) > self._limits.max_connections:
            self._ignoring_input = True
            self._send_error_response(HttpError(503, "too many connections"))
        else:
            self._timer.arm(Wait.HEAD, self._limits.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers and notify the running request."""
        self._detach()
        self._stall_monitor.stop()
        self._server_context.body_budget.release(self)
        self._receiving_cycle = None
        current = self._pipeline.clear()
        if current is not None:
            current.on_disconnect()
        self.flow.resume_writing()
        if exc is None:
            self.transport.close()
        self.parser = None  # type: ignore[assignment]  # breaks the reference cycle, as in uvicorn

    def eof_received(self) -> None:
        """Write the batched responses when the client has sent its last byte.

        Returning None lets asyncio close the transport after its buffer is written.
        """
        self._server_context.write_batcher.flush()

    def shutdown(self) -> None:
        """Close the connection: at once if no request is pending, else after the current one."""
        if not self._pipeline:
            self._close()
        elif self._pipeline.current is not None:
            self._pipeline.current.keep_alive = False

    def data_received(self, data: bytes) -> None:
        """Parse received data, then update the timer for what is still missing.

        A read that is exactly one plain POST request bypasses the parser.

        The parser reports a header, a chunk header or a trailer when it is complete. Until then it
        buffers the bytes, and each read makes joining them more expensive. `_update_timer`
        therefore limits the bytes that were not reported.
        """
        if self._ignoring_input:
            self._discarded_bytes += len(data)
            if self._lingering and self._discarded_bytes > _LINGER_BYTES:
                reset_connection(self.transport)
            return
        try:
            if not self._in_message:
                # With one byte of a blank line before it, the request is not plain.
                if not self._skipped_blank_bytes % 2 and self._fast_path.try_serve(data):
                    self._skipped_blank_bytes = 0
                    return
                data, self._skipped_blank_bytes = head_validation.skip_blank_line(
                    data, self._skipped_blank_bytes
                )
            self._unreported_bytes += len(data)
            self._raw_input.append(data)
            self._parse(data)
            self._check_chunk_size()
        except AseError as error:
            self._reject_request(error)
        except httptools.HttpParserError:
            self._reject_request()
        if not self._ignoring_input:
            self._update_timer()

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self._should_upgrade():
                    self._upgrade_to_websocket(data[upgrade.args[0] :])
                    return
                # The request is served over HTTP/1.1. The parser assumes that another protocol
                # starts after the head and does not parse the body. So the head is parsed again
                # without its Upgrade header. A head that requests an upgrade even then is rejected,
                # because parsing it again would never end.
                if not self._rewritten_head:
                    raise HttpError(400, "the request asks for a protocol that is not spoken")
                data = self._rewritten_head + data[upgrade.args[0] :]
                self._rewritten_head = b""
                self._raw_input.replace(data)
                self.parser = httptools.HttpRequestParser(self)
            else:
                return

    def _check_chunk_size(self) -> None:
        """Reject a chunk by its size alone (400, 413); then drop the input that is parsed.

        Without this, a client that never sends the chunk would be answered when its time is over.
        """
        if self._in_head:
            return
        data_size = self._chunk_data_bytes
        if data_size >= 0 and not self._ignoring_input:
            chunk_size = self._raw_input.chunk_size(data_size)
            if chunk_size > _MAX_CHUNK:
                raise HttpError(400, "a chunk size is not a plausible number")
            if self._body_bytes - data_size + chunk_size > self._limits.max_body:
                raise self._body_too_large()
            self._chunk_data_bytes = -1  # checked
        self._raw_input.keep(self._unreported_bytes + _MAX_CHUNK_HEAD if self._is_chunked else 0)

    def _should_upgrade(self) -> bool:
        """Return whether the head requests a WebSocket and no earlier request is pending."""
        upgrader = self._server_context.upgrader
        if upgrader is None or self._pipeline:
            return False
        return upgrader.can_upgrade(self.parser.get_method(), self.url, self.headers)

    def _upgrade_to_websocket(self, remaining_data: bytes) -> None:
        """Hand the connection over to a WebSocket.

        `remaining_data` are the bytes received after the handshake. Raises AseError if the
        handshake is rejected.
        """
        upgrader = self._server_context.upgrader
        assert upgrader is not None  # noqa: S101 (`_should_upgrade` checked it)
        self._server_context.write_batcher.flush()
        upgrader.upgrade(
            self.scope,
            self.headers,
            remaining_data,
            self.transport,
            self._stall_monitor,
            self._server_context.body_budget,
            self.server_state,
        )
        self._detach()

    def _detach(self) -> None:
        self.connections.discard(self)
        self._timer.stop()
        self._ignoring_input = True

    def _update_timer(self) -> None:
        """Arm the timer for the missing part of a request, or reject a part that is too large.

        The body of a queued request has no deadline until the request is started.
        """
        limits, waiting_for = self._limits, self._timer.waiting_for
        if self._in_head:
            if (
                self._header_bytes + self._unreported_bytes
                > limits.max_header_bytes + limits.max_target
            ):
                self._reject_request(HttpError(431, _HEADERS_TOO_LARGE % limits.max_header_bytes))
            elif waiting_for is not Wait.HEAD:
                self._timer.arm(Wait.HEAD, limits.header_timeout)
        elif self._in_message:
            if self._unreported_bytes > limits.max_header_bytes + limits.max_target:
                self._reject_request(HttpError(400, "a chunk's head or a trailer is too large"))
            elif self._receiving_cycle is self._pipeline.current and waiting_for is Wait.NOTHING:
                self._body_started_at = self.loop.time()
                self._timer.arm(Wait.BODY, min(BODY_GRACE_S, limits.body_timeout))

    def _on_request_started(self) -> None:
        """Resume reading, if the queue has room, after a queued request has started.

        The timer is updated too, because the body of that request may be incomplete.
        """
        if not self._pipeline.is_full:
            self.flow.resume_reading()
        if not self._ignoring_input:
            self._update_timer()

    # The parser.

    def on_message_begin(self) -> None:
        """Reset the state for a new request.

        Parsing stops at data after the last request of the connection, and at a request that
        arrives when 512 are queued (400).
        """
        if self._ignoring_input:
            raise HttpError(400, "nothing may follow")
        if self._pipeline.is_over_limit:
            self._abort_parsing(HttpError(400, "too many requests at once on one connection"))
        self._header_bytes = self._unreported_bytes = self._body_bytes = (
            self._skipped_blank_bytes
        ) = self._trailer_bytes = self._chunk_count = 0
        self._chunk_data_bytes = -1
        self._in_head = self._in_message = True
        self._is_chunked = False
        self.url = b""
        self.headers = []

    def on_url(self, url: bytes) -> None:
        """Append a part of the request target; reject a target that is too long (414)."""
        self.url += url
        if len(self.url) > self._limits.max_target:
            self._abort_parsing(
                HttpError(414, f"target is longer than {self._limits.max_target} bytes")
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header field; reject headers or trailers that are too large (431).

        Trailer fields are dropped: they must not be merged into the headers (RFC 9110, 6.5.1).
        """
        self._unreported_bytes = 0
        field_bytes, max_bytes = len(name) + len(value) + 4, self._limits.max_header_bytes
        if not self._in_head:
            self._trailer_bytes += field_bytes
            if self._trailer_bytes > max_bytes:
                self._abort_parsing(HttpError(431, f"trailers are larger than {max_bytes} bytes"))
            return
        self.headers.append((name.lower(), value))
        self._header_bytes += field_bytes
        if self._header_bytes > max_bytes:
            self._abort_parsing(HttpError(431, _HEADERS_TOO_LARGE % max_bytes))

    def on_headers_complete(self) -> None:
        """Validate the head, then submit the request to the pipeline.

        A request to upgrade to WebSocket is not submitted: `_parse` hands the connection over.
        """
        self._in_head = False
        self._timer.disarm()
        parser = self.parser
        version = parser.get_http_version()
        method = parser.get_method()
        try:
            if not self._raw_input.has_request_line(method, self.url, version):
                raise HttpError(400, _BAD_REQUEST_LINE)
            if self.url[:1] != b"/":
                self.url, self.headers = head_validation.to_origin_form(
                    method, self.url, self.headers
                )
            headers_by_name = head_validation.validate_headers(
                self.headers, version, self._limits.max_headers
            )
            path, query = head_validation.parse_target(method, self.url)
            head_validation.check_upgrade(method, headers_by_name, offered=parser.should_upgrade())
        except HttpError as error:
            self._abort_parsing(error)
        if parser.should_upgrade() and not self._should_upgrade():
            self._rewritten_head = head_validation.without_upgrade(
                method, self.url, version, self.headers
            )
            return
        self._is_chunked = b"transfer-encoding" in headers_by_name
        keep_alive = version != "1.0" and parser.should_keep_alive()
        expects_continue = version != "1.0" and b"expect" in headers_by_name
        arguments = (keep_alive, expects_continue, version != "1.0", self.url)
        cycle: Cycle | None = self._fast_path.accept_head(method, path, headers_by_name, *arguments)
        if cycle is None:
            reads_body = method in self._server_context.body_methods
            if not reads_body:
                self._check_length(headers_by_name)
            self._set_scope(method, path, query, version)
            if parser.should_upgrade():  # to a WebSocket, when the parser stops
                return
            cycle = self._new_asgi_cycle(
                reads_body=reads_body,
                expects_continue=expects_continue,
                keep_alive=keep_alive,
                chunked=version != "1.0",
            )
        self._receiving_cycle = cycle
        self._submit(cycle)

    def new_asgi_cycle(self, head: PostHead) -> AsgiCycle:
        """Return the cycle of a plain request that ASGI serves."""
        self.url, self.headers = head.target, list(head.headers.items())
        self._set_scope(b"POST", head.path, head.target.partition(b"?")[2], "1.1")
        self.url, self.headers = b"", []  # of what the parser reads next
        return self._new_asgi_cycle(
            reads_body=True, expects_continue=False, keep_alive=True, chunked=True
        )

    def _new_asgi_cycle(
        self, *, reads_body: bool, expects_continue: bool, keep_alive: bool, chunked: bool
    ) -> AsgiCycle:
        """Return the cycle of the request whose scope is set."""
        return AsgiCycle(
            self,
            self._server_context.write_batcher,
            partial(self._start_asgi_task, app=self.app),
            self._send_error_response,
            reads_body=reads_body,
            expects_continue=expects_continue,
            keep_alive=keep_alive,
            chunked=chunked,
        )

    def _check_length(self, headers: Mapping[bytes, bytes]) -> None:
        """Reject a body that is too large by its length alone, before it arrives."""
        try:
            checks.check_length(headers, self._limits.max_body)
        except HttpError as error:
            self._abort_parsing(error)

    def _set_scope(self, method: bytes, path: str, query: bytes, version: str) -> None:
        self.scope = asgi_scope(
            method,
            path,
            query,
            version=version,
            raw_path=self.url.partition(b"?")[0],
            headers=self.headers,
            client=self.client,
            peer=self._peer,
            server=self.server,
            scheme=self.scheme or "http",
            state=self.app_state.copy(),
        )

    def on_chunk_header(self) -> None:
        """Count a chunk; reject a body of many tiny chunks (400), each as costly as a large one."""
        self._unreported_bytes = 0
        if (
            self._chunk_count > _MAX_TINY_CHUNKS
            and self._body_bytes < self._chunk_count * self._limits.min_chunk
        ):
            reason = f"chunks of less than {self._limits.min_chunk} bytes on average"
            self._abort_parsing(HttpError(400, reason))
        self._chunk_count += 1
        self._chunk_data_bytes = 0

    def on_chunk_complete(self) -> None:
        """Note the end of a chunk."""
        self._chunk_data_bytes = -1

    def on_body(self, body: bytes) -> None:
        """Pass a part of the body to its request; reject a body that is too large (413).

        Reading is paused above uvicorn's high-water mark: for a queued unary request, and for an
        ASGI request that does not consume its body.
        """
        self._unreported_bytes = 0
        self._body_bytes += len(body)
        if self._chunk_data_bytes >= 0:
            self._chunk_data_bytes += len(body)
        cycle = self._receiving_cycle
        if self._ignoring_input or cycle is None or cycle.response_complete:
            return
        if self._body_bytes > self._limits.max_body:
            self._reject_body(cycle, self._body_too_large())
            return
        if cycle.add_body_chunk(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        if self._body_bytes > UNCOUNTED_BYTES:
            budget = self._server_context.body_budget
            holder_to_reject = budget.hold(self, self._body_bytes)
            if holder_to_reject is not None:
                holder_to_reject.reject_body_for_memory()

    def on_message_complete(self) -> None:
        """Finish the body of the request; arm the idle timer if no request is pending.

        After the last request of the connection all further input is ignored.
        """
        self._in_message = bool(self._rewritten_head)  # if set, the request is parsed again
        if self._lingering:
            self._close()
        if self._ignoring_input or self._in_message:
            return
        cycle, self._receiving_cycle = self._receiving_cycle, None
        if self._body_bytes > UNCOUNTED_BYTES:
            self._server_context.body_budget.complete(self)
        self._ignoring_input = cycle is not None and not cycle.keep_alive
        self._timer.disarm()
        if cycle is None or cycle.response_complete:
            if not self._pipeline:
                self._timer.arm(Wait.IDLE, self._limits.idle_timeout)
        else:
            cycle.complete_body()

    # The pipeline: one request at a time, in the order received.

    def _submit(self, cycle: Cycle) -> None:
        self._pipeline.submit(cycle)
        if self._pipeline.is_full:
            self.flow.pause_reading()

    def on_response_complete(self) -> None:
        """Start the next request, or arm the timer for what the client has to send next.

        The client has to send the next request, the rest of its head, or the rest of a body whose
        response is already written.
        """
        self.server_state.total_requests += 1
        self._server_context.body_budget.release(self)
        if self.transport.is_closing():
            self._pipeline.clear()
            self._stall_monitor.start()
            return
        self._pipeline.finish_current()
        if self._pipeline:
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if not self._in_message:
            self._timer.arm(Wait.IDLE, self._limits.idle_timeout)
        elif self._receiving_cycle is None:
            self._timer.arm(Wait.HEAD, self._limits.header_timeout)
        elif b"expect" in dict(self.headers):
            self._close()  # the client may or may not send the body now
        else:
            self._timer.arm(Wait.DRAIN_BODY, self._limits.header_timeout)

    # Rejections and closing.

    def _abort_parsing(self, error: HttpError) -> NoReturn:
        """Stop the parser from a callback; `data_received` then calls `_reject_request`."""
        self._callback_error = error
        raise error

    def _reject_request(self, cause: AseError | None = None) -> None:
        """Answer a request that cannot be parsed further with an error, in pipeline order.

        All input after it is ignored. `cause` defaults to the error of a parser callback, else 400.
        """
        if self._ignoring_input:
            return
        error = cause or self._callback_error or HttpError(400, "not a valid HTTP/1.1 request")
        cycle = self._receiving_cycle
        if cycle is None:
            self._ignoring_input = True
            self._submit(_RejectedRequest(partial(self._send_error_response, error)))
        else:
            self._reject_body(cycle, error)

    def _reject_body(self, cycle: Cycle, error: AseError) -> None:
        """End the request whose body is being received with an error; its cycle answers it."""
        self._ignoring_input = True
        self._timer.disarm()
        if cycle.response_complete:
            self.close_after_response()
        else:
            cycle.fail_body(error)

    def _body_too_large(self) -> HttpError:
        return HttpError(413, f"body is larger than {self._limits.max_body} bytes")

    def reject_body_for_memory(self) -> None:
        """Answer 503 to the body that is being received: too many are in memory."""
        self._server_context.body_budget.release(self)
        headers = [(b"retry-after", b"1"), (b"connection", b"close")]
        self._reject_request(
            HttpError(503, "too many bytes of request bodies at once", headers=headers)
        )

    def _send_error_response(self, error: AseError) -> None:
        response = self._server_context.reject_request(error, self._peer.ip, self.url)
        if self.url and self.parser.get_method() == b"HEAD":
            response = HttpResponse(response.status, response.head, b"")
        self._fast_path.write_response(response, True)
        self.close_after_response()

    def close_after_response(self) -> None:
        """Close the connection after its last response.

        A client that is still sending a request gets `_LINGER_S` seconds to read the response.
        Closing at once could reset the connection and lose the response (RFC 9112, 9.6).
        """
        self._pipeline.clear()
        self._ignoring_input = True
        self._server_context.body_budget.release(self)
        self._server_context.write_batcher.flush()
        if not self._in_message:
            self._close()
            return
        self._lingering = True
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer.arm(Wait.DRAIN_BODY, _LINGER_S)

    def _close(self) -> None:
        self._server_context.write_batcher.flush()
        if self.transport.is_closing():
            return
        self.transport.close()
        # The transport keeps unsent bytes until the client reads them: the monitor bounds the time.
        self._stall_monitor.start()

    # Timers and flow control.

    def _on_timeout(self, waiting_for: Wait) -> None:
        limits = self._limits
        if self.flow.read_paused and not self._lingering:
            # The gateway has paused reading, so the client is not late.
            self._timer.arm(waiting_for, limits.header_timeout)
        elif waiting_for is Wait.HEAD:
            self._reject_request(
                HttpError(408, f"headers took more than {limits.header_timeout:g} s")
            )
        elif waiting_for is Wait.BODY:
            elapsed = self.loop.time() - self._body_started_at
            error = slow_body_error(limits, elapsed, self._body_bytes)
            if error is not None:
                self._reject_request(error)
            else:
                self._timer.arm(Wait.BODY, min(1.0, limits.body_timeout - elapsed))
        else:
            self._close()

    def pause_writing(self) -> None:
        """Monitor a client that does not read what is written to it."""
        super().pause_writing()
        self._stall_monitor.start()

    def resume_writing(self) -> None:
        """Continue the requests that waited for the client to read."""
        super().resume_writing()
        self._stall_monitor.stop()
        self._pipeline.resume_writing()


class _RejectedRequest:
    """A request whose head is refused: its response is sent in its order, as any other."""

    keep_alive = False
    response_complete = False

    def __init__(self, send_response: Callable[[], None]) -> None:
        self._send_response = send_response

    def start(self) -> None:
        self._send_response()

    def add_body_chunk(self, data: bytes) -> int:  # noqa: ARG002 (nothing is read any more)
        return 0

    def complete_body(self) -> None:
        pass

    def fail_body(self, error: AseError) -> None:
        pass

    def on_disconnect(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass
