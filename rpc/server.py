"""A gRPC server: a table of methods, each an async function of bytes.

The protocol is in `server_connection` and `server_calls`, the socket in `server_transport`. This
module listens and stops.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from rpc.addresses import listen, unix_path
from rpc.handler_tasks import CallContext, StreamHandler, UnaryHandler
from rpc.listener import Address, ContextSource, Listener, ListenerSettings
from rpc.messages import MAX_MESSAGE_SIZE
from rpc.server_memory import ServerMemory
from rpc.server_transport import ServerLimits, ServerTransport
from rpc.status import RpcError, Status

__all__ = ["CallContext", "Server", "StreamHandler", "UnaryHandler", "first_request"]

_MAX_CONNECTIONS: Final = 10_000
_MAX_STREAMS: Final = 1_000
# Bytes of requests that one connection may have waiting: this many of the largest messages.
_MAX_BUFFERED_MESSAGES: Final = 16
_HANDSHAKE_TIMEOUT_S: Final = 5.0
_BACKLOG: Final = 2048
_UNLIMITED: Final = 1 << 60
_CLOSE_TIMEOUT_S: Final = 1.0


class Server:
    """Serves the `unary` and `stream` handlers, which are given by full method path.

    A handler raises RpcError to end the call with that status. A cancelled call cancels the task of
    its handler. `max_message_size` limits a message in either direction, in bytes; the call ends
    with RESOURCE_EXHAUSTED. So it does for a compressed request of more than
    `max_decompressed_size` bytes, by default as many. `max_connections` may be open at a time, each
    with `max_streams` calls. `max_received` bytes of requests and `max_unsent` bytes of responses
    may be in memory, in sum over all connections; beyond that the connection that holds most is
    closed. `memory` counts these bytes.
    """

    def __init__(
        self,
        *,
        unary: Mapping[str, UnaryHandler],
        stream: Mapping[str, StreamHandler] | None = None,
        max_message_size: int = MAX_MESSAGE_SIZE,
        max_decompressed_size: int = 0,
        max_connections: int = _MAX_CONNECTIONS,
        max_streams: int = _MAX_STREAMS,
        max_received: int = _UNLIMITED,
        max_unsent: int = _UNLIMITED,
    ) -> None:
        self._unary = unary
        self._stream = stream or {}
        self.memory = ServerMemory(max_received, max_unsent)
        self._limits = ServerLimits(
            max_connections,
            max_streams,
            max_message_size,
            max_decompressed_size or max_message_size,
            max_message_size * _MAX_BUFFERED_MESSAGES,
            self.memory,
        )
        self._connections: set[ServerTransport] = set()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | Listener | None = None
        # That of a `Listener`, which does not close it.
        self._listening_socket: socket.socket | None = None

    async def start(self, host: str, port: int, certificate: ContextSource | None = None) -> int:
        """Listen and serve. Return the port, which the system chooses if `port` is 0.

        If `host` is unix:PATH, `port` is ignored and the result is 0.
        `certificate` is asked for its context in each handshake; without it the port has no TLS.
        Raises OSError, with `filename` host:port, if the address cannot be bound.
        """
        sock = listen(host, port, _BACKLOG)
        await self.serve(sock, certificate)
        return 0 if unix_path(host) else int(sock.getsockname()[1])

    async def serve(
        self,
        sock: socket.socket,
        certificate: ContextSource | None = None,
        sends_proxy_header: Callable[[str], bool] | None = None,
    ) -> None:
        """Serve the connections of a listening socket; see `start`.

        `sends_proxy_header` returns whether the connections of an IP address begin with a PROXY
        header; None: no connection does.
        """
        if certificate is None and sends_proxy_header is None:
            loop = asyncio.get_running_loop()
            is_unix = sock.family == socket.AF_UNIX
            create_server: Any = loop.create_unix_server if is_unix else loop.create_server
            self._listener = await create_server(
                self._create_transport, sock=sock, backlog=_BACKLOG
            )
        else:
            settings = ListenerSettings(
                certificate,
                self._limits.max_connections,
                _HANDSHAKE_TIMEOUT_S,
                sends_proxy_header,
            )
            self._listener = Listener(
                settings, self._create_transport, self._connections, self._handshakes
            )
            self._listener.listen(sock, _BACKLOG)
            self._listening_socket = sock

    def stop_accepting(self) -> None:
        """Close the listening socket; connections that are open are served on."""
        if self._listener is not None:
            self._listener.close()
            if self._listening_socket is not None:
                self._listening_socket.close()

    async def stop(self, grace: float) -> None:
        """Reject new calls, give active ones `grace` seconds, then cancel them."""
        self.stop_accepting()
        for handshake in self._handshakes:
            handshake.cancel()
        self._limits = replace(self._limits, max_connections=0)  # for those accepted meanwhile
        connections = list(self._connections)
        for connection in connections:
            connection.start_drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await asyncio.gather(*(connection.wait_drained() for connection in connections))
        handlers = [task for connection in connections for task in connection.cancel_calls()]
        for connection in connections:
            connection.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await asyncio.gather(*handlers, return_exceptions=True)
                for connection in connections:
                    await connection.disconnected.wait()

    def _create_transport(self, source: Address | None = None) -> ServerTransport:
        return ServerTransport(self._unary, self._stream, self._limits, self._connections, source)


async def first_request(requests: AsyncIterator[bytes]) -> bytes:
    """Return the first message of a call. Raises RpcError INVALID_ARGUMENT if there is none."""
    request = await anext(aiter(requests), None)
    if request is None:
        raise RpcError(Status.INVALID_ARGUMENT, "the call has no request")
    return request
