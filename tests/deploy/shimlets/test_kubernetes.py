"""Pods: what the cluster refuses, why a pod does not run, how a cluster is reached."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from deploy.shimlets.interface import ReplicaState, ShimletError, Workload
from deploy.shimlets.kubernetes import KubernetesShimlet
from deploy.shimlets.kubernetes_api import ClusterAccess, KubernetesApi
from deploy.workloads.spec import Resources
from tests.certificates import make_certificate
from tests.deploy.fake_kubernetes import TOKEN, FakeKubernetes, running_kubernetes

WORKLOAD = Workload("ocr", "r1", 1, "hub:1", image="ocr:1")


def run(
    scenario: Callable[[FakeKubernetes, KubernetesShimlet], Awaitable[None]], token: str = TOKEN
) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), running_kubernetes() as (cluster, url):
            access = ClusterAccess(url, token=token)
            shimlet = KubernetesShimlet(lambda: KubernetesApi(access, "models"))
            await scenario(cluster, shimlet)
            await shimlet.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "is_final", "message"),
    [
        (409, False, "409: no"),
        (429, False, "429: no; the server is busy"),
        (500, False, "500: no"),
        (403, False, "403: no; give its account the role of docs/deploy.md"),
        (422, True, "422: no"),
    ],
)
def test_what_the_server_refuses_is_said(status: int, is_final: bool, message: str) -> None:
    async def scenario(cluster: FakeKubernetes, shimlet: KubernetesShimlet) -> None:
        cluster.refusals = [(status, "no")]
        with pytest.raises(ShimletError, match=message) as raised:
            await shimlet.apply(WORKLOAD)
        assert raised.value.is_final is is_final
        cluster.refusals.clear()
        await shimlet.apply(WORKLOAD)
        assert len(await shimlet.status("ocr")) == 1

    run(scenario)


def test_an_account_that_is_not_known_is_said() -> None:
    async def scenario(_: FakeKubernetes, shimlet: KubernetesShimlet) -> None:
        with pytest.raises(ShimletError, match="401: Unauthorized; its account is not known"):
            await shimlet.list_deployments()

    run(scenario, "another")


def test_a_cluster_that_is_away_is_said() -> None:
    async def main() -> None:
        access = ClusterAccess("http://127.0.0.1:1")
        shimlet = KubernetesShimlet(lambda: KubernetesApi(access, "models"))
        with pytest.raises(ShimletError, match=r"http://127\.0\.0\.1:1: .*see deployer"):
            await shimlet.apply(WORKLOAD)
        await shimlet.close()

    asyncio.run(main())


def test_why_a_pod_does_not_run_is_said() -> None:
    async def scenario(cluster: FakeKubernetes, shimlet: KubernetesShimlet) -> None:
        cluster.image_problem = "no such image"
        await shimlet.apply(WORKLOAD)
        (pod,) = await shimlet.status("ocr")
        assert (pod.state, pod.reason, pod.address) == (
            ReplicaState.BACKOFF, "not started: ErrImagePull: no such image", "",
        )  # fmt: skip
        cluster.restart(pod.name)
        (pod,) = await shimlet.status("ocr")
        assert (pod.state, pod.address) == (ReplicaState.RUNNING, "10.0.0.1:8240")
        cluster.crash(pod.name, 137, "OOMKilled")
        (pod,) = await shimlet.status("ocr")
        assert pod.reason == "ended: more memory than resourceRequirements.memory allows"
        assert await shimlet.logs("ocr", pod.name, 5) == f"log of {pod.name}, the run before"
        cluster.restart(pod.name)
        assert await shimlet.logs("ocr", pod.name, 5) == f"log of {pod.name}, this run"
        assert {*cluster.objects["services"]} == {"ocr"}
        await shimlet.delete("ocr")
        assert not any(cluster.objects.values())

    run(scenario)


def test_what_has_no_resource_or_image_is_refused() -> None:
    async def scenario(_: FakeKubernetes, shimlet: KubernetesShimlet) -> None:
        assert "needs `image`" in shimlet.check(replace(WORKLOAD, image=""))
        odd = replace(WORKLOAD, resources=Resources(0, 0, "quantum", 1))
        assert (
            shimlet.check(odd) == "acceleratorType 'quantum': give the resource, as nvidia.com/gpu"
        )

    run(scenario)


def test_a_kubeconfig_says_how_a_cluster_is_reached(tmp_path: Path) -> None:
    make_certificate(tmp_path, "ca")
    make_certificate(tmp_path, "client", "ca")

    def encode(name: str) -> str:
        return base64.b64encode((tmp_path / name).read_bytes()).decode()

    tree = {
        "current-context": "b",
        "contexts": [
            {"name": "a", "context": {"cluster": "x", "user": "y"}},
            {"name": "b", "context": {"cluster": "c", "user": "u"}},
        ],
        "clusters": [
            {
                "name": "c",
                "cluster": {"server": "https://k:6443", "certificate-authority": "ca.pem"},
            }
        ],
        "users": [
            {
                "name": "u",
                "user": {
                    "client-certificate-data": encode("client.pem"),
                    "client-key-data": encode("client.key"),
                },
            }
        ],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(tree))
    access = ClusterAccess.of_kubeconfig(path)
    assert access.server == "https://k:6443"
    assert access.ca == (tmp_path / "ca.pem").read_text()
    assert access.tls_context()
    tree["users"] = [{"name": "u", "user": {"token": "t"}}]
    path.write_text(yaml.safe_dump(tree))
    assert ClusterAccess.of_kubeconfig(path).headers() == {"authorization": "Bearer t"}
    tree["users"] = []
    path.write_text(yaml.safe_dump(tree))
    for problem in (path, tmp_path / "none"):
        with pytest.raises(ShimletError, match=r"see deployer\.kubeconfig"):
            ClusterAccess.of_kubeconfig(problem)


def test_outside_of_a_cluster_there_is_no_account() -> None:
    assert ClusterAccess.of_pod({}) is None
    assert ClusterAccess.of_pod({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}) is None
