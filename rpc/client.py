"""A connection to one gRPC server, over grpc.aio. Bytes in, bytes out."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import grpc
from grpc import aio

from rpc.status import RpcError, Status

Metadata = Sequence[tuple[str, str]]

_MESSAGE_LIMIT = 16 * 1024 * 1024

# Retries are decided by the caller alone. A pool of our own per channel: a loader that comes back
# on the same port must not inherit its predecessor's backoff.
_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),  # it bounds an attempt to connect, too
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
    ("grpc.max_send_message_length", _MESSAGE_LIMIT),
]


# Without `ping_timeout_ms` a frozen peer stays unseen for a minute (reference "reliability" 1.5).
_PINGS = [
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.http2.max_pings_without_data", 0),
]


class Channel:
    """One long-lived connection to `addr` (host:port), made on first use and kept.

    `pings` looks after a peer in silence. Only a server that allows it may be asked so often (ours
    do); another ends the connection, and every call on it, for too many pings.
    """

    def __init__(self, addr: str, *, connect_timeout: float = 1.0, pings: bool = True) -> None:
        options = [*_OPTIONS, *(_PINGS if pings else ())]
        self._channel = aio.insecure_channel(addr, options=options)
        self._connect_timeout = connect_timeout

    async def unary(
        self, method: str, request: bytes, *, timeout: float, metadata: Metadata = ()
    ) -> bytes:
        """Send one request and return its one answer.

        `method` is a full path, `/package.Service/Method`; `timeout` is in seconds and travels to
        the peer as its deadline. Cancelling the task cancels the call at the peer.
        Raises RpcError; its `sent` is False when no connection could be had.
        """
        now = asyncio.get_running_loop().time
        until = now() + timeout
        await self._connected(min(timeout, self._connect_timeout))
        try:
            call = _unary(self._channel, method)(
                request, timeout=until - now(), metadata=tuple(metadata)
            )
            return await call
        except aio.AioRpcError as error:
            raise _told(error) from error
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is not None and me.cancelling():
                raise
            raise RpcError(Status.CANCELLED, "the connection was closed") from None
        except aio.UsageError as error:
            raise RpcError(Status.UNAVAILABLE, "the connection was closed", sent=False) from error

    async def stream(
        self, method: str, requests: AsyncIterator[bytes], *, metadata: Metadata = ()
    ) -> AsyncIterator[bytes]:
        """Send a stream of requests and yield the answers as they come.

        Ends when the peer ends the stream. Raises RpcError as `unary` does.
        """
        await self._connected(self._connect_timeout)
        call = _stream(self._channel, method)(requests, metadata=tuple(metadata))
        try:
            async for answer in call:
                yield answer
        except aio.AioRpcError as error:
            raise _told(error) from error
        finally:
            call.cancel()

    async def close(self, grace: float = 0.0) -> None:
        """Close the connection; calls under way get `grace` seconds, then end with CANCELLED."""
        await self._channel.close(grace)

    async def _connected(self, timeout: float) -> None:
        """Wait until the connection stands; fail at once when the last attempt was refused."""
        state = self._channel.get_state(try_to_connect=True)
        if state is grpc.ChannelConnectivity.READY:
            return
        try:
            async with asyncio.timeout(timeout):
                while state is not grpc.ChannelConnectivity.READY:
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        raise RpcError(Status.UNAVAILABLE, "connection failed", sent=False)
                    await self._channel.wait_for_state_change(state)
                    state = self._channel.get_state(try_to_connect=True)
        except TimeoutError:
            raise RpcError(Status.UNAVAILABLE, "connection timed out", sent=False) from None


def _unary(channel: aio.Channel, method: str) -> aio.UnaryUnaryMultiCallable[bytes, bytes]:
    return channel.unary_unary(method)


def _stream(channel: aio.Channel, method: str) -> aio.StreamStreamMultiCallable[bytes, bytes]:
    return channel.stream_stream(method)


def _told(error: aio.AioRpcError) -> RpcError:
    number: int = error.code().value[0]
    return RpcError(Status(number), error.details() or "")
