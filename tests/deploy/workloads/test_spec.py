"""Specifications: the members of the seed and ours, and all that is wrong with one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.workloads.spec import DeploymentSpec, InvalidSpecError, Resources, read_spec

# The request of the README of Astron xmod-shim, and the members of its later versions.
SEED = {
    "modelName": "qwen",
    "resourceRequirements": {
        "acceleratorType": "NVIDIA GPU", "acceleratorCount": 1, "cpu": "4", "memory": "16Gi",
    },
    "replicaCount": 1,
}  # fmt: skip
SEED_HEAD = {
    "serviceId": "1a2b3c4d", "modelName": "qwen", "modelFileDir": "models/qwen",
    "resourceRequirements": {"acceleratorType": "nvidia.com/gpu", "acceleratorCount": 2},
    "replicaCount": 1, "contextLength": 4096, "env": [{"key": "A", "value": "1"}],
    "goalSetName": "opensource-llm-deploy", "shimletName": "k8s",
}  # fmt: skip


def test_the_request_of_the_seed_is_read() -> None:
    spec = read_spec(SEED, "ab12cd34")
    assert (spec.id, spec.model_name, spec.replicas) == ("ab12cd34", "qwen", 1)
    assert spec.resources == Resources(4.0, 16 * 2**30, "NVIDIA GPU", 1)


def test_members_of_the_seeds_later_versions_are_read() -> None:
    spec = read_spec(SEED_HEAD)
    assert (spec.model_file, spec.shimlet) == ("models/qwen", "k8s")
    assert (spec.pipeline, spec.context_length) == ("opensource-llm-deploy", 4096)
    assert spec.env == {"A": "1"}


@pytest.mark.parametrize("tree", [SEED, SEED_HEAD, {"wrapper": "a.py:A", "probes": 0}])
def test_what_is_written_is_read_as_the_same(tree: dict[str, Any]) -> None:
    spec = read_spec(tree, "x")
    assert read_spec(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([], "must be an object"),
        ({}, "serviceId: is missing"),
        ({"serviceId": "A B"}, "serviceId: must be lower-case letters, digits and '-'"),
        ({"serviceId": "a", "replicas": 2}, "replicas: unknown member; did you mean"),
        (
            {"serviceId": "a", "replicaCount": 1.5},
            "replicaCount: must be a whole number, 0 to 1000",
        ),
        ({"serviceId": "a", "replicaCount": True}, "replicaCount: must be a whole number"),
        ({"serviceId": "a", "replicaCount": 1001}, "replicaCount: must be a whole number"),
        ({"serviceId": "a", "env": {}}, "env: must be a list of {key, value}"),
        ({"serviceId": "a", "env": [{"key": "1", "value": ""}]}, "env.0.key: is no name"),
        ({"serviceId": "a", "env": [{"key": "A"}]}, "env.0: must be {key, value}"),
        ({"serviceId": "a", "env": [{"key": "A", "value": "\0"}]}, "env.0.key: is no name"),
        (
            {"serviceId": "a", "env": [{"key": "A", "value": "1"}, {"key": "A", "value": "2"}]},
            "env.1.key: A is there already",
        ),
        ({"serviceId": "a", "config": {"a": 1}}, "config.a: must be a text"),
        ({"serviceId": "a", "config": {"a=b": "1"}}, "config.a=b: must be a text, and its name"),
        (
            {"serviceId": "a", "resourceRequirements": {"cpus": "1"}},
            "resourceRequirements.cpus: unknown member; did you mean 'cpu'?",
        ),
        (
            {"serviceId": "a", "resourceRequirements": {"memory": "lots"}},
            "resourceRequirements.memory: 'lots' is no size",
        ),
        (
            {"serviceId": "a", "resourceRequirements": {"cpu": True}},
            "resourceRequirements.cpu: must be a text or a number",
        ),
        (
            {"serviceId": "a", "resourceRequirements": {"acceleratorCount": -1}},
            "resourceRequirements.acceleratorCount: must be 0 to 1024",
        ),
        ({"serviceId": "a", "resourceRequirements": []}, ""),
        (
            {"serviceId": "a", "modelDigest": "abc", "modelFile": "m"},
            "modelDigest: must be the SHA",
        ),
        ({"serviceId": "a", "modelDigest": "0" * 64}, "modelDigest: needs modelFile"),
        ({"serviceId": "a", "modelFile": "m", "modelFileDir": "n"}, "is modelFile, which is there"),
        ({"serviceId": "a", "startTimeout": 0}, "startTimeout: must be a number, 0.1 to 86400"),
        ({"serviceId": "a", "wrapper": 3}, "wrapper: must be a text"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tree: Any, message: str) -> None:
    if not message:
        assert read_spec(tree).resources == Resources()
        return
    with pytest.raises(InvalidSpecError) as raised:
        read_spec(tree)
    assert message in str(raised.value)


def test_all_problems_are_said_at_once() -> None:
    with pytest.raises(InvalidSpecError) as raised:
        read_spec({"serviceId": "A", "probes": -1, "zzz": 1})
    assert len(raised.value.problems) == 3


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(["serviceId", "env", "config", "resourceRequirements", "replicaCount",
                         "modelDigest", "probes", "wrapper", "x"]),
        JSON,
    )
)  # fmt: skip
def test_any_json_is_read_or_refused(tree: dict[str, Any]) -> None:
    try:
        spec = read_spec(tree, "default")
    except InvalidSpecError:
        return
    assert read_spec(spec.to_json()) == spec


def test_replicas_and_probes_are_no_part_of_a_revision() -> None:
    base = DeploymentSpec("a", wrapper="w.py:W")
    same = DeploymentSpec("a", wrapper="w.py:W", replicas=3, probes=9, start_timeout=1.0)
    assert base.revision == same.revision
    for other in (
        DeploymentSpec("a", wrapper="v.py:W"),
        DeploymentSpec("a", wrapper="w.py:W", env={"A": "1"}),
        DeploymentSpec("a", wrapper="w.py:W", config={"A": "1"}),
        DeploymentSpec("a", wrapper="w.py:W", resources=Resources(memory=1)),
        DeploymentSpec("a", wrapper="w.py:W", model_digest="0" * 64, model_file="m"),
    ):
        assert other.revision != base.revision
