"""Runs the handlers of a server's calls; each runs in a task of its own.

Not compiled: a coroutine of mypyc loses a StopAsyncIteration that it raises after it was suspended,
and raises an earlier exception anew at the end of a `finally` that awaits.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

from google.protobuf.message import DecodeError

from rpc.client_certificate import ClientCertificate
from rpc.metadata import Metadata
from rpc.status import RpcError, Status

_logger = logging.getLogger("ase.rpc")

_UNDECODABLE = "the message cannot be decoded"


@dataclass(slots=True)
class CallContext:
    """The context of a call, for its handler.

    `peer` is as in "ipv4:10.0.0.7:5123". `time_remaining` is in seconds when the handler starts,
    None if there is no deadline. `trailers` are sent after the last response, and with the status
    of an RpcError, such as `grpc-status-details-bin`. `certificate` is that of the client, verified
    by the port, None without one.
    """

    metadata: Mapping[str, str]
    peer: str
    time_remaining: float | None
    trailers: list[tuple[str, str | bytes]] = field(default_factory=list)
    certificate: ClientCertificate | None = None


UnaryHandler = Callable[[bytes, CallContext], Awaitable[bytes]]
StreamHandler = Callable[[AsyncIterator[bytes], CallContext], AsyncIterator[bytes]]


class UnaryResponder(Protocol):
    """A call, as its handler's task uses it."""

    def send_message(self, message: bytes) -> None:
        """Send a message. Raises RpcError RESOURCE_EXHAUSTED if it is too large."""

    def succeed(self, context: CallContext) -> None:
        """End the call with OK and the trailers of its context."""

    def fail(self, status: Status, details: str, trailers: Metadata = ()) -> None:
        """End the call with a status and trailers, unless it has ended."""


class StreamResponder(UnaryResponder, Protocol):
    """A streaming call, as its handler's task uses it."""

    def take_request(self) -> bytes | None:
        """Return the next message and acknowledge its bytes; None if none has arrived."""

    def has_ended(self) -> bool:
        """Return whether no further message follows those that have arrived."""

    def is_writable(self) -> bool:
        """Return whether the last message is in frames, so that the next one may be sent."""

    async def wait_change(self) -> None:
        """Wait until a message arrives, the call ends, or a response was sent."""


class RequestIterator(AsyncIterator[bytes]):
    """The requests of a streaming call; ends when the client has ended its half."""

    def __init__(self, call: StreamResponder) -> None:
        self._call = call

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        call = self._call
        while (request := call.take_request()) is None:
            if call.has_ended():
                raise StopAsyncIteration
            await call.wait_change()
        return request


async def run_unary(
    call: UnaryResponder, handler: UnaryHandler, request: bytes, context: CallContext
) -> None:
    """Run the handler of a unary call; send its response, or its error as a status."""
    try:
        call.send_message(await handler(request, context))
        call.succeed(context)
    except Exception as error:  # noqa: BLE001 (it is logged, unless it is a status)
        _fail(call, error, context)
    except asyncio.CancelledError:
        call.fail(Status.CANCELLED, "the handler was cancelled")
        raise


async def run_stream(call: StreamResponder, handler: StreamHandler, context: CallContext) -> None:
    """Run the handler of a streaming call; send its responses, or its error as a status.

    It waits before the next response until the previous one is in frames: a client that does not
    read stops it.
    """
    responses = handler(RequestIterator(call), context)
    try:
        async for response in responses:
            call.send_message(response)
            while not call.is_writable():
                await call.wait_change()
        call.succeed(context)
    except Exception as error:  # noqa: BLE001 (it is logged, unless it is a status)
        _fail(call, error, context)
    except asyncio.CancelledError:
        call.fail(Status.CANCELLED, "the handler was cancelled")
        raise
    finally:
        if isinstance(responses, AsyncGenerator):
            await responses.aclose()


def _fail(call: UnaryResponder, error: Exception, context: CallContext) -> None:
    if isinstance(error, RpcError):
        try:
            call.fail(error.status, error.details, tuple(context.trailers))
        except ValueError as invalid:  # a trailer that gRPC does not allow
            _logger.error("trailers are invalid", exc_info=invalid)  # noqa: TRY400
            call.fail(error.status, error.details)
    elif isinstance(error, DecodeError):
        call.fail(Status.INVALID_ARGUMENT, _UNDECODABLE)
    else:
        _logger.error("a handler failed by a fault of ours", exc_info=error)
        call.fail(Status.INTERNAL, "the handler failed")
