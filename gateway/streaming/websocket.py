"""A WebSocket: the library's protocol without I/O, on a connection that the door has opened.

Limits: the size of a message, its fragments, control frames in a second; a client that does not
answer pings is gone, and so is one that does not read what is written to it.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from config.options import SessionOptions
from gateway.http.timeouts import WriteStallMonitor
from gateway.request.response import HttpError
from gateway.streaming import close_codes
from gateway.streaming.messages import BINARY_SUBPROTOCOL
from gateway.streaming.multiplexer import SessionMultiplexer

_CLOSE_LINGER_S: Final = 1.0
_POLL_INTERVAL_S: Final = 0.5
_TCP_ESTABLISHED: Final = 1  # of Linux's tcp_info, its first byte
_DATA_OPCODES: Final = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


def accept_handshake(
    target: bytes, headers: list[tuple[bytes, bytes]], max_message_bytes: int
) -> tuple[ServerProtocol, bytes]:
    """Return the protocol of a handshake that is accepted, and the bytes that say so.

    `limit`: the most bytes of a message. Raises HttpError 400 or 426.
    """
    protocol = ServerProtocol(
        max_size=max_message_bytes,
        subprotocols=cast("Any", [BINARY_SUBPROTOCOL]),
        select_subprotocol=lambda _, offered: (
            cast("Any", BINARY_SUBPROTOCOL) if BINARY_SUBPROTOCOL in offered else None
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
    return protocol, b"".join(protocol.data_to_send())


def _disabled_logger() -> logging.Logger:
    """Return a logger that says nothing: how a socket ended, its sessions tell."""
    logger = logging.getLogger("ase.websocket")
    logger.disabled = True
    return logger


def check_origin(headers: Mapping[bytes, bytes], allowed: list[str]) -> None:
    """Refuse a page of another origin that is not allowed. Raises HttpError 403."""
    origin = headers.get(b"origin", b"").decode("latin-1")
    host = headers.get(b"host", b"").decode("latin-1")
    accepted_origins = [f"http://{host}", f"https://{host}", *map(str.lower, allowed)]
    if origin and "*" not in allowed and origin.lower() not in accepted_origins:
        cure = "is not one of session.origins"
        raise HttpError(403, f"origin {origin[:128]} {cure}", log_message=f"origin {cure}")


class WebSocketConnection(asyncio.Protocol):
    """One WebSocket. `talk` is made with it; `connections` and `tasks` are the server's.

    The server asks every connection to shut down, and cancels every task when it waits no longer.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        protocol: ServerProtocol,
        options: SessionOptions,
        write_timeout: float,
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
        self._stall_monitor = WriteStallMonitor(transport, write_timeout)
        self._write_paused = self._read_paused = self._closing = self._reply_due = False
        self._open = True  # as the protocol has it, which is slow to say so
        self._fragments: list[bytes] = []
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
        """Take what came."""
        protocol = self._protocol
        if not self._open and protocol.state is not State.CLOSING:
            return
        self._alive_since_ping = True  # whatever it says, it is there
        protocol.receive_data(data)
        self._process_events()

    def eof_received(self) -> None:
        """Take in that the client sends no more; the loop closes the connection."""
        self._protocol.receive_eof()
        self._process_events()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Take in that the client is gone."""
        self._connections.discard(self)
        self._tasks.discard(self)
        self._timer.cancel()
        self._stall_monitor.stop()
        self._multiplexer.on_disconnect()

    def pause_writing(self) -> None:
        """Take no more results, and watch whether the client reads."""
        self._write_paused = True
        self._stall_monitor.start()

    def resume_writing(self) -> None:
        """Go on."""
        self._write_paused = False
        if not self._closing:
            self._stall_monitor.stop()
            self._multiplexer.resume_writing()

    def shutdown(self) -> None:
        """Leave, gently (the server drains)."""
        self._multiplexer.drain()

    def cancel(self, msg: str = "") -> None:  # noqa: ARG002 (as of a task, which the drain cancels)
        """Leave now: the drain's time is over."""
        self._multiplexer.abort()

    # What the talk says (gateway.streaming.multiplexer.Socket).

    def writable(self) -> bool:
        """Return whether the client keeps up."""
        return not self._write_paused

    def send(self, message: bytes, *, binary: bool) -> None:
        """Send a message."""
        if self._open:
            protocol = self._protocol
            (protocol.send_binary if binary else protocol.send_text)(message)
            self._flush()

    def close(self, code: int, reason: str) -> None:
        """Send a close frame; the client gets a moment to answer it."""
        if self._open:
            self._open = False
            self._protocol.send_close(code, reason)
            self._flush()
        self._close_connection()
        self.resume_reading()

    def pause_reading(self) -> None:
        """Read no more."""
        if not self._read_paused and not self._transport.is_closing():
            self._read_paused = True
            self._transport.pause_reading()
            self._schedule_liveness_check()

    def resume_reading(self) -> None:
        """Read on."""
        if self._read_paused and not self._transport.is_closing():
            self._read_paused = False
            self._transport.resume_reading()
            if self._liveness_timer is not None:
                self._liveness_timer.cancel()

    def _schedule_liveness_check(self) -> None:
        self._liveness_timer = self._loop.call_later(_POLL_INTERVAL_S, self._check_liveness)

    def _check_liveness(self) -> None:
        """See whether a client that is not read is still there: its end would not be heard."""
        if not self._read_paused or self._transport.is_closing():
            return
        sock = self._transport.get_extra_info("socket")
        if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _TCP_ESTABLISHED:
            self._transport.abort()
        else:
            self._schedule_liveness_check()

    # Frames.

    def _process_events(self) -> None:
        """Hand on what the protocol has read, and send what it wants to say."""
        self._open = self._open and self._protocol.state is State.OPEN
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._handle_frame(event)
        if self._reply_due or not self._open:
            self._reply_due = False
            if self._closing:
                self._protocol.data_to_send()  # it has our last word: its pings get no answer
            else:
                self._flush()
        if not self._open:
            close_sent, close_received = self._protocol.close_sent, self._protocol.close_rcvd
            if close_sent is not None and close_received is None:
                self._multiplexer.on_protocol_error(close_sent.reason)
            self._multiplexer.on_disconnect()
            self._close_connection()

    def _handle_frame(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode in _DATA_OPCODES:
            if opcode is not Opcode.CONT:
                if frame.fin:  # whole, as nearly always
                    self._multiplexer.receive_message(bytes(frame.data), opcode is Opcode.BINARY)
                    return
                self._message_opcode, self._fragments = opcode, []
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                fragments, self._fragments = self._fragments, []
                self._multiplexer.receive_message(
                    b"".join(fragments), self._message_opcode is Opcode.BINARY
                )
            elif len(self._fragments) >= self._options.max_fragments:
                reason = f"a message in more than {self._options.max_fragments} fragments"
                self._multiplexer.close(close_codes.POLICY_VIOLATION, reason)
            return
        self._reply_due = True  # an answer to it
        second = int(self._loop.time())
        self._control_count = self._control_count + 1 if second == self._control_second else 1
        self._control_second = second
        if self._control_count > self._options.max_controls and self._closing:
            self._transport.abort()
        elif self._control_count > self._options.max_controls:
            self._multiplexer.close(close_codes.POLICY_VIOLATION, "too many pings")

    def _ping(self) -> None:
        """Ask for a sign of life; one who gave none since the last time is gone."""
        if not self._alive_since_ping:
            if not self._read_paused and not self._stall_monitor.unread_bytes():
                self._transport.abort()
                return
            # The ping is still queued behind unread data, or its pong is still unread by us.
            self._stall_monitor.start()
        self._alive_since_ping = False
        if self._open:
            self._protocol.send_ping(b"")
            self._flush()
        self._timer = self._loop.call_later(self._options.ping, self._ping)

    def _close_connection(self) -> None:
        """Go when both have said goodbye; who has not yet may read why we did.

        To close before would take from it what it has not read.
        """
        if self._protocol.close_rcvd is not None or self._protocol.state is State.CLOSED:
            self._transport.close()
        elif not self._closing:
            self._closing = True
            self._timer.cancel()
            self._linger_then_close()

    def _linger_then_close(self) -> None:
        """Go a moment after the client has taken all; one that takes nothing is cut off."""
        if self._transport.is_closing():
            return
        if self._stall_monitor.unread_bytes():
            self._stall_monitor.start()
            self._timer = self._loop.call_later(_POLL_INTERVAL_S, self._linger_then_close)
        else:
            self._stall_monitor.stop()
            self._timer = self._loop.call_later(_CLOSE_LINGER_S, self._transport.close)

    def _flush(self) -> None:
        data = b"".join(self._protocol.data_to_send())
        if data and not self._transport.is_closing():
            self._transport.write(data)
