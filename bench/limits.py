"""A rate that holds over three gateways of one hub: what is offered, and what gets through."""

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
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

RATE = 100  # requests per second of the key
_OFFERED = 1000  # requests per second, over all gateways
_GATEWAYS = 3
_SETTLING_S = 5  # the burst is used, and the shares follow the demand
_CONNECTIONS = 64
_WRAPPER = """\
from aseloader import service


@service("echo", total=1000)
async def echo(text: str) -> str:
    return text
"""


def run(seconds: int) -> dict[str, Any]:
    """Return the requests per second that get through: {"hub": ..., "no_hub": ...}.

    `seconds` is the length of each part: with the hub, and after it was killed. Raises
    RuntimeError if a gateway does not answer.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        context = BenchContext(folder, 0, stack)
        hub, arms = _start(context)
        pin(LOAD_CORE)
        first, _ = uvloop.run(_measure(arms, _SETTLING_S))
        with_hub, with_hub_s = uvloop.run(_measure(arms, seconds))
        uvloop.run(_measure(arms, _SETTLING_S, hub.kill))
        without_hub, without_hub_s = uvloop.run(_measure(arms, seconds))
    return {
        "rate": RATE,
        "offered": _OFFERED,
        "seconds": seconds,
        "first_seconds": {"seconds": _SETTLING_S, "admitted": first[200]},
        "hub": round(with_hub[200] / with_hub_s, 2),
        "no_hub": round(without_hub[200] / without_hub_s, 2),
        "other_statuses": sorted({*first, *with_hub, *without_hub} - {200, 429}),
    }


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text."""
    first = result["first_seconds"]
    return "\n".join(
        [
            f"{_GATEWAYS} gateways, {result['offered']} requests/s offered, {result['seconds']} s",
            f"the limit of the key: {result['rate']}/s",
            f"admitted: {result['hub']:.1f}/s with the hub, {result['no_hub']:.1f}/s without it",
            f"with its burst, {first['admitted']} in the first {first['seconds']} s",
            f"statuses other than 200 and 429: {result['other_statuses'] or 'none'}",
        ]
    )


def _start(context: BenchContext) -> tuple[subprocess.Popen[bytes], list[Arm]]:
    folder, env = context.folder, product.import_environment(product.ensure_installed())
    config = folder / "ase.yaml"
    config.write_text("auth: [key]\n", encoding="utf-8")
    key = subprocess.run(
        [sys.executable, "-m", "asectl", "key", "create", "--app", "bench", "--rps", str(RATE),
         "-c", str(config)],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    hub_log = folder / "hub.log"
    hub_args = ["lb", "--lb-port", "0", "--lb-admin-port", "0"]
    hub = start_asectl(context, ARM_CORE, hub_args, hub_log, env)
    address = wait_for_log_record(hub_log, "listening")["lb"]
    wrapper = folder / "wrapper.py"
    wrapper.write_text(_WRAPPER, encoding="utf-8")
    loader_args = ["loader", "run", f"{wrapper}:echo", "--lb", address]
    start_asectl(context, ARM_CORE, loader_args, folder / "loader.log", env)
    body = json.dumps({"text": "hello"}).encode()
    headers = {"Authorization": f"Bearer {key}"}
    request = RequestSpec("/v1/echo", body, "application/json", b"hello", (headers,))
    arms = []
    for number in range(_GATEWAYS):
        log = folder / f"gateway-{number}.log"
        args = ["gateway", "-c", str(config), "--lb-hub", address, "--gateway-port", "0"]
        args += ["--gateway-admin-port", "0", "--gateway-lame-duck", "0"]
        args += ["--lb-accept-schemas", "true"]
        process = start_asectl(context, ARM_CORE, args, log, env)
        url = wait_for_log_record(log, "listening")["gateway"]
        arms.append(Arm(f"gateway {number}", process.pid, url, request))
        wait_until_ready(arms[-1])
    return hub, arms


async def _measure(
    arms: list[Arm], seconds: int, after_a_second: Callable[[], None] | None = None
) -> tuple[Counter[int], float]:
    """Return how many answers each status has, and how many seconds the run took.

    Each gateway gets the same number of requests. If the machine is slow, it takes longer than
    `seconds`.
    """
    if after_a_second is not None:
        asyncio.get_running_loop().call_later(1.0, after_a_second)
    started_at = time.monotonic()
    statuses: Counter[int] = Counter()

    async def load(arm: Arm) -> None:
        send = await latency.status_connector(arm, _CONNECTIONS)()

        async def send_one() -> None:
            statuses[await send()] += 1

        await latency.open_loop(send_one, _OFFERED // len(arms), seconds)

    await asyncio.gather(*map(load, arms))
    return statuses, time.monotonic() - started_at
