"""A port with TLS: handshakes that are counted and bounded in time."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

# Connections accepted in one iteration of the event loop, so that others are served in between.
_ACCEPTS_AT_ONCE: Final = 64
# Without a free descriptor, accepting is tried again after this time.
_ACCEPT_PAUSE_S: Final = 1.0


class ContextSource(Protocol):
    """The certificate of a port, which may be replaced while the port serves."""

    @property
    def context(self) -> ssl.SSLContext:
        """Return the TLS context for the next handshake."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """What a port with TLS serves, how many connections it has, and how long a handshake may take.

    `handshake_timeout` is in seconds. Handshakes count as connections.
    """

    certificate: ContextSource
    max_connections: int
    handshake_timeout: float


class TlsListener:
    """Accepts the connections of a listening socket with TLS, until it is closed.

    A connection counts from its acceptance on: `_handshakes` has its protocol until the handshake
    has ended, and the `connections` of the server from its success on. One beyond
    `max_connections` is closed without a handshake, which costs more than a request.
    `create_protocol` returns the protocol of a connection. The server waits for its `tasks` when it
    stops.

    asyncio's own server does not show a connection before its handshake is done.
    """

    def __init__(
        self,
        settings: TlsSettings,
        create_protocol: Callable[[], asyncio.Protocol],
        connections: Set[Any],
        tasks: "set[asyncio.Task[None]]",
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._create_protocol = create_protocol
        self._connections = connections
        self._tasks = tasks
        self._handshakes: set[asyncio.Protocol] = set()
        self._sockets: list[socket.socket] = []

    def listen(self, listening_socket: socket.socket, backlog: int) -> None:
        """Accept connections of a bound socket from now on."""
        listening_socket.setblocking(False)
        listening_socket.listen(backlog)
        self._sockets.append(listening_socket)
        self._loop.add_reader(listening_socket, self._on_connections, listening_socket)

    def close(self) -> None:
        """Accept no more connections; handshakes and connections go on."""
        for listening_socket in self._sockets:
            self._loop.remove_reader(listening_socket)
        self._sockets.clear()

    async def wait_closed(self) -> None:
        """Return at once: `close` leaves nothing to wait for."""

    def _on_connections(self, listening_socket: socket.socket) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                sock, _address = listening_socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor is left: the watchdog of the process logs that
                self._loop.remove_reader(listening_socket)
                self._loop.call_later(_ACCEPT_PAUSE_S, self._resume, listening_socket)
                return
            if self._is_full():
                sock.close()
            else:
                self._start_handshake(sock)

    def _resume(self, listening_socket: socket.socket) -> None:
        if listening_socket in self._sockets:
            self._loop.add_reader(listening_socket, self._on_connections, listening_socket)

    def _is_full(self) -> bool:
        max_connections = self._settings.max_connections
        if len(self._connections) + len(self._handshakes) < max_connections:
            return False
        return len(self._connections | self._handshakes) >= max_connections

    def _start_handshake(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        protocol = self._create_protocol()
        self._handshakes.add(protocol)
        task = self._loop.create_task(self._do_handshake(sock, protocol))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do_handshake(self, sock: socket.socket, protocol: asyncio.Protocol) -> None:
        # OSError: the client speaks no TLS or another version, was too slow, or has gone.
        try:
            with suppress(OSError):
                await self._loop.connect_accepted_socket(
                    lambda: protocol,
                    sock,
                    ssl=self._settings.certificate.context,
                    ssl_handshake_timeout=self._settings.handshake_timeout,
                )
        finally:
            self._handshakes.discard(protocol)
