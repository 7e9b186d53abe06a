"""Two registries on a real etcd of three members, which are killed and stand still."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.registry.etcd_server import EtcdServer, start_etcd
from tests.registry.running import OWN, RunningRegistry, RunningSubscriber, running_registry

pytestmark = pytest.mark.peer("etcd")


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[EtcdServer]]:
    with start_etcd(tmp_path_factory.mktemp("etcd"), 3) as running:
        yield running


def options(members: list[EtcdServer], prefix: str) -> dict[str, Any]:
    return {
        "etcd": ",".join(member.address for member in members),
        "etcd_prefix": f"/{prefix}/",
    }


async def release_when_possible(registry: RunningRegistry, text: str) -> int:
    """Publish; wait while the cluster elects a leader. Return how often it was refused."""
    refused = 0
    async with asyncio.timeout(60):
        while (await registry.put("a.txt", text)).status_code == 503:
            refused += 1
        while True:
            response = await registry.post("releases")
            if response.status_code == 409 and refused:
                assert "nothing was edited" in response.text  # an answer was lost, no release
                return refused
            if response.status_code != 503:
                assert response.status_code == 200, response.text
                return refused
            refused += 1


def outcomes(status: dict[str, Any]) -> dict[str, tuple[int, str]]:
    return {i["instance"]: (i["running"], i["outcome"]) for i in status["instances"]}


async def wait_outcomes(registry: RunningRegistry, expected: dict[str, tuple[int, str]]) -> None:
    async with asyncio.timeout(60):
        while True:
            if outcomes(await registry.status(OWN, 0.0)) == expected:
                return
            await asyncio.sleep(0.02)


def test_registries_of_a_cluster_are_one(members: list[EtcdServer], tmp_path: Path) -> None:
    async def run() -> None:
        etcd = options(members, "one")
        async with (
            running_registry(tmp_path, **etcd) as first,
            running_registry(tmp_path, **etcd) as second,
        ):
            await release_when_possible(first, "1")
            async with (
                RunningSubscriber(first.grpc, tmp_path, "a", file="a.txt") as at_first,
                RunningSubscriber(second.grpc, tmp_path, "b", file="a.txt") as at_second,
            ):
                await at_first.wait_applied("1")
                await at_second.wait_applied("1")
                await release_when_possible(second, "2")
                await at_first.wait_applied("2")
                await at_second.wait_applied("2")
                for registry in (first, second):
                    await wait_outcomes(registry, {"a": (2, "applied"), "b": (2, "applied")})
            # Two editors, each at another registry.
            tag = (await first.put("a.txt", "3")).headers["etag"]
            assert (await second.put("a.txt", "4", if_match=tag)).status_code == 200
            assert (await first.put("a.txt", "5", if_match=tag)).status_code == 412

    asyncio.run(run())


def test_a_subscriber_moves_to_the_other_registry(
    members: list[EtcdServer], tmp_path: Path
) -> None:
    async def run() -> None:
        etcd = options(members, "two")
        async with running_registry(tmp_path, **etcd) as second:
            async with running_registry(tmp_path, **etcd) as first:
                await release_when_possible(first, "1")
                servers = f"{first.grpc},{second.grpc}"
                subscriber = RunningSubscriber(servers, tmp_path, file="a.txt")
                await subscriber.__aenter__()
                await subscriber.wait_applied("1")
            await release_when_possible(second, "2")
            await subscriber.wait_applied("2")
            await wait_outcomes(second, {"gw-1": (2, "applied")})
            await subscriber.__aexit__()

    asyncio.run(run())


def test_a_member_that_dies_stops_nothing_and_a_minority_writes_nothing(
    members: list[EtcdServer], tmp_path: Path
) -> None:
    async def run() -> None:
        async with running_registry(tmp_path, **options(members, "three")) as registry:
            await release_when_possible(registry, "1")
            async with RunningSubscriber(registry.grpc, tmp_path, file="a.txt") as subscriber:
                await subscriber.wait_applied("1")
                members[0].signal(signal.SIGKILL)
                await release_when_possible(registry, "2")
                await subscriber.wait_applied("2")
                members[1].signal(signal.SIGKILL)
                refusal = await registry.put("a.txt", "3")
                assert refusal.status_code == 503
                assert "a majority of its members runs" in refusal.json()["error"]
                # What is published is served on, and known to be the last known.
                text = await registry.client.get(f"/v1/versions/{OWN}/status")
                assert text.json()["publication"]["stable"] == 2
                members[0].start()
                members[1].start()
                await release_when_possible(registry, "4")
                await subscriber.wait_applied("4")

    asyncio.run(run())


def test_a_leader_that_stands_still_is_replaced(members: list[EtcdServer], tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path, **options(members, "four")) as registry:
            await release_when_possible(registry, "1")
            async with RunningSubscriber(registry.grpc, tmp_path, file="a.txt") as subscriber:
                await subscriber.wait_applied("1")
                for number, member in enumerate(members):  # one of them leads
                    member.signal(signal.SIGSTOP)
                    await release_when_possible(registry, f"still {number}")
                    await subscriber.wait_applied(f"still {number}")
                    member.signal(signal.SIGCONT)
                    await asyncio.to_thread(member.wait_ready)
            releases = await registry.client.get(f"/v1/versions/{OWN}/releases")
            numbers = [release["number"] for release in releases.json()["releases"]]
            assert numbers == sorted(numbers, reverse=True)
            assert len(numbers) == len({*numbers}) == 4

    asyncio.run(run())


def test_a_registry_that_dies_is_forgotten_with_its_instances(
    members: list[EtcdServer], tmp_path: Path
) -> None:
    """Its lease ends: nobody has to clean up after it."""

    async def run() -> None:
        etcd = options(members, "five")
        async with running_registry(tmp_path, **etcd) as second:
            async with running_registry(tmp_path, **etcd) as first:
                await release_when_possible(first, "1")
                async with RunningSubscriber(first.grpc, tmp_path, file="a.txt") as subscriber:
                    await subscriber.wait_applied("1")
                    await wait_outcomes(second, {"gw-1": (1, "applied")})
            await wait_outcomes(second, {})
            with pytest.raises(httpx.HTTPStatusError):
                (await second.post("promote")).raise_for_status()

    asyncio.run(run())
