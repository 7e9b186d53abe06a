"""The autoscaler over real records and loaders that report: bounds, quota, people, leadership."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.engine import commands
from deploy.engine.autoscaler import AUTHOR, Autoscaler
from deploy.engine.commands import DeploymentConflictError
from deploy.engine.events import EventBus
from deploy.engine.leadership import SoleLeadership
from deploy.workloads.autoscale import AutoscaleRule
from deploy.workloads.phases import DeploymentPhase
from deploy.workloads.quota import Quota
from deploy.workloads.spec import DeploymentSpec
from lb.endpoints.report import Load
from tests.deploy.engine.test_engine import World, world_of

RULE = AutoscaleRule(1, 6, window_s=1.0, delay_s=2.0)
SPEC = DeploymentSpec("ocr", wrapper="w.py:W", autoscale=RULE)


class Scaled:
    """A world with an autoscaler."""

    def __init__(self, world: World, quota: Quota) -> None:
        self.world = world
        self.bus = EventBus(lambda: 1.0)
        self.bus.add_sink(world.events.append)
        self.leadership = SoleLeadership()
        self.can_sleep = True
        self.autoscaler = Autoscaler(
            world.repository, world.loaders.view, self.bus, self.leadership, quota,
            can_sleep=lambda _: self.can_sleep, clock=world.clock, now=world.clock,
        )  # fmt: skip

    async def run(self, seconds: int, requests: int) -> int:
        """Have each replica report so many requests for a time; return how many are wanted."""
        world = self.world
        for _ in range(seconds):
            revision = world.wanted.spec.revision
            world.loaders.loads[revision] = Load(running=requests)
            world.loaders.report()
            await self.autoscaler.look()
            await world.settle(20)
            world.clock.now += 1.0
        return world.wanted.spec.replicas


def run(folder: Path, scenario: Callable[[Scaled], object], quota: Quota | None = None) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), world_of(folder) as world:
            await scenario(Scaled(world, quota or Quota()))  # type: ignore[misc]

    asyncio.run(main())


def test_replicas_follow_the_load(tmp_path: Path) -> None:
    async def scenario(scaled: Scaled) -> None:
        world = scaled.world
        await world.create(SPEC)
        assert await world.settle() is DeploymentPhase.RUNNING
        assert await scaled.run(6, 1) > 2  # each has a slot, and is busy
        assert world.wanted.author == AUTHOR
        assert len(world.shimlet.running()) == world.wanted.spec.replicas
        assert scaled.autoscaler.usages().keys() == {"ocr"}
        event = next(e for e in world.events if e.topic == "service.scaled")
        assert (event.subject, event.data["before"], event.data["usage"]) == ("ocr", 1, 1.0)
        assert await scaled.run(8, 0) == 1
        await world.delete()
        await scaled.autoscaler.look()
        assert scaled.autoscaler.usages() == {}

    run(tmp_path, scenario)


def test_quota_is_kept(tmp_path: Path) -> None:
    async def scenario(scaled: Scaled) -> None:
        await scaled.world.create(SPEC)
        await scaled.world.settle()
        assert await scaled.run(8, 1) == 3
        assert scaled.world.entry.status.phase is DeploymentPhase.RUNNING

    run(tmp_path, scenario, Quota(replicas=3))


def test_people_stay_within_the_rule_and_files_do_not_undo_it(tmp_path: Path) -> None:
    async def scenario(scaled: Scaled) -> None:
        world = scaled.world
        await world.create(replace(SPEC, replicas=50))
        assert world.wanted.spec.replicas == 6
        with pytest.raises(DeploymentConflictError, match="must be 1 to 6, as autoscale"):
            await world.command(lambda entry: commands.scale(entry, "ocr", 7, "ann", 1.0))
        await world.command(lambda entry: commands.scale(entry, "ocr", 4, "ann", 1.0))
        assert commands.update(world.entry, replace(SPEC, replicas=1), "ann", 1.0) is None
        await world.update(replace(SPEC, wrapper="v.py"))
        assert world.wanted.spec.replicas == 4
        narrower = replace(SPEC, wrapper="v.py", autoscale=AutoscaleRule(1, 2))
        await world.update(narrower)
        assert world.wanted.spec.replicas == 2
        await world.command(lambda entry: commands.roll_back(entry, "ocr", "ann", 1.0))
        assert (world.wanted.spec.wrapper, world.wanted.spec.replicas) == ("w.py:W", 2)

    run(tmp_path, scenario)


def test_only_the_leader_scales_and_only_what_runs(tmp_path: Path) -> None:
    async def scenario(scaled: Scaled) -> None:
        world = scaled.world
        await world.create(SPEC)
        await scaled.autoscaler.look()
        assert scaled.autoscaler.usages() == {}  # it is still being created
        await world.settle()
        scaled.leadership.is_leader = False
        assert await scaled.run(6, 1) == 1

    run(tmp_path, scenario)


def test_deployment_sleeps_when_it_runs_and_would_be_woken(tmp_path: Path) -> None:
    async def scenario(scaled: Scaled) -> None:
        world = scaled.world
        await world.create(replace(SPEC, autoscale=replace(RULE, least=0)))
        await world.settle()
        scaled.can_sleep = False
        assert await scaled.run(8, 0) == 1
        scaled.can_sleep = True
        # Not while a rollout is on its way: without a replica it would be at its end.
        await world.update(replace(world.wanted.spec, wrapper="v.py:V"))
        revision = world.wanted.spec.revision
        world.loaders.silent.add(f"ocr-{revision}-0")
        assert await scaled.run(8, 0) == 1
        assert world.entry.status.phase is DeploymentPhase.UPDATING
        world.loaders.silent.clear()
        assert await scaled.run(8, 0) == 0
        assert not world.shimlet.running()

    run(tmp_path, scenario)
