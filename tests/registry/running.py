"""A registry in this process for tests: its real parts and ports, with a store on the disk."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import httpx

from asectl.registry.serve import RegistryProcess, open_store
from config.options import Config, RegistryOptions
from registry.client.connection import RegistryServers
from registry.client.mirror import Mirror
from registry.client.subscriber import ApplyResult, RegistrySubscriber
from registry.feedback import Outcome
from registry.generation import Subscription
from registry.names import ServiceVersion, VersionPattern

TIMEOUT_S = 30.0
OWN = "shop/web/gateway/1.0.0"


class RunningRegistry:
    """A registry, and a client of its HTTP API. `grpc` is its address for subscribers."""

    def __init__(self, process: RegistryProcess, client: httpx.AsyncClient, grpc: str) -> None:
        self.process = process
        self.client = client
        self.grpc = grpc

    async def put(self, file: str, text: str | bytes, version: str = OWN, **headers: str) -> Any:
        """Put a file into the draft of a version; return the response."""
        path = f"/v1/versions/{version}/files/{file}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.put(path, content=text, headers=named)

    async def post(self, command: str, version: str = OWN, **body: Any) -> httpx.Response:
        """Post a command of a version; return the response."""
        return await self.client.post(f"/v1/versions/{version}/{command}", json=body)

    async def release(self, file: str, text: str, version: str = OWN, **body: Any) -> int:
        """Put a file and publish it; return the number of the release."""
        response = await self.put(file, text, version)
        assert response.status_code == 200, response.text
        response = await self.post("releases", version, **body)
        assert response.status_code == 200, response.text
        number: int = response.json()["last_release"]
        return number

    async def wait_instances(self, count: int, version: str = OWN) -> None:
        """Wait until as many instances follow a version."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                if len((await self.status(version, 0.0))["instances"]) == count:
                    return
                await asyncio.sleep(0.01)

    async def status(self, version: str = OWN, wait: float = TIMEOUT_S) -> dict[str, Any]:
        """Return the status of a version, when all instances have answered."""
        path = f"/v1/versions/{version}/status"
        response = await self.client.get(path, params={"wait": f"{wait:g}"}, timeout=60)
        status: dict[str, Any] = response.json()
        return status


@contextlib.asynccontextmanager
async def running_registry(folder: Path, **options: Any) -> AsyncIterator[RunningRegistry]:
    """Run a registry whose store is in `folder`; `options` are those of the section."""
    registry_options = replace(RegistryOptions(), **{"port": 0, **options})
    config = replace(Config(), registry=registry_options)
    store, presence = await open_store(registry_options, folder)
    process = RegistryProcess(config, folder, store, presence)
    await process.load()
    port = await process.start_grpc()
    tasks = [asyncio.ensure_future(work) for work in process.tasks()]
    transport = httpx.ASGITransport(process.application())
    try:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", trust_env=False
        ) as client:
            yield RunningRegistry(process, client, f"127.0.0.1:{port}")
    finally:
        await process.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await presence.close()
        await store.close()


class RunningSubscriber:
    """An instance that follows a registry. `applied` are the texts of `file` that it applied.

    `judge` returns why it refuses a text, or "".
    """

    def __init__(
        self,
        servers: str,
        folder: Path,
        instance: str = "gw-1",
        *,
        patterns: tuple[VersionPattern, ...] = (VersionPattern.parse(OWN),),
        file: str = "ase.yaml",
        judge: Callable[[str], str] = lambda _: "",
        token: str = "",
        **labels: str,
    ) -> None:
        self.mirror = Mirror(folder / instance)
        self.applied: list[str] = []
        self._file = file
        self._judge = judge
        self._changed = asyncio.Event()
        self.subscriber = RegistrySubscriber(
            RegistryServers(tuple(servers.split(",")), token),
            Subscription(instance, f"{instance}:1", labels, patterns),
            ServiceVersion.parse(str(patterns[0])),
            self.mirror,
            Random(1),
            self.mirror.read(),
        )
        self.subscriber.start_applying(self._apply)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "RunningSubscriber":
        self._task = asyncio.ensure_future(self.subscriber.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def wait_applied(self, text: str) -> None:
        """Wait until a text was applied last."""
        async with asyncio.timeout(TIMEOUT_S):
            while not self.applied or self.applied[-1] != text:
                self._changed.clear()
                await self._changed.wait()

    async def _apply(self, folder: Path) -> ApplyResult:
        path = folder / self._file
        text = path.read_text() if path.exists() else ""
        reason = self._judge(text)
        if not reason:
            self.applied.append(text)
            self._changed.set()
        return ApplyResult(Outcome.REFUSED if reason else Outcome.APPLIED, reason)
