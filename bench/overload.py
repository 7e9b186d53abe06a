"""What a refused request costs beside a served one, and how long both take at twice the capacity.

One gateway has two services of the same schema: `fast` answers at once; `slow` has one loader with
8 slots, and each job takes 50 ms, so it serves 160 requests per second.
"""

import contextlib
import json
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from bench import gateway, latency, product
from bench.arms import (
    ARM_CORE,
    LOAD_CORE,
    Arm,
    BenchContext,
    start_asectl,
    wait_for_log_record,
    wait_until_ready,
)
from bench.gateway import ArmResult
from bench.machine import pin
from bench.workload import RequestSpec

_WRAPPER = """\
import asyncio

from aseloader import service


@service("fast", total=10_000)
async def fast(text: str) -> str:
    return "done"


@service("slow", total=8)
async def slow(text: str) -> str:
    await asyncio.sleep(0.05)
    return "done"
"""
_CAPACITY = 160  # requests per second
_CONNECTIONS = 256
PAYLOADS = {"small": 400, "1m": 1 << 20}


def run(payload: str, rounds: int, seconds: int) -> dict[str, Any]:
    """Return the processor time (us) of the gateway per request and the times of answers (ms).

    `payload` is a key of `PAYLOADS`, sizes in bytes. The processor time of a refused request is
    that of a run with refused and served requests, less that of the served ones, which is
    measured in the same round. Figures are medians over rounds. Raises RuntimeError if an answer
    is neither a result nor a refusal.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fast, slow = _start_arms(BenchContext(folder, 0, stack), PAYLOADS[payload])
        for arm in (fast, slow):
            (folder / f"{arm.name}.body").write_bytes(arm.request.body)
            gateway.measure_arm(arm, folder, 1, _CONNECTIONS)  # warm up
        served, refused = [], []
        for _ in range(rounds):
            served.append(gateway.measure_arm(fast, folder, seconds, _CONNECTIONS))
            refused.append(gateway.measure_arm(slow, folder, seconds, _CONNECTIONS))
        costs = [
            _refused_cost_us(mixed, alone, seconds)
            for mixed, alone in zip(refused, served, strict=True)
        ]
        pin(LOAD_CORE)
        times_ms = uvloop.run(_open_loop(slow, 2 * _CAPACITY, rounds * seconds))
    served_us = median(result.cpu_us for result in served)
    return {
        "payload": payload,
        "served_us": round(served_us, 1),
        "refused_us": round(median(costs), 1),
        "refused_per_second": round(median(result.errors / seconds for result in refused), 1),
        "ratio": round(
            median(cost / alone.cpu_us for cost, alone in zip(costs, served, strict=True)), 3
        ),
        "open_loop": {str(status): _summarize(times) for status, times in times_ms.items()},
    }


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text."""
    lines = [
        f"payload {result['payload']}, {_CONNECTIONS} connections, processor time of the gateway",
        f"served {result['served_us']} us, refused {result['refused_us']} us",
        f"refused/served {result['ratio']}; {result['refused_per_second']:,.0f} refusals/s",
        f"open-loop, {2 * _CAPACITY} requests/s of which {_CAPACITY} can be served:",
    ]
    lines += [
        f"status {status}: {figures['count']} answers, p50 {figures['p50_ms']} ms, "
        f"p99 {figures['p99_ms']} ms"
        for status, figures in result["open_loop"].items()
    ]
    return "\n".join(lines)


def _start_arms(context: BenchContext, size: int) -> tuple[Arm, Arm]:
    env = product.import_environment(product.ensure_installed())
    log = context.folder / "gateway.log"
    args = ["gateway", "--gateway-port", "0", "--lb-port", "0", "--gateway-admin-port", "0"]
    args += ["--gateway-lame-duck", "0", "--lb-accept-schemas", "true"]
    process = start_asectl(context, ARM_CORE, args, log, env)
    endpoints = wait_for_log_record(log, "listening")
    wrapper = context.folder / "wrapper.py"
    wrapper.write_text(_WRAPPER, encoding="utf-8")
    body = json.dumps({"text": "x" * size}).encode()
    arms = []
    for name in ("fast", "slow"):
        loader_args = ["loader", "run", f"{wrapper}:{name}", "--lb", endpoints["lb"]]
        start_asectl(context, LOAD_CORE, loader_args, context.folder / f"{name}.log", env)
        request = RequestSpec(f"/v1/{name}", body, "application/json", b"done")
        arms.append(Arm(name, process.pid, endpoints["gateway"], request))
        wait_until_ready(arms[-1])
    return arms[0], arms[1]


def _refused_cost_us(mixed: ArmResult, alone: ArmResult, seconds: int) -> float:
    """Return the processor time of a refused request of a run with refused and served ones."""
    requests = mixed.rps * seconds
    served = requests - mixed.errors
    return (mixed.cpu_us * requests - alone.cpu_us * served) / max(1, mixed.errors)


async def _open_loop(arm: Arm, rate: int, seconds: int) -> dict[int, list[float]]:
    """Return the sorted times of answers in milliseconds, by status."""
    send = await latency.status_connector(arm, 4 * _CONNECTIONS)()
    statuses: list[int] = []

    async def send_one() -> None:
        statuses.append(await send())

    times = await latency.open_loop(send_one, rate, seconds)
    by_status: dict[int, list[float]] = {status: [] for status in sorted(Counter(statuses))}
    for status, time_ms in zip(statuses, times, strict=True):
        by_status[status].append(time_ms)
    return {status: sorted(of_status) for status, of_status in by_status.items()}


def _summarize(times: list[float]) -> dict[str, float]:
    return {
        "count": len(times),
        "p50_ms": round(times[len(times) // 2], 2),
        "p99_ms": round(times[len(times) * 99 // 100], 2),
    }
