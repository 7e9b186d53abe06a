"""Unary calls from one core: our client beside grpc.aio, in turn, to the bench's backend."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import uvloop
from grpc import aio

from bench import workload
from bench.arms import ARM_CORE, backend
from bench.machine import pin
from rpc.client import Channel

_METHOD = "/ase.v1.Loader/Infer"
_METADATA = (("ase-gateway", "bench"),)
_AT_ONCE = 64

Call = Callable[[], Awaitable[bytes]]


def run(rounds: int, seconds: int) -> dict[str, Any]:
    """Return {"arms": {"ours": {"calls_per_second"}, "grpc.aio": ...}, "ratios": {...}}."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ground = backend(folder, stack)
        pin(ARM_CORE)
        told = uvloop.run(_rounds(f"127.0.0.1:{ground.backend}", rounds, seconds))
    ratio = median(a / b for a, b in zip(told["ours"], told["grpc.aio"], strict=True))
    arms = {name: {"calls_per_second": round(median(turns))} for name, turns in told.items()}
    return {"arms": arms, "ratios": {"ours/grpc.aio": round(ratio, 2)}}


def table(result: dict[str, Any]) -> str:
    """Return the figures as lines."""
    lines = [f"{n:<10}{t['calls_per_second']:>10,} calls/s" for n, t in result["arms"].items()]
    return "\n".join([*lines, *(f"{name}: {ratio}" for name, ratio in result["ratios"].items())])


async def _rounds(addr: str, rounds: int, seconds: int) -> dict[str, list[float]]:
    frame = workload.framed("small").body[5:]
    ours, theirs = Channel(addr), aio.insecure_channel(addr)
    method: Any = theirs.unary_unary(_METHOD)
    arms: dict[str, Call] = {
        "ours": lambda: ours.unary(_METHOD, frame, timeout=5.0, metadata=_METADATA),
        "grpc.aio": lambda: method(frame, timeout=5.0, metadata=_METADATA),
    }
    told: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(rounds + 1):  # the first is to warm up
        for name, call in arms.items():
            rate = await _turn(call, seconds if turn else 1)
            if turn:
                told[name].append(rate)
    await ours.close()
    await theirs.close()
    return told


async def _turn(call: Call, seconds: int) -> float:
    done, began = 0, time.perf_counter()
    until = began + seconds

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < until:
            await call()
            done += 1

    await asyncio.gather(*(caller() for _ in range(_AT_ONCE)))
    return done / (time.perf_counter() - began)
