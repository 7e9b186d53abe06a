"""The port for gRPC clients: the gateway's service, health and reflection."""

import socket
from collections.abc import Callable

from config.options import GatewayOptions
from gateway.grpc.service import SERVICE, GatewayService
from rpc import health, reflection
from rpc.health import HealthService
from rpc.listener import ContextSource
from rpc.server import Server
from schemas import wire

_SERVICES = (SERVICE, health.SERVICE)
# What a message has beside the bytes that `max_body` and `max_output` limit: names, media types.
_MESSAGE_OVERHEAD = 1 << 16


class GrpcPort:
    """Serves gRPC clients from `start` to `stop`. `certificate` is None without TLS.

    `sends_proxy_header` returns whether the connections of an IP address begin with a PROXY header.
    `memory` counts what its connections hold.
    """

    def __init__(
        self,
        service: GatewayService,
        options: GatewayOptions,
        certificate: ContextSource | None,
        max_connections: int,
        sends_proxy_header: Callable[[str], bool] | None = None,
    ) -> None:
        self._service = service
        self._certificate = certificate
        self._sends_proxy_header = sends_proxy_header
        self._health = HealthService(_SERVICES, wire.POOL)
        self._server = server = Server(
            unary=service.unary_methods() | self._health.unary_methods(),
            stream=service.stream_methods()
            | self._health.stream_methods()
            | reflection.methods(_SERVICES, wire.POOL),
            max_message_size=max(options.max_body, options.max_output) + _MESSAGE_OVERHEAD,
            max_decompressed_size=options.max_gzip_body,
            max_connections=max_connections,
            max_streams=options.grpc_streams,
            max_received=options.max_bodies,
            max_unsent=options.max_unread,
        )
        self.memory = server.memory

    async def start(self, listening_socket: socket.socket) -> None:
        """Serve the connections of a listening socket."""
        await self._server.serve(listening_socket, self._certificate, self._sends_proxy_header)

    async def stop_serving(self) -> None:
        """Report NOT_SERVING to health checks; calls are served as before."""
        await self._health.stop_serving()

    def stop_accepting(self) -> None:
        """Accept no more connections; calls are served as before."""
        self._server.stop_accepting()

    async def stop(self, drain: float) -> None:
        """Reject new calls, give those that run `drain` seconds, then cancel them.

        Sessions that are still open for inputs end after their next result.
        """
        self._service.drain()
        await self._server.stop(drain)
