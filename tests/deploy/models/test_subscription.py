"""What a deployer takes over from another one, event by event; its own is never changed."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from deploy.engine.leadership import SoleLeadership
from deploy.event_stream import StreamedEvent
from deploy.models.subscription import LAST_EVENT, ModelSubscription
from deploy.positions.records import Model
from tests.deploy.running import RunningDeployer, running_deployer

URL = "http://platform:8250"
APPLICATION = {"application": {"name": "battery", "project": "drones"}}
MODEL = {"name": "lstm", "version": "1", "application": "battery", "wrapper": "w.py:W"}


class Agent:
    """A deployer that follows another one."""

    def __init__(self, deployer: RunningDeployer) -> None:
        self.deployer = deployer
        self.subscription = ModelSubscription(
            URL, "", [], deployer.store, deployer.catalog, deployer.bus, SoleLeadership()
        )

    async def take(self, name: str, data: dict[str, Any] | None = None, number: int = 0) -> None:
        await self.subscription.apply(StreamedEvent(number, name, data or {}))

    async def models(self) -> list[str]:
        records: list[Model] = await self.deployer.catalog.records(Model.kind)
        return [record.id for record in records]

    async def last(self) -> bytes:
        entry = await self.deployer.store.get(LAST_EVENT)
        return entry.value if entry is not None else b""

    async def send(self, method: str, path: str, body: Any = None) -> int:
        url = f"/api/v1{path}"
        return (await self.deployer.client.request(method, url, json=body)).status_code


def run(folder: Path, scenario: Callable[[Agent], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), running_deployer(folder) as deployer:
            await scenario(Agent(deployer))

    asyncio.run(main())


def test_models_come_change_and_go(tmp_path: Path) -> None:
    async def scenario(agent: Agent) -> None:
        await agent.take("application_add", APPLICATION)
        await agent.take("model_add", {"model": MODEL}, 7)
        assert await agent.last() == f"7 {URL}".encode()
        (record,) = await agent.deployer.catalog.models_of("battery")
        assert record.origin == URL
        await agent.take("model_update", {"model": {**MODEL, "accuracy": 0.9}})
        (record,) = await agent.deployer.catalog.models_of("battery")
        assert record.accuracy == 0.9
        await agent.take("application_delete", {"application": "battery"}, 8)
        assert await agent.models() == ["lstm:1"]  # it has a model still
        await agent.take("model_delete", {"application": "battery", "model": "lstm:1"})
        await agent.take("application_delete", {"application": "battery"}, 9)
        assert await agent.models() == []
        counts = agent.deployer.bus.counts
        assert (counts["model.added"], counts["model.deleted"]) == (2, 1)

    run(tmp_path, scenario)


def test_own_records_are_never_changed(tmp_path: Path) -> None:
    async def scenario(agent: Agent) -> None:
        assert await agent.send("POST", "/projects", {"name": "drones"}) == 200
        own = {"name": "battery", "project": "drones"}
        assert await agent.send("POST", "/applications", own) == 200
        assert await agent.send("POST", "/models", MODEL) == 200
        await agent.take("model_add", {"model": {**MODEL, "wrapper": "theirs.py"}})
        await agent.take("model_delete", {"application": "battery", "model": "lstm:1"})
        await agent.take("application_delete", {"application": "battery"}, 3)
        (record,) = await agent.deployer.catalog.models_of("battery")
        assert (record.origin, record.members["wrapper"]) == ("", "w.py:W")
        assert await agent.last() == f"3 {URL}".encode()  # it goes on behind what it cannot take

    run(tmp_path, scenario)


def test_snapshot_takes_away_what_it_does_not_have(tmp_path: Path) -> None:
    async def scenario(agent: Agent) -> None:
        second = {**MODEL, "version": "2"}
        await agent.take("application_add", APPLICATION)
        await agent.take("model_add", {"model": MODEL})
        await agent.take("model_add", {"model": second})
        await agent.send("POST", "/models", {**MODEL, "version": "own"})
        position = {"name": "north", "application": "battery", "model": "lstm:1"}
        assert await agent.send("POST", "/positions", position) == 200
        await agent.take("snapshot_begin")
        await agent.take("application_add", APPLICATION)
        await agent.take("snapshot_end", number=12)
        # One that serves stays, and our own.
        assert await agent.models() == ["lstm:1", "lstm:own"]

    run(tmp_path, scenario)


def test_what_is_no_model_is_passed_over(tmp_path: Path) -> None:
    async def scenario(agent: Agent) -> None:
        for name, data in (
            ("model_add", {}),
            ("model_add", {"model": {**MODEL, "application": "none"}}),
            ("model_add", {"model": {**MODEL, "wrapper": ""}}),
            ("application_add", {"application": {"name": "a/b", "project": "p"}}),
            ("model_delete", {}),
            ("something_else", {}),
        ):
            await agent.take(name, data, 4)
        assert await agent.models() == []
        assert await agent.last() == f"4 {URL}".encode()

    run(tmp_path, scenario)
