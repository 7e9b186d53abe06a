"""What all deployments together may use."""

import pytest

from deploy.workloads.quota import Quota
from deploy.workloads.spec import DeploymentSpec, Resources

OTHER = DeploymentSpec("other", replicas=2, resources=Resources(1.0, 2**30, "gpu", 1))


@pytest.mark.parametrize(
    ("quota", "problem"),
    [
        (Quota(accelerators=100), ""),
        (Quota(replicas=4, accelerators=100), ""),
        (Quota(replicas=3, accelerators=100), "replicas 4 of 3 that deployer.replicas allows"),
        (Quota(cpu=2.5, accelerators=100), "cpu 3 of 2500m that deployer.cpu allows"),
        (Quota(memory=2**31, accelerators=100), "memory 3Gi of 2Gi that deployer.memory allows"),
        (Quota(accelerators=3), "accelerators 4 of 3 that deployer.accelerators allows"),
        (Quota(), "accelerators 4 of 0 that deployer.accelerators allows"),
    ],
)
def test_the_first_excess_is_said(quota: Quota, problem: str) -> None:
    spec = DeploymentSpec("a", replicas=2, resources=Resources(0.5, 2**29, "gpu", 1))
    assert quota.find_excess(spec, [OTHER]) == (f"quota exceeded: {problem}" if problem else "")


def test_what_asks_for_none_needs_no_accelerators() -> None:
    assert Quota().find_excess(DeploymentSpec("a"), [OTHER]) == ""
