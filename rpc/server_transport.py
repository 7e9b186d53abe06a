"""The asyncio protocol of a client's connection to a server: socket I/O, deadlines, keepalive."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final, cast

from rpc.certificate import verified_certificate
from rpc.deadlines import find_expired
from rpc.frames import PREFACE, ErrorCode, ProtocolError
from rpc.handler_tasks import StreamHandler, UnaryHandler
from rpc.keepalive import Keepalive, KeepaliveAction, KeepaliveParams
from rpc.request_headers import RequestHeaders
from rpc.reset import reset_connection
from rpc.server_calls import (
    CallOwner,
    ServerCall,
    StreamServerCall,
    UnaryServerCall,
    reject_with_http_error,
    reject_with_status,
)
from rpc.server_connection import RequestStream, ServerConnection
from rpc.server_memory import ServerMemory
from rpc.status import Status

# Bytes in the transport's write buffer above which data stays with the streams, without a copy.
_HIGH_WATER: Final = 1 << 18
_MAX_WRITE_BUFFER: Final = 1 << 20
_KEEPALIVE: Final = KeepaliveParams(
    keepalive_time=10.0, keepalive_timeout=3.0, max_pings_without_data=None
)
# A client sends its preface at once; one that sends nothing must not hold a connection.
_PREFACE_TIMEOUT_S: Final = 10.0
# A client that does not read its responses is disconnected when nothing was written for this time.
_STALL_TIMEOUT_S: Final = 60.0
_RECHECK_DELAY_S: Final = 0.05
_LINGER_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The limits of a server.

    `max_connections` at a time; `max_streams` calls at a time on one connection; `max_message_size`
    of a message in bytes, `max_decompressed_size` of a compressed one; `max_buffered` bytes of a
    connection that no handler has taken yet.
    `memory` counts, and bounds, what all connections hold together.
    """

    max_connections: int
    max_streams: int
    max_message_size: int
    max_decompressed_size: int
    max_buffered: int
    memory: ServerMemory


class ServerTransport(asyncio.Protocol):
    """One connection of a client, from its acceptance to its end.

    `connections` are those of the server; this one is in it while it is open. Handlers are found by
    the path of a request. `source` is the address of the client if a load balancer has named it,
    else it is that of the socket.

    `_preface` is what has arrived of the client's preface string; None after it. `_last_received`
    is the loop time of the last received byte. `_next_expiry` is the loop time at which deadlines
    are checked. `_unwritten` are the bytes of the transport's buffer, if it is full. `_sent_bytes`
    and `_progress_at` are for the detection of a client that does not read. `disconnected` is set
    when the transport has closed. `_drained` is done when no call is active; None if nothing waits
    for that.
    """

    def __init__(
        self,
        unary: Mapping[str, UnaryHandler],
        stream: Mapping[str, StreamHandler],
        limits: ServerLimits,
        connections: "set[ServerTransport]",
        source: tuple[str, int] | None = None,
    ) -> None:
        self._unary = unary
        self._stream = stream
        self._limits = limits
        self._connections = connections
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._connection = ServerConnection(self._loop.time, self._accept, limits.max_streams)
        self._keepalive = Keepalive(_KEEPALIVE)
        self._preface: bytes | None = b""
        self._last_received = self._progress_at = 0.0
        self._sent_bytes = self._unwritten = 0
        self._next_expiry = inf
        self._expiry_timer: asyncio.TimerHandle | None = None
        self._check_timer: asyncio.TimerHandle | None = None
        self._flush_scheduled = self._death_suspected = False
        self._is_open = True
        self._drained: asyncio.Future[None] | None = None
        self.disconnected = asyncio.Event()

    # The connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send SETTINGS; close at once if there are too many connections, or another protocol."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport is no subclass
        ssl_object = transport.get_extra_info("ssl_object")
        is_http2 = ssl_object is None or ssl_object.selected_alpn_protocol() == "h2"
        if len(self._connections) >= self._limits.max_connections or not is_http2:
            self._is_open = False
            self._transport.abort()
            return
        self._connections.add(self)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._memory = self._limits.memory.add_connection(self._abort_soon)
        self._owner = CallOwner(
            connection=self._connection,
            peer=_peer_name(self._source or transport.get_extra_info("peername")),
            certificate=verified_certificate(transport.get_extra_info("peercert")),
            max_message_size=self._limits.max_message_size,
            max_decompressed_size=self._limits.max_decompressed_size,
            max_buffered=self._limits.max_buffered,
            memory=self._memory,
            loop=self._loop,
            flush=self.flush_soon,
            on_deadline=self._on_deadline,
        )
        self._connection.initiate_connection()
        self._flush()
        now = self._loop.time()
        self._last_received = self._progress_at = now
        self._keepalive.begin(now)
        self._check_timer = self._loop.call_later(_PREFACE_TIMEOUT_S, self._check_preface)

    def data_received(self, data: bytes) -> None:
        """Process received bytes; calls may start and end in the course."""
        if not self._is_open:
            return
        self._last_received = self._loop.time()
        connection = self._connection
        try:
            if self._preface is not None:
                data = self._read_preface(data)
            connection.receive_data(data)
        except ProtocolError as error:
            connection.queue_goaway(error.code, error.reason)
            self._flush()
            self._linger()
            return
        if connection.outbound.frames:
            self.flush_soon()
            if self._transport.get_write_buffer_size() > _MAX_WRITE_BUFFER:
                self._abort()  # the client causes frames and does not read them
        self._finish_if_drained()

    def _read_preface(self, data: bytes) -> bytes:
        """Return what follows the client's preface string (RFC 9113, 3.4)."""
        received = (self._preface or b"") + data
        if not PREFACE.startswith(received[: len(PREFACE)]):
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "the preface is not that of HTTP/2")
        if len(received) < len(PREFACE):
            self._preface = received
            return b""
        self._preface = None
        return received[len(PREFACE) :]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (any end is the same)
        """Cancel the handlers of all calls."""
        self.disconnected.set()
        self._end()
        if self._check_timer is not None:
            self._check_timer.cancel()

    def pause_writing(self) -> None:
        """Hold data back: the transport's write buffer is full."""
        self._connection.outbound.blocked = True
        self._count_unwritten(self._transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Send the data that was held back."""
        self._count_unwritten(0)
        self._connection.outbound.unblock()
        self.flush_soon()

    def _count_unwritten(self, size: int) -> None:
        change = size - self._unwritten
        self._unwritten = size
        self._memory.add_unsent(change)

    def flush_soon(self) -> None:
        """Schedule one write of all frames for the end of this event-loop iteration."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        outbound = self._connection.outbound
        chunks = outbound.take_frames()
        if chunks and not self._transport.is_closing():
            self._transport.write(b"".join(chunks))
            outbound.on_flushed()
            if outbound.frames:
                self.flush_soon()
        self._finish_if_drained()

    def close(self) -> None:
        """Close the connection, after what is written was sent; cancel the handlers."""
        self._flush()
        if self._transport.get_write_buffer_size() > _HIGH_WATER:
            reset_connection(self._transport)  # do not wait for a client that does not read
        else:
            self._transport.close()
        self._end()
        if not self.disconnected.is_set():  # TLS waits for the client's end of the connection
            self._check_timer = self._loop.call_later(_LINGER_S, self._transport.abort)

    def _linger(self) -> None:
        """Close the connection after a GOAWAY: the client gets time to read why.

        Closing at once, with input unread, resets the connection and loses what was written.
        """
        self._end()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()
        self._check_timer = self._loop.call_later(_LINGER_S, self._transport.abort)

    def _abort_soon(self) -> None:
        """Abort in the next iteration: this may be called while received data is processed."""
        self._loop.call_soon(self._abort)

    def _abort(self) -> None:
        self._transport.abort()
        self._end()

    def _end(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._connections.discard(self)
        for timer in (self._expiry_timer, self._check_timer):
            if timer is not None:
                timer.cancel()
        for call in self._calls():
            call.on_disconnected()
        self._count_unwritten(0)
        self._limits.memory.remove_connection(self._memory)
        self._finish_if_drained()

    # Calls.

    def _accept(self, headers: RequestHeaders, timeout: float | None) -> RequestStream:
        owner = self._owner
        if headers.http_error:
            return reject_with_http_error(owner, headers.http_error)
        if not headers.is_timeout_valid:
            return reject_with_status(owner, Status.INTERNAL, "malformed grpc-timeout")
        unary_handler = self._unary.get(headers.path)
        if unary_handler is not None:
            return UnaryServerCall(owner, headers, timeout, unary_handler)
        stream_handler = self._stream.get(headers.path)
        if stream_handler is not None:
            return StreamServerCall(owner, headers, timeout, stream_handler)
        return reject_with_status(owner, Status.UNIMPLEMENTED, "no such method")

    def _calls(self) -> list[ServerCall]:
        streams = self._connection.outbound.streams.values()
        return [stream for stream in streams if isinstance(stream, ServerCall)]

    def _on_deadline(self, deadline: float) -> None:
        if deadline < self._next_expiry:
            if self._expiry_timer is not None:
                self._expiry_timer.cancel()
            self._next_expiry = deadline
            self._expiry_timer = self._loop.call_at(deadline, self._expire_calls)

    def _expire_calls(self) -> None:
        self._expiry_timer, self._next_expiry = None, inf
        expired, next_expiry = find_expired(self._calls(), self._loop.time())
        for call in expired:
            call.cancel(Status.DEADLINE_EXCEEDED, "deadline exceeded")
        if next_expiry < inf:
            self._on_deadline(next_expiry)

    # Draining.

    def start_drain(self) -> None:
        """Accept no further calls: a GOAWAY tells the client which ones are not processed."""
        self._connection.queue_goaway(ErrorCode.NO_ERROR, "the server stops")
        self._flush()

    async def wait_drained(self) -> None:
        """Wait until no call is active."""
        if self._is_open and self._connection.outbound.streams:
            self._drained = self._drained or self._loop.create_future()
            await asyncio.shield(self._drained)

    def cancel_calls(self) -> list["asyncio.Task[None]"]:
        """End all calls with CANCELLED; return the tasks of their handlers."""
        tasks = list(self._owner.tasks)
        for call in self._calls():
            call.cancel(Status.CANCELLED, "the server stops")
        return tasks

    def _finish_if_drained(self) -> None:
        is_drained = not self._is_open or not self._connection.outbound.streams
        if self._drained is not None and is_drained and not self._drained.done():
            self._drained.set_result(None)

    # Time: a client that says nothing, does not answer a ping, or does not read.

    def _check_preface(self) -> None:
        if not self._connection.settings_received:
            self._abort()
            return
        self._check()

    def _check(self) -> None:
        now, connection = self._loop.time(), self._connection
        verdict = self._keepalive.check(now, self._last_received, connection.useful_frames)
        if verdict is KeepaliveAction.DEAD and not self._death_suspected:
            # This process may have been stalled, with bytes unread. They are read before the second
            # check.
            self._death_suspected = True
            self._check_timer = self._loop.call_later(_RECHECK_DELAY_S, self._check)
            return
        self._death_suspected = False
        if verdict is KeepaliveAction.DEAD or self._is_stalled(now):
            self._abort()
            return
        if verdict is KeepaliveAction.PING:
            connection.ping(b"aliveyet")
            self._flush()
        self._check_timer = self._loop.call_later(self._keepalive.next_check_in(now), self._check)

    def _is_stalled(self, now: float) -> bool:
        """Return whether responses wait, and nothing was written for a long time."""
        sent_bytes = self._connection.outbound.sent_bytes()
        is_waiting = any(
            stream.send_buffer is not None for stream in self._connection.outbound.streams.values()
        )
        if sent_bytes != self._sent_bytes or not is_waiting:
            self._sent_bytes, self._progress_at = sent_bytes, now
        return now - self._progress_at > _STALL_TIMEOUT_S


def _peer_name(address: Any) -> str:
    """Return the peer of a socket in gRPC's form, as in "ipv4:10.0.0.7:5123"."""
    if not isinstance(address, tuple):
        return "unix:"
    host, port = address[:2]
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
