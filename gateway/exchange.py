"""What passes on one connection: once-requests in, in turn, and the answers out."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from gateway.answers import HttpResponse, serialize_response
from gateway.clocks import ConnectionTimer, Wait
from gateway.door import ServerContext
from gateway.heads import HeadKey
from gateway.lane import GatewayContext, UnaryRequestCycle, UnaryRequestHead, requested_service
from gateway.turns import PipelineQueue

_CLOSE_MARKER: Final = b"\r\nconnection: close\r\n"
_CLOSE_LINE: Final = b"connection: close\r\n"
_OK_STATUS_LINE: Final = b"HTTP/1.1 200 OK\r\n"


class ServerState(Protocol):
    """uvicorn's state of a server."""

    default_headers: list[tuple[bytes, bytes]]
    total_requests: int


class FastPath:
    """The lane's side of a connection.

    `over` is called after each answer, `leave` after the last one; `running` holds the requests
    that a drain waits for. `may_write`: the client keeps up.
    """

    __slots__ = (
        "_call_soon", "_client_ip", "_close_lingering", "_is_repeated_head", "_is_sole_request",
        "_last_head_key", "_may_write", "_on_response_complete", "_pipeline", "_server_context",
        "_server_state", "_tasks", "_timer", "_transport",
    )  # fmt: skip

    def __init__(
        self,
        server_context: ServerContext,
        server_state: ServerState,
        transport: asyncio.Transport,
        pipeline: PipelineQueue,
        timer: ConnectionTimer,
        tasks: set[Any],
        client_ip: str,
        on_response_complete: Callable[[], None],
        close_lingering: Callable[[], None],
        may_write: Callable[[], bool],
    ) -> None:
        self._may_write = may_write
        self._server_context = server_context
        self._server_state = server_state
        self._transport = transport
        self._pipeline = pipeline
        self._timer = timer
        self._tasks = tasks
        self._client_ip = client_ip
        self._on_response_complete = on_response_complete
        self._close_lingering = close_lingering
        self._call_soon = asyncio.get_running_loop().call_soon
        self._last_head_key: HeadKey = b""
        self._is_repeated_head = self._is_sole_request = False

    def try_serve(self, data: bytes) -> bool:
        """Serve a read that is one whole once-request, its head known; return whether it was."""
        server_context, context = self._server_context, self._server_context.gateway_context
        self._is_repeated_head = self._is_sole_request = False
        if context is None:
            return False
        lookup = context.head_cache.find(data)
        if lookup is None:
            return False
        head, limits = lookup.value, server_context.limits
        if head is None:
            self._is_repeated_head, self._last_head_key = (
                lookup.key == self._last_head_key,
                lookup.key,
            )
            return False
        if lookup.body_start + lookup.body_size != len(data):
            return False
        if lookup.body_size > limits.max_body or lookup.body_start > limits.max_header_bytes:
            return False
        cycle = self.new_cycle(context, head)
        if not self._pipeline.try_acquire(cycle):
            return False
        self._is_sole_request = True
        self._timer.disarm()
        cycle.start()
        cycle.add_body_chunk(data[lookup.body_start :])
        cycle.complete_body()
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
        """Return the request that a head is, None when it is not the lane's."""
        context = self._server_context.gateway_context
        service_id = requested_service(method, path) if context is not None else ""
        if context is None or not service_id:
            self.cache_head(None)
            return None
        head = UnaryRequestHead(service_id, path, headers, keep_alive, expects_continue)
        self.cache_head(head)
        return self.new_cycle(context, head)

    def new_cycle(self, context: GatewayContext, head: UnaryRequestHead) -> UnaryRequestCycle:
        """Return a request that has come, and is to be started when its turn comes."""
        return UnaryRequestCycle(context, self, self._tasks, head, self._client_ip)

    def cache_head(self, head: UnaryRequestHead | None) -> None:
        """Take in what the parser made of a head; None: no once-request.

        Only the first head of a read is the one that `serve` saw. It is kept if it came before.
        """
        context, is_repeated = self._server_context.gateway_context, self._is_repeated_head
        self._is_repeated_head = False
        if is_repeated and context is not None and head is not None:
            context.cache_head(self._last_head_key, head)

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
            self._close_lingering()
        elif self._is_sole_request:  # nothing came behind it
            self._server_state.total_requests += 1
            self._pipeline.finish_current()
            self._timer.arm(Wait.IDLE, self._server_context.limits.idle_timeout)
        else:
            self._on_response_complete()

    # An answer in parts.

    def may_write(self) -> bool:
        """Return whether the client keeps up."""
        return self._may_write()

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
            self._close_lingering()
        else:
            self._on_response_complete()

    def write_response(self, response: HttpResponse, is_last: bool, /) -> bool:
        """Write an answer; return whether it says that it is the connection's last."""
        server_context, says_close = self._server_context, _CLOSE_MARKER in response.head
        default_lines = server_context.default_headers.encode(self._server_state.default_headers)
        data = serialize_response(
            response, default_lines, _CLOSE_LINE if is_last and not says_close else b""
        )
        server_context.write_batcher.put(self._transport, data, self._call_soon)
        return is_last or says_close
