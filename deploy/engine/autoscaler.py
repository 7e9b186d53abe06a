"""Changes the number of replicas of deployments by their load, as their specifications say."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from deploy.engine import commands
from deploy.engine.events import EventBus
from deploy.engine.leadership import Leadership
from deploy.engine.load_view import LoadView
from deploy.engine.repository import DeploymentRepository
from deploy.workloads.autoscale import Scaling
from deploy.workloads.phases import DeploymentPhase
from deploy.workloads.quota import Quota
from deploy.workloads.records import Deployment, DeploymentEntry
from deploy.workloads.spec import DeploymentSpec
from registry.store.interfaces import ConflictError, StoreError

_logger = logging.getLogger("ase.deploy")

AUTHOR: Final = "autoscale"
_INTERVAL_S: Final = 1.0
_SCALABLE: Final = (DeploymentPhase.RUNNING, DeploymentPhase.UPDATING)


class Autoscaler:
    """Looks at every deployment with a rule each second, while this deployer leads.

    `clock` is monotonic, `now` returns the Unix time. `_scalings` has what is known of the load of
    each deployment. `can_sleep` returns whether requests of a deployment without replicas would
    wake it; else one replica is left.
    """

    def __init__(
        self,
        repository: DeploymentRepository,
        load_view: LoadView,
        bus: EventBus,
        leadership: Leadership,
        quota: Quota,
        *,
        can_sleep: Callable[[str], bool],
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._repository = repository
        self._load_view = load_view
        self._bus = bus
        self._leadership = leadership
        self._quota = quota
        self._can_sleep = can_sleep
        self._clock = clock
        self._now = now
        self._scalings: dict[str, Scaling] = {}

    def usages(self) -> dict[str, float]:
        """Return the usage of each deployment with a rule, as a share of its slots."""
        return {name: scaling.usage() for name, scaling in self._scalings.items()}

    async def run(self) -> None:
        """Work forever."""
        while True:
            try:
                await self.look()
            except StoreError as error:
                _logger.warning("not scaled", extra={"reason": str(error)})
            except Exception:
                _logger.exception("autoscaling failed by a fault of ours; it goes on")
            await asyncio.sleep(_INTERVAL_S)

    async def look(self) -> None:
        """Decide on each deployment once. Raises StoreError."""
        entries = {each: self._repository.get(each) for each in self._repository.ids()}
        ruled = {
            name: entry
            for name, entry in entries.items()
            if entry.wanted is not None
            and entry.wanted.spec.autoscale is not None
            and not entry.wanted.is_deleting
        }
        for name in self._scalings.keys() - ruled.keys():
            del self._scalings[name]
        if self._leadership.is_leader:
            for name, entry in ruled.items():
                await self._look_at(name, entry)

    async def _look_at(self, name: str, entry: DeploymentEntry) -> None:
        wanted, status = entry.wanted, entry.status
        if wanted is None or wanted.spec.autoscale is None or status.phase not in _SCALABLE:
            return
        scaling = self._scalings.setdefault(name, Scaling())
        load = self._load_view.load_of_versions({status.serving, wanted.spec.revision} - {""})
        present = wanted.spec.replicas
        desired = scaling.decide(wanted.spec.autoscale, present, load, self._clock())
        # A rollout would be at its end without a replica, and nobody would have seen it serve.
        is_settled = (
            status.phase is DeploymentPhase.RUNNING and status.generation == wanted.generation
        )
        if present and not desired and not (is_settled and self._can_sleep(name)):
            desired = 1
        spec = self._within_quota(replace(wanted.spec, replicas=desired), present)
        if spec.replicas != present:
            await self._scale(entry, wanted, spec.replicas, scaling.usage())
            if not spec.replicas:
                del self._scalings[name]  # it may be woken before the next look, and begins anew

    def _within_quota(self, spec: DeploymentSpec, present: int) -> DeploymentSpec:
        """Return the specification with as many replicas as the quota allows."""
        entries = map(self._repository.get, self._repository.ids())
        others = [e.wanted.spec for e in entries if e.wanted is not None]
        others = [other for other in others if other.id != spec.id]
        while spec.replicas > present and self._quota.find_excess(spec, others):
            spec = replace(spec, replicas=spec.replicas - 1)
        return spec

    async def _scale(
        self, entry: DeploymentEntry, wanted: Deployment, replicas: int, usage: float
    ) -> None:
        name = wanted.spec.id
        transaction = commands.scale(entry, name, replicas, AUTHOR, self._now())
        if transaction is None:
            return
        try:
            await self._repository.commit(transaction)
        except ConflictError:
            return  # somebody has changed it: decide again by what is wanted then
        fields = {"before": wanted.spec.replicas, "replicas": replicas, "usage": round(usage, 3)}
        _logger.info("scaled", extra={"deployment": name, **fields})
        self._bus.publish("service.scaled", name, **fields)
