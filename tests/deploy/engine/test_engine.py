"""The engine over a real store and a runtime in memory: rollouts, failures, kills at any moment."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from deploy.engine import commands
from deploy.engine.commands import DeploymentConflictError
from deploy.engine.engine import DeploymentEngine, EngineSettings
from deploy.engine.events import Event, EventBus
from deploy.engine.leadership import SoleLeadership
from deploy.engine.repository import DeploymentRepository
from deploy.models.puller import ModelPuller
from deploy.pipelines.catalog import built_in
from deploy.positions.catalog import find_model_token
from deploy.workloads.canary import Canary
from deploy.workloads.phases import DeploymentPhase
from deploy.workloads.quota import Quota
from deploy.workloads.records import Deployment, DeploymentEntry
from deploy.workloads.spec import DeploymentSpec
from deploy.workloads.traffic import traffic_shares
from lb.endpoints.lifecycle import EndpointEvent
from lb.endpoints.report import Load
from registry.store.interfaces import ConflictError, Transaction
from registry.store.sqlite import SqliteStore
from tests.clock import Clock
from tests.deploy.fake_shimlet import FakeLoaders, FakeShimlet
from tests.deploy.fake_traffic import FakeTraffic

SPEC = DeploymentSpec("ocr", wrapper="w.py:W", replicas=2)
NEXT = replace(SPEC, wrapper="v.py:V")
SETTLED = {DeploymentPhase.RUNNING, DeploymentPhase.FAILED, DeploymentPhase.TERMINATED}


class KilledError(BaseException):
    """The deployer was killed here."""


class KillableRepository(DeploymentRepository):
    """A repository whose deployer may be killed before or after a change is made."""

    fault: Callable[[str], None] = staticmethod(lambda _: None)

    async def commit(self, transaction: Transaction) -> int:
        self.fault("commit")
        revision = await super().commit(transaction)
        self.fault("committed")
        return revision


class World:
    """A store, a runtime and its loaders, which outlive the deployers that work on them."""

    def __init__(self, store: SqliteStore, folder: Path) -> None:
        self.store = store
        self.clock = Clock()
        self.shimlet = FakeShimlet(self.clock)
        self.loaders = FakeLoaders(self.shimlet)
        self.traffic = FakeTraffic()
        self.events: list[Event] = []
        self.settings = EngineSettings(
            "fake", "wrapper", "hub:1", "http://gw", Quota(replicas=10), retention=60.0,
            models=folder,
        )  # fmt: skip
        self.puller = ModelPuller(folder, (), 10_000, partial(find_model_token, store), set)
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start a deployer."""
        self.repository = KillableRepository(self.store)
        bus = EventBus(lambda: 1.0)
        bus.add_sink(self.events.append)
        self.engine = DeploymentEngine(
            self.repository, {"fake": self.shimlet}, built_in(), self.loaders.view, bus,
            SoleLeadership(), self.settings, traffic=self.traffic, puller=self.puller,
            clock=self.clock, now=self.clock,
        )  # fmt: skip
        await self.repository.load()
        self.traffic.get_shares = self.shares
        self._following = asyncio.ensure_future(self.repository.follow())

    def shares(self) -> dict[str, float]:
        """Return the shares of all revisions by what is in the store."""
        return traffic_shares(map(self.repository.get, self.repository.ids()))

    async def stop(self) -> None:
        """Kill the deployer."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    @property
    def entry(self) -> DeploymentEntry:
        return self.repository.get("ocr")

    @property
    def wanted(self) -> Deployment:
        assert self.entry.wanted is not None
        return self.entry.wanted

    async def command(self, decide: Callable[[DeploymentEntry], Transaction | None]) -> None:
        transaction = decide(self.entry)
        assert transaction is not None
        await self.repository.commit(transaction)

    async def create(self, spec: DeploymentSpec = SPEC) -> None:
        await self.command(lambda entry: commands.create(entry, spec, "ann", 1.0))

    async def update(self, spec: DeploymentSpec) -> None:
        await self.command(lambda entry: commands.update(entry, spec, "ann", 1.0))

    async def delete(self) -> None:
        await self.command(lambda entry: commands.delete(entry, "ocr", "ann", 1.0))

    async def settle(self, steps: int = 60) -> DeploymentPhase:
        """Look at the deployment until it is where it wants to be; return its phase."""
        for _ in range(steps):
            self.loaders.report()
            try:
                delay = await self.engine.reconcile("ocr")
            except ConflictError:
                continue
            status = self.entry.status
            wanted = self.entry.wanted
            is_observed = wanted is None or wanted.generation == status.generation
            if status.phase in SETTLED and is_observed and (delay is None or delay > 1.0):
                return status.phase
        return self.entry.status.phase


@asynccontextmanager
async def world_of(folder: Path) -> AsyncIterator[World]:
    store = SqliteStore(folder / "deploy.sqlite")
    await store.open()
    world = World(store, folder)
    await world.start()
    try:
        yield world
    finally:
        await world.stop()
        await store.close()


def run(folder: Path, scenario: Callable[[World], object]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), world_of(folder) as world:
            await scenario(world)  # type: ignore[misc]

    asyncio.run(main())


def test_it_runs_when_every_replica_has_reported_and_answered(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.loaders.silent = {f"ocr-{SPEC.revision}-1"}
        world.loaders.deaf = {f"ocr-{SPEC.revision}-0"}
        await world.create()
        assert await world.settle(10) is DeploymentPhase.CREATING
        assert "has not reported its load" in world.entry.status.reason
        world.loaders.silent.clear()
        assert await world.settle(10) is DeploymentPhase.CREATING
        assert "does not answer a probe: UNAVAILABLE" in world.entry.status.reason
        world.loaders.deaf.clear()
        world.loaders.probes.clear()
        assert await world.settle() is DeploymentPhase.RUNNING
        assert world.loaders.probes == [f"ocr-{SPEC.revision}-0"] * 3  # the other has its three
        status = world.entry.status
        assert status.serving == SPEC.revision
        assert status.endpoint == "http://gw/v1/private/ocr"
        phases = [e.data["status"] for e in world.events if e.topic == "service.status"]
        assert list(dict.fromkeys(phases)) == ["pending", "creating", "running"]
        assert len(world.shimlet.starts) == 2

    run(tmp_path, scenario)


def test_a_replica_that_does_not_report_in_time_fails_the_rollout(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create()
        await world.settle()
        world.loaders.silent = {f"ocr-{NEXT.revision}-1"}
        await world.update(replace(NEXT, start_timeout=30.0))
        await world.settle(10)
        world.clock.now = 1025.0
        assert await world.settle(15) is DeploymentPhase.UPDATING
        world.clock.now = 1040.0
        assert await world.settle(15) is DeploymentPhase.FAILED
        reason = world.entry.status.reason
        assert "step waitForLoad: after 30 s (startTimeout): ocr-" in reason
        assert "has not reported its load" in reason
        await world.settle(3)
        assert world.shimlet.running() == world.shimlet.running(SPEC.revision)
        # What serves does not fail by that: a hub may be away.
        await world.command(lambda entry: commands.roll_back(entry, "ocr", "ann", 2.0))
        for endpoint in world.loaders.table:
            world.loaders.table.mark_lost(
                endpoint.instance.key, 7, EndpointEvent.HUB_FORGOT, world.clock()
            )
        world.loaders.silent = {*world.shimlet.replicas}
        world.clock.now = 2000.0
        assert await world.settle(15) is DeploymentPhase.UPDATING
        assert "has not reported its load" in world.entry.status.reason

    run(tmp_path, scenario)


def test_the_old_revision_serves_until_the_new_one_does(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create()
        await world.settle()
        world.loaders.deaf = {f"ocr-{NEXT.revision}-1"}
        await world.update(NEXT)
        assert await world.settle(15) is DeploymentPhase.UPDATING
        assert len(world.shimlet.running(SPEC.revision)) == 2
        assert world.entry.status.serving == SPEC.revision
        world.loaders.deaf.clear()
        assert await world.settle() is DeploymentPhase.RUNNING
        assert world.shimlet.running() == world.shimlet.running(NEXT.revision)
        assert world.entry.status.serving == NEXT.revision

    run(tmp_path, scenario)


def test_a_rollout_that_fails_leaves_the_old_one_and_says_why(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create()
        await world.settle()
        world.shimlet.broken = {"v.py:V"}
        await world.update(NEXT)
        assert await world.settle() is DeploymentPhase.FAILED
        reason = world.entry.status.reason
        assert f"step deploy: ocr-{NEXT.revision}-0 has ended 3 times" in reason
        assert f"log of ocr-{NEXT.revision}-0" in reason
        await world.settle(3)
        assert not world.shimlet.running(NEXT.revision)
        assert len(world.shimlet.running(SPEC.revision)) == 2
        assert [r.revision for r in world.shimlet.replicas.values()] == [SPEC.revision] * 2
        # One of the old ones ends: it is started again, although another one is wanted.
        world.shimlet.crash(f"ocr-{SPEC.revision}-0")
        await world.settle(3)
        assert len(world.shimlet.running(SPEC.revision)) == 2
        # Back to what serves: nothing is started.
        starts = len(world.shimlet.starts)
        await world.command(lambda entry: commands.roll_back(entry, "ocr", "ann", 2.0))
        assert await world.settle() is DeploymentPhase.RUNNING
        assert len(world.shimlet.starts) == starts

    run(tmp_path, scenario)


def test_a_rollout_goes_on_when_what_served_was_removed(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create()
        await world.settle()
        world.shimlet.replicas.clear()
        world.shimlet.workloads.clear()
        await world.update(NEXT)
        assert await world.settle() is DeploymentPhase.RUNNING
        assert len(world.shimlet.running(NEXT.revision)) == 2

    run(tmp_path, scenario)


def test_without_an_old_one_it_is_tried_again_and_may_recover(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.shimlet.broken = {"w.py:W"}
        await world.create()
        assert await world.settle() is DeploymentPhase.FAILED
        world.shimlet.broken.clear()
        world.clock.now += 1000.0
        assert await world.settle() is DeploymentPhase.RUNNING

    run(tmp_path, scenario)


def test_a_replica_that_ends_is_started_again(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create()
        await world.settle()
        world.shimlet.crash(f"ocr-{SPEC.revision}-0")
        assert world.engine.queue.take(world.clock()) == "ocr"  # it is looked at, at once
        world.engine.queue.finish("ocr")
        assert await world.settle() is DeploymentPhase.RUNNING
        assert len(world.shimlet.running()) == 2
        reasons = [e.data["reason"] for e in world.events if e.topic == "service.status"]
        assert any("not reported" in reason or "replicas run" in reason for reason in reasons)

    run(tmp_path, scenario)


def test_replicas_are_added_and_taken_without_a_new_revision(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create()
        await world.settle()
        for count in (4, 1, 0, 2):
            await world.update(replace(SPEC, replicas=count))
            assert await world.settle() is DeploymentPhase.RUNNING
            assert len(world.shimlet.running()) == count

    run(tmp_path, scenario)


def test_a_specification_that_changes_while_it_is_applied_counts(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create()
        world.loaders.silent = {f"ocr-{SPEC.revision}-0"}
        await world.settle(5)
        await world.update(NEXT)
        assert await world.settle() is DeploymentPhase.RUNNING
        await world.settle(3)
        assert {r.revision for r in world.shimlet.replicas.values()} == {NEXT.revision}

    run(tmp_path, scenario)


def test_it_is_deleted_at_any_moment(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        for steps in (0, 1, 3, 60):
            await world.create()
            await world.settle(steps)
            await world.delete()
            assert await world.settle() is DeploymentPhase.TERMINATED
            assert world.entry.wanted is None
            assert not world.shimlet.replicas
        world.clock.now += 61.0
        await world.engine.reconcile("ocr")
        assert world.repository.ids() == []

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (replace(SPEC, shimlet="k9s"), "unknown shimlet 'k9s'; there are fake"),
        (replace(SPEC, pipeline="x"), "unknown pipeline 'x'; there are wrapper"),
        (replace(SPEC, wrapper=""), "the shimlet fake needs a wrapper"),
        (replace(SPEC, replicas=11), "quota exceeded: replicas 11 of 10"),
        (replace(SPEC, model_file="../m"), "is not below"),
        (replace(SPEC, pipeline="opensourcellm"), "modelName is missing"),
        (replace(SPEC, pipeline="edge"), "needs cpu and memory"),
        (
            replace(SPEC, model_name="m", pipeline="opensourcellm", model_file="missing.bin"),
            "modelFile missing.bin: there is no such file",
        ),
    ],
)
def test_what_can_never_run_fails_and_says_why(
    tmp_path: Path, spec: DeploymentSpec, message: str
) -> None:
    async def scenario(world: World) -> None:
        await world.create(spec)
        phase = await world.settle()
        assert message in world.entry.status.reason
        is_awaited = bool(spec.model_file) and not spec.model_name
        assert phase is (DeploymentPhase.CREATING if is_awaited else DeploymentPhase.FAILED)
        assert not world.shimlet.starts
        await world.delete()
        assert await world.settle() is DeploymentPhase.TERMINATED

    run(tmp_path, scenario)


def test_a_model_is_waited_for_and_its_digest_checked(tmp_path: Path) -> None:
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of "hello"

    async def scenario(world: World) -> None:
        await world.create(replace(SPEC, model_file="m.bin", model_digest=digest))
        await world.settle(3)
        assert "there is no such file" in world.entry.status.reason
        (tmp_path / "m.bin").write_text("hell")
        await world.settle(3)
        assert "its copy is not complete" in world.entry.status.reason
        (tmp_path / "m.bin").write_text("hello")
        assert await world.settle() is DeploymentPhase.RUNNING
        workload = next(iter(world.shimlet.workloads.values()))
        assert workload.config["model"] == str(tmp_path / "m.bin")

    run(tmp_path, scenario)


def test_a_runtime_that_is_away_is_tried_again(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create()
        await world.settle()
        await world.update(replace(SPEC, replicas=3))
        world.shimlet.problem = "docker: the socket is gone"
        for _ in range(3):
            with pytest.raises(Exception, match="socket is gone"):
                await world.engine.reconcile("ocr")
        world.shimlet.problem = ""
        assert await world.settle() is DeploymentPhase.RUNNING
        assert len(world.shimlet.running()) == 3

    run(tmp_path, scenario)


async def _whole_life(world: World, invariant: Callable[[], None]) -> None:
    """Create, update, delete; begin again at the place that the records say."""
    entry = world.entry
    if entry.wanted is None and entry.status.phase is DeploymentPhase.UNKNOWN:
        await world.create()
    if world.entry.wanted is not None and world.entry.wanted.spec == SPEC:
        assert await world.settle() is DeploymentPhase.RUNNING
        invariant()
        await world.update(NEXT)
    if world.entry.wanted is not None and not world.entry.wanted.is_deleting:
        assert await world.settle() is DeploymentPhase.RUNNING
        assert len(world.shimlet.running(NEXT.revision)) == 2
        await world.delete()
    assert await world.settle() is DeploymentPhase.TERMINATED


def test_a_kill_at_any_moment_starts_nothing_twice_and_loses_nothing(tmp_path: Path) -> None:
    """The deployer is killed at each call of the runtime and of the store, before and after it."""

    async def live(folder: Path, kill_at: int) -> bool:
        """Return whether it was killed."""
        async with world_of(folder) as world:
            calls = 0

            def fault(_: str) -> None:
                nonlocal calls
                calls += 1
                serving = world.entry.status.serving
                if serving and not (world.entry.wanted is None or world.entry.wanted.is_deleting):
                    assert len(world.shimlet.running(serving)) == 2  # requests are served always
                if calls == kill_at:
                    raise KilledError

            world.shimlet.fault = world.repository.fault = fault
            was_killed = False
            try:
                await _whole_life(world, lambda: None)
            except KilledError:
                was_killed = True
                await world.stop()
                world.shimlet.fault = lambda _: None
                await world.start()
                await _whole_life(world, lambda: None)
            starts = world.shimlet.starts
            assert len(starts) == len({*starts}) == 4
            assert not world.shimlet.replicas
            assert not world.engine.illegal
            return was_killed

    async def main() -> None:
        kills = 0
        for kill_at in range(1, 1000):
            folder = tmp_path / str(kill_at)
            folder.mkdir()
            if not await live(folder, kill_at):
                break
            kills += 1
        assert kills > 60

    asyncio.run(main())


CANARY = replace(NEXT, canary=Canary(0.1, requests=100))
BY_HAND = replace(NEXT, canary=Canary(0.25, "hand"))


def test_hubs_hold_a_revision_back_before_it_is_started(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.traffic.problem = "hub hub:1: connection refused"
        await world.create()
        assert await world.settle(5) is DeploymentPhase.CREATING
        assert "no hub can be told of the new revision: hub hub:1" in world.entry.status.reason
        assert not world.shimlet.starts
        world.traffic.problem = ""
        assert await world.settle() is DeploymentPhase.RUNNING
        assert world.traffic.settled[0] == {SPEC.revision: 0.0}
        assert world.traffic.settled[-1] == {}
        world.traffic.settled.clear()
        known_at_start: list[object] = []
        world.shimlet.fault = lambda call: (
            known_at_start.append(world.traffic.settled[-1]) if call == "applied" else None
        )
        await world.update(NEXT)
        assert await world.settle() is DeploymentPhase.RUNNING
        assert {SPEC.revision: 0.0} in world.traffic.settled  # while it finishes its requests
        assert world.traffic.settled[-1] == {}
        assert {NEXT.revision: 0.0} in known_at_start

    run(tmp_path, scenario)


def test_a_canary_that_answers_as_well_is_promoted(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create()
        await world.settle()
        world.loaders.loads[SPEC.revision] = Load(served=9000, errors=4000)  # long ago
        await world.update(CANARY)
        assert await world.settle(20) is DeploymentPhase.UPDATING
        assert world.traffic.settled[-1] == {NEXT.revision: 0.1}
        assert "gets 10 % of the requests: 0 of 0 requests failed" in world.entry.status.reason
        world.loaders.loads[SPEC.revision] = Load(served=9900, errors=4000)
        world.loaders.loads[NEXT.revision] = Load(served=900)
        assert await world.settle() is DeploymentPhase.RUNNING
        assert world.entry.status.serving == NEXT.revision
        assert world.traffic.settled[-1] == {}

    run(tmp_path, scenario)


def test_a_canary_that_fails_more_is_taken_back(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create()
        await world.settle()
        await world.update(CANARY)
        await world.settle(20)
        world.loaders.loads[SPEC.revision] = Load(served=900)
        world.loaders.loads[NEXT.revision] = Load(served=50, errors=20)
        assert await world.settle() is DeploymentPhase.FAILED
        assert "step canary: 40 of 100 requests failed" in world.entry.status.reason
        await world.settle(3)
        assert world.shimlet.running() == world.shimlet.running(SPEC.revision)
        assert world.entry.status.share == 0.0
        assert world.traffic.settled[-1] == {NEXT.revision: 0.0}

    run(tmp_path, scenario)


def test_a_canary_waits_for_a_person_and_outlives_the_deployer(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create()
        await world.settle()
        with pytest.raises(DeploymentConflictError, match="serves already"):
            await world.command(lambda entry: commands.promote(entry, "ocr", "ann", 2.0))
        await world.update(BY_HAND)
        await world.settle(20)
        world.loaders.loads[NEXT.revision] = Load(served=500, errors=500)
        assert await world.settle(20) is DeploymentPhase.UPDATING
        assert "until somebody promotes it: 1000 of 1000" in world.entry.status.reason
        await world.stop()
        await world.start()
        assert world.shares() == {NEXT.revision: 0.25}
        assert await world.settle(5) is DeploymentPhase.UPDATING
        assert world.shares() == {NEXT.revision: 0.25}
        await world.command(lambda entry: commands.promote(entry, "ocr", "ann", 2.0))
        assert commands.promote(world.entry, "ocr", "ann", 2.0) is None
        assert await world.settle() is DeploymentPhase.RUNNING
        assert world.entry.status.serving == NEXT.revision
        # Another revision is not promoted by that.
        await world.update(replace(BY_HAND, wrapper="u.py"))
        assert await world.settle(20) is DeploymentPhase.UPDATING
        await world.command(lambda entry: commands.roll_back(entry, "ocr", "ann", 3.0))
        assert await world.settle() is DeploymentPhase.RUNNING
        assert world.shares() == {}

    run(tmp_path, scenario)


def test_a_canary_with_another_schema_is_refused(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.loaders.schemas = {SPEC.revision: "a" * 64, NEXT.revision: "b" * 64}
        await world.create()
        await world.settle()
        await world.update(CANARY)
        assert await world.settle() is DeploymentPhase.FAILED
        assert "its schema is another one" in world.entry.status.reason
        with pytest.raises(DeploymentConflictError, match="has failed"):
            await world.command(lambda entry: commands.promote(entry, "ocr", "ann", 2.0))
        await world.update(NEXT)  # without a canary it may
        assert await world.settle() is DeploymentPhase.RUNNING

    run(tmp_path, scenario)


def test_a_first_revision_needs_no_canary(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create(CANARY)
        assert await world.settle() is DeploymentPhase.RUNNING

    run(tmp_path, scenario)


def test_rollout_that_does_not_come_up_leaves_the_number_of_replicas(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create(replace(SPEC, replicas=5))
        await world.settle()
        world.shimlet.broken.add("v.py:V")
        await world.update(replace(NEXT, replicas=1))
        assert await world.settle() is DeploymentPhase.FAILED
        await world.settle(3)
        assert len(world.shimlet.running(SPEC.revision)) == 5
        await world.update(replace(NEXT, wrapper="x.py", replicas=500))  # beyond the quota of 10
        assert await world.settle() is DeploymentPhase.FAILED
        assert "quota exceeded" in world.entry.status.reason
        assert len(world.shimlet.running(SPEC.revision)) == 5

    run(tmp_path, scenario)


def test_deployment_beyond_the_quota_takes_nothing_from_what_serves(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create()
        await world.settle()
        greedy = replace(SPEC, id="greedy", replicas=1000)
        entry = world.repository.get("greedy")
        await world.repository.commit(commands.create(entry, greedy, "eve", 1.0))
        await world.engine.reconcile("greedy")
        assert world.repository.get("greedy").status.phase is DeploymentPhase.FAILED
        world.shimlet.crash(world.shimlet.running()[0])
        assert await world.settle() is DeploymentPhase.RUNNING
        assert len(world.shimlet.running(SPEC.revision)) == 2

    run(tmp_path, scenario)


def test_step_that_was_done_long_ago_has_its_time_anew(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create()
        await world.settle()
        world.clock.now += 10_000
        world.shimlet.broken.add(SPEC.wrapper)
        world.shimlet.crash(world.shimlet.running()[0])
        await world.engine.reconcile("ocr")
        assert world.entry.status.phase is DeploymentPhase.UPDATING
        assert "1 of 2 replicas run" in world.entry.status.reason
        world.shimlet.broken.clear()
        assert await world.settle() is DeploymentPhase.RUNNING

    run(tmp_path, scenario)


def test_a_second_trial_of_a_revision_counts_from_its_own_begin(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create()
        await world.settle()
        await world.update(CANARY)
        await world.settle(20)
        await world.command(lambda entry: commands.roll_back(entry, "ocr", "ann", 3.0))
        await world.settle()
        # Errors of the time between the trials: they say nothing of the second one.
        world.loaders.loads[SPEC.revision] = Load(served=900, errors=400)
        await world.update(CANARY)
        await world.settle(20)
        world.loaders.loads[SPEC.revision] = Load(served=1800, errors=400)
        world.loaders.loads[NEXT.revision] = Load(served=900, errors=90)
        assert await world.settle() is DeploymentPhase.FAILED

    run(tmp_path, scenario)


def test_canary_whose_old_revision_was_removed_comes_up(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create()
        await world.settle()
        await world.update(CANARY)
        await world.settle(20)
        world.loaders.loads[SPEC.revision] = Load(served=900)
        world.loaders.loads[NEXT.revision] = Load(served=50, errors=20)
        assert await world.settle() is DeploymentPhase.FAILED
        await world.settle(3)
        for key in [*world.shimlet.workloads]:
            del world.shimlet.workloads[key]
        world.shimlet.replicas.clear()
        starts = len(world.shimlet.starts)
        assert await world.settle() is DeploymentPhase.RUNNING
        assert world.entry.status.serving == NEXT.revision
        assert len(world.shimlet.starts) == starts + 2

    run(tmp_path, scenario)


def test_address_is_known_when_the_first_replica_is(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.create(replace(SPEC, replicas=0))
        assert await world.settle() is DeploymentPhase.RUNNING
        assert world.entry.status.endpoint == ""
        await world.command(lambda entry: commands.scale(entry, "ocr", 1, "ann", 1.0))
        assert await world.settle() is DeploymentPhase.RUNNING
        assert world.entry.status.endpoint == "http://gw/v1/private/ocr"

    run(tmp_path, scenario)
