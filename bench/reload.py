"""Schema reloads under open-loop load: a new generation of the schema every second.

Counts lost requests and measures latencies. Phases with changes alternate with phases of the same
length without.
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
from bench.arms import Arm, BenchContext
from bench.latency import Send, http_connector, open_loop
from bench.machine import pin
from schemas.model import document


def run(rate: int, rounds: int, seconds: int) -> dict[str, Any]:
    """Return {"rate", "generations", "still": {...}, "changing": {...}}.

    `rate` is in requests per second; each of `rounds` has two phases of `seconds`. `generations` is
    the number of reloads that the gateway logged. A phase has the sums `requests` and `lost`
    (responses with a status other than 200), and medians of latencies in milliseconds. Raises
    RuntimeError if the gateway does not start.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        context = arms.start_backend(folder, stack)
        arm, log = _start_gateway(context)
        pin(arms.LOAD_CORE)
        return {
            "rate": rate,
            **uvloop.run(_run_rounds(arm, context.folder, log, rate, rounds, seconds)),
        }


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text, one line per phase."""
    title = f"{result['rate']} requests/s, open-loop; {result['generations']} generations"
    return format_phases(title, result, ("still", "changing"))


def format_phases(title: str, result: dict[str, Any], phases: tuple[str, ...]) -> str:
    """Return a title, and a line for the figures of each phase."""
    lines = [title]
    for name in phases:
        figures = result[name]
        lines.append(
            f"{name:<9} {figures['requests']:>7,} requests, {figures['lost']} lost, p50 "
            f"{figures['p50_ms']:.2f} ms, p99 {figures['p99_ms']:.2f}, "
            f"longest {figures['most_ms']:.1f}"
        )
    return "\n".join(lines)


def _start_gateway(context: BenchContext) -> tuple[Arm, Path]:
    """Start the product and return it with its log.

    The backend is an instance in the configuration file. Such an instance has no digest, so it
    serves every generation of the schema.
    """
    instance = f"{{service: bench, addr: '127.0.0.1:{context.backend_port}', total: 10000}}"
    config = context.folder / "ase.yaml"
    config.write_text(f"schemas: schemas\ninstances: [{instance}]\n", encoding="utf-8")
    (context.folder / "schemas").mkdir()
    _write_schema(context.folder, 1)
    args = ["gateway", "--config", str(config), "--gateway-port", "0", "--lb-port", "0"]
    args += ["--gateway-admin-port", "0", "--gateway-lame-duck", "0"]
    args += ["--lb-accept-schemas", "false"]
    log, env = context.folder / "log", product.import_environment(product.ensure_installed())
    process = arms.start_asectl(context, arms.ARM_CORE, args, log, env)
    endpoints = arms.wait_for_log_record(log, "listening")
    return Arm("ours", process.pid, endpoints["gateway"], workload.envelope_request("small")), log


def _write_schema(folder: Path, generation: int) -> None:
    schema = json.loads(workload.SCHEMA)
    schema["meta"]["description"] = f"Generation {generation}."
    temporary_file = folder / "fresh"
    temporary_file.write_bytes(document.canonical(schema))
    temporary_file.replace(folder / "schemas/schema_bench.json")


async def _run_rounds(
    arm: Arm, folder: Path, log: Path, rate: int, rounds: int, seconds: int
) -> dict[str, Any]:
    send, lost_count = await http_connector(arm)(), [0]

    async def send_counting_losses() -> None:
        try:
            await send()
        except RuntimeError:
            lost_count[0] += 1

    rounds_by_phase: dict[str, list[dict[str, float]]] = {"still": [], "changing": []}
    generations = itertools.count(2)
    await open_loop(send_counting_losses, rate, 2)  # warm-up
    for _ in range(rounds):
        rounds_by_phase["still"].append(
            await measure_load(send_counting_losses, lost_count, rate, seconds)
        )
        change_task = asyncio.ensure_future(_change_schemas(arm, folder, generations))
        rounds_by_phase["changing"].append(
            await measure_load(send_counting_losses, lost_count, rate, seconds)
        )
        change_task.cancel()
    figures = {
        name: aggregate_rounds(phase_rounds) for name, phase_rounds in rounds_by_phase.items()
    }
    return {"generations": arms.count_log_records(log, "reloaded"), **figures}


async def measure_load(
    send: Send, lost_count: list[int], rate: int, seconds: int
) -> dict[str, float]:
    """Send requests at a rate; return their number, the losses, and latencies in milliseconds.

    `send` adds what it has lost to `lost_count`.
    """
    lost_before = lost_count[0]
    times = sorted(await open_loop(send, rate, seconds))
    percentile_indexes = {
        "p50_ms": len(times) // 2,
        "p99_ms": len(times) * 99 // 100,
        "most_ms": -1,
    }
    figures = {name: round(times[index], 3) for name, index in percentile_indexes.items()}
    return {"requests": len(times), "lost": lost_count[0] - lost_before, **figures}


def aggregate_rounds(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Return the sums of the counts and the medians of the times of all rounds of a phase."""
    sums = {
        name: sum(round_figures[name] for round_figures in rounds) for name in ("requests", "lost")
    }
    names = ("p50_ms", "p99_ms", "most_ms")
    return sums | {name: median(round_figures[name] for round_figures in rounds) for name in names}


async def _change_schemas(arm: Arm, folder: Path, generations: Iterator[int]) -> None:
    """Write a new generation and send SIGHUP every second, until cancelled."""
    for generation in generations:
        _write_schema(folder, generation)
        os.kill(arm.pid, signal.SIGHUP)
        await asyncio.sleep(1)
