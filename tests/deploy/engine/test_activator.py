"""The activator over real sockets and a real store: which requests wait, and how long."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.engine import commands
from deploy.engine.activator import Activator, ActivatorSettings
from deploy.engine.events import EventBus
from deploy.engine.leadership import SoleLeadership
from deploy.workloads.activation import ACTIVATION
from deploy.workloads.autoscale import AutoscaleRule
from deploy.workloads.phases import DeploymentPhase
from deploy.workloads.spec import DeploymentSpec
from lb.credentials import NO_CREDENTIALS
from lb.endpoints.report import Load
from rpc.client import Channel
from rpc.status import RpcError, Status
from schemas.wire import LoaderInput
from tests.deploy.engine.test_engine import World, world_of

SPEC = DeploymentSpec("ocr", wrapper="w.py:W", autoscale=AutoscaleRule(0, 2))
INFER = "/ase.v1.Loader/Infer"
SESSION = "/ase.v1.Loader/Session"
REQUEST = LoaderInput(serviceId="ocr").SerializeToString()


class Sleeping:
    """A deployment without replicas, its activator, and a client of that."""

    def __init__(self, world: World, settings: ActivatorSettings) -> None:
        self.world = world
        self.documents: dict[str, bytes] = {}
        self.leadership = SoleLeadership()
        self.bus = EventBus(lambda: 1.0)
        self.bus.add_sink(world.events.append)
        self.activator = Activator(
            world.repository, world.store, world.loaders.view, self.documents, self.bus,
            self.leadership, settings, NO_CREDENTIALS,
            clock=asyncio.get_running_loop().time, now=world.clock,
        )  # fmt: skip

    async def sleep(self) -> None:
        """Deploy, serve once, and have no replica then."""
        world = self.world
        world.loaders.loads[SPEC.revision] = Load()
        await world.create(SPEC)
        assert await world.settle() is DeploymentPhase.RUNNING
        await self.activator.look()
        await world.command(lambda entry: commands.scale(entry, "ocr", 0, "ann", 1.0))
        assert await world.settle() is DeploymentPhase.RUNNING
        world.loaders.report()
        assert not world.shimlet.running()

    async def call(self, timeout: float = 30.0) -> RpcError:
        """Call the activator; return how the call ends."""
        channel = Channel(self.activator.address)
        try:
            with pytest.raises(RpcError) as ended:
                await channel.unary(INFER, REQUEST, metadata=(), timeout=timeout)
            return ended.value
        finally:
            await channel.close()

    async def wait_woken(self) -> None:
        """Return when a replica is wanted."""
        while True:
            if self.world.wanted.spec.replicas:
                return
            await asyncio.sleep(0.01)

    async def wait_event(self, topic: str) -> None:
        """Return when an event of a topic was published."""
        while True:
            if any(event.topic == topic for event in self.world.events):
                return
            await asyncio.sleep(0.01)

    async def settle_always(self) -> None:
        """Work on the deployment, forever."""
        while True:
            await self.world.settle(3)
            self.world.loaders.report()
            await asyncio.sleep(0.01)


@asynccontextmanager
async def sleeping(world: World, **limits: float) -> AsyncIterator[Sleeping]:
    settings = ActivatorSettings((), "127.0.0.1", 0, "", 30.0, 64)
    own = Sleeping(world, replace(settings, **limits))  # type: ignore[arg-type]
    await own.activator.start()
    await own.sleep()
    running = asyncio.ensure_future(own.activator.run())
    try:
        yield own
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def run(folder: Path, scenario: Callable[[World], object]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), world_of(folder) as world:
            await scenario(world)  # type: ignore[misc]

    asyncio.run(main())


def test_requests_wake_it_once_and_go_as_it_has_slots(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        async with sleeping(world) as own:
            world.loaders.loads[SPEC.revision] = Load(running=1)  # its one slot
            calls = [asyncio.ensure_future(own.call()) for _ in range(3)]
            settling = asyncio.ensure_future(own.settle_always())
            await own.wait_event("service.woken")
            assert not any(call.done() for call in calls)
            world.loaders.loads[SPEC.revision] = Load()
            errors = await asyncio.gather(*calls)
            settling.cancel()
            assert {error.status for error in errors} == {Status.RESOURCE_EXHAUSTED}
            assert all("10110" in error.details for error in errors)
            assert len(world.shimlet.running()) == 1
            assert world.wanted.author == "activator"
            topics = [event.topic for event in world.events]
            assert topics.count("service.woken") == 1

    run(tmp_path, scenario)


def test_no_more_wait_than_the_limit_and_no_longer_than_it(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        async with sleeping(world, timeout=0.5, waiting=1) as own:
            first = asyncio.ensure_future(own.call())
            await own.wait_woken()
            assert "10110" in (await own.call()).details  # at once: one waits already
            assert not first.done()
            assert "10110" in (await first).details  # nothing has come up
        async with sleeping_again(world) as own:
            # It answers before the caller's own deadline, which would make it look dead.
            assert (await own.call(timeout=0.5)).status is Status.RESOURCE_EXHAUSTED

    run(tmp_path, scenario)


@asynccontextmanager
async def sleeping_again(world: World) -> AsyncIterator[Sleeping]:
    """Yield an activator that starts over the same store; it remembers what sleeps."""
    own = Sleeping(world, ActivatorSettings((), "127.0.0.1", 0, "", 30.0, 64))
    await own.activator.start()
    running = asyncio.ensure_future(own.activator.run())
    try:
        yield own
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_waiting_requests_end_with_what_they_wait_for(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        async with sleeping(world) as own:
            world.shimlet.broken.add("w.py:W")
            call = asyncio.ensure_future(own.call())
            settling = asyncio.ensure_future(own.settle_always())
            assert "10110" in (await call).details  # it has failed
            assert world.entry.status.phase is DeploymentPhase.FAILED
            settling.cancel()

    async def end(world: World) -> None:
        async with sleeping(world) as own:
            call = asyncio.ensure_future(own.call())
            await own.wait_woken()
            await world.delete()
            assert "10110" in (await call).details

    async def stop(world: World) -> None:
        async with sleeping(world) as own:
            call = asyncio.ensure_future(own.call())
            await own.wait_woken()
        assert "10110" in (await call).details

    for case in (scenario, end, stop):
        folder = tmp_path / case.__name__
        folder.mkdir()
        run(folder, case)


def test_what_is_deleted_or_led_by_another_is_left(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        async with sleeping(world) as own:
            assert await world.store.read(ACTIVATION)
            own.leadership.is_leader = False
            await own.activator.look()
            assert "10110" in (await own.call()).details
            assert not world.wanted.spec.replicas  # nobody has woken it
            own.leadership.is_leader = True
            await world.delete()
            await own.activator.look()
            assert not await world.store.read(ACTIVATION)

    run(tmp_path, scenario)


def test_what_is_no_request_is_refused(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        async with sleeping(world) as own:
            channel = Channel(own.activator.address)
            with pytest.raises(RpcError) as ended:
                await channel.unary(INFER, b"\xff\xff", metadata=(), timeout=5.0)
            assert ended.value.status is Status.INVALID_ARGUMENT
            other = LoaderInput(serviceId="other").SerializeToString()
            with pytest.raises(RpcError) as ended:
                await channel.unary(INFER, other, metadata=(), timeout=5.0)
            assert ended.value.status is Status.RESOURCE_EXHAUSTED
            await channel.close()

    run(tmp_path, scenario)
