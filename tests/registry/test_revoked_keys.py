"""A key that is revoked while its streams are open: they end."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry.access import Actor, Role
from registry.errors import Refusal, RegistryError
from registry.grpc_methods import DISCOVER, PROVIDE, SUBSCRIBE
from registry.grpc_service import RegistryService
from rpc.client import Channel
from rpc.message_stream import stream_responses
from rpc.server import Server
from rpc.status import RpcError, Status
from schemas import wire
from tests.registry.running import running_registry

NAME = "shop/web/gateway/1.0.0"
REQUESTS = {
    SUBSCRIBE: wire.SubscribeRequest(
        subscription=wire.SubscriptionRequest(instance="a", follow=[wire.Pattern(version=NAME)])
    ),
    PROVIDE: wire.ProvideRequest(
        provider=wire.ProviderInfo(version=NAME, address="a:1", protocol="http", lease=10)
    ),
    DISCOVER: wire.DiscoverRequest(version=NAME),
}


class Keys:
    """An `Authorizer` with one key."""

    def __init__(self) -> None:
        self.is_revoked = False

    def identify(self, authorization: str, author: str) -> Actor:
        if self.is_revoked:
            raise RegistryError(Refusal.UNAUTHENTICATED, "the key cannot be used: revoked")
        return Actor("ops", {"shop": Role.READER}, "key-1")


@contextlib.asynccontextmanager
async def serving(folder: Path, keys: Keys) -> AsyncIterator[str]:
    async with running_registry(folder) as registry:
        await registry.release("a.txt", "1")
        parts = registry.process
        service = RegistryService(
            parts._registry, parts._subscribers, parts._present, parts._leases, keys, time.time,
            recheck_s=0.01,
        )  # fmt: skip
        server = Server(unary=service.unary_methods(), stream=service.stream_methods())
        port = await server.start("127.0.0.1", 0)
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(0)


async def renewals(method: str) -> AsyncIterator[bytes]:
    """Yield the request, and for a provider its renewals."""
    yield REQUESTS[method].SerializeToString()
    while method == PROVIDE:
        yield b""
        await asyncio.sleep(0.01)
    await asyncio.Event().wait()


@pytest.mark.parametrize("method", REQUESTS)
def test_its_streams_end(tmp_path: Path, method: str) -> None:
    async def run() -> None:
        keys = Keys()
        async with serving(tmp_path, keys) as address, asyncio.timeout(30):
            channel = Channel(address)
            messages = stream_responses(channel.stream(method), renewals(method))
            await anext(messages)
            keys.is_revoked = True
            with pytest.raises(RpcError, match="revoked") as raised:
                async for _ in messages:
                    pass
            assert raised.value.status is Status.UNAUTHENTICATED
            await channel.close()

    asyncio.run(run())
