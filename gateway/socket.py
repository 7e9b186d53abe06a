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
from gateway import closing
from gateway.answers import HttpError
from gateway.clocks import Reading
from gateway.messages import BINARY
from gateway.talk import Talk

_FAREWELL_S: Final = 1.0
_LOOK_S: Final = 0.5
_ESTABLISHED: Final = 1  # of Linux's tcp_info, its first byte
_DATA: Final = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


def handshake(
    target: bytes, headers: list[tuple[bytes, bytes]], limit: int
) -> tuple[ServerProtocol, bytes]:
    """Return the protocol of a handshake that is accepted, and the bytes that say so.

    `limit`: the most bytes of a message. Raises HttpError 400 or 426.
    """
    protocol = ServerProtocol(
        max_size=limit,
        subprotocols=cast("Any", [BINARY]),
        select_subprotocol=lambda _, offered: cast("Any", BINARY) if BINARY in offered else None,
        logger=_quiet(),
    )
    lines = [b"GET %b HTTP/1.1" % target, *(b"%b: %b" % told for told in headers), b"", b""]
    protocol.receive_data(b"\r\n".join(lines))
    response = protocol.accept(cast("Request", protocol.events_received()[0]))
    if response.status_code != 101:
        words = (response.body or b"").decode("utf-8", "replace").partition("\n")[0]
        more = [(b"upgrade", b"websocket")] if response.status_code == 426 else []
        more += [(b"connection", b"close")] if response.status_code == 426 else []
        raise HttpError(response.status_code, words[:200].lower(), headers=more)
    del response.headers["Date"]
    protocol.send_response(response)
    return protocol, b"".join(protocol.data_to_send())


def _quiet() -> logging.Logger:
    """Return a logger that says nothing: how a socket ended, its sessions tell."""
    logger = logging.getLogger("ase.websocket")
    logger.disabled = True
    return logger


def check_origin(headers: Mapping[bytes, bytes], allowed: list[str]) -> None:
    """Refuse a page of another origin that is not allowed. Raises HttpError 403."""
    origin = headers.get(b"origin", b"").decode("latin-1")
    host = headers.get(b"host", b"").decode("latin-1")
    known = [f"http://{host}", f"https://{host}", *map(str.lower, allowed)]
    if origin and "*" not in allowed and origin.lower() not in known:
        cure = "is not one of session.origins"
        raise HttpError(403, f"origin {origin[:128]} {cure}", logged=f"origin {cure}")


class SocketProtocol(asyncio.Protocol):
    """One WebSocket. `talk` is made with it; `connections` and `tasks` are the server's.

    The server asks every connection to shut down, and cancels every task when it waits no longer.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        protocol: ServerProtocol,
        options: SessionOptions,
        stalled: float,
        connections: set[Any],
        tasks: set[Any],
        talk: Callable[["SocketProtocol"], Talk],
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        self._options = options
        self._connections = connections
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._reading = Reading(transport, stalled)
        self._full = self._paused = self._parting = self._owes = False
        self._open = True  # as the protocol has it, which is slow to say so
        self._pieces: list[bytes] = []
        self._opcode = Opcode.TEXT
        self._controls = 0
        self._second = 0
        self._answered = True
        self._timer = self._loop.call_later(options.ping, self._ping)
        self._looking: asyncio.TimerHandle | None = None
        connections.add(self)
        tasks.add(self)
        self._talk = talk(self)

    # The connection.

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        protocol = self._protocol
        if not self._open and protocol.state is not State.CLOSING:
            return
        self._answered = True  # whatever it says, it is there
        protocol.receive_data(data)
        self._take()

    def eof_received(self) -> None:
        """Take in that the client sends no more; the loop closes the connection."""
        self._protocol.receive_eof()
        self._take()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Take in that the client is gone."""
        self._connections.discard(self)
        self._tasks.discard(self)
        self._timer.cancel()
        self._reading.stop()
        self._talk.gone()

    def pause_writing(self) -> None:
        """Take no more results, and watch whether the client reads."""
        self._full = True
        self._reading.begin()

    def resume_writing(self) -> None:
        """Go on."""
        self._full = False
        if not self._parting:
            self._reading.stop()
            self._talk.resumed()

    def shutdown(self) -> None:
        """Leave, gently (the server drains)."""
        self._talk.drain()

    def cancel(self, msg: str = "") -> None:  # noqa: ARG002 (as of a task, which the drain cancels)
        """Leave now: the drain's time is over."""
        self._talk.cut()

    # What the talk says (gateway.talk.Socket).

    def writable(self) -> bool:
        """Return whether the client keeps up."""
        return not self._full

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
        self._part()
        self.resume()

    def pause(self) -> None:
        """Read no more."""
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()
            self._look_later()

    def resume(self) -> None:
        """Read on."""
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
            if self._looking is not None:
                self._looking.cancel()

    def _look_later(self) -> None:
        self._looking = self._loop.call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        """See whether a client that is not read is still there: its end would not be heard."""
        if not self._paused or self._transport.is_closing():
            return
        sock = self._transport.get_extra_info("socket")
        if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED:
            self._transport.abort()
        else:
            self._look_later()

    # Frames.

    def _take(self) -> None:
        """Hand on what the protocol has read, and send what it wants to say."""
        self._open = self._open and self._protocol.state is State.OPEN
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._frame(event)
        if self._owes or not self._open:
            self._owes = False
            if self._parting:
                self._protocol.data_to_send()  # it has our last word: its pings get no answer
            else:
                self._flush()
        if not self._open:
            ours, theirs = self._protocol.close_sent, self._protocol.close_rcvd
            if ours is not None and theirs is None:
                self._talk.broken(ours.reason)
            self._talk.gone()
            self._part()

    def _frame(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode in _DATA:
            if opcode is not Opcode.CONT:
                if frame.fin:  # whole, as nearly always
                    self._talk.message(bytes(frame.data), opcode is Opcode.BINARY)
                    return
                self._opcode, self._pieces = opcode, []
            self._pieces.append(bytes(frame.data))
            if frame.fin:
                pieces, self._pieces = self._pieces, []
                self._talk.message(b"".join(pieces), self._opcode is Opcode.BINARY)
            elif len(self._pieces) >= self._options.max_fragments:
                words = f"a message in more than {self._options.max_fragments} fragments"
                self._talk.end(closing.POLICY, words)
            return
        self._owes = True  # an answer to it
        second = int(self._loop.time())
        self._controls = self._controls + 1 if second == self._second else 1
        self._second = second
        if self._controls > self._options.max_controls and self._parting:
            self._transport.abort()
        elif self._controls > self._options.max_controls:
            self._talk.end(closing.POLICY, "too many pings")

    def _ping(self) -> None:
        """Ask for a sign of life; one who gave none since the last time is gone."""
        if not self._answered:
            if not self._paused and not self._reading.unread():
                self._transport.abort()
                return
            self._reading.begin()  # our ping is behind what it has not read, or its answer unread
        self._answered = False
        if self._open:
            self._protocol.send_ping(b"")
            self._flush()
        self._timer = self._loop.call_later(self._options.ping, self._ping)

    def _part(self) -> None:
        """Go when both have said goodbye; who has not yet may read why we did.

        To close before would take from it what it has not read.
        """
        if self._protocol.close_rcvd is not None or self._protocol.state is State.CLOSED:
            self._transport.close()
        elif not self._parting:
            self._parting = True
            self._timer.cancel()
            self._leave()

    def _leave(self) -> None:
        """Go a moment after the client has taken all; one that takes nothing is cut off."""
        if self._transport.is_closing():
            return
        if self._reading.unread():
            self._reading.begin()
            self._timer = self._loop.call_later(_LOOK_S, self._leave)
        else:
            self._reading.stop()
            self._timer = self._loop.call_later(_FAREWELL_S, self._transport.close)

    def _flush(self) -> None:
        data = b"".join(self._protocol.data_to_send())
        if data and not self._transport.is_closing():
            self._transport.write(data)
