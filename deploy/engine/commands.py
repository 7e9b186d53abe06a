"""What people and tools change: from the records and a command to one transaction. Pure.

Every transaction expects the revisions that its decision was made from, as those of the registry.
"""

from dataclasses import replace

from deploy.workloads.autoscale import AutoscaleRule
from deploy.workloads.members import MAX_REPLICAS
from deploy.workloads.phases import DeploymentPhase
from deploy.workloads.records import WANTED, Deployment, DeploymentEntry
from deploy.workloads.spec import DeploymentSpec
from registry.store.interfaces import Transaction


class DeploymentNotFoundError(Exception):
    """There is no such deployment; `str()` names it."""


class DeploymentConflictError(Exception):
    """A command does not fit what there is; `str()` says why."""


def create(entry: DeploymentEntry, spec: DeploymentSpec, author: str, now: float) -> Transaction:
    """Add a deployment. Raises DeploymentConflictError if there is one of its name."""
    if entry.wanted is not None:
        state = "is being deleted" if entry.wanted.is_deleting else "is there already"
        raise DeploymentConflictError(f"{spec.id}: {state}; update it, or choose another serviceId")
    if spec.autoscale is not None:
        spec = replace(spec, replicas=_first_replicas(spec.autoscale, spec.replicas))
    # A generation that no status is about.
    generation = entry.status.generation + 1
    return _write(entry, Deployment(spec, generation, (), False, author, now, now))


def update(
    entry: DeploymentEntry, spec: DeploymentSpec, author: str, now: float
) -> Transaction | None:
    """Change the specification of a deployment; None if it is the same.

    Raises DeploymentNotFoundError, DeploymentConflictError if it is being deleted, or would run by
    another shimlet: what runs by this one would be forgotten.
    """
    deployment = _existing(entry, spec.id)
    if spec.autoscale is not None:  # it has the replicas that its load asks for
        present = deployment.spec
        replicas = spec.replicas if present.autoscale is None else present.replicas
        is_other = spec.revision != present.revision
        choose = _first_replicas if is_other else AutoscaleRule.clamp
        spec = replace(spec, replicas=choose(spec.autoscale, replicas))
    if deployment.spec == spec:
        return None
    if deployment.spec.shimlet != spec.shimlet:
        raise DeploymentConflictError(
            f"{spec.id}: its shimlet is {deployment.spec.shimlet}, which cannot be changed; deploy "
            "it by another name, and delete this one then"
        )
    return _write(entry, deployment.change(spec, author, now))


def scale(
    entry: DeploymentEntry, deployment_id: str, replicas: int, author: str, now: float
) -> Transaction | None:
    """Change the number of replicas; None if it is the same.

    Raises DeploymentNotFoundError and DeploymentConflictError, also for a number out of range.
    """
    if not 0 <= replicas <= MAX_REPLICAS:
        raise DeploymentConflictError(f"replicaCount: must be 0 to {MAX_REPLICAS}")
    deployment = _existing(entry, deployment_id)
    spec = deployment.spec
    if spec.autoscale is not None and spec.autoscale.clamp(replicas) != replicas:
        raise DeploymentConflictError(
            f"replicaCount: must be {spec.autoscale.least} to {spec.autoscale.most}, as autoscale "
            f"of {deployment_id} says"
        )
    if spec.replicas == replicas:
        return None
    return _write(entry, deployment.change(replace(spec, replicas=replicas), author, now))


def roll_back(entry: DeploymentEntry, deployment_id: str, author: str, now: float) -> Transaction:
    """Return to the specification before, with the replicas of now.

    The one before is the newest of another revision. Raises DeploymentNotFoundError,
    DeploymentConflictError if there is none.
    """
    deployment = _existing(entry, deployment_id)
    for spec in reversed(deployment.previous):
        if spec.revision != deployment.spec.revision:
            replicas = deployment.spec.replicas
            if spec.autoscale is not None:
                replicas = _first_replicas(spec.autoscale, replicas)
            # It has served: a trial would leave most requests with what is taken back.
            restored = replace(spec, replicas=replicas, canary=None)
            return _write(entry, deployment.change(restored, author, now))
    raise DeploymentConflictError(f"{deployment_id}: there is no other revision before this one")


def promote(
    entry: DeploymentEntry, deployment_id: str, author: str, now: float
) -> Transaction | None:
    """Have the wanted revision take all requests; None if somebody has done so.

    Raises DeploymentNotFoundError, DeploymentConflictError if it serves already, or has failed.
    """
    deployment = _existing(entry, deployment_id)
    revision, status = deployment.spec.revision, entry.status
    if deployment.promoted == revision:
        return None
    if status.generation == deployment.generation:
        if status.serving == revision:
            raise DeploymentConflictError(f"{deployment_id}: {revision} serves already")
        if status.phase is DeploymentPhase.FAILED:
            raise DeploymentConflictError(f"{deployment_id}: {revision} has failed")
    promoted = replace(deployment, promoted=revision, author=author, updated_at=now)
    return _write(entry, promoted)


def delete(
    entry: DeploymentEntry, deployment_id: str, author: str, now: float
) -> Transaction | None:
    """Have a deployment end; None if it is ending already. Raises DeploymentNotFoundError."""
    if entry.wanted is None:
        raise DeploymentNotFoundError(f"there is no deployment {deployment_id!r}")
    if entry.wanted.is_deleting:
        return None
    ending = replace(entry.wanted, is_deleting=True, author=author, updated_at=now)
    return _write(entry, ending)


def _first_replicas(rule: AutoscaleRule, replicas: int) -> int:
    """Return the replicas of a revision that is new: one at least, to see whether it serves."""
    return max(rule.clamp(replicas), 1)


def _existing(entry: DeploymentEntry, deployment_id: str) -> Deployment:
    if entry.wanted is None:
        raise DeploymentNotFoundError(f"there is no deployment {deployment_id!r}")
    if entry.wanted.is_deleting:
        raise DeploymentConflictError(f"{deployment_id}: is being deleted")
    return entry.wanted


def _write(entry: DeploymentEntry, deployment: Deployment) -> Transaction:
    key = WANTED + deployment.spec.id
    return Transaction({key: deployment.to_bytes()}, expected={key: entry.wanted_revision})
