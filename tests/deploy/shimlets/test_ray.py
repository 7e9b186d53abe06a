"""The shimlet `ray` with a real cluster: what only it has, and its faults."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.shimlets.interface import ReplicaState, ReplicaStatus, ShimletError, Workload
from deploy.shimlets.ray import RayShimlet, actor_options
from deploy.workloads.spec import Resources
from tests.deploy.ray_cluster import running_ray
from tests.deploy.shimlets.test_shimlet_contract import WRAPPER, running

WORKLOAD = Workload("ocr", "r1", 1, "", wrapper="wrapper.py:shout")
# An application of somebody else.
FOREIGN = {
    "name": "theirs",
    "route_prefix": None,
    "import_path": "tests.deploy.ray_foreign:application",
    "deployments": [{"name": "Theirs", "ray_actor_options": {"num_cpus": 0}}],
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with running_ray() as address:
        yield address


async def wait(
    shimlet: RayShimlet,
    condition: Callable[[list[ReplicaStatus]], bool],
    workload: Workload | None = None,
) -> list[ReplicaStatus]:
    async with asyncio.timeout(90):
        while True:
            if workload is not None:
                await shimlet.apply(workload)
            replicas = await shimlet.status("ocr")
            if condition(replicas):
                return replicas
            await asyncio.sleep(0.2)


def run(folder: Path, address: str, scenario: Callable[[RayShimlet], Awaitable[None]]) -> None:
    async def main() -> None:
        (folder / "wrapper.py").write_text(WRAPPER)
        shimlet = RayShimlet(address, folder, 20.0)
        try:
            await scenario(shimlet)
            async with asyncio.timeout(60):
                while await shimlet.status("ocr"):
                    await shimlet.delete("ocr")
                    await asyncio.sleep(0.2)
        finally:
            await shimlet.close()

    asyncio.run(main())


def applications_of(address: str) -> dict[str, Any]:
    url = f"{address}/api/serve/applications/"
    tree: dict[str, Any] = httpx.get(url, trust_env=False).json()["applications"]
    return tree


def deploy_foreign(address: str) -> None:
    """Put an application of somebody else beside those that are there; wait until it runs."""
    present = [each["deployed_app_config"] for each in applications_of(address).values()]
    httpx.put(
        f"{address}/api/serve/applications/",
        json={"applications": [*present, FOREIGN]}, trust_env=False, timeout=30,
    ).raise_for_status()  # fmt: skip
    while applications_of(address)["theirs"]["status"] != "RUNNING":
        pass


def test_applications_of_others_are_left_alone(cluster: str, tmp_path: Path) -> None:
    async def scenario(shimlet: RayShimlet) -> None:
        await wait(shimlet, running(1), WORKLOAD)
        await asyncio.to_thread(deploy_foreign, cluster)
        await wait(shimlet, running(2), replace(WORKLOAD, replicas=2))
        await shimlet.delete("ocr")
        await wait(shimlet, lambda replicas: not replicas)
        left = await asyncio.to_thread(applications_of, cluster)
        assert {name: each["status"] for name, each in left.items()} == {"theirs": "RUNNING"}
        assert await shimlet.list_deployments() == []

    run(tmp_path, cluster, scenario)


def test_loader_that_ends_at_once_is_counted_and_says_why(cluster: str, tmp_path: Path) -> None:
    async def scenario(shimlet: RayShimlet) -> None:
        (tmp_path / "bad.py").write_text("raise RuntimeError('no GPU here')\n")
        (replica,) = await wait(
            shimlet, lambda rs: rs[0].crashes >= 2, replace(WORKLOAD, wrapper="bad.py")
        )
        assert replica.state is ReplicaState.BACKOFF
        assert replica.reason == "ended with exit code 1"
        assert "no GPU here" in await shimlet.logs("ocr", replica.name, 100)

    run(tmp_path, cluster, scenario)


def test_what_a_cluster_does_not_have_is_said(cluster: str, tmp_path: Path) -> None:
    async def scenario(shimlet: RayShimlet) -> None:
        workload = replace(WORKLOAD, resources=Resources(accelerator_count=9))
        await shimlet.apply(workload)
        (replica,) = await wait(shimlet, lambda rs: bool(rs and rs[0].reason), workload)
        assert replica.state is ReplicaState.STARTING
        assert "GPU" in replica.reason

    run(tmp_path, cluster, scenario)


def test_cluster_that_is_gone_is_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        shimlet = RayShimlet("http://127.0.0.1:1", tmp_path)
        with pytest.raises(ShimletError, match=r"ray at http://127.0.0.1:1 does not answer: .*"):
            await shimlet.apply(WORKLOAD)
        await shimlet.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("resources", "options"),
    [
        (Resources(), {"num_cpus": 0.0}),
        (Resources(0.5, 2**30), {"num_cpus": 0.5, "memory": 2**30}),
        (Resources(accelerator_type="NVIDIA GPU", accelerator_count=2),
         {"num_cpus": 0.0, "num_gpus": 2}),
        (Resources(accelerator_type="A100", accelerator_count=1),
         {"num_cpus": 0.0, "num_gpus": 1, "accelerator_type": "A100"}),
    ],
)  # fmt: skip
def test_resources_are_those_of_an_actor(resources: Resources, options: dict[str, Any]) -> None:
    assert actor_options(resources) == options
