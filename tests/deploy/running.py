"""A deployer in this process for tests: its real API and engine, over a runtime in memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from deploy.engine.autoscaler import Autoscaler
from deploy.engine.engine import DeploymentEngine, EngineSettings
from deploy.engine.events import EventBus
from deploy.engine.leadership import SoleLeadership
from deploy.engine.metrics import DeployMetrics
from deploy.engine.repository import DeploymentRepository
from deploy.http_api import DeployApi
from deploy.models.puller import ModelPuller
from deploy.openapi import BASE_PATH
from deploy.pipelines.catalog import built_in
from deploy.positions.catalog import PositionCatalog, find_model_token
from deploy.positions.http_api import PositionApi
from deploy.workloads.quota import Quota
from registry.access import Authorizer, OpenAuthorizer
from registry.store.sqlite import SqliteStore
from tests.clock import Clock
from tests.deploy.fake_shimlet import FakeLoaders, FakeShimlet
from tests.deploy.fake_traffic import FakeTraffic

TIMEOUT_S = 30.0


class RunningDeployer:
    """A deployer and a client of its API."""

    def __init__(
        self, folder: Path, store: SqliteStore, authorizer: Authorizer, sources: Sequence[str]
    ) -> None:
        self.shimlet = FakeShimlet()
        self.loaders = FakeLoaders(self.shimlet)
        self.store = store
        self.repository = DeploymentRepository(store)
        self.bus = EventBus()
        loop = asyncio.get_running_loop()
        leadership = SoleLeadership()
        settings = EngineSettings(
            "fake", "wrapper", "hub:1", "http://gw", Quota(replicas=10), resync=0.05, models=folder
        )
        self.traffic = FakeTraffic()
        self.stopping = asyncio.Event()
        puller = ModelPuller(
            folder, sources, 10_000, partial(find_model_token, store), self.repository.model_digests
        )
        pipelines = built_in()
        shimlets = {"fake": self.shimlet}
        self.engine = DeploymentEngine(
            self.repository, shimlets, pipelines, self.loaders.view, self.bus, leadership,
            settings, traffic=self.traffic, puller=puller, clock=loop.time, now=Clock(),
        )  # fmt: skip
        self.autoscaler = Autoscaler(
            self.repository, self.loaders.view, self.bus, leadership, settings.quota,
            can_sleep=lambda _: False, clock=loop.time, now=Clock(),
        )  # fmt: skip
        metrics = CollectorRegistry()
        metrics.register(
            DeployMetrics(self.repository, self.engine, self.bus, leadership, self.autoscaler)
        )
        self.api = DeployApi(
            self.repository, shimlets, pipelines, self.loaders.view, self.bus, authorizer,
            settings, metrics, Clock(), self.stopping,
        )  # fmt: skip
        self.catalog = PositionCatalog(
            store, self.repository, self.api.complete, self.api.check_quota, Clock()
        )
        positions = PositionApi(
            self.catalog,
            self.repository, shimlets, self.loaders.view, self.bus, authorizer, store,
            self.stopping,
        )  # fmt: skip
        self.application = self.api.application("1", positions.routes())
        transport = httpx.ASGITransport(self.application)
        self.client = httpx.AsyncClient(
            transport=transport, base_url="http://localhost", trust_env=False
        )

    async def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Return the response to a request below the base path."""
        return await self.client.request(method, BASE_PATH + path, json=body)

    async def data(self, path: str) -> Any:
        """Return the data of a GET."""
        response = await self.send("GET", path)
        assert response.status_code == 200, response.text
        return response.json()["data"]

    async def wait(self, deployment_id: str, *statuses: str) -> dict[str, Any]:
        """Wait until a deployment has one of these statuses, for what is wanted now."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                shown: dict[str, Any] = await self.data(f"/{deployment_id}")
                if shown["isObserved"] and shown["status"] in statuses:
                    return shown
                await asyncio.sleep(0.01)

    async def report_always(self) -> None:
        """Have the loaders report, forever."""
        while True:
            self.loaders.report()
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running_deployer(
    folder: Path,
    authorizer: Callable[[], Authorizer] = OpenAuthorizer,
    sources: Sequence[str] = (),
) -> AsyncIterator[RunningDeployer]:
    """Run a deployer whose store is in `folder`."""
    store = SqliteStore(folder / "deploy.sqlite")
    await store.open()
    deployer = RunningDeployer(folder, store, authorizer(), sources)
    await deployer.repository.load()
    works = [deployer.repository.follow(), deployer.engine.run(), deployer.report_always()]
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        yield deployer
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await deployer.client.aclose()
        await store.close()
