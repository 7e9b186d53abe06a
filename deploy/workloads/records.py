"""What the deployer keeps of a deployment: what is wanted, and how far it is. Pure.

Two records, so that people and the engine do not write the same: `deployment/ID` and
`deployment-status/ID`. Times are Unix seconds.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self

from deploy.workloads.phases import DeploymentPhase
from deploy.workloads.spec import DeploymentSpec, read_spec

WANTED: Final = "deployment/"
STATUS: Final = "deployment-status/"
MAX_PREVIOUS: Final = 10


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is wanted of a deployment.

    `generation` counts the specifications, from 1. `previous` are those of the revisions before,
    the newest last. `promoted` is the revision that somebody has promoted by hand, "" if none.
    """

    spec: DeploymentSpec
    generation: int
    previous: tuple[DeploymentSpec, ...]
    is_deleting: bool
    author: str
    created_at: float
    updated_at: float
    promoted: str = ""

    def change(self, spec: DeploymentSpec, author: str, now: float) -> Self:
        """Return the deployment with another specification; of a revision the last one is kept."""
        previous = self.previous
        if spec.revision != self.spec.revision:
            previous = (*previous, self.spec)
        return replace(
            self,
            spec=spec,
            generation=self.generation + 1,
            previous=previous[-MAX_PREVIOUS:],
            author=author,
            updated_at=now,
            promoted=self.promoted if self.promoted == spec.revision else "",
        )

    def to_bytes(self) -> bytes:
        """Return the record as JSON."""
        tree = {
            "spec": self.spec.to_json(),
            "generation": self.generation,
            "previous": [spec.to_json() for spec in self.previous],
            "is_deleting": self.is_deleting,
            "author": self.author,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "promoted": self.promoted,
        }
        return _encode(tree)

    @classmethod
    def from_bytes(cls, record: bytes) -> Self:
        """Return the deployment of a record."""
        tree = json.loads(record)
        tree["spec"] = read_spec(tree["spec"])
        tree["previous"] = tuple(map(read_spec, tree["previous"]))
        return cls(**tree)


@dataclass(frozen=True, slots=True)
class StepResult:
    """How far a step of the pipeline is: waiting, running, done, failed or undone.

    `started_at` is when it was first tried, `attempts` how often it has failed.
    """

    name: str
    state: str
    message: str = ""
    started_at: float = 0.0
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """How far a deployment is.

    `generation` and `revision` are what `phase`, `steps` and `share` are about. `serving` is the
    revision that serves requests, "" if none does; `service` and `endpoint` are how it is called,
    once it has reported. `share` is that of the requests that the wanted revision gets while
    another one serves, and `replaced` the revision that served before, until nothing of it is left.
    """

    phase: DeploymentPhase = DeploymentPhase.UNKNOWN
    reason: str = ""
    generation: int = 0
    serving: str = ""
    service: str = ""
    endpoint: str = ""
    steps: tuple[StepResult, ...] = ()
    updated_at: float = 0.0
    share: float = 0.0
    replaced: str = ""
    revision: str = ""

    def step(self, name: str) -> StepResult:
        """Return the result of a step; one that was not tried waits."""
        return next((step for step in self.steps if step.name == name), StepResult(name, "waiting"))

    def with_step(self, result: StepResult) -> Self:
        """Return the status with the result of a step."""
        names = [step.name for step in self.steps]
        if result.name not in names:
            return replace(self, steps=(*self.steps, result))
        steps = tuple(result if step.name == result.name else step for step in self.steps)
        return replace(self, steps=steps)

    def to_bytes(self) -> bytes:
        """Return the record as JSON."""
        return _encode(asdict(self))

    @classmethod
    def from_bytes(cls, record: bytes) -> Self:
        """Return the status of a record."""
        tree = json.loads(record)
        tree["phase"] = DeploymentPhase(tree["phase"])
        tree["steps"] = tuple(StepResult(**step) for step in tree["steps"])
        return cls(**tree)


@dataclass(slots=True)
class DeploymentEntry:
    """What is wanted of a deployment and how far it is, with the revisions of both records.

    `wanted` is None once it was deleted.
    """

    wanted: Deployment | None = None
    wanted_revision: int = 0
    status: DeploymentStatus = field(default_factory=DeploymentStatus)
    status_revision: int = 0


def _encode(tree: Mapping[str, Any]) -> bytes:
    return json.dumps(tree, ensure_ascii=False, sort_keys=True).encode()
