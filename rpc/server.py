"""A gRPC server on grpc.aio: a table of methods, each an async function of bytes."""

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from rpc.addresses import join_host_port, listen
from rpc.certificate import Tls
from rpc.messages import MAX_MESSAGE_SIZE
from rpc.status import RpcError, Status

_OPTIONS = [
    ("grpc.so_reuseport", 0),  # a second server on the port must fail to bind
    ("grpc.max_concurrent_streams", 10_000),
    ("grpc.max_metadata_size", 8_192),
    # Above this limit gRPC core cancels calls that no handler has seen. A loader rejects calls by
    # its own concurrency limit instead.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
    # Athena gateways and reporters ping a silent peer every second, to detect a frozen one within
    # 3 s. If this process is late, several pings arrive in one read; 0 strikes means that core does
    # not close the connection for that.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 500),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    # The server's own pings detect a peer that is frozen or disconnected.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
]


@dataclass(frozen=True, slots=True)
class CallContext:
    """The context of a call, for its handler.

    `time_remaining` is in seconds, None if there is no deadline. `trailers` are sent after the
    response of a unary call; streaming calls do not send them.
    """

    metadata: Mapping[str, str]
    peer: str
    time_remaining: float | None
    trailers: list[tuple[str, str | bytes]] = field(default_factory=list)


class CertificateSource(Protocol):
    """The certificate of a port, which may be replaced while the port serves."""

    current: Tls

    def take_change(self) -> Tls | None:
        """Return the certificate if it has changed since the last call, else None."""


UnaryHandler = Callable[[bytes, CallContext], Awaitable[bytes]]
StreamHandler = Callable[[AsyncIterator[bytes], CallContext], AsyncIterator[bytes]]


class Server:
    """Serves the `unary` and `stream` handlers, which are given by full method path.

    A handler raises RpcError to end the call with that status. A cancelled call cancels the task of
    its handler. `max_message_size` limits a message in either direction, in bytes; the call ends
    with RESOURCE_EXHAUSTED.
    """

    def __init__(
        self,
        *,
        unary: Mapping[str, UnaryHandler],
        stream: Mapping[str, StreamHandler] | None = None,
        max_message_size: int = MAX_MESSAGE_SIZE,
    ) -> None:
        limits = [
            ("grpc.max_receive_message_length", max_message_size),
            ("grpc.max_send_message_length", max_message_size),
        ]
        self._server = aio.server(options=[*_OPTIONS, *limits])
        handlers: dict[str, Any] = {path: _unary_handler(method) for path, method in unary.items()}
        handlers |= {path: _stream_handler(method) for path, method in (stream or {}).items()}
        self._server.add_generic_rpc_handlers((_MethodTable(handlers),))

    async def start(
        self, host: str, port: int, certificate: CertificateSource | None = None
    ) -> int:
        """Listen and serve. Return the port, which the system chooses if `port` is 0.

        `certificate` is asked for a change in each handshake; without it the port has no TLS.
        Raises OSError, with `filename` host:port, if the address cannot be bound.
        """
        addr = join_host_port(host, port)
        try:
            if certificate is None:
                bound_port: int = self._server.add_insecure_port(addr)
            else:
                bound_port = self._server.add_secure_port(addr, _credentials(certificate))
        except RuntimeError as error:
            listen(host, port).close()  # raises OSError with the reason, which grpc does not tell
            reason = f"grpc cannot listen: {error}"
            raise OSError(errno.EADDRNOTAVAIL, reason, addr) from error
        await self._server.start()
        return bound_port

    async def stop(self, grace: float) -> None:
        """Reject new calls, give active ones `grace` seconds, then cancel them."""
        await self._server.stop(grace)


class _MethodTable(grpc.GenericRpcHandler):
    def __init__(self, handlers: Mapping[str, Any]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: Any) -> Any:
        return self._handlers.get(handler_call_details.method, _UNKNOWN_METHOD)


def _credentials(certificate: CertificateSource) -> grpc.ServerCredentials:
    def fetch() -> grpc.ServerCertificateConfiguration | None:
        tls = certificate.take_change()
        return _certificate_configuration(tls) if tls is not None else None

    return grpc.dynamic_ssl_server_credentials(
        _certificate_configuration(certificate.current),
        fetch,  # type: ignore[arg-type]  # may return None: the certificate has not changed
        require_client_authentication=bool(certificate.current.ca),
    )


def _certificate_configuration(tls: Tls) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(tls.key, tls.cert)], tls.ca or None)


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
            await _abort(context, error.status, error.details)
        except DecodeError:
            await _abort(context, Status.INVALID_ARGUMENT, _UNDECODABLE)
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
            await _abort(context, error.status, error.details)
        except DecodeError:
            await _abort(context, Status.INVALID_ARGUMENT, _UNDECODABLE)

    return grpc.stream_stream_rpc_method_handler(handler)


async def _reject_unknown_method(_requests: AsyncIterator[bytes], context: Any) -> bytes:
    await _abort(context, Status.UNIMPLEMENTED, "no such method")


async def first_request(requests: AsyncIterator[bytes]) -> bytes:
    """Return the first message of a call. Raises RpcError INVALID_ARGUMENT if there is none."""
    request = await anext(aiter(requests), None)
    if request is None:
        raise RpcError(Status.INVALID_ARGUMENT, "the call has no request")
    return request


async def _abort(context: Any, status: Status, details: str) -> NoReturn:
    """End a call with a status. If it has ended already, nobody gets it, and nothing is logged."""
    try:
        await context.abort(_status_code(status), details)
    except aio.AbortError:
        raise  # how grpc.aio ends the handler
    except Exception:  # noqa: BLE001 (of several private classes)
        raise asyncio.CancelledError from None
    raise asyncio.CancelledError


_UNDECODABLE = "the message cannot be decoded"
# grpc.aio itself prints a traceback if a call of an unknown method is cancelled meanwhile.
_UNKNOWN_METHOD: Any = grpc.stream_unary_rpc_method_handler(_reject_unknown_method)
_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


def _status_code(status: Status) -> grpc.StatusCode:
    return _STATUS_CODES[int(status)]
