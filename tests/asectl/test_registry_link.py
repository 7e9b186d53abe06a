"""How processes that share a folder start with a new generation."""

import argparse
import asyncio
from dataclasses import replace
from pathlib import Path

from asectl.registry_link import RegistryLink
from config.options import RegistryOptions
from registry.client.subscriber import ApplyResult
from registry.feedback import Outcome
from tests.registry.running import running_registry


def link(registry: str, folder: Path, instance: str) -> RegistryLink:
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
