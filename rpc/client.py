"""A gRPC client: calls to one server over one HTTP/2 connection, which is replaced when it ends.

The protocol is in `connection` and `calls`, the socket in `wire`. This module connects, queues
calls and enforces deadlines.
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from random import Random, SystemRandom
from typing import Final

from rpc.addresses import unix_path
from rpc.backoff import Backoff
from rpc.bounded_cache import BoundedCache
from rpc.calls import Call, StreamCall, UnaryCall
from rpc.deadlines import find_expired
from rpc.keepalive import CONSERVATIVE_KEEPALIVE, FREQUENT_KEEPALIVE
from rpc.message_stream import MessageStream
from rpc.messages import MAX_MESSAGE_SIZE
from rpc.metadata import Metadata, encode_request_headers, encode_timeout_field
from rpc.status import RpcError, Status
from rpc.transport import Http2Transport

_MAX_CACHED_HEADER_BLOCKS: Final = 256  # of requests
_MAX_CACHED_TIMEOUTS: Final = 4096  # encoded `grpc-timeout` fields, by milliseconds
_SHUTDOWN_TIMEOUT_S: Final = 0.5


class Channel:
    """A client for the server at `addr`: host:port or unix:PATH. It connects on the first call.

    When the connection ends, it connects again for a queued call or the next call. After a failed
    attempt, calls fail at once with UNAVAILABLE until the backoff delay has passed. Create it while
    an event loop runs.

    - `connect_timeout`: seconds, until the peer's SETTINGS frame.
    - `frequent_keepalive`: ping a silent peer every second, which Athena servers allow. If False,
      ping rarely, as other servers demand.
    - `tls`: use TLS; the ALPN of the context is set to `h2`.
    - `max_message_size`: bytes of a received message. A sent one is limited by its receiver.
    - `rng`: random numbers for the jitter of the backoff.

    State: `_transport` is the connection for new calls, or None. `_transports` are all open ones;
    after a GOAWAY, a connection stays there until its calls have ended. `_queued_calls` are the
    calls that wait for a connection or for a free stream, in order. A call is never both queued and
    on a connection.
    """

    def __init__(
        self,
        addr: str,
        *,
        connect_timeout: float = 1.0,
        frequent_keepalive: bool = True,
        tls: ssl.SSLContext | None = None,
        max_message_size: int = MAX_MESSAGE_SIZE,
        rng: Random | None = None,
    ) -> None:
        self._addr = addr
        self._connect_timeout = connect_timeout
        self._keepalive_params = (
            FREQUENT_KEEPALIVE if frequent_keepalive else CONSERVATIVE_KEEPALIVE
        )
        self._tls = tls
        if tls is not None:
            tls.set_alpn_protocols(["h2"])
        self._max_message_size = max_message_size
        self._loop = asyncio.get_running_loop()
        self._backoff = Backoff(rng or SystemRandom())
        self._retry_at = 0.0  # loop time of the earliest next attempt to connect
        self._failure_reason = ""
        self._transport: Http2Transport | None = None
        self._transports: set[Http2Transport] = set()
        self._connecting: asyncio.Task[None] | None = None
        self._queued_calls: dict[Call, None] = {}
        self._next_expiry = inf  # loop time of the next check of deadlines
        self._expiry_timer: asyncio.TimerHandle | None = None
        self._timeout_fields: BoundedCache[int, bytes] = BoundedCache(_MAX_CACHED_TIMEOUTS)
        self._header_blocks: BoundedCache[tuple[str, Metadata], bytes] = BoundedCache(
            _MAX_CACHED_HEADER_BLOCKS
        )
        self._closed = False

    def header_block(self, method: str, metadata: Metadata = ()) -> bytes:
        """Return the header block of a request, for `start_unary` and `start_stream`. It is cached.

        `method` is the full path, `/package.Service/Method`. Raises ValueError for metadata that
        gRPC does not allow.
        """
        key = (method, metadata)
        header_block = self._header_blocks.entries.get(key)
        if header_block is None:
            authority = "localhost" if unix_path(self._addr) else self._addr
            header_block = encode_request_headers(
                authority, "https" if self._tls else "http", method, metadata
            )
            self._header_blocks.add(key, header_block)
        return header_block

    def start_unary(
        self,
        header_block: bytes,
        request: bytes,
        timeout: float,
        on_done: Callable[[UnaryCall], None],
    ) -> UnaryCall:
        """Start a call with one request. `on_done` is called when it ends, after this returns.

        `timeout` is in seconds and is sent to the peer as `grpc-timeout`. The call's `cancel` ends
        it earlier. A call that the peer refused without processing it is retried.
        """
        deadline = self._loop.time() + timeout
        call = UnaryCall(
            header_block, self._max_message_size, deadline, self._on_call_end, on_done, request
        )
        self._submit(call)
        return call

    async def unary(
        self, method: str, request: bytes, *, timeout: float, metadata: Metadata = ()
    ) -> bytes:
        """Send a request and return its response.

        Parameters are those of `header_block` and `start_unary`. Cancelling the task cancels the
        call at the peer. Raises RpcError; its `may_have_run` is False if the peer did not process
        the call.
        """
        finished: asyncio.Future[None] = self._loop.create_future()

        def on_done(_: UnaryCall) -> None:
            if not finished.done():
                finished.set_result(None)

        call = self.start_unary(self.header_block(method, metadata), request, timeout, on_done)
        try:
            await finished
        finally:
            call.cancel()
        if call.error is not None:
            raise call.error
        assert call.response is not None  # noqa: S101 (without an error there is a response)
        return call.response

    def stream(
        self, method: str, *, timeout: float | None = None, metadata: Metadata = ()
    ) -> MessageStream:
        """Start a call with a stream of messages in both directions.

        `timeout` is in seconds; None sets no deadline.
        """
        call = self._new_stream_call(self.header_block(method, metadata), timeout)
        stream = MessageStream(call, self.flush)
        self._submit(call)
        return stream

    def start_stream(
        self, header_block: bytes, timeout: float, wake: Callable[[], None]
    ) -> StreamCall:
        """Start a call with a stream of messages in both directions, with a callback interface.

        `wake` is called after each change, perhaps before this returns. Call `flush` after sending
        or popping messages. `timeout` is in seconds.
        """
        call = self._new_stream_call(header_block, timeout)
        call.wake = wake
        self._submit(call)
        return call

    def _new_stream_call(self, header_block: bytes, timeout: float | None) -> StreamCall:
        deadline = None if timeout is None else self._loop.time() + timeout
        return StreamCall(header_block, self._max_message_size, deadline, self._on_call_end, _noop)

    async def close(self, grace: float = 0.0) -> None:
        """Reject new calls and close all connections.

        Active calls get `grace` seconds and then fail with CANCELLED; queued calls fail at once.
        """
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        self._fail_queued_calls(Status.CANCELLED, "the connection was closed")
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await asyncio.gather(*(transport.wait_drained() for transport in self._transports))
        await asyncio.gather(
            *(transport.shut_down(_SHUTDOWN_TIMEOUT_S) for transport in list(self._transports))
        )
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()

    # Calls: sent at once, or queued for a connection or a free stream.

    def _submit(self, call: Call) -> None:
        if call.ended:  # cancelled before its retry
            return
        if self._closed:
            self._fail_soon(call, Status.UNAVAILABLE, "the connection was closed")
            return
        if call.deadline is not None and call.deadline < self._next_expiry:
            self._schedule_expiry(call.deadline)
        transport = self._transport
        if (
            transport is not None
            and not self._queued_calls
            and transport.connection.can_open_stream()
        ):
            self._send_call(call, transport)
        elif transport is None and self._connecting is None and self._loop.time() < self._retry_at:
            self._fail_soon(call, Status.UNAVAILABLE, self._failure_reason)
        else:
            self._queued_calls[call] = None
            self._ensure_connecting()

    def _send_call(self, call: Call, transport: Http2Transport) -> None:
        header_block = call.header_block
        if call.deadline is not None:
            remaining_ms = (
                int((call.deadline - self._loop.time()) * 1000.0) + 1
            )  # rounded up: the peer must not expire the call first
            header_block += self._timeout_fields.entries.get(
                remaining_ms
            ) or self._cache_timeout_field(remaining_ms)
        transport.start_call(call, header_block)

    def _cache_timeout_field(self, milliseconds: int) -> bytes:
        field = encode_timeout_field(milliseconds)
        self._timeout_fields.add(milliseconds, field)
        return field

    def _on_call_end(self, call: Call) -> None:
        """Retry a call that ended, if it is unary and was refused; else call its `on_done`."""
        if (
            self._queued_calls
            or self._closed
            or self._transport is None
            or len(self._transports) > 1
        ):
            self._queued_calls.pop(call, None)
            self._loop.call_soon(self._refresh_transports)
        if call.error is not None:
            self.flush()  # its stream may have been reset
        if call.refused and not self._closed and isinstance(call, UnaryCall):
            call.reset_for_retry()
            self._loop.call_soon(self._submit, call)
            return
        # A caller refers to its call. Without the callback no cycle keeps the messages in memory.
        on_done, call.on_done = call.on_done, _noop
        try:
            on_done(call)
        except Exception as error:  # noqa: BLE001 (the connection serves other calls)
            message = "the callback of a call raised an exception"
            self._loop.call_exception_handler({"message": message, "exception": error})

    def _refresh_transports(self) -> None:
        """Use the streams that ended calls have freed.

        Otherwise a queued call would wait for the next frame of the peer, also after a cancel.
        """
        for transport in list(self._transports):
            transport.finish_if_drained()
            self._on_transport_change(transport)

    def _fail_soon(self, call: Call, status: Status, details: str) -> None:
        self._loop.call_soon(partial(call.fail, status, details, sent=False))

    def _fail_queued_calls(self, status: Status, details: str) -> None:
        queued_calls, self._queued_calls = self._queued_calls, {}
        for call in queued_calls:
            call.fail(status, details, sent=False)

    def flush(self) -> None:
        """Schedule a write of all frames for the end of this event-loop iteration."""
        for transport in self._transports:
            if transport.connection.outbound.frames:
                transport.flush_soon()

    # Deadlines: one timer for all calls.

    def _schedule_expiry(self, when: float) -> None:
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
        self._next_expiry = when
        self._expiry_timer = self._loop.call_at(when, self._expire_calls)

    def _expire_calls(self) -> None:
        self._expiry_timer, self._next_expiry = None, inf
        active_calls = [call for transport in self._transports for call in transport.active_calls()]
        expired, next_expiry = find_expired([*self._queued_calls, *active_calls], self._loop.time())
        if next_expiry < inf:
            self._schedule_expiry(next_expiry)
        for call in expired:
            call.fail(Status.DEADLINE_EXCEEDED, "deadline exceeded", sent=call.id != 0)

    # The connection: opened on demand, dropped when it ends.

    def _ensure_connecting(self) -> None:
        if self._transport is None and self._connecting is None and not self._closed:
            self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        transport = Http2Transport(self._keepalive_params, self._on_transport_change)
        try:
            async with asyncio.timeout(self._connect_timeout):
                await self._dial(transport)
                await transport.ready
        except BaseException as error:
            self._connecting = None
            transport.close(Status.UNAVAILABLE, "connection failed")
            if not isinstance(error, OSError | TimeoutError | RpcError | ValueError):
                raise
            outcome = "timed out" if isinstance(error, TimeoutError) else f"failed: {error}"
            self._back_off(f"connection to {self._addr} {outcome}")
        else:
            self._connecting = None
            self._transport = transport
            self._transports.add(transport)
            self._on_transport_change(transport)

    def _back_off(self, reason: str) -> None:
        """Fail the queued calls and start the delay before the next attempt to connect."""
        self._failure_reason = reason
        self._retry_at = self._loop.time() + self._backoff.next_delay()
        self._fail_queued_calls(Status.UNAVAILABLE, reason)

    async def _dial(self, transport: Http2Transport) -> None:
        if path := unix_path(self._addr):
            server_name = "localhost" if self._tls else None
            await self._loop.create_unix_connection(
                lambda: transport, path, ssl=self._tls, server_hostname=server_name
            )
        else:
            host, _, port = self._addr.rpartition(":")
            host = host.strip("[]")
            await self._loop.create_connection(lambda: transport, host, int(port), ssl=self._tls)
        if self._tls is not None and not transport.has_negotiated_http2():
            raise RpcError(Status.UNAVAILABLE, "the peer does not offer HTTP/2", may_have_run=False)

    def _on_transport_change(self, transport: Http2Transport) -> None:
        """Start queued calls on the current connection, or drop it if it accepts no more calls."""
        if not transport.is_open:
            self._transports.discard(transport)
        if transport is not self._transport:
            return
        connection = transport.connection
        if (
            transport.is_open
            and not connection.goaway_reason
            and not connection.outbound.stream_ids_exhausted
        ):
            while self._queued_calls and connection.can_open_stream():
                call = next(iter(self._queued_calls))
                del self._queued_calls[call]
                self._send_call(call, transport)
            return
        self._transport = None
        is_useful = connection.useful_frames or connection.outbound.streams
        if is_useful and not transport.broke_protocol:
            self._backoff.reset()
        elif not self._closed:  # treat it as a failed attempt
            self._back_off(connection.goaway_reason or f"connection to {self._addr} was of no use")
        if self._queued_calls:
            self._ensure_connecting()


def _noop(_: Call) -> None:
    """Ignore the end of a call: its MessageStream or `wake` callback notices it."""
