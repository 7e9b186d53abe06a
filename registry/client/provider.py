"""Registers a process as a provider, and follows the providers of versions."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from random import SystemRandom
from typing import Final

from google.protobuf.message import DecodeError

from registry.client.connection import RegistryServers
from registry.grpc_methods import DISCOVER, PROVIDE
from registry.names import ServiceVersion
from rpc.backoff import Backoff
from rpc.message_stream import stream_responses
from rpc.status import RpcError, Status
from schemas import wire

_logger = logging.getLogger("ase.registry")

_LEASE_S: Final = 10.0
_RETRY_DELAY_S, _MAX_RETRY_DELAY_S = 0.2, 5.0
# Statuses that another attempt does not change.
_FINAL: Final = frozenset(
    {Status.INVALID_ARGUMENT, Status.PERMISSION_DENIED, Status.UNAUTHENTICATED}
)


class ProviderRegistration:
    """Keeps a process registered; call `run`, and `leave` at its end.

    `protocol` is how it is called, such as `http` or `grpc`. `lease` are the seconds for which it
    stays registered when it falls silent. `state` is what the registry says of it: `online`, or
    what an operator has said.
    """

    def __init__(
        self,
        servers: RegistryServers,
        name: ServiceVersion,
        address: str,
        protocol: str,
        labels: Mapping[str, str],
        *,
        weight: int = 100,
        lease: float = _LEASE_S,
    ) -> None:
        self.state = ""
        self._servers = servers
        self._lease = lease
        self._leaving = asyncio.Event()
        info = wire.ProviderInfo(
            version=str(name),
            address=address,
            protocol=protocol,
            weight=weight,
            labels=dict(labels),
            lease=lease,
        )
        self._first = wire.ProvideRequest(provider=info).SerializeToString()

    def leave(self) -> None:
        """Deregister, and have `run` return."""
        self._leaving.set()

    async def run(self) -> None:
        """Stay registered until `leave`; another registry is tried when one is lost."""
        backoff = Backoff(SystemRandom(), _RETRY_DELAY_S, _MAX_RETRY_DELAY_S)
        attempt, is_lost = 0, False
        while not self._leaving.is_set():
            try:
                await self.register_once(attempt)
                backoff.reset()
                is_lost = False
            except (RpcError, DecodeError, OSError) as error:
                if not is_lost:
                    fields = {"registry": self._servers.address(attempt), "reason": str(error)}
                    _logger.warning("not registered; trying on", extra=fields)
                is_lost = True
            if not self._leaving.is_set():
                attempt += 1
                await asyncio.sleep(backoff.next_delay())

    async def register_once(self, attempt: int = 0) -> None:
        """Register at one registry until it ends the stream. Raises RpcError."""
        channel = self._servers.open_channel(attempt)
        try:
            stream = channel.stream(PROVIDE, metadata=self._servers.metadata)
            async for data in stream_responses(stream, self._renewals()):
                self.state = wire.ProvideReply.FromString(data).state
        finally:
            await channel.close()

    async def _renewals(self) -> AsyncIterator[bytes]:
        yield self._first
        while not self._leaving.is_set():
            try:
                async with asyncio.timeout(self._lease / 3):
                    await self._leaving.wait()
            except TimeoutError:
                yield b""


async def discover(
    servers: RegistryServers, pattern: str, *, retries: bool = True
) -> AsyncIterator[wire.ProvidersUpdate]:
    """Yield the providers of versions, now and after each change.

    `pattern` is project/group/service/version, whose parts may be `*`. What a registry that has
    just started does not know yet is not taken for gone: such an update is left out once another
    one came before. Without `retries`, and for a request that is refused, raises RpcError.
    """
    backoff = Backoff(SystemRandom(), _RETRY_DELAY_S, _MAX_RETRY_DELAY_S)
    attempt, has_update = 0, False
    while True:
        channel = servers.open_channel(attempt)
        try:
            request = wire.DiscoverRequest(version=pattern).SerializeToString()
            stream = channel.stream(DISCOVER, metadata=servers.metadata)
            is_first = True
            async for data in stream_responses(stream, _one(request)):
                backoff.reset()
                update = wire.ProvidersUpdate.FromString(data)
                if not (update.partial and has_update and is_first):
                    yield update
                    has_update = True
                is_first = False
        except (RpcError, DecodeError) as error:
            if not retries or (isinstance(error, RpcError) and error.status in _FINAL):
                raise
        finally:
            await channel.close()
        attempt += 1
        await asyncio.sleep(backoff.next_delay())


async def _one(request: bytes) -> AsyncIterator[bytes]:
    yield request
    await asyncio.Event().wait()
