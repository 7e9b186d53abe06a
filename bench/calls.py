"""Unary gRPC calls from one core to the bench's backend: our client and grpc.aio, alternating."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from bench import workload
from bench.arms import ARM_CORE, start_backend
from bench.machine import pin
from rpc.client import Channel

_METHOD = "/ase.v1.Loader/Infer"
_METADATA = (("ase-gateway", "bench"),)
_CONCURRENCY = 64

Call = Callable[[], Awaitable[bytes]]


def run(rounds: int, seconds: int) -> dict[str, Any]:
    """Return {"arms": {"ours": {"calls_per_second"}, "grpc.aio": ...}, "ratios": {...}}.

    Each client runs for `seconds` in each of `rounds` rounds, with 64 calls in flight. Figures are
    medians over the rounds; the ratio is the median of the ratios of one round.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        context = start_backend(folder, stack)
        pin(ARM_CORE)
        rates_by_arm = uvloop.run(_run_rounds(f"127.0.0.1:{context.backend_port}", rounds, seconds))
    ratio = median(
        a / b for a, b in zip(rates_by_arm["ours"], rates_by_arm["grpc.aio"], strict=True)
    )
    arms = {
        name: {"calls_per_second": round(median(rates))} for name, rates in rates_by_arm.items()
    }
    return {"arms": arms, "ratios": {"ours/grpc.aio": round(ratio, 2)}}


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text, one line per client and ratio."""
    lines = [f"{n:<10}{t['calls_per_second']:>10,} calls/s" for n, t in result["arms"].items()]
    return "\n".join([*lines, *(f"{name}: {ratio}" for name, ratio in result["ratios"].items())])


async def _run_rounds(addr: str, rounds: int, seconds: int) -> dict[str, list[float]]:
    frame = workload.grpc_request("small").body[5:]
    from grpc import aio

    our_channel, grpc_channel = Channel(addr), aio.insecure_channel(addr)
    method: Any = grpc_channel.unary_unary(_METHOD)
    arms: dict[str, Call] = {
        "ours": lambda: our_channel.unary(_METHOD, frame, timeout=5.0, metadata=_METADATA),
        "grpc.aio": lambda: method(frame, timeout=5.0, metadata=_METADATA),
    }
    rates_by_arm: dict[str, list[float]] = {name: [] for name in arms}
    for round_number in range(rounds + 1):  # the first round is a warm-up
        for name, call in arms.items():
            rate = await measure_rate(call, seconds if round_number else 1)
            if round_number:
                rates_by_arm[name].append(rate)
    await our_channel.close()
    await grpc_channel.close()
    return rates_by_arm


async def measure_rate(call: Call, seconds: int) -> float:
    """Return the calls per second of `call` in `seconds`, with 64 in flight."""
    completed, started_at = 0, time.perf_counter()
    deadline = started_at + seconds

    async def call_repeatedly() -> None:
        nonlocal completed
        while time.perf_counter() < deadline:
            await call()
            completed += 1

    await asyncio.gather(*(call_repeatedly() for _ in range(_CONCURRENCY)))
    return completed / (time.perf_counter() - started_at)
