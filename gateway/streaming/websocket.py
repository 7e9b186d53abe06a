"""A WebSocket connection: the sans-I/O protocol of `websockets` on an asyncio transport.

The HTTP server has accepted the TCP connection and parsed the handshake. Limits: bytes of a
message, fragments of a message, control frames per second. A client is disconnected if it does not
answer pings, or does not read what is written to it. Source: RFC 6455.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any, Final, cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from config.options import SessionOptions
from gateway.http.memory_limits import UNCOUNTED_BYTES, BodyBudget
from gateway.http.timeouts import WriteStallMonitor
from gateway.request.response import HttpError
from gateway.streaming import close_codes
from gateway.streaming.messages import BINARY_SUBPROTOCOL, PLAIN_SUBPROTOCOL
from gateway.streaming.multiplexer import SessionMultiplexer

read_message: Callable[[bytes, int], tuple[bytes, bool] | None] | None
write_message: Callable[[bytes, bool], bytes] | None
try:
    from gateway.streaming.frame_native import read_message, write_message
except ImportError:  # not compiled: `websockets` reads and writes all frames
    read_message = write_message = None

_SUBPROTOCOLS: Final = (BINARY_SUBPROTOCOL, PLAIN_SUBPROTOCOL)
_CLOSE_LINGER_S: Final = 1.0
_POLL_INTERVAL_S: Final = 0.5
_TCP_ESTABLISHED: Final = 1  # `tcpi_state`, the first byte of Linux's tcp_info
# Bytes that are parsed at a time, and frames that are handled in one event-loop iteration.
_MIN_SLICE_BYTES: Final = 1 << 11
_MAX_FRAMES: Final = 128
_DATA_OPCODES: Final = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


class MessageProtocol(ServerProtocol):
    """A server that lets a client close within a fragmented message (RFC 6455, 5.4 and 5.5.1).

    `is_between_messages`: all bytes received so far are whole messages. The next message may then
    be read without this protocol.
    """

    is_between_messages = False

    def receive_data(self, data: bytes | bytearray) -> None:
        """Parse received bytes."""
        self.is_between_messages = False
        super().receive_data(data)

    def recv_frame(self, frame: Frame) -> None:
        """Handle a frame."""
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)
        self.is_between_messages = self.current_size is None and not self.reader.buffer


def accept_handshake(
    target: bytes, headers: list[tuple[bytes, bytes]], max_message_bytes: int
) -> tuple[MessageProtocol, bytes]:
    """Return the protocol of an accepted handshake, and the bytes of its 101 response.

    `max_message_bytes` is the limit of a message. Raises HttpError 400 or 426 for an invalid
    handshake.
    """
    protocol = MessageProtocol(
        max_size=max_message_bytes,
        subprotocols=cast("Any", _SUBPROTOCOLS),
        select_subprotocol=lambda _, offered: cast(
            "Any", next((name for name in _SUBPROTOCOLS if name in offered), None)
        ),
        logger=_disabled_logger(),
    )
    lines = [b"GET %b HTTP/1.1" % target, *(b"%b: %b" % header for header in headers), b"", b""]
    protocol.receive_data(b"\r\n".join(lines))
    response = protocol.accept(cast("Request", protocol.events_received()[0]))
    if response.status_code != 101:
        detail = (response.body or b"").decode("utf-8", "replace").partition("\n")[0]
        extra_headers = [(b"upgrade", b"websocket")] if response.status_code == 426 else []
        extra_headers += [(b"connection", b"close")] if response.status_code == 426 else []
        raise HttpError(response.status_code, detail[:200].lower(), headers=extra_headers)
    del response.headers["Date"]
    protocol.send_response(response)
    protocol.is_between_messages = True
    return protocol, b"".join(protocol.data_to_send())


def _disabled_logger() -> logging.Logger:
    """Return a disabled logger: the end of a connection is logged with its sessions."""
    logger = logging.getLogger("ase.websocket")
    logger.disabled = True
    return logger


class WebSocketConnection(asyncio.Protocol):
    """One WebSocket connection, after its handshake.

    `make_multiplexer` creates the multiplexer of the connection. `connections` and `tasks` are sets
    of uvicorn's server state; the connection is in both until it is lost. When the server stops, it
    calls `shutdown` of each connection, and after the drain time `cancel` of each task.

    `_open` is False after a close frame was sent or received, or after the end of the client's
    data. `_lingering`: the gateway has sent its close frame and waits for the client's, or until
    the client has read everything. `_write_paused`: the transport has paused writing, because its
    buffer exceeded the high-water mark and has not shrunk to the low-water mark. `_read_paused`:
    reading is stopped by back-pressure; `_liveness_timer` then polls the TCP state. `_reply_due`: a
    control frame was received, so the protocol may have a reply to send.

    `_fragments` are the fragments of an incomplete message and `_message_opcode` is its type;
    `_fragment_count` is their number. `_partial_frame_bytes` were received since the last complete
    frame. Beyond 64 KiB they are counted with the fragments in `body_budget` (`_is_body_held`).

    `_unparsed` are received bytes that are parsed in a later event-loop iteration, since a read may
    hold thousands of frames. `_transport_paused`: the transport does not read, because of
    `_read_paused` or `_unparsed`.

    `_control_count` is the number of control frames in `_control_second`, a second of the event
    loop's clock. `_alive_since_ping`: bytes were received since the last ping. `_timer` is the ping
    timer; once `_lingering` is set, it is the timer of the wait for the client.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        protocol: MessageProtocol,
        options: SessionOptions,
        stall_monitor: WriteStallMonitor,
        body_budget: BodyBudget,
        connections: set[Any],
        tasks: set[Any],
        make_multiplexer: Callable[["WebSocketConnection"], SessionMultiplexer],
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        self._options = options
        self._connections = connections
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._stall_monitor = stall_monitor
        self._body_budget = body_budget
        self._write_paused = self._read_paused = self._lingering = self._reply_due = False
        self._open = True  # a copy: the protocol's property is slow
        self._fragments = bytearray()
        self._fragment_count = self._partial_frame_bytes = 0
        self._is_body_held = self._transport_paused = False
        self._unparsed = b""
        self._message_opcode = Opcode.TEXT
        self._control_count = 0
        self._control_second = 0
        self._alive_since_ping = True
        self._timer = self._loop.call_later(options.ping, self._ping)
        self._liveness_timer: asyncio.TimerHandle | None = None
        connections.add(self)
        tasks.add(self)
        self._multiplexer = make_multiplexer(self)

    # The connection.

    def data_received(self, data: bytes) -> None:
        """Parse received bytes and handle the frames; ignored once closed."""
        self._alive_since_ping = True  # any bytes show that the client is connected
        if self._unparsed:  # from before the transport was paused
            self._unparsed += data
        elif not self._receive_message(data):
            self._parse(data)

    def _receive_message(self, data: bytes) -> bool:
        """Handle a read that is exactly one message in one frame; return whether it is."""
        if read_message is None or not (self._open and self._protocol.is_between_messages):
            return False
        message = read_message(data, self._options.max_frame)
        if message is None:
            return False
        self._multiplexer.receive_message(message[0], message[1])
        return True

    def _parse(self, data: bytes) -> None:
        """Parse bytes in slices; keep the rest for the next iteration after `_MAX_FRAMES` frames.

        A slice of many frames is small. Within a large frame slices grow, so that it takes few.
        """
        protocol = self._protocol
        start, size, frame_count = 0, _MIN_SLICE_BYTES, 0
        while start < len(data) and (self._open or protocol.state is State.CLOSING):
            if frame_count > _MAX_FRAMES:
                self._unparsed = data[start:]
                self._loop.call_soon(self._parse_rest)
                break
            data_slice = data[start : start + size]
            protocol.receive_data(data_slice)
            start += size
            frames_in_slice = self._process_events()
            frame_count += frames_in_slice
            self._partial_frame_bytes += len(data_slice)
            size *= 2
            if frames_in_slice:
                size, self._partial_frame_bytes = _MIN_SLICE_BYTES, 0
        self._count_incomplete_message()
        self._update_transport_reading()

    def _count_incomplete_message(self) -> None:
        """Count the bytes of a large incomplete message; they may be too many with all others."""
        incomplete_bytes = len(self._fragments) + self._partial_frame_bytes
        if incomplete_bytes > UNCOUNTED_BYTES:
            self._is_body_held = True
            holder_to_reject = self._body_budget.hold(self, incomplete_bytes)
            if holder_to_reject is not None:
                holder_to_reject.reject_body_for_memory()
        elif self._is_body_held:
            self._is_body_held = False
            self._body_budget.release(self)

    def _parse_rest(self) -> None:
        rest, self._unparsed = self._unparsed, b""
        if not self._transport.is_closing():
            self._parse(rest)

    def eof_received(self) -> None:
        """Handle the end of the client's data; the event loop then closes the transport."""
        self._protocol.receive_eof()
        self._process_events()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Stop the timers and end the sessions."""
        self._connections.discard(self)
        self._tasks.discard(self)
        self._timer.cancel()
        self._stall_monitor.stop()
        self._body_budget.release(self)
        self._unparsed = b""
        self._multiplexer.on_disconnect()

    def pause_writing(self) -> None:
        """Stop sending results, and monitor whether the client reads."""
        self._write_paused = True
        self._stall_monitor.start()

    def resume_writing(self) -> None:
        """Continue to send results: the client has read enough.

        While the connection closes, `_linger_then_close` stops the monitor.
        """
        self._write_paused = False
        if not self._lingering:
            self._stall_monitor.stop()
            self._multiplexer.resume_writing()

    def shutdown(self) -> None:
        """Start to drain: the server stops."""
        self._multiplexer.drain()

    def cancel(self, msg: str = "") -> None:  # noqa: ARG002 (as `asyncio.Task.cancel`)
        """End all sessions: the server's drain time is over."""
        self._multiplexer.abort()

    # Called by the multiplexer.

    def writable(self) -> bool:
        """Return whether the client keeps up: the transport has not paused writing."""
        return not self._write_paused

    def send(self, message: bytes, *, binary: bool) -> None:
        """Send a message; it is dropped if the connection is closing."""
        if not self._open:
            return
        if write_message is not None:
            if not self._transport.is_closing():
                self._transport.write(write_message(message, binary))
            return
        protocol = self._protocol
        (protocol.send_binary if binary else protocol.send_text)(message)
        self._flush()

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, and close the connection when the client has read everything.

        Reading resumes, to receive the client's close frame.
        """
        if self._open:
            self._open = False
            self._protocol.send_close(code, reason)
            self._flush()
        self._close_connection()
        self.resume_reading()

    def pause_reading(self) -> None:
        """Stop reading, and poll whether the client is still connected."""
        if not self._read_paused and not self._transport.is_closing():
            self._read_paused = True
            self._update_transport_reading()
            self._schedule_liveness_check()

    def resume_reading(self) -> None:
        """Continue to read."""
        if self._read_paused and not self._transport.is_closing():
            self._read_paused = False
            self._update_transport_reading()
            if self._liveness_timer is not None:
                self._liveness_timer.cancel()

    def _update_transport_reading(self) -> None:
        pause = self._read_paused or bool(self._unparsed)
        if pause is not self._transport_paused and not self._transport.is_closing():
            self._transport_paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def reject_body_for_memory(self) -> None:
        """Close with 1013 (try again later): too many incomplete messages are in memory."""
        self._fragments, self._partial_frame_bytes = bytearray(), 0
        self._body_budget.release(self)
        self._multiplexer.close(close_codes.TRY_AGAIN_LATER, "too many bytes of messages at once")

    def _schedule_liveness_check(self) -> None:
        self._liveness_timer = self._loop.call_later(_POLL_INTERVAL_S, self._check_liveness)

    def _check_liveness(self) -> None:
        """Abort a paused connection that the client has closed.

        Without reading, the event loop does not notice the end of the connection.
        """
        if not self._read_paused or self._transport.is_closing():
            return
        sock = self._transport.get_extra_info("socket")
        if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _TCP_ESTABLISHED:
            self._transport.abort()
        else:
            self._schedule_liveness_check()

    # Frames.

    def _process_events(self) -> int:
        """Handle the frames that the protocol has parsed, and send its replies; count the frames.

        If the WebSocket is not open any more, end the sessions and close the connection. If a close
        frame was sent and none received, the client has violated the protocol, or the multiplexer
        has closed the WebSocket and has no session left.
        """
        self._open = self._open and self._protocol.state is State.OPEN
        events = self._protocol.events_received()
        for event in events:
            if isinstance(event, Frame):
                self._handle_frame(event)
        if self._reply_due or not self._open:
            self._reply_due = False
            if self._lingering:
                self._protocol.data_to_send()  # no replies after the gateway's close frame
            else:
                self._flush()
        if not self._open:
            close_sent, close_received = self._protocol.close_sent, self._protocol.close_rcvd
            if close_sent is not None and close_received is None:
                self._multiplexer.on_protocol_error(close_sent.reason)
            self._multiplexer.on_disconnect()
            self._close_connection()
        return len(events)

    def _handle_frame(self, frame: Frame) -> None:
        """Pass on a complete message; limit the fragments and the control frames."""
        opcode = frame.opcode
        if opcode in _DATA_OPCODES:
            if opcode is not Opcode.CONT:
                if frame.fin:  # not fragmented, as nearly always
                    self._multiplexer.receive_message(bytes(frame.data), opcode is Opcode.BINARY)
                    return
                self._message_opcode, self._fragments, self._fragment_count = (
                    opcode,
                    bytearray(),
                    0,
                )
            self._fragments += frame.data
            self._fragment_count += 1
            if frame.fin:
                message, self._fragments = bytes(self._fragments), bytearray()
                self._multiplexer.receive_message(message, self._message_opcode is Opcode.BINARY)
            elif self._fragment_count >= self._options.max_fragments:
                reason = f"a message in more than {self._options.max_fragments} fragments"
                self._multiplexer.close(close_codes.POLICY_VIOLATION, reason)
            return
        self._reply_due = True  # a pong or a close frame
        second = int(self._loop.time())
        self._control_count = self._control_count + 1 if second == self._control_second else 1
        self._control_second = second
        if self._control_count > self._options.max_controls and self._lingering:
            self._transport.abort()
        elif self._control_count > self._options.max_controls:
            self._multiplexer.close(close_codes.POLICY_VIOLATION, "too many pings")

    def _ping(self) -> None:
        """Send a ping; abort the connection if nothing was received since the previous one.

        `options.ping` seconds are both the interval and the time for an answer. Silence proves
        nothing while reading is paused or the client has unread data. Then the connection is
        aborted only by the stall monitor, or by the liveness check of a paused connection.
        """
        if not self._alive_since_ping:
            if not self._read_paused and not self._stall_monitor.unread_bytes():
                self._transport.abort()
                return
            # The client has not read the ping yet, or the gateway has not read the pong.
            self._stall_monitor.start()
        self._alive_since_ping = False
        if self._open:
            self._protocol.send_ping(b"")
            self._flush()
        self._timer = self._loop.call_later(self._options.ping, self._ping)

    def _close_connection(self) -> None:
        """Close the transport after a complete closing handshake; otherwise wait for the client.

        Closing earlier would discard what the client has not read, such as the reason for the
        close.
        """
        if self._protocol.close_rcvd is not None or self._protocol.state is State.CLOSED:
            self._transport.close()
        elif not self._lingering:
            self._lingering = True
            self._timer.cancel()
            self._linger_then_close()

    def _linger_then_close(self) -> None:
        """Close the transport 1 s after all written bytes have reached the client's host.

        This is checked every 0.5 s. Until then the stall monitor aborts the connection of a client
        that reads nothing.
        """
        if self._transport.is_closing():
            return
        if self._stall_monitor.unread_bytes():
            self._stall_monitor.start()
            self._timer = self._loop.call_later(_POLL_INTERVAL_S, self._linger_then_close)
        else:
            self._stall_monitor.stop()
            self._timer = self._loop.call_later(_CLOSE_LINGER_S, self._transport.close)

    def _flush(self) -> None:
        """Write what the protocol has to send; after its last byte, which is b"", end the output.

        A client that violated the protocol is not read any more. It sees the end at once, and
        closes.
        """
        parts = self._protocol.data_to_send()
        if self._transport.is_closing():
            return
        data = b"".join(parts)
        if data:
            self._transport.write(data)
        if b"" in parts and self._transport.can_write_eof():
            self._transport.write_eof()
