"""`python -m bench lb real`: the same trace through real processes, beside the simulator.

A hub, loaders with a capacity of their own, and the pickers of so many gateways; Envoy and HAProxy
in their place. A service time of 100 ms lets the machine be idle, so that it is not measured.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from bench.arms import PEERS, AbsentError, Ground, asectl, free_port, said
from bench.lb import grid
from bench.lb.cell import Cell, cell

LOADERS, SLOTS, MEAN_S = 8, 4, 0.1
_SPEC = str(Path(__file__).with_name("sleeper.py")) + ":Sleeper"


def run(arms: list[str], gateways: int, rounds: int, seconds: int) -> dict[str, Any]:
    """Return what each arm came to, in turns, and what the simulator says of the same trace."""
    rows: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    absent: dict[str, str] = {}
    for turn in range(rounds):
        for arm in arms if turn % 2 == 0 else reversed(arms):
            if arm in absent:
                continue
            try:
                rows[arm].append(_one(arm, gateways, turn + 1, seconds))
            except AbsentError as error:
                absent[arm] = str(error)
    cells = []
    for arm, turns in rows.items():
        if not turns:
            continue
        made = _cell(arm, gateways)
        row = made.facts() | {"policy": arm, "turns": len(turns)}
        row |= {key: round(median(told[key] for told in turns), 3) for key in turns[0]}
        values = sorted(told["p99_ms"] for told in turns)
        row["ci95"] = [round(values[0], 1), round(values[-1], 1)]
        cells.append(row)
    simulated = _simulated(arms, gateways, rounds, seconds)
    return {"cells": cells, "absent": absent, "simulated": simulated}


def _cell(arm: str, gateways: int) -> Cell:
    policy = arm if arm not in ("envoy", "haproxy") else "least_request"
    doors = gateways if arm not in ("envoy", "haproxy") else 1
    made = cell("homogeneous", policy, doors, loaders=LOADERS, slots=SLOTS, mean_s=MEAN_S)
    return replace(made, delay_ms=_DELAY_MS)


# What a report takes from a loader to a picker on one machine: two hops, and a frame of the hub.
_DELAY_MS = 5.0


def _one(arm: str, gateways: int, seed: int, seconds: int) -> dict[str, Any]:
    """Play one turn of one arm, on fresh processes."""
    made = _cell(arm, gateways)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        env = grid.environment(compiled=True)
        ground = Ground(folder, 0, stack)
        hub_told = _launch(ground, "hub", ["lb", "--lb-port", "0", "--lb-admin-port", "0"], env)
        hub, admin = hub_told["lb"], hub_told["admin"]
        queue = str(made.limit - made.slots)
        addrs = []
        for number in range(LOADERS):
            words = ["loader", "run", _SPEC, "--lb", hub, "--port", "0", "--total", str(SLOTS),
                     "--queue", queue]  # fmt: skip
            addrs.append(_launch(ground, f"loader-{number}", words, env)["addr"])
        proxy = _proxy(arm, addrs, folder, stack)
        rate = made.rate()
        before = _reports(admin)
        told = {
            "cell": asdict(made), "seed": seed, "requests": int(rate * seconds),
            "warm": int(rate * 5), "hub": hub, "proxy": proxy,
        }  # fmt: skip
        began = time.monotonic()
        came = subprocess.run(
            [sys.executable, "-m", "bench.lb.pickers"],
            input=json.dumps(told) + "\n",
            env=env,
            capture_output=True,
            text=True,
            check=True,
            timeout=seconds * 3 + 120,
        )
        figures: dict[str, Any] = json.loads(came.stdout)
        sent = rate * (seconds + 5)
        figures["reports_per_request"] = (_reports(admin) - before) / sent
        figures["seconds"] = time.monotonic() - began
        return figures


def _launch(ground: Ground, name: str, words: list[str], env: dict[str, str]) -> dict[str, str]:
    """Start a command of ours; return what it says when it listens."""
    log = ground.folder / f"{name}.log"
    asectl(ground, "0,1", words, log, env)
    return said(log, "listening")


def _reports(admin: str) -> float:
    text = httpx.get(f"{admin}/metrics", trust_env=False).text
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("ase_lb_reports_total ")
    )


def _proxy(arm: str, addrs: list[str], folder: Path, stack: contextlib.ExitStack) -> str:
    """Start the proxy that an arm is; return its address, "" for none."""
    if arm not in ("envoy", "haproxy"):
        return ""
    port = free_port()
    if arm == "envoy":
        program = Path(sys.executable).with_name("envoy")
        found = str(program) if program.is_file() else shutil.which("envoy")
        template, name, words = "lb_envoy.yaml", "envoy.yaml", ["-c"]
        extra = ["--concurrency", "1", "--disable-hot-restart", "-l", "off"]
        backends = "".join(_endpoint(addr) for addr in addrs)
    else:
        found = shutil.which("haproxy")
        template, name, words, extra = "lb_haproxy.cfg", "haproxy.cfg", ["-f"], ["-db"]
        backends = "".join(f"    server s{n} {addr} proto h2\n" for n, addr in enumerate(addrs))
    if found is None:
        raise AbsentError(f"{arm} is not installed")
    text = (PEERS / template).read_text(encoding="utf-8")
    file = folder / name
    file.write_text(text.replace("@PORT@", str(port)).replace("@BACKENDS@", backends))
    process = subprocess.Popen(
        [found, *words, str(file), *extra], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    stack.callback(process.wait, 10)
    stack.callback(process.terminate)
    return f"127.0.0.1:{port}"


def _endpoint(addr: str) -> str:
    host, _, port = addr.rpartition(":")
    where = f"{{address: {host}, port_value: {port}}}"
    return f"          - endpoint: {{address: {{socket_address: {where}}}}}\n"


def _simulated(arms: list[str], gateways: int, rounds: int, seconds: int) -> list[dict[str, Any]]:
    """Return what the simulator says of the same traces."""
    cells = [_cell(arm, gateways) for arm in arms if arm not in ("envoy", "haproxy")]
    requests = int(cells[0].rate() * seconds) if cells else 0
    return grid.run(cells, list(range(1, rounds + 1)), requests).rows() if cells else []


def table(result: dict[str, Any]) -> str:
    """Return the result as text."""
    simulated = {row["policy"]: row for row in result["simulated"]}
    names = ("p50", "p99", "wait p99", "reports", "refused", "lag p99", "simulated p99")
    lines = [f"{'policy':<16}{'K':>3}" + "".join(f"{name:>14}" for name in names)]
    for row in result["cells"]:
        beside = simulated.get(row["policy"])
        told = "not simulated"
        if beside:
            told = f"{beside['p99_ms']:.0f} ({row['p99_ms'] / beside['p99_ms'] - 1:+.0%})"
        keys = ("p50_ms", "p99_ms", "wait_p99_ms", "reports_per_request", "refused_per_request",
                "lag_p99_ms")  # fmt: skip
        figures = "".join(f"{row[key]:>14.2f}" for key in keys)
        lines.append(f"{row['policy']:<16}{row['gateways']:>3}{figures}{told:>14}")
    lines += [f"{arm}: not run, {why}" for arm, why in result["absent"].items()]
    return "\n".join(lines)
