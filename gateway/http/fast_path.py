"""The fast path of one connection: plain POST requests, and the responses of unary ones."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Protocol

from gateway.access.peer import Peer
from gateway.context import GatewayContext
from gateway.http.head_cache import HeadKey, HeadLookup, split_only
from gateway.http.head_reader import PostHead, read_post_head
from gateway.http.memory_limits import UNCOUNTED_BYTES
from gateway.http.pipeline import Cycle, PipelineQueue
from gateway.http.server_context import ServerContext
from gateway.http.timeouts import ConnectionTimer, Wait
from gateway.request import tracing
from gateway.request.response import HttpResponse, serialize_response
from gateway.services.routes import is_plain_path, requested_service
from gateway.unary.cycle import UnaryRequestCycle
from gateway.unary.request_head import UnaryRequestHead

_CLOSE_MARKER: Final = b"\r\nconnection: close\r\n"
_MAX_BATCHED_EVENTS: Final = 1 << 14  # bytes
_CLOSE_LINE: Final = b"connection: close\r\n"
_OK_STATUS_LINE: Final = b"HTTP/1.1 200 OK\r\n"


class ServerState(Protocol):
    """The part of uvicorn's server state that a connection uses.

    `default_headers` is replaced once per second. `total_requests` counts answered requests.
    """

    default_headers: list[tuple[bytes, bytes]]
    total_requests: int
    tasks: set[Any]


class FastPathOwner(Protocol):
    """The connection that a fast path belongs to."""

    def on_response_complete(self) -> None:
        """Go on to the next request; called after each response but the last."""

    def close_after_response(self) -> None:
        """Close; called after the last response."""

    def new_asgi_cycle(self, head: PostHead) -> "WholeRequest":
        """Return the cycle of a plain request that ASGI serves."""


class WholeRequest(Cycle, Protocol):
    """A request that was received whole."""

    def serve(self, body: bytes) -> None:
        """Serve the request: it is the connection's current one."""


class FastPath:
    """The plain POST requests of one connection, and the responses of unary ones.

    A read that is exactly one such request bypasses the parser. If it is unary, it is served
    without ASGI too.
    `server_state.tasks` holds the running requests that a drain waits for.

    A head is cached when it recurs. `_last_head_key` is the key of the latest head at the start of
    a read that was not in the cache. `_is_repeated_head`: the current read starts with that head
    again. `_is_sole_request`: the latest read was exactly one request, which bypassed the parser;
    so no other request is queued or partly received when it is answered.
    """

    __slots__ = (
        "_call_soon", "_connection", "_is_repeated_head", "_is_sole_request", "_last_head_key",
        "_peer", "_pipeline", "_server_context", "_server_state", "_timer", "_transport",
    )  # fmt: skip

    def __init__(
        self,
        connection: FastPathOwner,
        transport: asyncio.Transport,
        pipeline: PipelineQueue,
        timer: ConnectionTimer,
        *,
        server_context: ServerContext,
        server_state: ServerState,
        peer: Peer,
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._pipeline = pipeline
        self._timer = timer
        self._server_context = server_context
        self._server_state = server_state
        self._peer = peer
        self._call_soon = asyncio.get_running_loop().call_soon
        self._last_head_key: HeadKey = b""
        self._is_repeated_head = self._is_sole_request = False

    def try_serve(self, data: bytes) -> bool:
        """Serve a read that is exactly one POST request with a plain head.

        Returns False if it is anything else, or if an earlier request is pending: the parser then
        handles the data.
        """
        fast_path, limits = self._server_context.fast_path, self._server_context.limits
        self._is_repeated_head = self._is_sole_request = False
        lookup = fast_path.head_cache.find(data) if fast_path is not None else split_only(data)
        if lookup is None:
            return False
        head = lookup.value
        if head is None:
            self._is_repeated_head = lookup.key == self._last_head_key
            self._last_head_key = lookup.key
        if lookup.body_start + lookup.body_size != len(data):
            return False
        if lookup.body_size > limits.max_body or lookup.body_start > limits.max_header_bytes:
            return False
        cycle: WholeRequest | None
        if head is not None and fast_path is not None:
            cycle = self._cycle_of_cached_head(fast_path.context, head, lookup, data)
        else:
            cycle = self._cycle_of_new_head(lookup, data)
        if cycle is None or not self._pipeline.try_acquire(cycle):
            return False
        self._is_sole_request = True
        self._timer.disarm()
        cycle.serve(data[lookup.body_start :])
        return True

    def _cycle_of_new_head(
        self, lookup: HeadLookup[UnaryRequestHead], data: bytes
    ) -> WholeRequest | None:
        limits = self._server_context.limits
        if self._pipeline:
            return None
        head = read_post_head(
            data[: lookup.body_start],
            lookup.body_size,
            limits.max_headers,
            limits.max_header_bytes,
            limits.max_target,
        )
        if head is None:
            return None
        cycle = self.accept_head(b"POST", head.path, head.headers, True, False, True, head.target)
        if cycle is not None:
            return cycle
        if lookup.body_size > UNCOUNTED_BYTES:  # the parser counts it with all others in memory
            return None
        return self._connection.new_asgi_cycle(head)

    def _cycle_of_cached_head(
        self,
        context: GatewayContext,
        head: UnaryRequestHead,
        lookup: HeadLookup[UnaryRequestHead],
        data: bytes,
    ) -> UnaryRequestCycle:
        tracing_headers = (
            tracing.from_head(data[: lookup.body_start])
            if lookup.has_ignored_lines
            else head.tracing
        )
        proxies = context.proxies
        hops = (
            proxies.hops_of(data[: lookup.body_start])
            if lookup.has_ignored_lines
            else head.headers.get(proxies.client_header, b"")
        )
        return self._new_cycle(context, head, tracing_headers, hops)

    def accept_head(
        self,
        method: bytes,
        path: str,
        headers: Mapping[bytes, bytes],
        keep_alive: bool,
        expects_continue: bool,
        chunked: bool,
        target: bytes,
        /,
    ) -> UnaryRequestCycle | None:
        """Return the cycle of a parsed head, or None if ASGI serves it.

        `target` is the path and the query as sent. `headers` have lower-case names.
        `chunked`: the client knows the chunked coding. The head is cached if it is a repeated one;
        `try_serve` looks up only the first head of a read, so later heads of the same read are not
        cached.
        """
        raw_path, _, query = target.decode("latin-1").partition("?")
        fast_path, is_repeated = self._server_context.fast_path, self._is_repeated_head
        self._is_repeated_head = False
        service_id = requested_service(method, path) if fast_path is not None else ""
        if fast_path is None or not service_id:
            return None
        if is_plain_path(path) and not fast_path.context.is_plain_request(path, query):
            return None
        tracing_headers = tracing.from_headers(headers)
        head = UnaryRequestHead(
            service_id,
            path,
            headers,
            keep_alive,
            expects_continue,
            chunked,
            tracing_headers,
            query,
            raw_path,
        )
        if is_repeated:
            fast_path.head_cache.add(self._last_head_key, head)
        hops = headers.get(fast_path.context.proxies.client_header, b"")
        return self._new_cycle(fast_path.context, head, tracing_headers, hops)

    def _new_cycle(
        self,
        context: GatewayContext,
        head: UnaryRequestHead,
        tracing_headers: Mapping[str, str],
        hops: bytes,
    ) -> UnaryRequestCycle:
        peer = self._peer
        client_ip = context.proxies.client_address(peer.ip, hops)
        tasks = self._server_state.tasks
        return UnaryRequestCycle(context, self, tasks, head, tracing_headers, peer, client_ip)

    def send_continue(self) -> None:
        """Write `100 Continue`: the client waits for it before it sends the body."""
        self._server_context.write_batcher.flush()
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def send_response(self, cycle: UnaryRequestCycle, response: HttpResponse) -> None:
        """Write a complete response and finish its request."""
        if self._pipeline.current is not cycle or self._transport.is_closing():
            return
        cors_lines = self._cors_lines(cycle)
        if cors_lines:
            head = response.head + cors_lines
            response = HttpResponse(response.status, head, response.body)
        if self.write_response(
            response, not cycle.keep_alive or self._server_context.drain_state.draining
        ):
            self._connection.close_after_response()
        elif self._is_sole_request:  # no data followed the request
            self._server_state.total_requests += 1
            self._pipeline.finish_current()
            self._timer.arm(Wait.IDLE, self._server_context.limits.idle_timeout)
        else:
            self._connection.on_response_complete()

    def _cors_lines(self, cycle: UnaryRequestCycle) -> bytes:
        """Return the header lines for a page of another origin."""
        return self._server_context.cors.lines(cycle.origin)

    # Streamed responses: in chunked transfer coding, or ended by the end of the connection if the
    # client does not know it (RFC 9112, 6.3).

    def may_write(self) -> bool:
        """Return whether the client keeps up with what is written to it."""
        return self._pipeline.may_write()

    def send_head(self, cycle: UnaryRequestCycle, head: bytes) -> None:
        """Write the head of a 200 response; `head` are its own header lines.

        The response closes the connection if the request does not keep it, or while draining.
        """
        default_lines = self._server_context.default_headers.encode(
            self._server_state.default_headers
        )
        is_last = not cycle.keep_alive or self._server_context.drain_state.draining
        cycle.keep_alive = not is_last
        close_line = _CLOSE_LINE if is_last else b""
        coding_line = b"transfer-encoding: chunked\r\n" if cycle.chunked else b""
        head = b"".join(
            (
                _OK_STATUS_LINE,
                default_lines,
                head,
                self._cors_lines(cycle),
                coding_line,
                close_line,
                b"\r\n",
            )
        )
        self._write(head)

    def send_chunk(self, cycle: UnaryRequestCycle, data: bytes) -> None:
        """Write a part of the body, as one chunk."""
        if not self._transport.is_closing():
            self._write(b"%x\r\n%b\r\n" % (len(data), data) if cycle.chunked else data)
            # So that `may_write` soon says what the transport thinks of it.
            self._server_context.write_batcher.flush_if_over(_MAX_BATCHED_EVENTS)

    def send_last_chunk(self, cycle: UnaryRequestCycle) -> None:
        """Write the last chunk and finish the request."""
        if self._pipeline.current is not cycle or self._transport.is_closing():
            return
        if cycle.chunked:
            self._write(b"0\r\n\r\n")
        if not cycle.keep_alive:
            self._connection.close_after_response()
        else:
            self._connection.on_response_complete()

    def write_response(self, response: HttpResponse, is_last: bool, /) -> bool:
        """Write a complete response; return whether it has `connection: close`."""
        server_context = self._server_context
        says_close = response.status != 200 and _CLOSE_MARKER in response.head
        default_lines = server_context.default_headers.encode(self._server_state.default_headers)
        data = serialize_response(
            response, default_lines, _CLOSE_LINE if is_last and not says_close else b""
        )
        self._write(data)
        return is_last or says_close

    def _write(self, data: bytes) -> None:
        """Write with all that is written in this iteration of the event loop."""
        self._server_context.write_batcher.put(self._transport, data, self._call_soon)
