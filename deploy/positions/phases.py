"""The phases of a position, by those of its deployment. Pure. The names are MITLab's."""

from enum import StrEnum
from typing import Final

from deploy.workloads.phases import DeploymentPhase
from deploy.workloads.records import DeploymentEntry


class PositionPhase(StrEnum):
    """What a position is doing for those who call it."""

    DEPLOYING = "Deploying"
    IN_SERVICE = "InService"
    OUT_OF_SERVICE = "OutOfService"


_ENDED: Final = (DeploymentPhase.TERMINATING, DeploymentPhase.TERMINATED, DeploymentPhase.UNKNOWN)


def position_phase(entry: DeploymentEntry) -> tuple[PositionPhase, str]:
    """Return the phase of a position, and its reason or "".

    While a model takes the place of another one, the position stays in service.
    """
    status = entry.status
    if entry.wanted is None or entry.wanted.is_deleting:
        return PositionPhase.OUT_OF_SERVICE, "its deployment was deleted"
    if status.serving:
        return PositionPhase.IN_SERVICE, status.reason
    if status.phase is DeploymentPhase.FAILED:
        return PositionPhase.OUT_OF_SERVICE, status.reason
    return PositionPhase.DEPLOYING, "" if status.phase in _ENDED else status.reason
