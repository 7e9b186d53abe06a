"""Carries frames to loaders: one connection per instance, kept as long as the instance lives."""

import re
from collections.abc import Callable
from typing import Protocol

from atom.dialects import DIALECTS, Dialect
from rpc.calls import UnaryCall
from rpc.client import Channel
from rpc.metadata import Metadata
from rpc.status import RpcError, Status
from schemas.errors import DEADLINE, FULL, LOST, UNREACHABLE, AseError, Fault

# As a word of its own: a length in some other refusal may hold the digits too.
_SAYS_FULL = re.compile(rf"\b{FULL.code}\b")


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


class _Call:
    """A call under way, and whom its outcome is for."""

    __slots__ = ("_call", "_channel", "_dialect", "_done")

    def __init__(
        self, channel: Channel, dialect: Dialect, done: Callable[[bytes | AseError], None]
    ) -> None:
        self._channel = channel
        self._dialect = dialect
        self._done = done
        self._call: UnaryCall | None = None

    def begin(self, request: bytes, timeout: float, metadata: Metadata) -> None:
        self._call = self._channel.begin(
            self._dialect.method, request, timeout=timeout, metadata=metadata, done=self._over
        )

    def cancel(self) -> None:
        """End the call."""
        if self._call is not None:
            self._channel.cancel(self._call)

    def _over(self, call: UnaryCall) -> None:
        self._call = None
        error = call.error
        if error is not None:
            fault = _fault(error)
            self._done(AseError(fault, _words(error, fault)))
            return
        try:
            output = self._dialect.unwrap(call.message or b"")
        except AseError as refusal:
            self._done(refusal)
        else:
            self._done(output)


class GrpcCaller:
    """Calls loaders over gRPC. `gateway` names this process to them."""

    def __init__(self, gateway: str) -> None:
        self._metadata = (("ase-gateway", gateway),)
        self._channels: dict[tuple[str, int], Channel] = {}

    def begin(self, attempt: Attempt, done: Callable[[bytes | AseError], None]) -> _Call:
        """Begin a call; `done` gets the output or an AseError, once, after this has returned.

        The output is a serialised LoaderOutput. Errors: 10110 and 10222-never-sent when nothing ran
        there, 10222-lost, 10102, 10160.
        """
        target = attempt.target
        key = (target.addr, target.epoch)
        channel = self._channels.get(key)
        if channel is None:
            ours = target.epoch != 0 and target.protocol == "native"
            channel = self._channels[key] = Channel(target.addr, pings=ours)
        dialect, timeout = DIALECTS[target.protocol], attempt.timeout
        call = _Call(channel, dialect, done)
        request = dialect.wrap(attempt.frame, attempt.handle, int(timeout * 1000))
        call.begin(request, timeout, self._metadata)
        return call

    async def forget(self, target: Target, grace: float) -> None:
        """Close the connection to an instance that is gone; its calls get `grace` seconds."""
        channel = self._channels.pop((target.addr, target.epoch), None)
        if channel is not None:
            await channel.close(grace)

    async def close(self) -> None:
        """Close every connection."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()


def _fault(error: RpcError) -> Fault:
    if not error.sent:
        return UNREACHABLE
    if error.status is Status.DEADLINE_EXCEEDED:
        return DEADLINE
    if error.status is Status.RESOURCE_EXHAUSTED and _SAYS_FULL.search(error.details):
        return FULL
    return LOST


def _words(error: RpcError, fault: Fault) -> str:
    """Say what happened in the table's words; details of the transport are not for the caller."""
    plain = fault is not LOST or error.status is Status.UNAVAILABLE
    return "" if plain else f"loader call ended with {error.status.name}"
