"""Calls to loaders over gRPC, on one connection per instance and epoch."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from google.protobuf.message import DecodeError

from atom.errors import to_ase_error
from atom.interfaces import CallTarget
from atom.protocols import LOADER_PROTOCOLS, LoaderProtocol
from atom.streams import LoaderStream, NativeStream
from atom.xsf_streams import XsfStream
from rpc.calls import UnaryCall
from rpc.client import Channel
from rpc.messages import MAX_MESSAGE_SIZE
from rpc.metadata import Metadata
from rpc.status import Status
from schemas.wire import HealthCheckResponse, ProbeReply

_SESSION_METHOD: Final = "/ase.v1.Loader/Session"
_PROBE_METHOD: Final = "/ase.v1.Loader/Probe"
_PROBE_TIMEOUT_S: Final = 0.1
_HEALTH_METHOD: Final = "/grpc.health.v1.Health/Check"
_HEALTH_TIMEOUT_S: Final = 2.0


class _LoaderConnection:
    """The channel to one instance, its protocol and the header blocks of its calls.

    `session_header_block` is used for native sessions only. `open_streams` are the open xsf
    sessions: each consists of separate calls, so the channel cannot see that it is active.
    `on_drained`, if set, is called when the last of them closes.
    """

    __slots__ = (
        "channel",
        "header_block",
        "on_drained",
        "open_streams",
        "protocol",
        "session_header_block",
    )

    def __init__(
        self,
        channel: Channel,
        protocol: LoaderProtocol,
        header_block: bytes,
        session_header_block: bytes,
    ) -> None:
        self.channel = channel
        self.protocol = protocol
        self.header_block = header_block
        self.session_header_block = session_header_block
        self.open_streams: set[XsfStream] = set()
        self.on_drained: Callable[[], None] | None = None

    def open_xsf_stream(self, handle: str, wake: Callable[[], None]) -> XsfStream:
        """Start an xsf session, and keep it in `open_streams` until it closes."""
        stream = XsfStream(self.channel, self.header_block, handle, wake, self._on_stream_closed)
        self.open_streams.add(stream)
        return stream

    def _on_stream_closed(self, stream: XsfStream) -> None:
        self.open_streams.discard(stream)
        if not self.open_streams and self.on_drained is not None:
            self.on_drained()


class LoaderCall:
    """A unary call to a loader. Call `outcome` once it has ended."""

    __slots__ = ("_call", "_on_done", "_protocol")

    def __init__(
        self,
        connection: _LoaderConnection,
        frame: bytes,
        handle: str,
        timeout: float,
        on_done: Callable[["LoaderCall"], None],
    ) -> None:
        self._protocol = protocol = connection.protocol
        self._on_done = on_done
        request = protocol.wrap(frame, handle, int(timeout * 1000))
        self._call = connection.channel.start_unary(
            connection.header_block, request, timeout, self._on_call_end
        )

    def cancel(self) -> None:
        """Cancel the call; `on_done` is called for it too."""
        self._call.cancel()

    def outcome(self) -> bytes:
        """Return the serialized LoaderOutput.

        Raises AseError. If the loader certainly did not run the request: 10110 (full) or 10222
        (unreachable). Otherwise 10222 (lost), 10102 (deadline), 10160 (malformed response) or
        another code that `LoaderProtocol.unwrap` raises.
        """
        call = self._call
        error = call.error
        if error is not None:
            raise to_ase_error(error)
        return self._protocol.unwrap(call.response or b"")

    def _on_call_end(self, _: UnaryCall) -> None:
        self._on_done(self)


class GrpcCaller:
    """Calls loaders over gRPC.

    Every call carries the name `gateway` of this process, as the metadata `ase-gateway`.
    Connections are keyed by address and epoch, so that a restarted loader gets a new one. They are
    kept until `disconnect` or `close`. `max_output` limits a response, in bytes.
    """

    def __init__(self, gateway: str, max_output: int = MAX_MESSAGE_SIZE) -> None:
        self._metadata: Metadata = (("ase-gateway", gateway),)
        self._max_output = max_output
        self._connections: dict[tuple[str, int], _LoaderConnection] = {}

    def start_call(
        self,
        target: CallTarget,
        frame: bytes,
        handle: str,
        timeout: float,
        on_done: Callable[[LoaderCall], None],
        /,
    ) -> LoaderCall:
        """Start a call. `on_done` is called once when it ends, after this has returned.

        `frame` is a serialized LoaderInput, `handle` a name unique to this attempt: xsf identifies
        sessions by it. `timeout` is in seconds.
        """
        return LoaderCall(self._connection_to(target), frame, handle, timeout, on_done)

    def probe(self, target: CallTarget, on_reply: Callable[[int, float], None]) -> None:
        """Probe the load of an instance: `on_reply(requests in flight, latency in seconds)`.

        `on_reply` is not called if the instance does not reply within 0.1 s or does not speak the
        native protocol.
        """
        if target.protocol != "native":
            return
        connection = self._connection_to(target)

        def on_done(call: UnaryCall) -> None:
            if call.error is None:
                reply = ProbeReply.FromString(call.response or b"")
                on_reply(reply.in_flight, reply.latency_us / 1_000_000)

        channel = connection.channel
        channel.start_unary(
            channel.header_block(_PROBE_METHOD, self._metadata), b"", _PROBE_TIMEOUT_S, on_done
        )

    def check_health(self, target: CallTarget, on_result: Callable[[bool], None]) -> None:
        """Check whether an instance serves gRPC, by the health service; `on_result` is called once.

        It passes if it answers SERVING within 2 s, or that it has no health service or does not
        know its state (https://github.com/grpc/grpc/blob/master/doc/health-checking.md): loaders of
        the original have none.
        """
        channel = self._connection_to(target).channel
        channel.start_unary(
            channel.header_block(_HEALTH_METHOD, self._metadata),
            b"",
            _HEALTH_TIMEOUT_S,
            lambda call: on_result(_is_healthy(call)),
        )

    def open_session(
        self, target: CallTarget, handle: str, timeout: float, wake: Callable[[], None]
    ) -> LoaderStream:
        """Start a session. `wake` is called after each change, perhaps before this returns.

        `timeout` is the deadline of a native session in seconds; an xsf session has timeouts per
        call. `handle` is a unique name, which identifies an xsf session.
        """
        connection = self._connection_to(target)
        if target.protocol == "native":
            return NativeStream(connection.channel, connection.session_header_block, timeout, wake)
        return connection.open_xsf_stream(handle, wake)

    def _connection_to(self, target: CallTarget) -> _LoaderConnection:
        return self._connections.get((target.addr, target.epoch)) or self._add_connection(target)

    def _add_connection(self, target: CallTarget) -> _LoaderConnection:
        is_own_loader = target.epoch != 0 and target.protocol == "native"
        channel = Channel(
            target.addr, frequent_keepalive=is_own_loader, max_message_size=self._max_output
        )
        protocol = LOADER_PROTOCOLS[target.protocol]
        header_blocks = (
            channel.header_block(method, self._metadata)
            for method in (protocol.method, _SESSION_METHOD)
        )
        connection = _LoaderConnection(channel, protocol, *header_blocks)
        self._connections[target.addr, target.epoch] = connection
        return connection

    async def disconnect(self, target: CallTarget, grace: float) -> None:
        """Close the connection to an instance that is gone.

        Open xsf sessions may continue, with new calls, for `grace` seconds. After that, active
        calls get `grace` seconds.
        """
        connection = self._connections.pop((target.addr, target.epoch), None)
        if connection is None:
            return
        if connection.open_streams:
            drained = asyncio.Event()
            connection.on_drained = drained.set
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await drained.wait()
        await connection.channel.close(grace)

    async def close(self) -> None:
        """Close all connections at once."""
        connections, self._connections = self._connections, {}
        for connection in connections.values():
            await connection.channel.close()


def _is_healthy(call: UnaryCall) -> bool:
    """Return whether a finished health check says that the peer serves gRPC."""
    if call.error is None:
        try:
            reply = HealthCheckResponse.FromString(call.response or b"")
        except DecodeError:
            return False
        return reply.status == HealthCheckResponse.SERVING
    # Only a gRPC server sends a status in trailers: an HTTP error is no answer of one.
    status = call.trailers.status if call.trailers is not None else None
    return status in (Status.UNIMPLEMENTED, Status.NOT_FOUND)
