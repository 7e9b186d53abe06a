"""The engine: brings each deployment from what runs to what is wanted, again and again."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from deploy.engine.events import EventBus
from deploy.engine.leadership import Leadership
from deploy.engine.load_view import LoadView
from deploy.engine.pipeline import Pipeline, StepFailedError, Verdict, advance, call_action
from deploy.engine.repository import DeploymentRepository
from deploy.engine.work_queue import WorkQueue
from deploy.models.puller import ModelPuller
from deploy.shimlets.interface import ReplicaStatus, Shimlet, ShimletError, Workload
from deploy.workloads.phases import DeploymentPhase, may_follow
from deploy.workloads.quota import Quota
from deploy.workloads.records import (
    STATUS,
    WANTED,
    Deployment,
    DeploymentEntry,
    DeploymentStatus,
    StepResult,
)
from deploy.workloads.spec import DeploymentSpec
from lb.endpoints.report import SERVICE_VARIABLE, VERSION_VARIABLE
from registry.store.interfaces import ConflictError, StoreError, Transaction

_logger = logging.getLogger("ase.deploy")

_WORKERS: Final = 8
# While a step waits: less often, the longer it has waited.
_RECHECK_S, _MAX_RECHECK_S, _RECHECK_SHARE = 0.2, 2.0, 0.05
_IDLE_S: Final = 60.0
_MAX_REASON: Final = 4000


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What the deployer's options say. `quota` is for all deployments together.

    `shimlet` and `pipeline` are those of specifications that name none. `hubs` are what replicas
    report to, `gateway` is the URL that services are called by. `resync` are seconds after which a
    deployment that runs is looked at again, `retention` those that an ended one is remembered.
    `models` is the folder of wrappers and models, resolved.
    """

    shimlet: str
    pipeline: str
    hubs: str
    gateway: str
    quota: Quota
    resync: float = 10.0
    retention: float = 3600.0
    models: Path = Path()


class Traffic(Protocol):
    """What has gateways heed the shares of revisions (`deploy/workloads/traffic.py`)."""

    def notify(self) -> None:
        """Note that shares may have changed."""

    async def settle(self) -> str:
        """Have hubs know the shares of now; return why none does, or ""."""


@dataclass(slots=True)
class StepContext:
    """What the steps of a pipeline work with.

    `now` is the Unix time, `spec` is what is wanted, `serving` the revision that serves now ("" if
    none), which is kept whatever happens: a step that has shifted the requests sets it. `share` is
    that of the requests that the wanted revision gets until it serves, `replaced` the revision that
    served before, `promoted` the one that somebody has promoted by hand. `is_deletion`: the step is
    undone because the deployment is deleted, not because a rollout has failed. Steps may add
    entries to `config`, the argument of the wrapper's `init`, and to `env`, and set `service`,
    `endpoint`, `serving`, `share` and `replaced`.
    """

    spec: DeploymentSpec
    shimlet: Shimlet
    load_view: LoadView
    settings: EngineSettings
    others: list[DeploymentSpec]
    now: float
    traffic: Traffic
    puller: ModelPuller
    serving: str
    share: float = 0.0
    replaced: str = ""
    promoted: str = ""
    is_deletion: bool = False
    config: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    service: str = ""
    endpoint: str = ""

    def workload(self) -> Workload:
        """Return what the shimlet is to run."""
        return workload_of(self.spec, self.settings, self.config, self.env)

    async def replicas(self) -> list[ReplicaStatus]:
        """Return the replicas of the wanted revision. Raises ShimletError."""
        statuses = await self.shimlet.status(self.spec.id)
        return [status for status in statuses if status.revision == self.spec.revision]


def workload_of(
    spec: DeploymentSpec,
    settings: EngineSettings,
    config: Mapping[str, str],
    env: Mapping[str, str],
) -> Workload:
    """Return the workload of a specification; its own entries count before those of steps."""
    return Workload(
        id=spec.id,
        revision=spec.revision,
        replicas=spec.replicas,
        hubs=settings.hubs,
        wrapper=spec.wrapper,
        image=spec.image,
        resources=spec.resources,
        env={**env, **spec.env, VERSION_VARIABLE: spec.revision, **_service_entry(spec)},
        config={**config, **spec.config},
    )


def _service_entry(spec: DeploymentSpec) -> dict[str, str]:
    return {SERVICE_VARIABLE: spec.service} if spec.service else {}


class DeploymentEngine:
    """Works on the deployments of a repository as long as it leads.

    `clock` is monotonic, `now` returns the Unix time. `illegal` counts phases that would have
    followed another against the table.
    """

    def __init__(
        self,
        repository: DeploymentRepository,
        shimlets: Mapping[str, Shimlet],
        pipelines: Mapping[str, Pipeline],
        load_view: LoadView,
        bus: EventBus,
        leadership: Leadership,
        settings: EngineSettings,
        *,
        traffic: Traffic,
        puller: ModelPuller,
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self.illegal: Counter[tuple[str, str]] = Counter()
        self.queue = WorkQueue()
        self._repository = repository
        self._shimlets = shimlets
        self._pipelines = pipelines
        self._load_view = load_view
        self._bus = bus
        self._leadership = leadership
        self._settings = settings
        self._traffic = traffic
        self._puller = puller
        self._clock = clock
        self._now = now
        self._woken = asyncio.Event()
        repository.on_change(self.notify)
        for shimlet in shimlets.values():
            shimlet.on_change(self.notify)

    def notify(self, deployment_id: str) -> None:
        """Note that something of a deployment has changed."""
        self.queue.add(deployment_id, self._clock())
        self._woken.set()

    def notify_all(self) -> None:
        """Look at every deployment, as after an election."""
        for deployment_id in self._repository.ids():
            self.notify(deployment_id)

    async def run(self) -> None:
        """Work forever."""
        self.notify_all()
        async with asyncio.TaskGroup() as group:
            for _ in range(_WORKERS):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            deployment_id = self.queue.take(self._clock())
            if deployment_id is None:
                self._woken.clear()
                wait_s = min(self.queue.next_at() - self._clock(), _IDLE_S)
                try:
                    async with asyncio.timeout(max(wait_s, 0.0)):
                        await self._woken.wait()
                except TimeoutError:
                    pass
                continue
            try:
                await self._reconcile_safely(deployment_id)
            finally:
                self.queue.finish(deployment_id)

    async def _reconcile_safely(self, deployment_id: str) -> None:
        if not self._leadership.is_leader:
            self.queue.add(deployment_id, self._clock() + self._settings.resync)
            return
        try:
            delay = await self.reconcile(deployment_id)
        except ConflictError:  # what is wanted has changed meanwhile, or another deployer leads
            self.queue.add(deployment_id, self._clock() + _RECHECK_S)
        except (StoreError, ShimletError) as error:
            wait_s = self.queue.retry(deployment_id, self._clock())
            fields = {"deployment": deployment_id, "reason": str(error), "again_in_s": wait_s}
            _logger.warning("deployment put off", extra=fields)
        except Exception:
            self.queue.retry(deployment_id, self._clock())
            _logger.exception("deployment failed by a fault of ours")
        else:
            if delay is not None:
                self.queue.add(deployment_id, self._clock() + delay)

    async def reconcile(self, deployment_id: str) -> float | None:
        """Bring a deployment closer to what is wanted; return in how many seconds to look again.

        None: when something changes. Raises ConflictError, StoreError and ShimletError.
        """
        entry = self._repository.get(deployment_id)
        run = _Run(self, entry, deployment_id)
        if entry.wanted is None:
            return await self._purge(entry, deployment_id)
        await run.begin(entry.wanted)
        shimlet, pipeline, problem = self._choose(entry.wanted.spec)
        if shimlet is None or pipeline is None:
            if entry.wanted.is_deleting:
                await run.end()
                return None
            await run.fail(problem)
            return None
        context = run.context = self._context(entry, shimlet, run.status)
        if entry.wanted.is_deleting:
            return await self._terminate(run, context, pipeline)
        return await self._bring_up(run, entry.wanted, context, pipeline)

    def _choose(self, spec: DeploymentSpec) -> tuple[Shimlet | None, Pipeline | None, str]:
        """Return the shimlet and the pipeline of a specification, or what is wrong with them."""
        shimlet_name = spec.shimlet or self._settings.shimlet
        pipeline_name = spec.pipeline or self._settings.pipeline
        shimlet, pipeline = self._shimlets.get(shimlet_name), self._pipelines.get(pipeline_name)
        problem = ""
        if shimlet is None:
            problem = f"unknown shimlet {shimlet_name!r}; there are {', '.join(self._shimlets)}"
        elif pipeline is None:
            problem = f"unknown pipeline {pipeline_name!r}; there are {', '.join(self._pipelines)}"
        return shimlet, pipeline, problem

    def _context(
        self, entry: DeploymentEntry, shimlet: Shimlet, status: DeploymentStatus
    ) -> StepContext:
        assert entry.wanted is not None  # noqa: S101 (see the callers)
        spec = entry.wanted.spec
        entries = [self._repository.get(other) for other in self._repository.ids()]
        # Those that have not come up yet take nothing from those that serve.
        others = [e.wanted.spec for e in entries if e.wanted is not None and e.status.serving]
        return StepContext(
            spec,
            shimlet,
            self._load_view,
            self._settings,
            [other for other in others if other.id != spec.id],
            self._now(),
            self._traffic,
            self._puller,
            status.serving,
            status.share,
            status.replaced,
            entry.wanted.promoted,
            service=status.service,
            endpoint=status.endpoint,
        )

    async def _bring_up(
        self, run: "_Run", wanted: Deployment, context: StepContext, pipeline: Pipeline
    ) -> float | None:
        status = run.status
        await self._keep_serving(wanted, context, status)
        if _is_undone(status) and context.serving:
            return self._settings.resync  # a rollout that has failed waits for a change
        verdict = await advance(pipeline.steps, context, run, self._now)
        if verdict.is_complete:
            self.queue.succeed(wanted.spec.id)
            await run.succeed()
            return self._settings.resync
        if verdict.is_failed:
            return await self._handle_failure(run, context, pipeline, verdict)
        if verdict.is_retried:
            await run.note(verdict.reason)
            return self.queue.retry(wanted.spec.id, self._clock())
        await run.wait(verdict.reason)
        waited_s = self._now() - run.status.step(verdict.step).started_at
        return min(max(waited_s * _RECHECK_SHARE, _RECHECK_S), _MAX_RECHECK_S)

    async def _keep_serving(
        self, wanted: Deployment, context: StepContext, status: DeploymentStatus
    ) -> None:
        """Keep the revision that serves, and stop those that neither serve nor are wanted."""
        spec = wanted.spec
        statuses = await context.shimlet.status(spec.id)
        revisions = {replica.revision for replica in statuses}
        # Its workload is what it was started with, which steps of now may not know.
        if status.serving not in ("", spec.revision):
            try:
                await context.shimlet.scale(spec.id, status.serving, _kept_replicas(wanted, status))
            except ShimletError as error:
                if not error.is_final:
                    raise
                context.serving = ""  # somebody has removed it: nothing serves that could be kept
        # Of a rollout that has failed nothing is kept.
        is_taken_back = _is_undone(status) and context.serving != ""
        kept = {status.serving} if is_taken_back else {context.serving, spec.revision}
        for revision in revisions - kept:
            await context.shimlet.delete(spec.id, revision)

    async def _handle_failure(
        self, run: "_Run", context: StepContext, pipeline: Pipeline, verdict: Verdict
    ) -> float | None:
        """Leave what served before as it was; without it, go on trying less and less often."""
        await run.fail(f"step {verdict.step}: {verdict.reason}")
        if context.serving in ("", context.spec.revision):
            return self.queue.retry(context.spec.id, self._clock())
        for step in reversed(pipeline.steps):
            if run.status.step(step.name).state == "waiting":
                continue
            if step.undo is not None:
                await call_action(step, step.undo, context)
            result = run.status.step(step.name)
            if result.state != "failed":
                await run.save(replace(result, state="undone"))
        await run.save(replace(run.status.step(verdict.step), state="undone"))
        return _RECHECK_S

    async def _terminate(
        self, run: "_Run", context: StepContext, pipeline: Pipeline
    ) -> float | None:
        """Take back the steps in the opposite order, and stop all replicas."""
        context.is_deletion = True
        for step in reversed(pipeline.steps):
            if step.undo is not None:
                try:
                    await call_action(step, step.undo, context)
                except StepFailedError as error:
                    await run.note(f"step {step.name} not undone: {error}")
                    return self.queue.retry(context.spec.id, self._clock())
        await context.shimlet.delete(context.spec.id)
        replicas = await context.shimlet.status(context.spec.id)
        if replicas:
            names = ", ".join(replica.name for replica in replicas)
            await run.note(f"{names} finish their requests")
            return _RECHECK_S
        await context.shimlet.delete(context.spec.id)
        await run.end()
        return self._settings.retention

    async def _purge(self, entry: DeploymentEntry, deployment_id: str) -> float | None:
        """Forget a deployment that ended long ago."""
        remaining = entry.status.updated_at + self._settings.retention - self._now()
        if remaining > 0:
            return remaining
        if entry.status_revision:
            key = STATUS + deployment_id
            expected = {key: entry.status_revision, **self._leadership.guard()}
            await self._repository.commit(Transaction({}, frozenset({key}), expected))
        return None

    async def commit_status(
        self, entry: DeploymentEntry, deployment_id: str, status: DeploymentStatus, *, ends: bool
    ) -> int:
        """Write a status, if what is wanted is as it was; return the revision of the record.

        Raises ConflictError, StoreError.
        """
        wanted_key, key = WANTED + deployment_id, STATUS + deployment_id
        expected = {
            wanted_key: entry.wanted_revision,
            key: entry.status_revision,
            **self._leadership.guard(),
        }
        deletes = frozenset({wanted_key} if ends else ())
        transaction = Transaction({key: status.to_bytes()}, deletes, expected)
        revision = await self._repository.commit(transaction)
        self._traffic.notify()
        return revision

    def publish(self, topic: str, deployment_id: str, **data: object) -> None:
        """Publish an event of a deployment."""
        self._bus.publish(topic, deployment_id, **data)

    def now(self) -> float:
        """Return the Unix time."""
        return self._now()


def _kept_replicas(wanted: Deployment, status: DeploymentStatus) -> int:
    """Return how many replicas the revision that serves has while another one is on its way.

    As many as before, or more if more are wanted by now; but nothing of what has failed, or was not
    found valid yet.
    """
    spec = wanted.spec
    before = [each.replicas for each in wanted.previous if each.revision == status.serving]
    if not before:
        return spec.replicas
    is_valid = status.step("validate").state == "done" and not _is_undone(status)
    return max(before[-1], spec.replicas) if is_valid else before[-1]


def _is_undone(status: DeploymentStatus) -> bool:
    """Return whether a rollout has failed, and was taken back."""
    return any(step.state == "undone" for step in status.steps)


class _Run:
    """One look at a deployment: its status, written whenever it changes."""

    def __init__(
        self, engine: DeploymentEngine, entry: DeploymentEntry, deployment_id: str
    ) -> None:
        self._engine = engine
        self._entry = replace(entry)
        self._id = deployment_id
        self.status = entry.status
        self.context: StepContext | None = None

    async def begin(self, wanted: Deployment) -> None:
        """Begin a new specification, or the end of the deployment."""
        status = self.status
        if status.phase in (DeploymentPhase.UNKNOWN, DeploymentPhase.TERMINATED):
            fresh = DeploymentStatus(phase=status.phase, revision=wanted.spec.revision)
            await self._write(fresh, DeploymentPhase.PENDING, "", generation=wanted.generation)
            status = self.status
        if wanted.is_deleting:
            if status.phase is not DeploymentPhase.TERMINATING:
                await self._write(replace(status, steps=()), DeploymentPhase.TERMINATING, "")
        elif status.generation != wanted.generation:
            share = status.share if status.revision == wanted.spec.revision else 0.0
            started = replace(
                status, steps=(), share=share, revision=wanted.spec.revision,
                generation=wanted.generation,
            )  # fmt: skip
            await self._write(started, self._busy_phase(), "the specification has changed")

    async def save(self, result: StepResult) -> None:
        """Keep the result of a step."""
        if self.status.step(result.name) == result:
            return
        phase = self.status.phase
        if phase is DeploymentPhase.PENDING or (
            result.state == "running" and phase is DeploymentPhase.RUNNING
        ):
            phase = self._busy_phase()
        await self._write(self.status.with_step(result), phase, self.status.reason)
        self._engine.publish(
            "pipeline.step", self._id, step=result.name, state=result.state, message=result.message
        )

    async def wait(self, reason: str) -> None:
        """Note what is waited for."""
        phase = self.status.phase
        if phase in (DeploymentPhase.PENDING, DeploymentPhase.RUNNING):
            phase = self._busy_phase()
        await self._write(self.status, phase, reason)

    async def note(self, reason: str) -> None:
        """Note something; the phase stays."""
        await self._write(self.status, self.status.phase, reason)

    async def fail(self, reason: str) -> None:
        """Note that it comes no further."""
        await self._write(self.status, DeploymentPhase.FAILED, reason)

    async def succeed(self) -> None:
        """Note that it runs: what is wanted serves."""
        if self.status.phase is DeploymentPhase.PENDING:  # all was there already
            await self._write(self.status, DeploymentPhase.CREATING, "")
        await self._write(self.status, DeploymentPhase.RUNNING, "")

    async def end(self) -> None:
        """Note that nothing of it is left."""
        self.context = None
        status = replace(self.status, serving="", replaced="", endpoint="", steps=())
        await self._write(status, DeploymentPhase.TERMINATED, "", ends=True)

    def _busy_phase(self) -> DeploymentPhase:
        return DeploymentPhase.UPDATING if self.status.serving else DeploymentPhase.CREATING

    async def _write(
        self,
        status: DeploymentStatus,
        phase: DeploymentPhase,
        reason: str,
        *,
        generation: int | None = None,
        ends: bool = False,
    ) -> None:
        before = self.status.phase
        if not may_follow(before, phase):
            self._engine.illegal[before.value, phase.value] += 1
            fields = {"deployment": self._id, "before": before.value, "after": phase.value}
            _logger.error("illegal change of phase; not made", extra=fields)
            phase = before
        context = self.context
        if context is not None:
            status = replace(
                status,
                serving=context.serving,
                share=context.share,
                replaced=context.replaced,
                service=context.service,
                endpoint=context.endpoint,
            )
        written = replace(
            status,
            phase=phase,
            reason=reason[:_MAX_REASON],
            generation=status.generation if generation is None else generation,
            updated_at=self.status.updated_at,
        )
        if written == self.status and not ends:
            return
        written = replace(written, updated_at=self._engine.now())
        revision = await self._engine.commit_status(self._entry, self._id, written, ends=ends)
        # What is wanted stays as it was read: a change of it ends this run.
        self._entry.status_revision = revision
        is_news = before is not phase or written.reason != self.status.reason
        self.status = written
        if is_news:
            self._engine.publish(
                "service.status", self._id, status=phase.value, before=before.value, reason=reason
            )
