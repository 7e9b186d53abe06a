"""Deployments that run no replica while nobody calls them, and what stands in for them. Pure.

A deployment whose `autoscale` allows no replica sleeps when it has had no requests for a while. An
activator (`deploy/engine/activator.py`) then gets its requests and wakes it.
"""

import json
from dataclasses import asdict, dataclass
from typing import Final, Self

from deploy.workloads.records import DeploymentEntry

ACTIVATION: Final = "deployment-activation/"


@dataclass(frozen=True, slots=True)
class ActivationRecord:
    """What hubs must know of a service while no loader reports it, kept as `ACTIVATION` + id.

    `svc` and `digest` are those that its loaders have reported last. The schema document of the
    digest is a content of the store; there is none if `digest` is "".
    """

    service: str
    svc: str
    digest: str

    def to_bytes(self) -> bytes:
        """Return the record as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, record: bytes) -> Self:
        """Return the activation of a record."""
        return cls(**json.loads(record))


def may_sleep(entry: DeploymentEntry) -> bool:
    """Return whether a deployment may run no replica: its rule says so, and it has served."""
    wanted = entry.wanted
    return (
        wanted is not None
        and not wanted.is_deleting
        and wanted.spec.autoscale is not None
        and wanted.spec.autoscale.least == 0
        and entry.status.service != ""
    )


def activator_version(deployment_id: str) -> str:
    """Return the version that the activator of a deployment reports, which no revision has."""
    return f"activator:{deployment_id}"
