"""Providers of a real registry: they register, renew, leave, and are taken out by operators."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from registry.client.connection import RegistryServers
from registry.client.provider import ProviderRegistration, discover
from registry.grpc_methods import PROVIDE
from registry.names import ServiceVersion
from rpc.client import Channel
from rpc.message_stream import stream_responses
from rpc.status import RpcError
from schemas import wire
from tests.registry.running import RunningRegistry, running_registry

NAME = ServiceVersion("shop", "web", "lb", "1.0.0")
PATH = f"/v1/versions/{NAME}/providers"


def registration(registry: RunningRegistry, address: str, **options: Any) -> ProviderRegistration:
    servers = RegistryServers((registry.grpc,))
    return ProviderRegistration(servers, NAME, address, "grpc", {"zone": "a"}, **options)


async def next_addresses(
    updates: AsyncIterator[list[tuple[str, str]]], expected: set[str]
) -> list[tuple[str, str]]:
    async with asyncio.timeout(30):
        async for providers in updates:
            if {address for address, _ in providers} == expected:
                return providers
    raise AssertionError("the stream ended")


async def states(registry: RunningRegistry, servers: str) -> AsyncIterator[list[tuple[str, str]]]:
    async for update in discover(RegistryServers((servers,)), str(NAME)):
        yield [(p.address, p.state) for p in update.providers]


def test_providers_are_seen_until_they_leave(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            updates = states(registry, registry.grpc)
            assert await next_addresses(updates, set()) == []
            first = asyncio.ensure_future(registration(registry, "a:1").run())
            second = registration(registry, "b:1")
            task = asyncio.ensure_future(second.run())
            assert await next_addresses(updates, {"a:1", "b:1"}) == [
                ("a:1", "online"),
                ("b:1", "online"),
            ]
            second.leave()
            await next_addresses(updates, {"a:1"})
            await task
            # A connection that breaks is no farewell: the lease goes on.
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            rows = (await registry.client.get(PATH)).json()["providers"]
            assert [(row["address"], row["state"]) for row in rows] == [("a:1", "online")]
            await updates.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())


def test_operators_take_providers_out_and_bring_them_back(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            updates = states(registry, registry.grpc)
            tasks = [
                asyncio.ensure_future(registration(registry, address).run())
                for address in ("a:1", "b:1")
            ]
            await next_addresses(updates, {"a:1", "b:1"})
            body = {"state": "offline", "comment": "disk"}
            await registry.client.put(f"{PATH}/a:1", json=body)
            await next_addresses(updates, {"b:1"})
            rows = (await registry.client.get(PATH)).json()["providers"]
            assert {row["address"]: row["state"] for row in rows} == {
                "a:1": "offline",
                "b:1": "online",
            }
            await registry.client.put(f"{PATH}/a:1", json={"state": "isolated"})
            assert ("a:1", "isolated") in await next_addresses(updates, {"a:1", "b:1"})
            await registry.client.put(f"{PATH}/a:1", json={"state": "online"})
            assert ("a:1", "online") in await next_addresses(updates, {"a:1", "b:1"})
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await updates.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())


def test_a_lease_that_is_not_renewed_ends(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            updates = states(registry, registry.grpc)
            task = asyncio.ensure_future(registration(registry, "a:1", lease=0.5).run())
            await next_addresses(updates, {"a:1"})
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await next_addresses(updates, set())
            await updates.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())


def test_a_provider_needs_a_name_and_an_address(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            with pytest.raises(RpcError, match="needs an address"):
                await registration(registry, "").register_once()
            servers = RegistryServers((registry.grpc,))
            with pytest.raises(RpcError, match="is not project/group/service/version"):
                async for _ in discover(servers, "shop", retries=False):
                    pass

    asyncio.run(run())


def test_a_late_renewal_registers_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            updates = states(registry, registry.grpc)
            await next_addresses(updates, set())
            info = wire.ProviderInfo(version=str(NAME), address="a:1", lease=0.5)
            beat = asyncio.Event()

            async def requests() -> AsyncIterator[bytes]:
                yield wire.ProvideRequest(provider=info).SerializeToString()
                await beat.wait()
                yield b""
                await asyncio.Event().wait()

            async def provide(channel: Channel) -> None:
                async for _ in stream_responses(channel.stream(PROVIDE), requests()):
                    pass

            channel = Channel(registry.grpc)
            task = asyncio.ensure_future(provide(channel))
            await next_addresses(updates, {"a:1"})
            await next_addresses(updates, set())  # it was silent for too long
            beat.set()
            await next_addresses(updates, {"a:1"})
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await channel.close()
            await updates.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())


def test_who_leaves_takes_no_successor_with_it(tmp_path: Path) -> None:
    """A process that is replaced on the same address ends after the new one has registered."""

    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            updates = states(registry, registry.grpc)
            old, new = registration(registry, "a:1"), registration(registry, "a:1")
            first = asyncio.ensure_future(old.run())
            await next_addresses(updates, {"a:1"})
            second = asyncio.ensure_future(new.run())
            async with asyncio.timeout(30):
                while True:
                    if new.state:
                        break
                    await asyncio.sleep(0.01)
            old.leave()
            await first
            rows = (await registry.client.get(PATH)).json()["providers"]
            assert [row["address"] for row in rows] == ["a:1"]
            new.leave()
            await next_addresses(updates, set())
            await second
            await updates.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())


@pytest.mark.parametrize(
    "member",
    [
        {"protocol": "x" * 300},
        {"address": "x" * 300},
        {"labels": {"a": "x" * 300}},
        {"lease": float("nan")},
        {"lease": float("inf")},
    ],
    ids=str,
)
def test_what_a_provider_says_is_short_and_ends(tmp_path: Path, member: dict[str, Any]) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            members: dict[str, Any] = {"version": str(NAME), "address": "a:1"}
            info = wire.ProviderInfo(**{**members, **member})

            async def requests() -> AsyncIterator[bytes]:
                yield wire.ProvideRequest(provider=info).SerializeToString()

            channel = Channel(registry.grpc)
            with pytest.raises(RpcError, match="INVALID_ARGUMENT"):
                async for _ in stream_responses(channel.stream(PROVIDE), requests()):
                    pass
            await channel.close()

    asyncio.run(run())
