"""What every runtime does: the same tests for the one in memory, processes and containers."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from atom.grpc_health import check_health
from deploy.shimlets.docker import DockerShimlet
from deploy.shimlets.interface import ReplicaState, ReplicaStatus, Shimlet, ShimletError, Workload
from deploy.shimlets.kubernetes import KubernetesShimlet
from deploy.shimlets.kubernetes_api import ClusterAccess, KubernetesApi
from deploy.shimlets.process import ProcessShimlet
from deploy.shimlets.ray import RayShimlet
from deploy.shimlets.supervisor import SupervisorShimlet
from deploy.shimlets.supervisor_rpc import SupervisorRpc
from deploy.workloads.spec import Resources
from tests.deploy.fake_kubernetes import TOKEN, running_kubernetes
from tests.deploy.fake_shimlet import FakeShimlet
from tests.deploy.podman import IMAGE, running_podman
from tests.deploy.ray_cluster import running_ray
from tests.deploy.supervisord import running_supervisord

WRAPPER = '''\
import os

from aseloader import service


@service("shout", total=2)
def shout(text: str) -> str:
    """Shout."""
    return text.upper() + os.environ.get("MARK", "")
'''
WORKLOAD = Workload("ocr", "r1", 2, "", wrapper="wrapper.py:shout", image=IMAGE, env={"MARK": "!"})


class RunningShimlet:
    """A runtime under test. `crash` ends a replica from outside."""

    def __init__(
        self, shimlet: Shimlet, crash: Callable[[ReplicaStatus], Awaitable[None]], *, is_real: bool
    ) -> None:
        self.shimlet = shimlet
        self.crash = crash
        self.is_real = is_real
        self.changed: list[str] = []
        shimlet.on_change(self.changed.append)

    async def wait(
        self, condition: Callable[[list[ReplicaStatus]], bool], workload: Workload | None = None
    ) -> list[ReplicaStatus]:
        """Wait for a state of the replicas; `workload` is applied again meanwhile."""
        async with asyncio.timeout(60):
            while True:
                if workload is not None:
                    await self.shimlet.apply(workload)
                replicas = await self.shimlet.status("ocr")
                if condition(replicas):
                    return replicas
                await asyncio.sleep(0.02)

    async def wait_serving(self, replicas: list[ReplicaStatus]) -> None:
        """Wait until the loaders answer."""
        async with asyncio.timeout(60):
            for replica in replicas if self.is_real else []:
                problem = "not asked yet"
                while problem:
                    problem = await check_health(replica.address, 1.0)
                    await asyncio.sleep(0.02)

    async def wait_gone(self, revision: str = "") -> None:
        """Have a revision, or all, stopped, as the engine does."""
        async with asyncio.timeout(60):
            while True:
                await self.shimlet.delete("ocr", revision)
                replicas = await self.shimlet.status("ocr")
                if all(revision not in ("", replica.revision) for replica in replicas):
                    return
                await asyncio.sleep(0.02)


def running(count: int) -> Callable[[list[ReplicaStatus]], bool]:
    return lambda replicas: (
        len(replicas) == count
        and all(r.state is ReplicaState.RUNNING and r.address for r in replicas)
    )


@contextlib.asynccontextmanager
async def shimlet_of(kind: str, folder: Path) -> AsyncIterator[RunningShimlet]:
    (folder / "wrapper.py").write_text(WRAPPER)
    shimlet: Shimlet
    if kind.startswith("unix:"):
        docker = DockerShimlet(kind, "host", "127.0.0.1", 20.0)

        async def crash_container(replica: ReplicaStatus) -> None:
            rows = await docker._rows("ocr")
            container = next(row["Id"] for row in rows if f"/{replica.name}" in row["Names"])
            inspected = await docker._api.inspect(container)
            assert inspected is not None
            os.kill(inspected["State"]["Pid"], signal.SIGKILL)

        shimlet, under_test = docker, RunningShimlet(docker, crash_container, is_real=True)
    elif kind == "k8s":
        async with running_kubernetes() as (cluster, url):
            api = partial(KubernetesApi, ClusterAccess(url, token=TOKEN), "models")
            k8s = KubernetesShimlet(api)

            async def crash_pod(replica: ReplicaStatus) -> None:
                cluster.crash(replica.name)
                asyncio.get_running_loop().call_later(0.3, cluster.restart, replica.name)

            under_test = RunningShimlet(k8s, crash_pod, is_real=False)
            try:
                yield under_test
            finally:
                await under_test.wait_gone()
                await k8s.close()
        return
    elif kind.startswith("http:"):
        ray = RayShimlet(kind, folder, 20.0)

        async def crash_actor(replica: ReplicaStatus) -> None:
            text = await ray.logs("ocr", replica.name, 1000)
            (line,) = [line for line in text.splitlines() if " ase-address " in line]
            os.kill(int(line.rpartition(" ")[2]), signal.SIGKILL)

        shimlet, under_test = ray, RunningShimlet(ray, crash_actor, is_real=True)
    elif kind == "supervisor":
        include = folder / "programs"
        with running_supervisord(folder, include) as address:
            supervisor = SupervisorShimlet(address, include, folder, "127.0.0.1", 20.0)

            async def crash_program(replica: ReplicaStatus) -> None:
                rpc = SupervisorRpc(address)
                info = rpc.call("getProcessInfo", f"ase-{replica.name}")
                rpc.close()
                os.kill(info["pid"], signal.SIGKILL)

            under_test = RunningShimlet(supervisor, crash_program, is_real=True)
            try:
                yield under_test
            finally:
                await under_test.wait_gone()
                await supervisor.close()
        return
    elif kind == "fake":
        fake = FakeShimlet()

        async def crash_fake(replica: ReplicaStatus) -> None:
            fake.crash(replica.name)

        shimlet, under_test = fake, RunningShimlet(fake, crash_fake, is_real=False)
    else:
        process = ProcessShimlet(folder / "state", folder, "127.0.0.1", 20.0)

        async def crash_process(replica: ReplicaStatus) -> None:
            _, revision, number = replica.name.rsplit("-", 2)
            os.kill(
                int((folder / f"state/ocr/{revision}/{number}/pid").read_text()), signal.SIGKILL
            )

        shimlet, under_test = process, RunningShimlet(process, crash_process, is_real=True)
    try:
        yield under_test
    finally:
        await under_test.wait_gone()
        await shimlet.close()


@pytest.fixture(scope="module")
def podman() -> Iterator[str]:
    with running_podman(WRAPPER) as address:
        yield address


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[str]:
    with running_ray() as address:
        yield address


@pytest.fixture(params=["fake", "process", "k8s", "supervisor"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(kind: str, folder: Path, scenario: Callable[[RunningShimlet], Awaitable[None]]) -> None:
    async def main() -> None:
        async with shimlet_of(kind, folder) as under_test:
            await scenario(under_test)

    asyncio.run(main())


def test_replicas_start_serve_and_stop(kind: str, tmp_path: Path) -> None:
    async def scenario(under_test: RunningShimlet) -> None:
        shimlet = under_test.shimlet
        assert await shimlet.status("ocr") == []
        replicas = await under_test.wait(running(2), WORKLOAD)
        assert len({r.name for r in replicas}) == len({r.address for r in replicas}) == 2
        assert {r.revision for r in replicas} == {"r1"}
        assert await shimlet.list_deployments() == ["ocr"]
        await under_test.wait_serving(replicas)
        again = await under_test.wait(running(2), WORKLOAD)
        assert [(r.name, r.address, r.started_at) for r in again] == [
            (r.name, r.address, r.started_at) for r in replicas
        ]
        await under_test.wait_gone()
        assert await shimlet.list_deployments() == []

    run(kind, tmp_path, scenario)


def test_replicas_are_added_and_taken(kind: str, tmp_path: Path) -> None:
    async def scenario(under_test: RunningShimlet) -> None:
        await under_test.shimlet.apply(replace(WORKLOAD, replicas=1))
        first = await under_test.wait(running(1))
        await under_test.shimlet.scale("ocr", "r1", 3)
        replicas = await under_test.wait(running(3))
        assert first[0].name in {r.name for r in replicas}
        await under_test.wait_serving(replicas)
        left = await under_test.wait(running(1), replace(WORKLOAD, replicas=1))
        assert left[0].name == first[0].name
        with pytest.raises(ShimletError, match="revision r9 was not applied"):
            await under_test.shimlet.scale("ocr", "r9", 1)

    run(kind, tmp_path, scenario)


def test_two_revisions_run_beside_each_other(kind: str, tmp_path: Path) -> None:
    async def scenario(under_test: RunningShimlet) -> None:
        await under_test.wait(running(2), WORKLOAD)
        replicas = await under_test.wait(running(4), replace(WORKLOAD, revision="r2"))
        await under_test.wait_serving(replicas)
        await under_test.wait_gone("r1")
        assert {r.revision for r in await under_test.wait(running(2))} == {"r2"}

    run(kind, tmp_path, scenario)


def test_one_that_ends_is_told_counted_and_started_again(kind: str, tmp_path: Path) -> None:
    async def scenario(under_test: RunningShimlet) -> None:
        workload = replace(WORKLOAD, replicas=1)
        (first,) = await under_test.wait(running(1), workload)
        await under_test.wait_serving([first])
        under_test.changed.clear()
        await under_test.crash(first)
        await under_test.wait(lambda _: {*under_test.changed} == {"ocr"})
        (ended,) = await under_test.wait(lambda replicas: replicas[0].crashes == 1)
        assert ended.state is ReplicaState.BACKOFF
        assert "SIGKILL" in ended.reason
        (second,) = await under_test.wait(running(1), workload)
        assert second.name == first.name
        assert second.started_at > first.started_at
        assert second.crashes == 1
        await under_test.wait_serving([second])

    run(kind, tmp_path, scenario)


def test_logs_are_those_of_a_replica(kind: str, tmp_path: Path) -> None:
    async def scenario(under_test: RunningShimlet) -> None:
        replicas = await under_test.wait(running(2), WORKLOAD)
        await under_test.wait_serving(replicas)
        text = await under_test.shimlet.logs("ocr", replicas[1].name, 50)
        assert ("listening" if under_test.is_real else replicas[1].name) in text
        with pytest.raises(ShimletError, match="no replica 'x' of ocr"):
            await under_test.shimlet.logs("ocr", "x", 5)

    run(kind, tmp_path, scenario)


def test_what_a_runtime_can_never_run_is_said(kind: str, tmp_path: Path) -> None:
    async def scenario(under_test: RunningShimlet) -> None:
        assert under_test.shimlet.check(WORKLOAD) == ""
        assert "needs" in under_test.shimlet.check(replace(WORKLOAD, wrapper="", image=""))

    run(kind, tmp_path, scenario)


def test_resources_are_measured(kind: str, tmp_path: Path) -> None:
    async def scenario(under_test: RunningShimlet) -> None:
        replicas = await under_test.wait(running(2), WORKLOAD)
        await under_test.wait_serving(replicas)
        for replica in await under_test.shimlet.status("ocr"):
            if kind == "k8s" or kind.startswith("http:"):  # they do not measure
                assert (replica.cpu, replica.memory) == (-1, -1)
                continue
            assert replica.memory > (2**20 if under_test.is_real else 0)
            assert 0 <= replica.cpu < 8

    run(kind, tmp_path, scenario)


@pytest.mark.parametrize("kind", ["process", "supervisor"])
def test_a_limit_of_memory_is_kept(kind: str, tmp_path: Path) -> None:
    async def scenario(under_test: RunningShimlet) -> None:
        workload = replace(WORKLOAD, replicas=1, resources=Resources(memory=2**20))
        await under_test.shimlet.apply(workload)
        (replica,) = await under_test.wait(lambda replicas: replicas[0].crashes > 0)
        assert "and 1Mi are allowed (resourceRequirements.memory)" in replica.reason

    run(kind, tmp_path, scenario)


CONTRACT = (
    test_replicas_start_serve_and_stop,
    test_replicas_are_added_and_taken,
    test_two_revisions_run_beside_each_other,
    test_one_that_ends_is_told_counted_and_started_again,
    test_logs_are_those_of_a_replica,
    test_what_a_runtime_can_never_run_is_said,
    test_resources_are_measured,
)


@pytest.mark.parametrize("engine", ["podman", "ray_cluster"])
def test_engines_that_take_long_to_start_keep_the_contract(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """One test for each: else every worker of a parallel run would start its own."""
    address = str(request.getfixturevalue(engine))
    for number, keeps in enumerate(CONTRACT):
        folder = tmp_path / str(number)
        folder.mkdir()
        keeps(address, folder)
