"""Leasing from one of several hubs, through real sockets."""

import asyncio

import pytest

from lb.client.lease_channel import METHOD, LeaseChannel
from lb.credentials import HubCredentials
from rpc.server import CallContext, Server
from rpc.status import RpcError, Status
from tests.wire.test_faults import dead_address


async def _hub(name: bytes) -> tuple[Server, str]:
    async def lease(request: bytes, call: CallContext) -> bytes:
        if dict(call.metadata)["authorization"] != "Bearer secret":
            raise RpcError(Status.UNAUTHENTICATED, "no token")
        return name + request

    server = Server(unary={METHOD: lease})
    port = await server.start("127.0.0.1", 0)
    return server, f"127.0.0.1:{port}"


def test_next_hub_is_asked_when_one_is_away() -> None:
    async def main() -> None:
        first, first_address = await _hub(b"first ")
        second, second_address = await _hub(b"second ")
        channel = LeaseChannel([first_address, second_address], HubCredentials("secret"))
        assert await channel.exchange(b"a") == b"first a"
        await first.stop(0)
        with pytest.raises(RpcError):
            await channel.exchange(b"b")
        assert await channel.exchange(b"b") == b"second b"
        assert await channel.exchange(b"c") == b"second c"
        await channel.close()
        await second.stop(0)

    asyncio.run(main())


def test_hub_that_was_never_there_raises() -> None:
    async def main() -> None:
        channel = LeaseChannel([dead_address()], HubCredentials("secret"))
        for _ in range(2):
            with pytest.raises(RpcError) as raised:
                await channel.exchange(b"a")
            assert raised.value.status is Status.UNAVAILABLE
        await channel.close()

    asyncio.run(main())


def test_other_hubs_are_leased_from_once_they_are_listed() -> None:
    async def main() -> None:
        first, first_address = await _hub(b"first ")
        second, second_address = await _hub(b"second ")
        channel = LeaseChannel([], HubCredentials("secret"))
        with pytest.raises(RpcError, match="no hub is known yet"):
            await channel.exchange(b"a")
        await channel.set_hubs([first_address, second_address])
        assert await channel.exchange(b"a") == b"first a"
        await channel.set_hubs([second_address])
        assert await channel.exchange(b"b") == b"second b"
        await channel.close()
        await first.stop(0)
        await second.stop(0)

    asyncio.run(main())
