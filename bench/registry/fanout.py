"""How soon a release reaches 200 subscribers, beside a watch of etcd on the same machine.

Both are clients of the same process over gRPC: a stream each. The time is from the request that
publishes (to etcd: puts) to the message at the subscriber. The registry's has the files of the
release in it, and each subscriber answers it; etcd's is the value of one key.
"""

import asyncio
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvloop

from bench import product
from bench.arms import wait_for_log_record
from bench.registry.etcd_server import start_etcd
from registry.grpc_methods import SUBSCRIBE
from rpc.client import Channel
from rpc.message_stream import stream_responses
from schemas import wire

_VERSION = "/v1/versions/shop/web/gateway/1.0.0"
_TIMEOUT_S = 60.0
_CONTENT = "gateway:\n  deadline: {}\n"
_KEY = b"/bench/key"
_PAUSE_S = 0.02
_ETCD_WATCH = "/etcdserverpb.Watch/Watch"


@dataclass(slots=True)
class _Arrivals:
    """When the messages of a change have come; `count` are expected."""

    count: int
    times: list[float] = field(default_factory=list)
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self) -> None:
        self.times.append(time.perf_counter())
        if len(self.times) == self.count:
            self.complete.set()

    async def take(self) -> list[float]:
        """Return the times of the next `count` messages."""
        async with asyncio.timeout(_TIMEOUT_S):
            await self.complete.wait()
        times, self.times = self.times, []
        self.complete.clear()
        return times


@dataclass(frozen=True, slots=True)
class _Arm:
    name: str
    pid: int
    open_stream: Callable[[int], tuple[Channel, str, AsyncIterator[bytes]]]
    change: Callable[[int], Any]
    arrivals: _Arrivals


def run(subscribers: int, rounds: int, changes: int) -> dict[str, Any]:
    """Return the times of both arms; `changes` in each of `rounds`, in turn."""
    with tempfile.TemporaryDirectory() as text, contextlib.ExitStack() as stack:
        folder = Path(text)
        env = product.import_environment(product.ensure_installed())
        log = folder / "registry.log"
        command = [sys.executable, "-P", "-m", "asectl", "registry", "--registry-port", "0"]
        with log.open("wb") as file:
            process = stack.enter_context(
                subprocess.Popen(
                    [*command, "--registry-http-port", "0"], cwd=folder, env=env, stderr=file
                )
            )
        stack.callback(process.kill)
        addresses = wait_for_log_record(log, "listening")
        members = stack.enter_context(start_etcd(folder, 1))
        return uvloop.run(
            _measure(
                addresses, process.pid, members[0].address, members[0].pid,
                subscribers, rounds, changes,
            )
        )  # fmt: skip


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text."""
    lines = [f"{result['subscribers']} subscribers, {result['changes']} changes each"]
    lines.append(f"{'arm':<10} {'p50 ms':>8} {'p99 ms':>8} {'messages/s':>11} {'KiB each':>9}")
    for name, arm in result["arms"].items():
        lines.append(
            f"{name:<10} {arm['p50_ms']:>8.1f} {arm['p99_ms']:>8.1f} "
            f"{arm['messages_per_s']:>11,.0f} {arm['kib_per_subscriber']:>9.1f}"
        )
    ratios = ", ".join(f"{name} {value:.2f}" for name, value in result["ratios"].items())
    return "\n".join([*lines, f"registry/etcd: {ratios}"])


async def _measure(
    addresses: dict[str, str],
    registry_pid: int,
    etcd: str,
    etcd_pid: int,
    subscribers: int,
    rounds: int,
    changes: int,
) -> dict[str, Any]:
    async with httpx.AsyncClient(
        base_url=addresses["api"], trust_env=False, timeout=_TIMEOUT_S
    ) as client:
        control = Channel(etcd)
        arms = [
            _registry_arm(addresses["registry"], registry_pid, client, subscribers),
            _etcd_arm(etcd, etcd_pid, control, subscribers),
        ]
        times: dict[str, list[float]] = {arm.name: [] for arm in arms}
        rates: dict[str, list[float]] = {arm.name: [] for arm in arms}
        memory: dict[str, float] = {}
        tasks: list[asyncio.Task[None]] = []
        for arm in arms:
            await arm.change(0)
            before = _rss_kib(arm.pid)
            tasks += [asyncio.create_task(_follow(arm, number)) for number in range(subscribers)]
            await arm.arrivals.take()
            memory[arm.name] = (_rss_kib(arm.pid) - before) / subscribers
        number = 0
        for _ in range(rounds):
            for arm in arms:
                started_at = time.perf_counter()
                for _ in range(changes):
                    number += 1
                    sent_at = await arm.change(number)
                    times[arm.name] += [at - sent_at for at in await arm.arrivals.take()]
                elapsed = time.perf_counter() - started_at
                rates[arm.name].append(changes * subscribers / elapsed)
                await asyncio.sleep(_PAUSE_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await control.close()
    figures = {
        arm.name: {
            "p50_ms": statistics.median(times[arm.name]) * 1000,
            "p99_ms": statistics.quantiles(times[arm.name], n=100)[98] * 1000,
            "messages_per_s": statistics.median(rates[arm.name]),
            "kib_per_subscriber": memory[arm.name],
        }
        for arm in arms
    }
    ours, theirs = figures["registry"], figures["etcd"]
    return {
        "subscribers": subscribers,
        "changes": rounds * changes,
        "arms": figures,
        "ratios": {key: ours[key] / theirs[key] for key in ours},
    }


async def _follow(arm: _Arm, number: int) -> None:
    channel, method, requests = arm.open_stream(number)
    try:
        async for _ in stream_responses(channel.stream(method), requests):
            arm.arrivals.add()
    finally:
        await channel.close()


def _registry_arm(address: str, pid: int, client: httpx.AsyncClient, subscribers: int) -> _Arm:
    arrivals = _Arrivals(subscribers)

    def open_stream(number: int) -> tuple[Channel, str, AsyncIterator[bytes]]:
        first = wire.SubscriptionRequest(instance=f"gw-{number}", address=f"gw-{number}:1")
        first.follow.add(version="shop/web/gateway/1.0.0")
        message = wire.SubscribeRequest(subscription=first).SerializeToString()
        return Channel(address), SUBSCRIBE, _only(message)

    async def change(number: int) -> float:
        path = f"{_VERSION}/files/ase.yaml"
        (await client.put(path, content=_CONTENT.format(1 + number / 1e6))).raise_for_status()
        sent_at = time.perf_counter()
        (await client.post(f"{_VERSION}/releases")).raise_for_status()
        return sent_at

    return _Arm("registry", pid, open_stream, change, arrivals)


def _etcd_arm(address: str, pid: int, control: Channel, subscribers: int) -> _Arm:
    arrivals = _Arrivals(subscribers)

    def open_stream(_: int) -> tuple[Channel, str, AsyncIterator[bytes]]:
        create = wire.EtcdWatchCreate(key=_KEY)
        message = wire.EtcdWatch(create_request=create).SerializeToString()
        return (
            Channel(address, frequent_keepalive=False),
            _ETCD_WATCH,
            _only(message),
        )

    async def change(number: int) -> float:
        put = wire.EtcdPut(key=_KEY, value=_CONTENT.format(number).encode())
        sent_at = time.perf_counter()
        await control.unary("/etcdserverpb.KV/Put", put.SerializeToString(), timeout=_TIMEOUT_S)
        return sent_at

    return _Arm("etcd", pid, open_stream, change, arrivals)


async def _only(message: bytes) -> AsyncIterator[bytes]:
    """Yield one request, and leave the half open."""
    yield message
    await asyncio.Event().wait()


def _rss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
