"""What a specification would change, in lines."""

from dataclasses import replace

from deploy.plan import plan_lines
from deploy.workloads.spec import DeploymentSpec, Resources

SPEC = DeploymentSpec("a", wrapper="w.py:W", replicas=1, env={"A": "1", "B": "2"})


def test_a_new_one_is_created() -> None:
    assert plan_lines(None, SPEC) == [
        "create a with 1 replica", "  + wrapper: w.py:W", "  + replicaCount: 1", "  + env.A: 1",
        "  + env.B: 2", "  + probes: 3", "  + startTimeout: 120",
    ]  # fmt: skip


def test_members_that_change_are_shown_and_what_it_means() -> None:
    after = replace(SPEC, env={"A": "3", "C": "4"}, resources=Resources(memory=2**30))
    assert plan_lines(SPEC, after) == [
        f"replace the replicas of a ({SPEC.revision} -> {after.revision})",
        "  ~ env.A: 1 -> 3", "  - env.B: 2", "  + env.C: 4",
        "  + resourceRequirements.memory: 1Gi",
    ]  # fmt: skip
    assert plan_lines(SPEC, replace(SPEC, replicas=3)) == [
        "scale a from 1 to 3 replicas", "  ~ replicaCount: 1 -> 3",
    ]  # fmt: skip
    assert plan_lines(SPEC, replace(SPEC, probes=5))[0] == "change a; its replicas run on"
    assert plan_lines(SPEC, SPEC) == ["a: nothing changes"]
