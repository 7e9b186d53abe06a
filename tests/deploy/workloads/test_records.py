"""Records of deployments: written, read, changed."""

from dataclasses import replace

from deploy.workloads.phases import DeploymentPhase
from deploy.workloads.records import (
    MAX_PREVIOUS,
    Deployment,
    DeploymentStatus,
    StepResult,
)
from deploy.workloads.spec import DeploymentSpec

SPEC = DeploymentSpec("a", wrapper="w.py:W", env={"A": "ö"})
DEPLOYMENT = Deployment(SPEC, 1, (), False, "ann", 1.0, 2.0)


def test_records_are_read_as_they_were_written() -> None:
    changed = DEPLOYMENT.change(replace(SPEC, wrapper="v.py:V"), "bob", 3.0)
    assert Deployment.from_bytes(changed.to_bytes()) == changed
    status = DeploymentStatus(
        DeploymentPhase.FAILED, "why", 3, "abc", "ocr", "http://g", (StepResult("a", "done"),), 4.0
    )
    assert DeploymentStatus.from_bytes(status.to_bytes()) == status


def test_a_change_keeps_what_was_before() -> None:
    changed = DEPLOYMENT
    for number in range(MAX_PREVIOUS + 5):
        changed = changed.change(replace(SPEC, wrapper=f"{number}.py:W"), "bob", 3.0)
    assert changed.generation == MAX_PREVIOUS + 6
    assert len(changed.previous) == MAX_PREVIOUS
    assert changed.previous[-1].wrapper == f"{MAX_PREVIOUS + 3}.py:W"


def test_a_step_that_was_not_tried_waits() -> None:
    status = DeploymentStatus().with_step(StepResult("a", "running"))
    assert status.step("b").state == "waiting"
    status = status.with_step(StepResult("b", "done")).with_step(StepResult("a", "done"))
    assert [(step.name, step.state) for step in status.steps] == [("a", "done"), ("b", "done")]
