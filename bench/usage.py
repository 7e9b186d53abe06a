"""Whether the rows of usage are the requests that loaders worked on, while loaders are killed.

Three loaders write the id of each request to a file before they work on it; every two seconds one
of them is killed and another one takes its place. In the end the ids in the files are compared with
those of the gateway's store, and with the answers that the clients got.
"""

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import tempfile
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

_LOADERS = 3
_KILL_INTERVAL_S = 2.0
_CONNECTIONS = 32
_STOP_TIMEOUT_S = 30
_WRAPPER = """\
import os

from aseloader import Context, service

_ids = os.open("{folder}/ids", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


@service("echo", total=100)
async def echo(text: str, context: Context) -> str:
    os.write(_ids, f"{{context.sid}}\\n".encode())
    return text
"""


def run(requests: int) -> dict[str, Any]:
    """Return the numbers of answers, rows and ids, and those that differ: all of these should be 0.

    `requests` are sent one after another on 32 connections.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        context = BenchContext(folder, 0, stack)
        gateway, arm, start_loader = _start(context)
        loaders = [start_loader() for _ in range(_LOADERS)]
        wait_until_ready(arm)
        pin(LOAD_CORE)
        statuses, kills = uvloop.run(_send_all(arm, requests, loaders, start_loader))
        gateway.terminate()  # it writes what is left
        gateway.wait(_STOP_TIMEOUT_S)
        ids = (folder / "ids").read_text(encoding="ascii").split()
        with contextlib.closing(sqlite3.connect(folder / "usage.sqlite")) as store:
            rows: list[tuple[str, int]] = store.execute("SELECT sid, code FROM usage").fetchall()
    return {"kills": kills, **_compare(statuses, rows, ids)}


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text."""
    return "\n".join(
        [
            f"{result['requests']:,} requests, {result['kills']} loaders killed meanwhile",
            f"answers by status: {result['statuses']}",
            f"rows of usage by code: {result['codes']}",
            f"requests that loaders worked on: {result['worked_on']:,}",
            f"worked on more than once: {result['repeated']}",
            f"worked on, without a row: {result['without_row']}",
            f"answered 200, less rows with code 0: {result['answers_less_rows']}",
            f"rows with code 0 that no loader worked on: {result['rows_without_work']}",
        ]
    )


def _compare(statuses: Counter[int], rows: list[tuple[str, int]], ids: list[str]) -> dict[str, Any]:
    codes, worked_on = dict(rows), set(ids)
    succeeded = {sid for sid, code in rows if code == 0}
    return {
        "requests": statuses.total(),
        "statuses": dict(statuses),
        "codes": dict(Counter(codes.values())),
        "worked_on": len(worked_on),
        "repeated": len(ids) - len(worked_on),
        "without_row": len(worked_on - codes.keys()),
        "answers_less_rows": statuses[200] + 1 - len(succeeded),  # one shows that the arm is ready
        "rows_without_work": len(succeeded - worked_on),
    }


def _start(
    context: BenchContext,
) -> tuple[subprocess.Popen[bytes], Arm, Callable[[], subprocess.Popen[bytes]]]:
    """Return a gateway, its arm, and what starts a loader."""
    folder, env = context.folder, product.import_environment(product.ensure_installed())
    config = folder / "ase.yaml"
    config.write_text("usage: {store: usage.sqlite}\n", encoding="utf-8")
    log = folder / "gateway.log"
    args = ["gateway", "-c", str(config), "--gateway-port", "0", "--gateway-admin-port", "0"]
    args += ["--gateway-lame-duck", "0", "--lb-port", "0", "--lb-accept-schemas", "true"]
    gateway = start_asectl(context, ARM_CORE, args, log, env)
    endpoints = wait_for_log_record(log, "listening")
    wrapper = folder / "wrapper.py"
    wrapper.write_text(_WRAPPER.format(folder=folder), encoding="utf-8")

    def start_loader() -> subprocess.Popen[bytes]:
        loader_args = ["loader", "run", f"{wrapper}:echo", "--lb", endpoints["lb"]]
        return start_asectl(context, ARM_CORE, loader_args, folder / "loader.log", env)

    body = json.dumps({"text": "hello"}).encode()
    headers = {"X-App-Id": "bench"}
    request = RequestSpec("/v1/echo", body, "application/json", b"hello", (headers,))
    return gateway, Arm("ours", gateway.pid, endpoints["gateway"], request), start_loader


async def _send_all(
    arm: Arm,
    requests: int,
    loaders: list[subprocess.Popen[bytes]],
    start_loader: Callable[[], subprocess.Popen[bytes]],
) -> tuple[Counter[int], int]:
    """Return the statuses of all answers, and how many loaders were killed."""
    send = await latency.status_connector(arm, _CONNECTIONS)()
    statuses: Counter[int] = Counter()

    async def send_some() -> None:
        while statuses.total() + _CONNECTIONS <= requests:
            statuses[await send()] += 1

    async def kill_some() -> None:
        while True:
            await asyncio.sleep(_KILL_INTERVAL_S)
            loaders.pop(0).kill()
            loaders.append(start_loader())
            kills.append(1)

    kills: list[int] = []
    killer = asyncio.ensure_future(kill_some())
    await asyncio.gather(*(send_some() for _ in range(_CONNECTIONS)))
    killer.cancel()
    return statuses, len(kills)
