"""The table of phases."""

import pytest

from deploy.workloads.phases import DeploymentPhase as P
from deploy.workloads.phases import may_follow

LEGAL = {
    P.UNKNOWN: {P.PENDING},
    P.PENDING: {P.CREATING, P.FAILED, P.TERMINATING},
    P.CREATING: {P.RUNNING, P.FAILED, P.TERMINATING},
    P.RUNNING: {P.UPDATING, P.FAILED, P.TERMINATING},
    P.UPDATING: {P.RUNNING, P.FAILED, P.TERMINATING},
    P.FAILED: {P.CREATING, P.UPDATING, P.RUNNING, P.TERMINATING},
    P.TERMINATING: {P.TERMINATED},
    P.TERMINATED: {P.PENDING},
}


@pytest.mark.parametrize("before", P)
def test_each_phase_is_followed_by_these_alone(before: P) -> None:
    assert {after for after in P if may_follow(before, after)} == LEGAL[before] | {before}


def test_every_phase_is_reached_and_can_end() -> None:
    for start in P:
        reached = {start}
        while more := {n for phase in reached for n in LEGAL[phase]} - reached:
            reached |= more
        assert P.TERMINATED in reached
