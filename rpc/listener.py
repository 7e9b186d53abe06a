"""A port with TLS or PROXY headers: handshakes that are counted and bounded in time."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Set
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any, Final, Protocol

from rpc import proxy_protocol
from rpc.proxy_protocol import ProxyHeaderError

_logger = logging.getLogger("ase.rpc")

# Connections accepted in one iteration of the event loop, so that others are served in between.
_ACCEPTS_AT_ONCE: Final = 64
# Without a free descriptor, accepting is tried again after this time.
_ACCEPT_PAUSE_S: Final = 1.0
# Of connections without the PROXY header that they need, one in this time is logged.
_WARNING_INTERVAL_S: Final = 1.0

Address = tuple[str, int]  # an IP address and a port


class ContextSource(Protocol):
    """The certificate of a port, which may be replaced while the port serves."""

    @property
    def context(self) -> ssl.SSLContext:
        """Return the TLS context for the next handshake."""


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """What a port serves, how many connections it has, and how long a handshake may take.

    `certificate` is None without TLS. `sends_proxy_header` returns whether the connections of an IP
    address begin with a PROXY header; None: no connection does. `handshake_timeout` is in seconds,
    for the header and for TLS, each. Handshakes count as connections.
    """

    certificate: ContextSource | None
    max_connections: int
    handshake_timeout: float
    sends_proxy_header: Callable[[str], bool] | None


class Listener:
    """Accepts the connections of a listening socket, until it is closed.

    A connection counts from its acceptance on: `_handshakes` has its socket, then its protocol,
    until the handshake has ended, and the `connections` of the server from its success on. One
    beyond `max_connections` is closed without a handshake, which costs more than a request.
    `create_protocol` returns the protocol of a connection; its argument is the address of the
    client by the PROXY header, None without one. The server waits for its `tasks` when it stops.
    `_warned_at` is the loop time of the last warning.

    asyncio's own server does not show a connection before its handshake is done.
    """

    def __init__(
        self,
        settings: ListenerSettings,
        create_protocol: Callable[[Address | None], asyncio.Protocol],
        connections: Set[Any],
        tasks: "set[asyncio.Task[None]]",
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._create_protocol = create_protocol
        self._connections = connections
        self._tasks = tasks
        self._handshakes: set[object] = set()
        self._sockets: list[socket.socket] = []
        self._warned_at = -inf

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
                sock, address = listening_socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor is left: the watchdog of the process logs that
                self._loop.remove_reader(listening_socket)
                self._loop.call_later(_ACCEPT_PAUSE_S, self._resume, listening_socket)
                return
            if self._is_full():
                sock.close()
            else:
                self._start_handshake(sock, address)

    def _resume(self, listening_socket: socket.socket) -> None:
        if listening_socket in self._sockets:
            self._loop.add_reader(listening_socket, self._on_connections, listening_socket)

    def _is_full(self) -> bool:
        max_connections = self._settings.max_connections
        if len(self._connections) + len(self._handshakes) < max_connections:
            return False
        return len(self._connections | self._handshakes) >= max_connections

    def _start_handshake(self, sock: socket.socket, address: Any) -> None:
        sock.setblocking(False)
        self._handshakes.add(sock)
        task = self._loop.create_task(self._open(sock, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, sock: socket.socket, address: Any) -> None:
        ip = address[0] if isinstance(address, tuple) else ""
        try:
            source = await self._read_source(sock) if self._sends_proxy_header(ip) else None
        except (ProxyHeaderError, OSError) as error:  # OSError: a timeout too
            self._warn(ip, error)
            sock.close()
            return
        except asyncio.CancelledError:
            sock.close()
            raise
        finally:
            self._handshakes.discard(sock)
        protocol = self._create_protocol(source)
        self._handshakes.add(protocol)
        try:
            await self._do_handshake(sock, protocol)
        finally:
            self._handshakes.discard(protocol)

    def _sends_proxy_header(self, ip: str) -> bool:
        sends_proxy_header = self._settings.sends_proxy_header
        return sends_proxy_header is not None and bool(ip) and sends_proxy_header(ip)

    async def _read_source(self, sock: socket.socket) -> Address | None:
        """Return the address that the PROXY header names, without reading on after the header."""
        async with asyncio.timeout(self._settings.handshake_timeout):
            prefix = await self._read_exactly(sock, proxy_protocol.PREFIX_SIZE)
            rest = await self._read_exactly(sock, proxy_protocol.remaining_size(prefix))
        return proxy_protocol.source_address(prefix, rest)

    async def _read_exactly(self, sock: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = await self._loop.sock_recv(sock, size - len(data))
            if not chunk:
                raise ProxyHeaderError("it ended within the PROXY header")
            data += chunk
        return data

    def _warn(self, ip: str, error: Exception) -> None:
        """Log a connection without a valid PROXY header; at most one a second."""
        now = self._loop.time()
        if now - self._warned_at >= _WARNING_INTERVAL_S:
            self._warned_at = now
            reason = str(error) or "the PROXY header took too long"
            _logger.warning("connection refused", extra={"peer": ip, "reason": reason})

    async def _do_handshake(self, sock: socket.socket, protocol: asyncio.Protocol) -> None:
        certificate = self._settings.certificate
        # OSError: the client speaks no TLS or another version, was too slow, or has gone.
        with suppress(OSError):
            if certificate is None:
                await self._loop.connect_accepted_socket(lambda: protocol, sock)
                return
            await self._loop.connect_accepted_socket(
                lambda: protocol,
                sock,
                ssl=certificate.context,
                ssl_handshake_timeout=self._settings.handshake_timeout,
            )
