"""Carries frames to loaders: one connection per instance, kept as long as the instance lives."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from atom.dialects import LOADER_PROTOCOLS, LoaderProtocol
from atom.faults import to_ase_error
from atom.streams import LoaderStream, NativeStream
from atom.xsf_streams import XsfStream
from rpc.calls import UnaryCall
from rpc.client import Channel
from rpc.metadata import Metadata
from schemas.wire import ProbeReply

_SESSION_METHOD: Final = "/ase.v1.Loader/Session"
_PROBE_METHOD: Final = "/ase.v1.Loader/Probe"
_PROBE_TIMEOUT_S: Final = 0.1


class CallTarget(Protocol):
    """What a caller needs to know of an instance: where it is, how it is called, which life."""

    @property
    def addr(self) -> str:
        """Return host:port."""

    @property
    def protocol(self) -> str:
        """Return a key of DIALECTS."""

    @property
    def epoch(self) -> int:
        """Return the boot number; a new one means a new process behind the address."""


class LoaderRequest(Protocol):
    """What is to be called: where, with which frame, how long."""

    @property
    def target(self) -> CallTarget:
        """Return the instance."""

    @property
    def frame(self) -> bytes:
        """Return a serialised LoaderInput."""

    @property
    def handle(self) -> str:
        """Return a name that no other attempt has (xsf keys its sessions by it)."""

    @property
    def timeout(self) -> float:
        """Return how many seconds the answer may take."""


class _LoaderConnection:
    """The way to one instance: its connection, how it is called, the heads of its calls.

    `open` are sessions that are made of calls, and `emptied` is called when the last one ends.
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
        """Begin a session of calls."""
        stream = XsfStream(self.channel, self.header_block, handle, wake, self._on_stream_closed)
        self.open_streams.add(stream)
        return stream

    def _on_stream_closed(self, stream: XsfStream) -> None:
        self.open_streams.discard(stream)
        if not self.open_streams and self.on_drained is not None:
            self.on_drained()


class LoaderCall:
    """A call under way; `outcome` tells what came of it, once it has ended."""

    __slots__ = ("_call", "_on_done", "_protocol")

    def __init__(
        self,
        connection: _LoaderConnection,
        loader_request: LoaderRequest,
        on_done: Callable[["LoaderCall"], None],
    ) -> None:
        self._protocol = protocol = connection.protocol
        self._on_done = on_done
        timeout = loader_request.timeout
        request = protocol.wrap(loader_request.frame, loader_request.handle, int(timeout * 1000))
        self._call = connection.channel.start_unary(
            connection.header_block, request, timeout, self._on_call_end
        )

    def cancel(self) -> None:
        """End the call; `done` is told of it, too."""
        self._call.cancel()

    def outcome(self) -> bytes:
        """Return the serialised LoaderOutput.

        Raises AseError: 10110 and 10222-never-sent when nothing ran there, 10222-lost, 10102,
        10160, and what the dialect says.
        """
        call = self._call
        error = call.error
        if error is not None:
            raise to_ase_error(error)
        return self._protocol.unwrap(call.response or b"")

    def _on_call_end(self, _: UnaryCall) -> None:
        self._on_done(self)


class GrpcCaller:
    """Calls loaders over gRPC. `gateway` names this process to them."""

    def __init__(self, gateway: str) -> None:
        self._metadata: Metadata = (("ase-gateway", gateway),)
        self._connections: dict[tuple[str, int], _LoaderConnection] = {}

    def start_call(
        self, loader_request: LoaderRequest, on_done: Callable[[LoaderCall], None]
    ) -> LoaderCall:
        """Begin a call; `done` is told of its end, once, after this has returned."""
        target = loader_request.target
        connection = self._connections.get((target.addr, target.epoch)) or self._add_connection(
            target
        )
        return LoaderCall(connection, loader_request, on_done)

    def probe(self, target: CallTarget, on_reply: Callable[[int, float], None]) -> None:
        """Ask an instance how loaded it is; `answer` is told requests in flight, and seconds.

        One that does not answer in time, or is not of ours, tells nothing.
        """
        if target.protocol != "native":
            return
        connection = self._connections.get((target.addr, target.epoch)) or self._add_connection(
            target
        )

        def on_done(call: UnaryCall) -> None:
            if call.error is None:
                reply = ProbeReply.FromString(call.response or b"")
                on_reply(reply.in_flight, reply.latency_us / 1_000_000)

        channel = connection.channel
        channel.start_unary(
            channel.header_block(_PROBE_METHOD, self._metadata), b"", _PROBE_TIMEOUT_S, on_done
        )

    def open_session(
        self, target: CallTarget, handle: str, timeout: float, wake: Callable[[], None]
    ) -> LoaderStream:
        """Begin a session of so many seconds at most; `handle` is a name that no other has.

        `wake` is called whenever there is something to see of it, even before this returns.
        """
        connection = self._connections.get((target.addr, target.epoch)) or self._add_connection(
            target
        )
        if target.protocol == "native":
            return NativeStream(connection.channel, connection.session_header_block, timeout, wake)
        return connection.open_xsf_stream(handle, wake)

    def _add_connection(self, target: CallTarget) -> _LoaderConnection:
        is_own_loader = target.epoch != 0 and target.protocol == "native"
        channel, protocol = (
            Channel(target.addr, frequent_keepalive=is_own_loader),
            LOADER_PROTOCOLS[target.protocol],
        )
        header_blocks = (
            channel.header_block(method, self._metadata)
            for method in (protocol.method, _SESSION_METHOD)
        )
        connection = _LoaderConnection(channel, protocol, *header_blocks)
        self._connections[target.addr, target.epoch] = connection
        return connection

    async def disconnect(self, target: CallTarget, grace: float) -> None:
        """Close the connection to an instance that is gone; its calls get `grace` seconds.

        So do sessions, whose next calls are still made.
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
        """Close every connection."""
        connections, self._connections = self._connections, {}
        for connection in connections.values():
            await connection.channel.close()
