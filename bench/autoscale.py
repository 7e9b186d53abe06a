"""Autoscaling under a load that comes and goes, open-loop, by a real deployer.

The model takes 50 ms and has four slots, so that a replica answers 80 requests a second at most.
"""

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import uvloop

from bench import arms, deployer
from bench.arms import Arm, BenchContext
from bench.deployer import BenchDeployer
from bench.latency import http_connector
from bench.lb.chart import render_chart, stack_charts
from bench.machine import pin

_WRAPPER: Final = '''\
import asyncio

from aseloader import service


@service("autoscale", total=4)
async def echo(text: str) -> str:
    """Return the text after a while."""
    await asyncio.sleep(0.05)
    return text
'''
_ID: Final = "autoscale"
_SLOTS: Final = 4
_SERVICE_S: Final = 0.05
_TARGET: Final = 0.7
_RULE: Final = {
    "minReplicas": 1, "maxReplicas": 6, "target": _TARGET, "window": 5, "scaleDownDelay": 20,
}  # fmt: skip
# (seconds, requests per second at their end): the rate changes evenly in between.
_CURVE: Final = ((20, 20), (40, 200), (40, 200), (40, 20), (50, 20))
_BUCKET_S: Final = 5


def run(svg: str) -> dict[str, Any]:
    """Return {"curve", "rule", "requests", "lost", "seconds": [{...}, ...]}; draw it to `svg`.

    Each second has the `rate`, the replicas `wanted` and those that `serve`, and the latencies of
    the requests that were due in it. Raises RuntimeError if something does not start.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        context = BenchContext(folder, 0, stack)
        arm, model_deployer = deployer.start(context, _WRAPPER, _ID)
        pin(arms.LOAD_CORE)
        result = uvloop.run(_measure(arm, model_deployer))
    if svg:
        Path(svg).write_text(draw(result), encoding="utf-8")
    return result


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text, one line for five seconds."""
    lines = [
        f"{result['requests']:,} requests, {result['lost']} lost",
        "   s   rate  wanted  serving   p50 ms   p99 ms",
    ]
    lines += [
        f"{row['at']:>4}{row['rate']:>7.0f}{row['wanted']:>8}{row['serving']:>9}"
        f"{row['p50_ms']:>9.1f}{row['p99_ms']:>9.1f}"
        for row in _buckets(result)
    ]
    return "\n".join(lines)


def draw(result: dict[str, Any]) -> str:
    """Return a chart of the load and the replicas, and one of the latency, as one SVG text."""
    rows = _buckets(result)
    per_replica = _SLOTS * _TARGET / _SERVICE_S
    replicas = {
        "replicas that serve": [(row["at"], row["serving"]) for row in rows],
        "replicas wanted": [(row["at"], row["wanted"]) for row in rows],
        "load, in replicas": [(row["at"], row["rate"] / per_replica) for row in rows],
    }
    latencies = {
        "p99": [(row["at"], row["p99_ms"]) for row in rows],
        "p50": [(row["at"], row["p50_ms"]) for row in rows],
    }
    most = max(row["p99_ms"] for row in rows)
    return stack_charts(
        [
            render_chart(
                f"Autoscaling: 20 to {_CURVE[1][1]} requests a second and back",
                "seconds", "replicas", replicas, y_max=6,
            ),
            render_chart("Latency of the requests", "seconds", "ms", latencies, y_max=most),
        ]
    )  # fmt: skip


async def _measure(arm: Arm, model_deployer: BenchDeployer) -> dict[str, Any]:
    spec = {"serviceId": _ID, "wrapper": f"{deployer.WRAPPER_FILE}:echo", "autoscale": _RULE}
    await model_deployer.deploy(spec)
    try:
        send = await http_connector(arm)()
        seconds: list[dict[str, Any]] = []
        latencies: dict[int, list[float]] = {}
        lost = 0

        async def send_one(due: float, second: int) -> None:
            nonlocal lost
            try:
                await send()
            except RuntimeError:
                lost += 1
            latencies.setdefault(second, []).append((time.perf_counter() - due) * 1000)

        tasks = await _send_curve(send_one, model_deployer, seconds)
        await asyncio.gather(*tasks)
    finally:
        await model_deployer.delete(_ID)
    for row in seconds:
        row["latencies_ms"] = [round(ms, 3) for ms in sorted(latencies.get(row["at"], []))]
    requests = sum(map(len, latencies.values()))
    return {"curve": _CURVE, "rule": _RULE, "requests": requests, "lost": lost, "seconds": seconds}


async def _send_curve(
    send_one: Any, model_deployer: BenchDeployer, seconds: list[dict[str, Any]]
) -> list["asyncio.Future[None]"]:
    """Send the requests of the curve when they are due; add a row to `seconds` for each second."""
    tasks: list[asyncio.Future[None]] = []
    started_at = time.perf_counter() + 0.1
    due, before = started_at, float(_CURVE[0][1])
    end_of_phase = started_at
    observed = -1
    for length, rate_then in _CURVE:
        end_of_phase += length
        while due < end_of_phase:
            progress = 1 - (end_of_phase - due) / length
            rate = before + (rate_then - before) * progress
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            second = int(due - started_at)
            if second > observed:
                observed = second
                seconds.append({"at": second, "rate": rate})
                tasks.append(asyncio.ensure_future(_observe(model_deployer, seconds[-1])))
            tasks.append(asyncio.ensure_future(send_one(due, second)))
            due += 1 / rate
        before = float(rate_then)
    return tasks


async def _observe(model_deployer: BenchDeployer, row: dict[str, Any]) -> None:
    shown = await model_deployer.show(_ID)
    row["wanted"] = shown["replicaCount"]
    row["serving"] = shown["load"]["slots"] // _SLOTS


def _buckets(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the figures of five seconds each."""
    rows = []
    seconds = result["seconds"]
    for start in range(0, len(seconds), _BUCKET_S):
        bucket = seconds[start : start + _BUCKET_S]
        times = sorted(ms for row in bucket for ms in row["latencies_ms"])
        rows.append(
            {
                "at": bucket[0]["at"],
                "rate": sum(row["rate"] for row in bucket) / len(bucket),
                "wanted": bucket[-1]["wanted"],
                "serving": bucket[-1]["serving"],
                "p50_ms": times[len(times) // 2],
                "p99_ms": times[len(times) * 99 // 100],
            }
        )
    return rows
