"""Schemas that change under load: a new generation each second, open-loop.

What is lost is counted, and how long requests take, in turns with as many seconds without a change.
"""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from bench import arms, product, workload
from bench.arms import Arm, Ground
from bench.latency import Send, open_loop, over_http
from bench.machine import pin
from schemas import document


def run(rate: int, rounds: int, seconds: int) -> dict[str, Any]:
    """Return what came of so many requests a second: `lost`, `generations`, medians in ms.

    Raises RuntimeError when the gateway does not take a generation up.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ground = arms.backend(folder, stack)
        arm, log = _started(ground)
        pin(arms.LOAD_CORE)
        return {"rate": rate, **uvloop.run(_turns(arm, ground.folder, log, rate, rounds, seconds))}


def table(result: dict[str, Any]) -> str:
    """Return the figures as lines."""
    lines = [f"{result['rate']} requests/s, open-loop; {result['generations']} generations"]
    for name in ("still", "changing"):
        told = result[name]
        lines.append(
            f"{name:<9} {told['requests']:>7,} requests, {told['lost']} lost, p50 "
            f"{told['p50_ms']:.2f} ms, p99 {told['p99_ms']:.2f}, longest {told['most_ms']:.1f}"
        )
    return "\n".join(lines)


def _started(ground: Ground) -> tuple[Arm, Path]:
    """Start the product with an instance by config, which speaks any generation."""
    instance = f"{{service: bench, addr: '127.0.0.1:{ground.backend}', total: 10000}}"
    config = ground.folder / "ase.yaml"
    config.write_text(f"schemas: schemas\ninstances: [{instance}]\n", encoding="utf-8")
    (ground.folder / "schemas").mkdir()
    _write(ground.folder, 1)
    words = ["gateway", "--config", str(config), "--gateway-port", "0", "--lb-port", "0"]
    words += ["--gateway-admin-port", "0", "--gateway-lame-duck", "0"]
    words += ["--lb-accept-schemas", "false"]
    log, env = ground.folder / "log", product.environment(product.installed())
    process = arms.asectl(ground, arms.ARM_CORE, words, log, env)
    told = arms.said(log, "listening")
    return Arm("ours", process.pid, told["gateway"], workload.envelope("small")), log


def _write(folder: Path, generation: int) -> None:
    told = json.loads(workload.SCHEMA)
    told["meta"]["description"] = f"Generation {generation}."
    fresh = folder / "fresh"
    fresh.write_bytes(document.canonical(told))
    fresh.replace(folder / "schemas/schema_bench.json")


async def _turns(
    arm: Arm, folder: Path, log: Path, rate: int, rounds: int, seconds: int
) -> dict[str, Any]:
    send, lost = await over_http(arm)(), [0]

    async def counted() -> None:
        try:
            await send()
        except RuntimeError:
            lost[0] += 1

    told: dict[str, list[dict[str, float]]] = {"still": [], "changing": []}
    generations = itertools.count(2)
    await open_loop(counted, rate, 2)  # warm
    for _ in range(rounds):
        told["still"].append(await _turn(counted, lost, rate, seconds))
        changes = asyncio.ensure_future(_change(arm, folder, generations))
        told["changing"].append(await _turn(counted, lost, rate, seconds))
        changes.cancel()
    figures = {name: _figures(turns) for name, turns in told.items()}
    return {"generations": arms.count(log, "reloaded"), **figures}


async def _turn(send: Send, lost: list[int], rate: int, seconds: int) -> dict[str, float]:
    before = lost[0]
    times = sorted(await open_loop(send, rate, seconds))
    shown = {"p50_ms": len(times) // 2, "p99_ms": len(times) * 99 // 100, "most_ms": -1}
    figures = {name: round(times[at], 3) for name, at in shown.items()}
    return {"requests": len(times), "lost": lost[0] - before, **figures}


def _figures(turns: list[dict[str, float]]) -> dict[str, float]:
    """Return the sums of what is counted, the medians of what is timed."""
    sums = {name: sum(turn[name] for turn in turns) for name in ("requests", "lost")}
    names = ("p50_ms", "p99_ms", "most_ms")
    return sums | {name: median(turn[name] for turn in turns) for name in names}


async def _change(arm: Arm, folder: Path, generations: Iterator[int]) -> None:
    """Write a generation each second, for ever."""
    for generation in generations:
        _write(folder, generation)
        os.kill(arm.pid, signal.SIGHUP)
        await asyncio.sleep(1)
