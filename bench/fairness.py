"""What an application that asks ten times its share does to the others, where loaders are scarce.

Four loaders with 8 slots each take 200 ms a job on average: 160 requests per second, of which the
share of each of five applications is 32. Four of them ask half their share. The fifth asks its
share, then ten times as much; the others should not notice.

Jobs take 100 to 300 ms. If all take equally long, slots that were taken together become free
together for ever, and whoever comes in between waits for that.
"""

import asyncio
import contextlib
import json
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from bench import latency, product
from bench.arms import (
    ARM_CORE,
    LOAD_CORE,
    Arm,
    BenchContext,
    start_asectl,
    wait_for_log_record,
    wait_until_ready,
)
from bench.machine import pin
from bench.workload import RequestSpec

_LOADERS, _SLOTS, _JOB_S, _APPS = 4, 8, 0.2, 5
_CAPACITY = round(_LOADERS * _SLOTS / _JOB_S)  # requests per second
_SHARE = _CAPACITY // _APPS
# When a rate begins, the queues of loaders fill or empty; the first time also warms all up.
_SETTLING_S = 2
# Connections to each gateway; those that were idle for long would be closed.
_MODEST_CONNECTIONS, _GREEDY_CONNECTIONS = 32, 256
_WRAPPER = f"""\
import asyncio
import random

from aseloader import service


@service("slow", total={_SLOTS})
async def slow(text: str) -> str:
    await asyncio.sleep({_JOB_S} * (1 + random.uniform(-SPREAD, SPREAD)))
    return "done"
"""
JOBS = {"varied": 0.5, "equal": 0.0}  # how far the times of jobs are from their mean, at most

SendForStatus = Callable[[], Awaitable[int]]


def run(gateways: int, jobs: str, rounds: int, seconds: int) -> dict[str, Any]:
    """Return the times of the modest applications (ms) beside a modest and a greedy one.

    All applications ask every gateway. `jobs` is a key of `JOBS`. Figures are medians over rounds
    of `seconds` each.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        arms = _start(BenchContext(folder, 0, stack), gateways, JOBS[jobs])
        pin(LOAD_CORE)
        figures = uvloop.run(_measure(arms, rounds, seconds))
    return {"gateways": gateways, "jobs": jobs, "capacity": _CAPACITY, "share": _SHARE, **figures}


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text."""
    lines = [
        f"{result['gateways']} gateways, {result['jobs']} jobs, {result['capacity']} requests/s",
        f"{_APPS - 1} applications at {result['share'] // 2}/s each, beside one:",
    ]
    lines += [
        f"at {rate}/s: p50 {each['p50_ms']} ms, p99 {each['p99_ms']} ms, "
        f"{each['refused']} of theirs refused; it gets {each['greedy_served']}/s"
        for rate, each in result["beside"].items()
    ]
    return "\n".join([*lines, f"p99 greedy/modest {result['p99_ratio']}"])


def _start(context: BenchContext, gateways: int, spread: float) -> list[list[Arm]]:
    """Return the arms of each application, one for each gateway."""
    folder, env = context.folder, product.import_environment(product.ensure_installed())
    hub_log = folder / "hub.log"
    hub_args = ["lb", "--lb-port", "0", "--lb-admin-port", "0"]
    start_asectl(context, ARM_CORE, hub_args, hub_log, env)
    hub = wait_for_log_record(hub_log, "listening")["lb"]
    wrapper = folder / "wrapper.py"
    wrapper.write_text(_WRAPPER.replace("SPREAD", str(spread)), encoding="utf-8")
    for number in range(_LOADERS):
        loader_args = ["loader", "run", f"{wrapper}:slow", "--lb", hub]
        start_asectl(context, ARM_CORE, loader_args, folder / f"loader-{number}.log", env)
    body = json.dumps({"text": "hello"}).encode()
    requests = [
        RequestSpec("/v1/slow", body, "application/json", b"done", ({"X-App-Id": f"app-{number}"},))
        for number in range(_APPS)
    ]
    arms: list[list[Arm]] = [[] for _ in requests]
    for number in range(gateways):
        log = folder / f"gateway-{number}.log"
        args = ["gateway", "--lb-hub", hub, "--gateway-port", "0", "--gateway-admin-port", "0"]
        args += ["--gateway-lame-duck", "0", "--lb-accept-schemas", "true"]
        process = start_asectl(context, ARM_CORE, args, log, env)
        url = wait_for_log_record(log, "listening")["gateway"]
        for app_arms, request in zip(arms, requests, strict=True):
            app_arms.append(Arm(f"gateway {number}", process.pid, url, request))
        wait_until_ready(arms[0][-1])
    return arms


async def _measure(arms: list[list[Arm]], rounds: int, seconds: int) -> dict[str, Any]:
    beside: dict[int, list[dict[str, float]]] = {_SHARE: [], 10 * _SHARE: []}
    for _ in range(rounds):
        for rate, turns in beside.items():
            senders = await _connect(arms, rate)
            await _run_turn(senders, rate, _SETTLING_S)
            turns.append(await _run_turn(senders, rate, seconds))
    ratios = [
        greedy["p99_ms"] / modest["p99_ms"] for modest, greedy in zip(*beside.values(), strict=True)
    ]
    medians = {
        str(rate): {name: round(median(turn[name] for turn in turns), 2) for name in turns[0]}
        for rate, turns in beside.items()
    }
    return {"beside": medians, "p99_ratio": round(median(ratios), 3)}


async def _connect(arms: list[list[Arm]], greedy_rate: int) -> list[list[SendForStatus]]:
    """Return what sends requests, for each application, to each gateway."""
    is_greedy = greedy_rate > _SHARE
    counts = [_MODEST_CONNECTIONS] * (_APPS - 1)
    counts.append(_GREEDY_CONNECTIONS if is_greedy else _MODEST_CONNECTIONS)
    return [
        [await latency.status_connector(arm, count)() for arm in app_arms]
        for app_arms, count in zip(arms, counts, strict=True)
    ]


async def _run_turn(
    senders: list[list[SendForStatus]], greedy_rate: int, seconds: int
) -> dict[str, float]:
    """Return the times of the modest applications, and what the greedy one gets per second."""
    *modest, greedy = senders
    statuses: tuple[Counter[int], Counter[int]] = Counter(), Counter()

    def counted(send: SendForStatus, counter: Counter[int]) -> latency.Send:
        async def send_one() -> None:
            counter[await send()] += 1

        return send_one

    loops = [
        latency.open_loop(counted(send, statuses[is_greedy]), rate // len(app), seconds)
        for app, rate, is_greedy in [
            *((app, _SHARE // 2, False) for app in modest),
            (greedy, greedy_rate, True),
        ]
        for send in app
    ]
    times = await asyncio.gather(*loops)
    modest_times = sorted(time for each in times[: -len(greedy)] for time in each)
    return {
        "p50_ms": modest_times[len(modest_times) // 2],
        "p99_ms": modest_times[len(modest_times) * 99 // 100],
        "refused": statuses[False].total() - statuses[False][200],
        "greedy_served": statuses[True][200] / seconds,
    }
