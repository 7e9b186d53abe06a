"""How processes that share a folder start with a new generation."""

import argparse
import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from asectl.registry_link import RegistryLink
from config.options import RegistryOptions
from registry.client.subscriber import ApplyResult
from registry.feedback import Outcome
from tests.registry.running import running_registry


def link(
    registry: str, folder: Path, instance: str, on_check: Callable[[], object] = lambda: None
) -> RegistryLink:
    own = replace(
        RegistryOptions(),
        servers=registry,
        project="shop",
        group="web",
        service="gateway",
        version="1.0.0",
        instance=instance,
        cache=str(folder / "cache"),
    )
    args = argparse.Namespace()

    def check(_: argparse.Namespace) -> ApplyResult:
        on_check()
        return ApplyResult(Outcome.APPLIED)

    return RegistryLink(args, own, folder, "gateway", "h:1", check, takes_schemas=True)


def test_workers_start_with_what_their_parent_has_fetched(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.release("a.txt", "1")
            first = link(registry.grpc, tmp_path, "gw")
            await asyncio.to_thread(first.fetch)
            in_use = first.mirror.in_use()
            assert in_use is not None
            first.mirror.accept(in_use)
            await registry.release("a.txt", "2")
            parent = link(registry.grpc, tmp_path, "gw")
            await asyncio.to_thread(parent.fetch)
            for number in range(2):
                worker = link(registry.grpc, tmp_path, f"gw#{number}")
                await asyncio.to_thread(worker.fetch)
                assert (worker.mirror.current / "a.txt").read_text() == "2"

    asyncio.run(run())


def test_a_worker_takes_what_another_has_in_use_already(tmp_path: Path) -> None:
    """It runs with the generation that it loaded, wherever the link points by now."""

    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.release("a.txt", "1")
            is_checked = threading.Event()
            worker = link(registry.grpc, tmp_path, "gw#1", is_checked.set)
            await asyncio.to_thread(worker.fetch)
            await registry.release("a.txt", "2")
            await asyncio.to_thread(link(registry.grpc, tmp_path, "gw#2").fetch)
            assert (worker.mirror.current / "a.txt").read_text() == "2"
            is_checked.clear()
            following = worker.follow_until_restart()
            assert await asyncio.to_thread(is_checked.wait, 30)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    asyncio.run(run())
