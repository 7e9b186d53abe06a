"""What the engine needs of a runtime: a shimlet starts replicas and says what has become of them.

A replica is one loader. Every method may be called again with the same arguments: it brings the
runtime closer to what they say. All shimlets pass one suite (`tests/deploy/shimlets`).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Final, Protocol, Self

from deploy.workloads.spec import Resources

# Where a loader finds the token of the hubs.
TOKEN_VARIABLE: Final = "ASE_LB_TOKEN"  # noqa: S105 (the name of a variable)


class ShimletError(Exception):
    """A runtime cannot do what was asked for now; `str()` says why, and the cure.

    `is_final`: it will not be otherwise as long as the workload is what it is.
    """

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


@dataclass(frozen=True, slots=True)
class Workload:
    """The replicas of one revision of a deployment.

    `hubs` are the addresses, with commas, that they report to. `config` is the argument of `init`.
    """

    id: str
    revision: str
    replicas: int
    hubs: str
    wrapper: str = ""
    image: str = ""
    resources: Resources = field(default_factory=Resources)
    env: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)

    def to_text(self) -> str:
        """Return the workload as JSON, for a runtime to keep."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return the workload of a text. Raises ValueError, KeyError or TypeError."""
        tree = json.loads(text)
        tree["resources"] = Resources(**tree["resources"])
        return cls(**tree)


class ReplicaState(StrEnum):
    """What a replica is doing. BACKOFF: it has ended and is started again soon."""

    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """A replica as the runtime sees it.

    `address` is where gateways reach it, "" while it has none. `crashes` counts how often it has
    ended by itself, since it last ran for a minute; `reason` says how it ended last. `cpu` are CPUs
    in use, `memory` bytes; -1 if the runtime does not tell.
    """

    name: str
    revision: str
    state: ReplicaState
    address: str = ""
    crashes: int = 0
    reason: str = ""
    started_at: float = 0.0
    cpu: float = -1.0
    memory: int = -1


class Shimlet(Protocol):
    """A runtime. Every method but `check` and `on_change` raises ShimletError."""

    name: str
    description: str

    def check(self, workload: Workload) -> str:
        """Return why this runtime can never run a workload, "" if it can."""

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Have `callback` called with the id of a deployment when one of its replicas ends."""

    async def apply(self, workload: Workload) -> None:
        """Have as many replicas of a revision as it says: start those that are missing."""

    async def scale(self, deployment_id: str, revision: str, replicas: int) -> None:
        """Have another number of replicas of a revision that was applied."""

    async def delete(self, deployment_id: str, revision: str = "") -> None:
        """Begin to stop a revision, or all of a deployment; they finish their requests first."""

    async def status(self, deployment_id: str) -> list[ReplicaStatus]:
        """Return all replicas of a deployment, those that are being stopped too."""

    async def list_deployments(self) -> list[str]:
        """Return the ids of all deployments that have something here."""

    async def logs(self, deployment_id: str, replica: str, lines: int) -> str:
        """Return the last lines that a replica has written."""

    async def close(self) -> None:
        """Release what is open; the replicas run on."""
