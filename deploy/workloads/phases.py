"""The phases of a deployment, as a table of what may follow what. Pure."""

from enum import StrEnum
from typing import Final


class DeploymentPhase(StrEnum):
    """How far a deployment is.

    RUNNING: every replica has reported its load and answered probes. UPDATING: what ran before
    serves, and something else is on its way, or a replica is started again. FAILED: it does not
    come further; what served before still does.
    """

    UNKNOWN = "unknown"
    PENDING = "pending"
    CREATING = "creating"
    RUNNING = "running"
    UPDATING = "updating"
    FAILED = "failed"
    TERMINATING = "terminating"
    TERMINATED = "terminated"


_NEXT: Final[dict[DeploymentPhase, frozenset[DeploymentPhase]]] = {
    DeploymentPhase.UNKNOWN: frozenset({DeploymentPhase.PENDING}),
    DeploymentPhase.PENDING: frozenset(
        {DeploymentPhase.CREATING, DeploymentPhase.FAILED, DeploymentPhase.TERMINATING}
    ),
    DeploymentPhase.CREATING: frozenset(
        {DeploymentPhase.RUNNING, DeploymentPhase.FAILED, DeploymentPhase.TERMINATING}
    ),
    DeploymentPhase.RUNNING: frozenset(
        {DeploymentPhase.UPDATING, DeploymentPhase.FAILED, DeploymentPhase.TERMINATING}
    ),
    DeploymentPhase.UPDATING: frozenset(
        {DeploymentPhase.RUNNING, DeploymentPhase.FAILED, DeploymentPhase.TERMINATING}
    ),
    DeploymentPhase.FAILED: frozenset(
        {
            DeploymentPhase.CREATING,
            DeploymentPhase.UPDATING,
            DeploymentPhase.RUNNING,
            DeploymentPhase.TERMINATING,
        }
    ),
    DeploymentPhase.TERMINATING: frozenset({DeploymentPhase.TERMINATED}),
    DeploymentPhase.TERMINATED: frozenset({DeploymentPhase.PENDING}),  # the name is used again
}


def may_follow(before: DeploymentPhase, after: DeploymentPhase) -> bool:
    """Return whether a deployment may go from one phase to another; a phase may go on."""
    return before is after or after in _NEXT[before]
