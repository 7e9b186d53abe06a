"""Carries frames to loaders: one connection per instance, kept as long as the instance lives."""

import re
from typing import Protocol

from atom.dialects import DIALECTS
from rpc.client import Channel
from rpc.status import RpcError, Status
from schemas.errors import DEADLINE, FULL, LOST, UNREACHABLE, AseError, Fault
from schemas.wire import LoaderInput, LoaderOutput

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


class GrpcCaller:
    """Calls loaders over gRPC. `gateway` names this process to them."""

    def __init__(self, gateway: str) -> None:
        self._metadata = (("ase-gateway", gateway),)
        self._channels: dict[tuple[str, int], Channel] = {}

    async def once(
        self, target: Target, frame: LoaderInput, *, handle: str, timeout: float
    ) -> LoaderOutput:
        """Send a frame to an instance and return its answer within `timeout` seconds.

        `handle` is fresh for each attempt (xsf keys its sessions by it). Raises AseError: 10110 and
        10222-never-sent when nothing ran there, 10222-lost, 10102, 10160.
        """
        key = (target.addr, target.epoch)
        channel = self._channels.get(key)
        if channel is None:
            ours = target.epoch != 0 and target.protocol == "native"
            channel = self._channels[key] = Channel(target.addr, pings=ours)
        dialect = DIALECTS[target.protocol]
        request = dialect.wrap(frame, handle, int(timeout * 1000))
        try:
            answer = await channel.unary(
                dialect.method, request, timeout=timeout, metadata=self._metadata
            )
        except RpcError as error:
            fault = _fault(error)
            raise AseError(fault, _words(error, fault)) from error
        return dialect.unwrap(answer)

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
