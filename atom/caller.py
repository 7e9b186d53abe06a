"""Carries frames to loaders: one connection per instance, kept as long as the instance lives."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from atom.dialects import DIALECTS, Dialect
from atom.faults import fault_of
from atom.streams import LoaderStream, NativeStream
from atom.xsf_streams import XsfStream
from rpc.calls import UnaryCall
from rpc.client import Channel
from rpc.metadata import Metadata
from schemas.wire import ProbeReply

_SESSION: Final = "/ase.v1.Loader/Session"
_PROBE: Final = "/ase.v1.Loader/Probe"
_PROBE_S: Final = 0.1


class Target(Protocol):
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


class Attempt(Protocol):
    """What is to be called: where, with which frame, how long."""

    @property
    def target(self) -> Target:
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


class _Line:
    """The way to one instance: its connection, how it is called, the heads of its calls.

    `open` are sessions that are made of calls, and `emptied` is called when the last one ends.
    """

    __slots__ = ("channel", "dialect", "emptied", "head", "open", "session")

    def __init__(self, channel: Channel, dialect: Dialect, head: bytes, session: bytes) -> None:
        self.channel = channel
        self.dialect = dialect
        self.head = head
        self.session = session
        self.open: set[XsfStream] = set()
        self.emptied: Callable[[], None] | None = None

    def converse(self, handle: str, wake: Callable[[], None]) -> XsfStream:
        """Begin a session of calls."""
        stream = XsfStream(self.channel, self.head, handle, wake, self._over)
        self.open.add(stream)
        return stream

    def _over(self, stream: XsfStream) -> None:
        self.open.discard(stream)
        if not self.open and self.emptied is not None:
            self.emptied()


class LoaderCall:
    """A call under way; `outcome` tells what came of it, once it has ended."""

    __slots__ = ("_call", "_dialect", "_done")

    def __init__(self, line: _Line, attempt: Attempt, done: Callable[["LoaderCall"], None]) -> None:
        self._dialect = dialect = line.dialect
        self._done = done
        timeout = attempt.timeout
        request = dialect.wrap(attempt.frame, attempt.handle, int(timeout * 1000))
        self._call = line.channel.start_unary(line.head, request, timeout, self._over)

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
            raise fault_of(error)
        return self._dialect.unwrap(call.response or b"")

    def _over(self, _: UnaryCall) -> None:
        self._done(self)


class GrpcCaller:
    """Calls loaders over gRPC. `gateway` names this process to them."""

    def __init__(self, gateway: str) -> None:
        self._metadata: Metadata = (("ase-gateway", gateway),)
        self._lines: dict[tuple[str, int], _Line] = {}

    def begin(self, attempt: Attempt, done: Callable[[LoaderCall], None]) -> LoaderCall:
        """Begin a call; `done` is told of its end, once, after this has returned."""
        target = attempt.target
        line = self._lines.get((target.addr, target.epoch)) or self._line(target)
        return LoaderCall(line, attempt, done)

    def probe(self, target: Target, answer: Callable[[int, float], None]) -> None:
        """Ask an instance how loaded it is; `answer` is told requests in flight, and seconds.

        One that does not answer in time, or is not of ours, tells nothing.
        """
        if target.protocol != "native":
            return
        line = self._lines.get((target.addr, target.epoch)) or self._line(target)

        def done(call: UnaryCall) -> None:
            if call.error is None:
                told = ProbeReply.FromString(call.response or b"")
                answer(told.in_flight, told.latency_us / 1_000_000)

        channel = line.channel
        channel.start_unary(channel.header_block(_PROBE, self._metadata), b"", _PROBE_S, done)

    def open(
        self, target: Target, handle: str, seconds: float, wake: Callable[[], None]
    ) -> LoaderStream:
        """Begin a session of so many seconds at most; `handle` is a name that no other has.

        `wake` is called whenever there is something to see of it, even before this returns.
        """
        line = self._lines.get((target.addr, target.epoch)) or self._line(target)
        if target.protocol == "native":
            return NativeStream(line.channel, line.session, seconds, wake)
        return line.converse(handle, wake)

    def _line(self, target: Target) -> _Line:
        ours = target.epoch != 0 and target.protocol == "native"
        channel, dialect = Channel(target.addr, frequent_keepalive=ours), DIALECTS[target.protocol]
        heads = (
            channel.header_block(method, self._metadata) for method in (dialect.method, _SESSION)
        )
        line = _Line(channel, dialect, *heads)
        self._lines[target.addr, target.epoch] = line
        return line

    async def forget(self, target: Target, grace: float) -> None:
        """Close the connection to an instance that is gone; its calls get `grace` seconds.

        So do sessions, whose next calls are still made.
        """
        line = self._lines.pop((target.addr, target.epoch), None)
        if line is None:
            return
        if line.open:
            emptied = asyncio.Event()
            line.emptied = emptied.set
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await emptied.wait()
        await line.channel.close(grace)

    async def close(self) -> None:
        """Close every connection."""
        lines, self._lines = self._lines, {}
        for line in lines.values():
            await line.channel.close()
