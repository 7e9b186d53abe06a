"""The objects of a workload, by the schemas of Kubernetes."""

from dataclasses import replace

import kubernetes_validate
import pytest

from deploy.shimlets.interface import Workload
from deploy.shimlets.kubernetes_objects import (
    WORKLOAD_ANNOTATION,
    accelerator_resource,
    deployment_name,
    render_deployment,
    render_service,
)
from deploy.workloads.spec import Resources

WORKLOAD = Workload(
    "ocr", "r1", 2, "hub:8220", image="models/ocr:1", env={"A": "$(HOME)"},
    config={"model": "/m"}, resources=Resources(0.5, 2**30, "NVIDIA GPU", 2),
)  # fmt: skip


@pytest.mark.parametrize("version", ["1.27", "1.34"])
@pytest.mark.parametrize("workload", [WORKLOAD, Workload("a", "b", 0, "h:1", image="i")])
def test_objects_are_valid(version: str, workload: Workload) -> None:
    for tree in (render_deployment(workload, 35.0), render_service(workload.id)):
        kubernetes_validate.validate(tree, version, strict=True)


def test_limits_and_accelerators_are_really_set() -> None:
    pod = render_deployment(WORKLOAD, 35.0)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    limits = {"cpu": "500m", "memory": "1Gi", "nvidia.com/gpu": "2"}
    assert container["resources"] == {"requests": limits, "limits": limits}
    assert container["args"] == [
        "--lb", "hub:8220", "--advertise", "$(POD_IP):8240", "--set=model=/m",
    ]  # fmt: skip
    assert {"name": "A", "value": "$$(HOME)"} in container["env"]  # as it is, not expanded
    assert pod["terminationGracePeriodSeconds"] == 35


def test_two_revisions_have_nothing_in_common_but_the_service() -> None:
    first, second = (
        render_deployment(replace(WORKLOAD, revision=revision), 1.0) for revision in ("r1", "r2")
    )
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert first["spec"]["selector"] != second["spec"]["selector"]
    selector = render_service("ocr")["spec"]["selector"].items()
    for tree in (first, second):
        assert selector <= tree["spec"]["template"]["metadata"]["labels"].items()


def test_the_workload_is_kept_in_an_annotation() -> None:
    annotations = render_deployment(WORKLOAD, 1.0)["metadata"]["annotations"]
    assert Workload.from_text(annotations[WORKLOAD_ANNOTATION]) == WORKLOAD


def test_pods_have_the_token_of_the_hubs_from_a_secret() -> None:
    tree = render_deployment(WORKLOAD, 1.0, "ase-secret")
    kubernetes_validate.validate(tree, "1.34", strict=True)
    (container,) = tree["spec"]["template"]["spec"]["containers"]
    (token,) = [entry for entry in container["env"] if entry["name"] == "ASE_LB_TOKEN"]
    assert token["valueFrom"] == {"secretKeyRef": {"name": "ase-secret", "key": "lb-token"}}
    assert "ASE_LB_TOKEN" not in str(render_deployment(WORKLOAD, 1.0))


@pytest.mark.parametrize(
    ("kind", "resource"),
    [("NVIDIA GPU", "nvidia.com/gpu"), ("", "nvidia.com/gpu"), ("amd", "amd.com/gpu"),
     ("huawei.com/Ascend910", "huawei.com/Ascend910"), ("quantum", "")],
)  # fmt: skip
def test_accelerators_have_the_resource_of_their_plugin(kind: str, resource: str) -> None:
    assert accelerator_resource(kind) == resource


def test_names_are_dns_labels() -> None:
    assert deployment_name("ocr", "0123456789") == "ocr-0123456789"
    long = deployment_name("a" * 51 + "-" + "b" * 11, "0123456789")
    assert len(long) <= 63
    assert "--" not in long
