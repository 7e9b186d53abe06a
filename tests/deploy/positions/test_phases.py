"""The phase of a position at each phase of its deployment."""

import pytest

from deploy.positions.phases import PositionPhase, position_phase
from deploy.workloads.phases import DeploymentPhase
from deploy.workloads.records import Deployment, DeploymentEntry, DeploymentStatus
from deploy.workloads.spec import DeploymentSpec

WANTED = Deployment(DeploymentSpec("north", wrapper="w.py"), 1, (), False, "ann", 0.0, 0.0)


@pytest.mark.parametrize(
    ("phase", "serving", "expected"),
    [
        (DeploymentPhase.UNKNOWN, "", PositionPhase.DEPLOYING),
        (DeploymentPhase.PENDING, "", PositionPhase.DEPLOYING),
        (DeploymentPhase.CREATING, "", PositionPhase.DEPLOYING),
        (DeploymentPhase.RUNNING, "r1", PositionPhase.IN_SERVICE),
        (DeploymentPhase.UPDATING, "r1", PositionPhase.IN_SERVICE),
        (DeploymentPhase.FAILED, "r1", PositionPhase.IN_SERVICE),
        (DeploymentPhase.FAILED, "", PositionPhase.OUT_OF_SERVICE),
    ],
)
def test_phase_is_what_callers_notice(
    phase: DeploymentPhase, serving: str, expected: PositionPhase
) -> None:
    status = DeploymentStatus(phase, "why", 1, serving)
    assert position_phase(DeploymentEntry(WANTED, 1, status, 1))[0] is expected


def test_position_without_a_deployment_is_out_of_service() -> None:
    phase, reason = position_phase(DeploymentEntry())
    assert (phase, reason) == (PositionPhase.OUT_OF_SERVICE, "its deployment was deleted")


def test_reason_is_that_of_the_deployment() -> None:
    status = DeploymentStatus(DeploymentPhase.FAILED, "no GPU here", 1)
    assert position_phase(DeploymentEntry(WANTED, 1, status, 1))[1] == "no GPU here"
