"""A gRPC server over grpc.aio: a table of methods, each a coroutine over bytes."""

import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc import aio

from rpc.status import RpcError, Status

_OPTIONS = [
    ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a silent rival
    ("grpc.max_concurrent_streams", 10_000),
    ("grpc.max_metadata_size", 8_192),
    # Beyond it core cancels calls that nobody has seen; a loader refuses by its licences instead.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.max_send_message_length", 16 * 1024 * 1024),
    # Our gateways and reporters ask a silent peer each second, to find a frozen one in three.
    # Where we are behind, a second's pings come in one read: no reason to hang up on them.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 500),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    # The server's own pings find a peer that froze or was cut off.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
]


@dataclass(frozen=True, slots=True)
class CallContext:
    """What a method may know of the call it serves. `deadline`: seconds left, None = no limit.

    What it puts into `trailers` goes out behind the answer of a unary call.
    """

    metadata: Mapping[str, str]
    peer: str
    time_remaining: float | None
    trailers: list[tuple[str, str | bytes]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificate and key of a server, as PEM; with `ca`, clients must have certificates of it."""

    cert: bytes
    key: bytes
    ca: bytes = b""


UnaryHandler = Callable[[bytes, CallContext], Awaitable[bytes]]
StreamHandler = Callable[[AsyncIterator[bytes], CallContext], AsyncIterator[bytes]]


class Server:
    """Serves `unary` and `stream` methods, given by full path. A method raises RpcError to refuse.

    Cancelling a call cancels the coroutine that serves it.
    """

    def __init__(
        self,
        *,
        unary: Mapping[str, UnaryHandler],
        stream: Mapping[str, StreamHandler] | None = None,
    ) -> None:
        self._server = aio.server(options=_OPTIONS)
        handlers: dict[str, Any] = {path: _unary_handler(method) for path, method in unary.items()}
        handlers |= {path: _stream_handler(method) for path, method in (stream or {}).items()}
        self._server.add_generic_rpc_handlers((_MethodTable(handlers),))

    async def start(self, host: str, port: int, tls: Tls | None = None) -> int:
        """Listen and serve; return the port, chosen by the system when `port` is 0.

        Raises OSError, whose `filename` is host:port, when the address cannot be had.
        """
        try:
            if tls is None:
                bound_port: int = self._server.add_insecure_port(f"{host}:{port}")
            else:
                bound_port = self._server.add_secure_port(f"{host}:{port}", _credentials(tls))
        except RuntimeError as error:
            message = f"cannot listen on {host}:{port}"
            raise OSError(errno.EADDRINUSE, message, f"{host}:{port}") from error
        await self._server.start()
        return bound_port

    async def stop(self, grace: float) -> None:
        """Take no new calls; give those under way `grace` seconds, then cut them."""
        await self._server.stop(grace)


class _MethodTable(grpc.GenericRpcHandler):
    def __init__(self, handlers: Mapping[str, Any]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: Any) -> Any:
        return self._handlers.get(handler_call_details.method)


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    key_cert_pairs = [(tls.key, tls.cert)]
    return grpc.ssl_server_credentials(
        key_cert_pairs, tls.ca or None, require_client_auth=bool(tls.ca)
    )


def _call_context(context: Any) -> CallContext:
    metadata = {
        str(key): value if isinstance(value, str) else value.decode("latin-1")
        for key, value in context.invocation_metadata()
    }
    return CallContext(metadata, context.peer(), context.time_remaining())


def _unary_handler(method: UnaryHandler) -> Any:
    async def handler(request: bytes, context: Any) -> bytes:
        call_context = _call_context(context)
        try:
            response = await method(request, call_context)
        except RpcError as error:
            await context.abort(_status_code(error.status), error.details)
            raise
        if call_context.trailers:
            context.set_trailing_metadata(tuple(call_context.trailers))
        return response

    return grpc.unary_unary_rpc_method_handler(handler)


def _stream_handler(method: StreamHandler) -> Any:
    async def handler(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        try:
            async for response in method(requests, _call_context(context)):
                yield response
        except RpcError as error:
            await context.abort(_status_code(error.status), error.details)

    return grpc.stream_stream_rpc_method_handler(handler)


_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


def _status_code(status: Status) -> grpc.StatusCode:
    return _STATUS_CODES[int(status)]
