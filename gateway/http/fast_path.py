"""What passes on one connection: once-requests in, in turn, and the answers out."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Protocol

from gateway.context import GatewayContext
from gateway.http.head_cache import HeadKey
from gateway.http.pipeline import PipelineQueue
from gateway.http.server_context import ServerContext
from gateway.http.timeouts import ConnectionTimer, Wait
from gateway.request.response import HttpResponse, serialize_response
from gateway.services.routes import requested_service
from gateway.unary.cycle import UnaryRequestCycle
from gateway.unary.request_head import UnaryRequestHead

_CLOSE_MARKER: Final = b"\r\nconnection: close\r\n"
_CLOSE_LINE: Final = b"connection: close\r\n"
_OK_STATUS_LINE: Final = b"HTTP/1.1 200 OK\r\n"


class ServerState(Protocol):
    """uvicorn's state of a server."""

    default_headers: list[tuple[bytes, bytes]]
    total_requests: int
    tasks: set[Any]


class Connection(Protocol):
    """The connection that a fast path belongs to."""

    def on_response_complete(self) -> None:
        """Go on to the next request; called after each response but the last."""

    def close_after_response(self) -> None:
        """Close; called after the last response."""

    def may_write(self) -> bool:
        """Return whether the client reads what is written to it."""


class FastPath:
    """Unary requests in, responses out, on one connection and without an ASGI cycle.

    `server_state.tasks` holds the requests that a drain waits for. `_last_head_key` is the key of
    the latest head that the cache did not know: a head is cached when it comes a second time.
    """

    __slots__ = (
        "_call_soon", "_client_ip", "_connection", "_is_repeated_head", "_is_sole_request",
        "_last_head_key", "_pipeline", "_server_context", "_server_state", "_timer", "_transport",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        transport: asyncio.Transport,
        pipeline: PipelineQueue,
        timer: ConnectionTimer,
        *,
        server_context: ServerContext,
        server_state: ServerState,
        client_ip: str,
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._pipeline = pipeline
        self._timer = timer
        self._server_context = server_context
        self._server_state = server_state
        self._client_ip = client_ip
        self._call_soon = asyncio.get_running_loop().call_soon
        self._last_head_key: HeadKey = b""
        self._is_repeated_head = self._is_sole_request = False

    def try_serve(self, data: bytes) -> bool:
        """Serve `data` if it is one whole unary request with a known head; return whether it is."""
        fast_path, limits = self._server_context.fast_path, self._server_context.limits
        self._is_repeated_head = self._is_sole_request = False
        if fast_path is None:
            return False
        lookup = fast_path.head_cache.find(data)
        if lookup is None:
            return False
        head = lookup.value
        if head is None:
            self._is_repeated_head = lookup.key == self._last_head_key
            self._last_head_key = lookup.key
            return False
        if lookup.body_start + lookup.body_size != len(data):
            return False
        if lookup.body_size > limits.max_body or lookup.body_start > limits.max_header_bytes:
            return False
        cycle = self._new_cycle(fast_path.context, head)
        if not self._pipeline.try_acquire(cycle):
            return False
        self._is_sole_request = True
        self._timer.disarm()
        cycle.serve(data[lookup.body_start :])
        return True

    def accept_head(
        self,
        method: bytes,
        path: str,
        headers: Mapping[bytes, bytes],
        keep_alive: bool,
        expects_continue: bool,
        /,
    ) -> UnaryRequestCycle | None:
        """Return the request of a head that the parser read; None for one that ASGI serves.

        Only the first head of a read is the one that `try_serve` looked up. It is cached if it
        came before.
        """
        fast_path, is_repeated = self._server_context.fast_path, self._is_repeated_head
        self._is_repeated_head = False
        service_id = requested_service(method, path) if fast_path is not None else ""
        if fast_path is None or not service_id:
            return None
        head = UnaryRequestHead(service_id, path, headers, keep_alive, expects_continue)
        if is_repeated:
            fast_path.head_cache.add(self._last_head_key, head)
        return self._new_cycle(fast_path.context, head)

    def _new_cycle(self, context: GatewayContext, head: UnaryRequestHead) -> UnaryRequestCycle:
        return UnaryRequestCycle(context, self, self._server_state.tasks, head, self._client_ip)

    def send_continue(self) -> None:
        """Ask for a body that the client holds back."""
        self._server_context.write_batcher.flush()
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def send_response(self, cycle: UnaryRequestCycle, response: HttpResponse) -> None:
        """Write an answer of the lane."""
        if self._pipeline.current is not cycle or self._transport.is_closing():
            return
        if self.write_response(
            response, not cycle.keep_alive or self._server_context.is_draining()
        ):
            self._connection.close_after_response()
        elif self._is_sole_request:  # nothing came behind it
            self._server_state.total_requests += 1
            self._pipeline.finish_current()
            self._timer.arm(Wait.IDLE, self._server_context.limits.idle_timeout)
        else:
            self._connection.on_response_complete()

    # An answer in parts.

    def may_write(self) -> bool:
        """Return whether the client keeps up."""
        return self._connection.may_write()

    def send_head(self, cycle: UnaryRequestCycle, head: bytes) -> None:
        """Write the head of an answer."""
        default_lines = self._server_context.default_headers.encode(
            self._server_state.default_headers
        )
        is_last = not cycle.keep_alive or self._server_context.is_draining()
        cycle.keep_alive = not is_last
        close_line = _CLOSE_LINE if is_last else b""
        self._server_context.write_batcher.flush()
        head = b"".join(
            (
                _OK_STATUS_LINE,
                default_lines,
                head,
                b"transfer-encoding: chunked\r\n",
                close_line,
                b"\r\n",
            )
        )
        self._transport.write(head)

    def send_chunk(self, data: bytes) -> None:
        """Write a part."""
        if not self._transport.is_closing():
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def send_last_chunk(self, cycle: UnaryRequestCycle) -> None:
        """Write the end of an answer."""
        if self._pipeline.current is not cycle or self._transport.is_closing():
            return
        self._transport.write(b"0\r\n\r\n")
        if not cycle.keep_alive:
            self._connection.close_after_response()
        else:
            self._connection.on_response_complete()

    def write_response(self, response: HttpResponse, is_last: bool, /) -> bool:
        """Write an answer; return whether it says that it is the connection's last."""
        server_context, says_close = self._server_context, _CLOSE_MARKER in response.head
        default_lines = server_context.default_headers.encode(self._server_state.default_headers)
        data = serialize_response(
            response, default_lines, _CLOSE_LINE if is_last and not says_close else b""
        )
        server_context.write_batcher.put(self._transport, data, self._call_soon)
        return is_last or says_close
