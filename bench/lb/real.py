"""`python -m bench lb real`: the same trace through real processes and through the simulator.

The processes are a hub, loaders that sleep, and the pickers of several gateways. In the arms
`envoy` and `haproxy`, a proxy replaces the pickers. With a mean service time of 100 ms the machine
is mostly idle, so its own speed does not affect the figures.
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

from bench.arms import (
    PEERS,
    BenchContext,
    PeerUnavailableError,
    free_port,
    start_asectl,
    wait_for_log_record,
)
from bench.lb import grid
from bench.lb.cell import Cell, make_cell

LOADERS, SLOTS, MEAN_S = 8, 4, 0.1
_WRAPPER_SPEC = str(Path(__file__).with_name("sleeper.py")) + ":Sleeper"


def run(arms: list[str], gateways: int, rounds: int, seconds: int) -> dict[str, Any]:
    """Return {"cells": rows, "absent": {arm: reason}, "simulated": rows}.

    Each arm runs once per round for `seconds`, in alternating order; a row has the medians over the
    rounds. Here `ci95` is not a confidence interval, but the least and the greatest p99 of the
    rounds. `simulated` has the results of the simulator for the same traces.
    """
    results_by_arm: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    unavailable: dict[str, str] = {}
    for round_number in range(rounds):
        for arm in arms if round_number % 2 == 0 else reversed(arms):
            if arm in unavailable:
                continue
            try:
                results_by_arm[arm].append(_play_once(arm, gateways, round_number + 1, seconds))
            except PeerUnavailableError as error:
                unavailable[arm] = str(error)
    cells = []
    for arm, results in results_by_arm.items():
        if not results:
            continue
        cell = _cell_for_arm(arm, gateways)
        row = cell.labels() | {"policy": arm, "turns": len(results)}
        row |= {key: round(median(result[key] for result in results), 3) for key in results[0]}
        values = sorted(result["p99_ms"] for result in results)
        row["ci95"] = [round(values[0], 1), round(values[-1], 1)]
        cells.append(row)
    simulated = _simulate_arms(arms, gateways, rounds, seconds)
    return {"cells": cells, "absent": unavailable, "simulated": simulated}


def _cell_for_arm(arm: str, gateways: int) -> Cell:
    policy = arm if arm not in ("envoy", "haproxy") else "least_request"
    picker_count = gateways if arm not in ("envoy", "haproxy") else 1
    cell_of_arm = make_cell(
        "homogeneous", policy, picker_count, loaders=LOADERS, slots=SLOTS, mean_s=MEAN_S
    )
    return replace(cell_of_arm, delay_ms=_DELAY_MS)


# The time of a report from a loader to a picker on one machine: two hops and the hub's batching.
_DELAY_MS = 5.0


def _play_once(arm: str, gateways: int, seed: int, seconds: int) -> dict[str, Any]:
    """Run one arm once, with new processes, and return its figures.

    The first 5 s are a warm-up. Reports are counted from the start of the warm-up.
    """
    cell = _cell_for_arm(arm, gateways)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        env = grid.environment(compiled=True)
        context = BenchContext(folder, 0, stack)
        hub_endpoints = _start_command(
            context, "hub", ["lb", "--lb-port", "0", "--lb-admin-port", "0"], env
        )
        hub, admin_url = hub_endpoints["lb"], hub_endpoints["admin"]
        queue_limit = str(cell.limit - cell.slots)
        addrs = []
        for number in range(LOADERS):
            args = [
                "loader", "run", _WRAPPER_SPEC, "--lb", hub, "--port", "0", "--total", str(SLOTS),
                "--queue", queue_limit,
            ]  # fmt: skip
            addrs.append(_start_command(context, f"loader-{number}", args, env)["addr"])
        proxy = _start_proxy(arm, addrs, folder, stack)
        rate = cell.rate()
        reports_before = _report_count(admin_url)
        spec = {
            "cell": asdict(cell), "seed": seed, "requests": int(rate * seconds),
            "warm": int(rate * 5), "hub": hub, "proxy": proxy,
        }  # fmt: skip
        started_at = time.monotonic()
        completed = subprocess.run(
            [sys.executable, "-m", "bench.lb.pickers"],
            input=json.dumps(spec) + "\n",
            env=env,
            capture_output=True,
            text=True,
            check=True,
            timeout=seconds * 3 + 120,
        )
        figures: dict[str, Any] = json.loads(completed.stdout)
        requests_sent = rate * (seconds + 5)
        figures["reports_per_request"] = (_report_count(admin_url) - reports_before) / requests_sent
        figures["seconds"] = time.monotonic() - started_at
        return figures


def _start_command(
    context: BenchContext, name: str, args: list[str], env: dict[str, str]
) -> dict[str, str]:
    """Start an `asectl` command and return its log record `listening`."""
    log = context.folder / f"{name}.log"
    start_asectl(context, "0,1", args, log, env)
    return wait_for_log_record(log, "listening")


def _report_count(admin_url: str) -> float:
    text = httpx.get(f"{admin_url}/metrics", trust_env=False).text
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("ase_lb_reports_total ")
    )


def _start_proxy(arm: str, addrs: list[str], folder: Path, stack: contextlib.ExitStack) -> str:
    """Start the proxy of an arm and return its address; "" if the arm has no proxy.

    Raises PeerUnavailableError if the proxy is not installed.
    """
    if arm not in ("envoy", "haproxy"):
        return ""
    port = free_port()
    if arm == "envoy":
        program = Path(sys.executable).with_name("envoy")
        executable = str(program) if program.is_file() else shutil.which("envoy")
        template, name, config_flag = "lb_envoy.yaml", "envoy.yaml", ["-c"]
        extra_args = ["--concurrency", "1", "--disable-hot-restart", "-l", "off"]
        backends = "".join(_envoy_endpoint(addr) for addr in addrs)
    else:
        executable = shutil.which("haproxy")
        template, name, config_flag, extra_args = "lb_haproxy.cfg", "haproxy.cfg", ["-f"], ["-db"]
        backends = "".join(f"    server s{n} {addr} proto h2\n" for n, addr in enumerate(addrs))
    if executable is None:
        raise PeerUnavailableError(f"{arm} is not installed")
    template_text = (PEERS / template).read_text(encoding="utf-8")
    config_file = folder / name
    config_file.write_text(
        template_text.replace("@PORT@", str(port)).replace("@BACKENDS@", backends)
    )
    process = subprocess.Popen(
        [executable, *config_flag, str(config_file), *extra_args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    stack.callback(process.wait, 10)
    stack.callback(process.terminate)
    return f"127.0.0.1:{port}"


def _envoy_endpoint(addr: str) -> str:
    host, _, port = addr.rpartition(":")
    socket_address = f"{{address: {host}, port_value: {port}}}"
    return f"          - endpoint: {{address: {{socket_address: {socket_address}}}}}\n"


def _simulate_arms(
    arms: list[str], gateways: int, rounds: int, seconds: int
) -> list[dict[str, Any]]:
    """Return the results of the simulator for the same traces, one row per arm with a policy."""
    cells = [_cell_for_arm(arm, gateways) for arm in arms if arm not in ("envoy", "haproxy")]
    requests = int(cells[0].rate() * seconds) if cells else 0
    return grid.run_grid(cells, list(range(1, rounds + 1)), requests).rows() if cells else []


def format_table(result: dict[str, Any]) -> str:
    """Return the result as text, one line per arm."""
    simulated = {row["policy"]: row for row in result["simulated"]}
    names = ("p50", "p99", "wait p99", "reports", "refused", "lag p99", "simulated p99")
    lines = [f"{'policy':<16}{'K':>3}" + "".join(f"{name:>14}" for name in names)]
    for row in result["cells"]:
        simulated_row = simulated.get(row["policy"])
        simulated_text = "not simulated"
        if simulated_row:
            difference = row["p99_ms"] / simulated_row["p99_ms"] - 1
            simulated_text = f"{simulated_row['p99_ms']:.0f} ({difference:+.0%})"
        keys = ("p50_ms", "p99_ms", "wait_p99_ms", "reports_per_request", "refused_per_request",
                "lag_p99_ms")  # fmt: skip
        figures = "".join(f"{row[key]:>14.2f}" for key in keys)
        lines.append(f"{row['policy']:<16}{row['gateways']:>3}{figures}{simulated_text:>14}")
    lines += [f"{arm}: not run, {why}" for arm, why in result["absent"].items()]
    return "\n".join(lines)
