"""The asyncio protocol of a client connection: socket I/O, write batching and keepalive."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast

from rpc.calls import Call
from rpc.connection import Connection
from rpc.frames import ErrorCode, ProtocolError
from rpc.headers import TABLE_SIZE_UPDATE, HeaderBlockCache
from rpc.keepalive import Keepalive, KeepaliveAction, KeepaliveParams
from rpc.metadata import ResponseHeaders, parse_response_headers
from rpc.status import RpcError, Status

# Bytes in the transport's write buffer above which data stays with the streams, without a copy.
_HIGH_WATER: Final = 1 << 18
_MAX_WRITE_BUFFER: Final = 1 << 25
_RECHECK_DELAY_S: Final = 0.05


class Http2Transport(asyncio.Protocol):
    """A client's HTTP/2 connection on an asyncio transport.

    - `on_change`: called with this object when more calls can be started, or none any more.
    - `ready`: done when the peer's SETTINGS frame arrives. It fails with RpcError if the connection
      closes before.
    - `is_open`: False after `close`. `broke_protocol`: the peer caused that by an error of its own.
    - `_last_received`: loop time of the last received byte, in seconds.
    - `_header_prefix`: the table size update for the first header block, then empty.
    - `_flush_scheduled`: a call of `_flush` is scheduled on the event loop.
    - `_keepalive_timer`: the timer of the next keepalive check, or None. It stops at the first
      check without an active call.
    - `_death_suspected`: the last check found the peer dead, and one more check is due.
    - `_drained`: done when no call is active; None if nothing waits for that.
    - `_disconnected`: set when the transport has closed.
    """

    def __init__(
        self, keepalive_params: KeepaliveParams, on_change: Callable[["Http2Transport"], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.connection = Connection(self._loop.time)
        self.is_open = True
        self.broke_protocol = False
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self._on_change = on_change
        self._header_cache: HeaderBlockCache[ResponseHeaders] = HeaderBlockCache(
            parse_response_headers
        )
        self._keepalive = Keepalive(keepalive_params)
        self._transport: asyncio.Transport | None = None
        self._last_received = 0.0
        self._header_prefix = TABLE_SIZE_UPDATE
        self._flush_scheduled = False
        self._death_suspected = False
        self._keepalive_timer: asyncio.TimerHandle | None = None
        self._drained: asyncio.Future[None] | None = None
        self._disconnected = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the connection preface."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport is no subclass
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        self.connection.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Process received bytes; calls may end in the course.

        A protocol error closes the connection: its calls fail with UNAVAILABLE.
        """
        self._last_received = self._loop.time()
        connection = self.connection
        try:
            connection.receive_data(data)
        except ProtocolError as error:
            self.broke_protocol = True
            connection.queue_goaway(error.code, error.reason)
            self._flush()
            self.close(Status.UNAVAILABLE, f"the peer broke HTTP/2: {error}")
            return
        if connection.settings_received and not self.ready.done():
            self.ready.set_result(None)
        self._on_change(self)
        if connection.outbound.frames:
            self.flush_soon()
            self._abort_slow_reader()
        self.finish_if_drained()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail every active call with UNAVAILABLE."""
        self._disconnected.set()
        details = f"the connection was lost: {exc}" if exc else "the peer closed the connection"
        self.close(Status.UNAVAILABLE, details)

    def pause_writing(self) -> None:
        """Hold data back: the transport's write buffer is full."""
        self.connection.outbound.blocked = True

    def resume_writing(self) -> None:
        """Send the data that was held back."""
        self.connection.outbound.unblock()
        self.flush_soon()

    def start_call(self, call: Call, header_block: bytes) -> None:
        """Start a call with its complete header block, and the keepalive timer if it is idle."""
        if self._header_prefix:
            header_block, self._header_prefix = self._header_prefix + header_block, b""
        call.start(self.connection, self._header_cache, header_block)
        self.flush_soon()
        if self._keepalive_timer is None:
            self._keepalive.begin(self._loop.time())
            self._schedule_keepalive()

    def active_calls(self) -> list[Call]:
        """Return the calls whose stream is open."""
        return [
            call for call in self.connection.outbound.streams.values() if isinstance(call, Call)
        ]

    def flush_soon(self) -> None:
        """Schedule one write of all frames for the end of this event-loop iteration."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    async def wait_drained(self) -> None:
        """Wait until no call is active."""
        if self.is_open and self.connection.outbound.streams:
            self._drained = self._drained or self._loop.create_future()
            await asyncio.shield(self._drained)

    def close(self, status: Status, details: str) -> None:
        """Close the connection. Active calls fail with `status`."""
        if not self.is_open:
            return
        self.is_open = False
        if self._keepalive_timer is not None:
            self._keepalive_timer.cancel()
        if not self.ready.done():
            self.ready.set_exception(RpcError(status, details, may_have_run=False))
            self.ready.exception()  # mark as retrieved: there may be no waiter any more
        for call in self.active_calls():
            self.connection.outbound.drop_stream(call)
            call.fail(status, details)
        if self._transport is not None:
            self._flush()
            if self._transport.get_write_buffer_size():
                self._transport.abort()  # do not wait for a peer that does not read
            else:
                self._transport.close()
        self.finish_if_drained()
        self._on_change(self)

    def finish_if_drained(self) -> None:
        """If no call is active, wake `wait_drained`.

        Also close the connection if the peer sent GOAWAY or the stream ids are exhausted, since no
        new call can use it.
        """
        outbound = self.connection.outbound
        if outbound.streams:
            return
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None
        if self.is_open and (self.connection.goaway_reason or outbound.stream_ids_exhausted):
            self.close(
                Status.UNAVAILABLE, self.connection.goaway_reason or "all stream numbers are used"
            )

    def _abort_slow_reader(self) -> None:
        """Abort the connection if the peer causes replies and does not read them."""
        transport = self._transport
        if transport is not None and transport.get_write_buffer_size() > _MAX_WRITE_BUFFER:
            transport.abort()
            self.close(Status.UNAVAILABLE, "the peer does not read")

    def _flush(self) -> None:
        self._flush_scheduled = False
        outbound = self.connection.outbound
        chunks = outbound.take_frames()
        if chunks and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(chunks))
            outbound.on_flushed()
            if outbound.frames:
                self.flush_soon()

    def _schedule_keepalive(self) -> None:
        delay = self._keepalive.next_check_in(self._loop.time())
        self._keepalive_timer = self._loop.call_later(delay, self._check_keepalive)

    def _check_keepalive(self) -> None:
        """Check whether the peer is alive. Stop if no call is active."""
        self._keepalive_timer = None
        connection = self.connection
        if not connection.outbound.streams:
            return
        verdict = self._keepalive.check(
            self._loop.time(), self._last_received, connection.useful_frames
        )
        if verdict is KeepaliveAction.DEAD and not self._death_suspected:
            # This process may have been stalled, with bytes of the peer unread. They are read
            # before the second check.
            self._death_suspected = True
            self._keepalive_timer = self._loop.call_later(_RECHECK_DELAY_S, self._check_keepalive)
            return
        self._death_suspected = False
        if verdict is KeepaliveAction.DEAD:
            if self._transport is not None:
                self._transport.abort()
            self.close(Status.UNAVAILABLE, "the peer gives no sign of life")
            return
        if verdict is KeepaliveAction.PING:
            connection.ping(b"aliveyet")
            self._flush()
        self._schedule_keepalive()

    def has_negotiated_http2(self) -> bool:
        """Return whether TLS has selected HTTP/2 by ALPN (`h2`)."""
        ssl_object = self._transport.get_extra_info("ssl_object") if self._transport else None
        return ssl_object is not None and ssl_object.selected_alpn_protocol() == "h2"

    async def shut_down(self, timeout: float) -> None:
        """Send GOAWAY, close the connection and wait for the transport to close.

        Active calls fail with CANCELLED. A TLS close may take seconds; after `timeout` seconds the
        transport is aborted.
        """
        self.connection.queue_goaway(ErrorCode.NO_ERROR)
        self.close(Status.CANCELLED, "the connection was closed")
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._disconnected.wait()
        if self._transport is not None:
            self._transport.abort()
