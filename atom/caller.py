"""Carries frames to loaders: one connection per instance, kept as long as the instance lives."""

import re
from collections.abc import Callable
from typing import Protocol

from atom.dialects import DIALECTS, Dialect
from rpc.calls import UnaryCall
from rpc.client import Channel
from rpc.status import RpcError, Status
from schemas.errors import DEADLINE, FULL, LOST, UNREACHABLE, AseError, Fault
from schemas.wire import LoaderOutput

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


class Pending:
    """A call under way."""

    __slots__ = ("_call", "_channel")

    def __init__(self, channel: Channel, call: UnaryCall) -> None:
        self._channel = channel
        self._call = call

    def cancel(self) -> None:
        """End the call."""
        self._channel.cancel(self._call)


class GrpcCaller:
    """Calls loaders over gRPC. `gateway` names this process to them."""

    def __init__(self, gateway: str) -> None:
        self._metadata = (("ase-gateway", gateway),)
        self._channels: dict[tuple[str, int], Channel] = {}

    def begin(self, attempt: Attempt, done: Callable[[LoaderOutput | AseError], None]) -> Pending:
        """Begin a call; `done` gets the output or an AseError, once, after this has returned.

        Errors: 10110 and 10222-never-sent when nothing ran there, 10222-lost, 10102, 10160.
        """
        target = attempt.target
        key = (target.addr, target.epoch)
        channel = self._channels.get(key)
        if channel is None:
            ours = target.epoch != 0 and target.protocol == "native"
            channel = self._channels[key] = Channel(target.addr, pings=ours)
        dialect = DIALECTS[target.protocol]

        def over(call: UnaryCall) -> None:
            done(_outcome(call, dialect))

        request = dialect.wrap(attempt.frame, attempt.handle, int(attempt.timeout * 1000))
        call = channel.begin(
            dialect.method, request, timeout=attempt.timeout, metadata=self._metadata, done=over
        )
        return Pending(channel, call)

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


def _outcome(call: UnaryCall, dialect: Dialect) -> LoaderOutput | AseError:
    error = call.error
    if error is not None:
        fault = _fault(error)
        return AseError(fault, _words(error, fault))
    try:
        return dialect.unwrap(call.message or b"")
    except AseError as refusal:
        return refusal


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
