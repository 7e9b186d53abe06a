"""Requests per second of one gateway worker on one core, and of its peers, alternating in one run.

The load and the backend share the other core. If that core was more than 90 % busy during an arm,
the arm is marked load-limited: its figure is a lower bound.
"""

import contextlib
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.arms import LOAD_CORE, PEERS, Arm, start_arms, start_backend
from bench.machine import cpu_seconds, hardware_counters, rss_bytes

_WITH_CREDENTIALS = ("ours-key", "ours-hmac", "ours-jwt")
_OURS = ("ours", "ours-python", "ours-asgi", "ours-plain", *_WITH_CREDENTIALS)


@dataclass(frozen=True, slots=True)
class ArmResult:
    """The figures of one round of one arm.

    `p50_ms` and `p99_ms` are response times. `errors` counts failed requests and responses with an
    error status. `cpu_us` is the processor time of the arm per request, in microseconds.
    `load_core_busy` is the busy share of the load's core, 0 to 1. `counts` are the instructions and
    cache misses of the arm, where the machine counts them, and `requests` the number of requests.
    """

    rps: float
    p50_ms: float
    p99_ms: float
    errors: int
    cpu_us: float
    load_core_busy: float
    counts: dict[str, int] = field(default_factory=dict)
    requests: int = 0


def run(
    peers: list[str],
    payload: str,
    rounds: int,
    seconds: int,
    connections: int,
    unique_header: str = "",
    loaders: int = 1,
    heads: str = "wrk",
) -> dict[str, Any]:
    """Return {"payload", "arms": {name: figures or {"not_run": reason}}, "ratios": {...}}.

    `payload` is a key of `workload.PAYLOADS`, `heads` of `workload.HEADS`. Each arm runs for
    `seconds` in each of `rounds` rounds. `unique_header` names a header with another value in each
    request; "" for none. Figures are medians over the rounds, and ratios are medians of the ratios
    of one round. Raises RuntimeError if an arm does not respond correctly.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        context = start_backend(folder, stack, loaders)
        arms, unavailable = start_arms(context, ["ours", *peers], payload, heads)
        for arm in arms:
            (folder / f"{arm.name}.body").write_bytes(arm.request.body)
            (folder / f"{arm.name}.headers").write_text(_header_lines(arm), "utf-8")
            measure_arm(arm, folder, 1, connections, unique_header)  # warm up
        results: dict[str, list[ArmResult]] = {arm.name: [] for arm in arms}
        for _ in range(rounds):
            for arm in arms:
                results[arm.name].append(
                    measure_arm(arm, folder, seconds, connections, unique_header)
                )
        figures = {arm.name: summarize(results[arm.name], rss_mib(arm)) for arm in arms}
    return {
        "payload": payload,
        "fresh": unique_header,
        "connections": connections,
        "loaders": loaders,
        "heads": heads,
        "arms": {**figures, **unavailable},
        "ratios": _ratios(results),
    }


def _ratios(results: dict[str, list[ArmResult]]) -> dict[str, float]:
    """Return the medians of the ratios of one round; those with credentials over those without."""
    pairs: list[tuple[str, str]] = [
        (ours, name)
        for ours in ("ours", "ours-asgi")
        for name in results
        if ours in results and name != ours and (ours == "ours" or name not in _OURS)
    ]
    pairs = [(b, a) if b in _WITH_CREDENTIALS else (a, b) for a, b in pairs]
    return {
        f"{a}/{b}": round(
            median(x.rps / y.rps for x, y in zip(results[a], results[b], strict=True)), 3
        )
        for a, b in pairs
    }


def _header_lines(arm: Arm) -> str:
    """Return the further headers of an arm's requests: a line for each, tabs between headers."""
    sets = arm.request.header_sets
    return "".join(
        "\t".join(f"{name}: {value}" for name, value in fields.items()) + "\n" for fields in sets
    )


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text, one line per arm and ratio."""
    lines = [
        f"payload {result['payload']}, {result['connections']} connections, loaders "
        f"{result['loaders']}, heads {result['heads']}, one core for each arm"
        + (f", {result['fresh']} never twice the same" if result["fresh"] else ""),
        "arm         requests/s   p50 ms   p99 ms   CPU us    MiB  errors",
    ]
    for name, figures in result["arms"].items():
        if "not_run" in figures:
            lines.append(f"{name:<10}{figures['not_run']}")
            continue
        mark = "  load-limited" if figures["load_limited"] else ""
        lines.append(
            f"{name:<10}{figures['rps']:>12,.0f}{figures['p50_ms']:>9.3f}{figures['p99_ms']:>9.3f}"
            f"{figures['cpu_us_per_request']:>9.1f}{figures['rss_mib']:>7.1f}{figures['errors']:>8}{mark}"
        )
    lines += [f"{name}: {ratio}" for name, ratio in result["ratios"].items()]
    return "\n".join(lines)


def measure_arm(
    arm: Arm, folder: Path, seconds: int, connections: int, unique_header: str = ""
) -> ArmResult:
    """Load an arm with wrk for `seconds` and return its figures.

    `folder` must have the request body in the file `NAME.body`. `connections` is the number of
    keep-alive connections of the load.
    """
    env = {
        **os.environ,
        "BENCH_BODY": str(folder / f"{arm.name}.body"),
        "BENCH_TYPE": arm.request.content_type,
        "BENCH_FRESH": unique_header,
        "BENCH_HEADERS": str(folder / f"{arm.name}.headers") if arm.request.header_sets else "",
    }
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    command += ["--latency", "-s", str(PEERS / "wrk.lua"), arm.url + arm.request.path]
    cpu_before, load_core_before = cpu_seconds_of(arm), _core_ticks(LOAD_CORE)
    with hardware_counters(_processes(arm)) as counts:
        output = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    summary = json.loads(output.splitlines()[-1])
    cpu_used, load_core_after = cpu_seconds_of(arm) - cpu_before, _core_ticks(LOAD_CORE)
    busy = 1 - (load_core_after[0] - load_core_before[0]) / max(
        1, load_core_after[1] - load_core_before[1]
    )
    return ArmResult(
        rps=summary["requests"] / summary["seconds"],
        p50_ms=summary["p50_ms"],
        p99_ms=summary["p99_ms"],
        errors=summary["errors"],
        cpu_us=cpu_used / max(1, summary["requests"]) * 1e6,
        load_core_busy=busy,
        counts=counts,
        requests=summary["requests"],
    )


def summarize(results: list[ArmResult], rss_mib: float) -> dict[str, Any]:
    """Return the medians over rounds, and the sum of the errors."""
    return {
        "rps": round(median(result.rps for result in results), 1),
        "p50_ms": round(median(result.p50_ms for result in results), 4),
        "p99_ms": round(median(result.p99_ms for result in results), 4),
        "cpu_us_per_request": round(median(result.cpu_us for result in results), 2),
        "rss_mib": round(rss_mib, 1),
        "errors": sum(result.errors for result in results),
        "load_limited": median(result.load_core_busy for result in results) > 0.9,
        **{
            f"{event.replace('-', '_')}_per_request": round(
                median(result.counts.get(event, 0) / max(1, result.requests) for result in results)
            )
            for event in results[0].counts
        },
    }


def process_tree(pid: int) -> list[int]:
    """Return a process and its descendants; nginx serves in a child process."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    return [pid, *(grandchild for child in children for grandchild in process_tree(int(child)))]


def _processes(arm: Arm) -> list[int]:
    return [member for pid in (arm.pid, *arm.other_pids) for member in process_tree(pid)]


def cpu_seconds_of(arm: Arm) -> float:
    """Return the processor time that all processes of an arm have used, in seconds."""
    return sum(cpu_seconds(pid) for pid in _processes(arm))


def rss_mib(arm: Arm) -> float:
    """Return the resident memory of all processes of an arm in MiB."""
    return sum(rss_bytes(pid) for pid in _processes(arm)) / 2**20


def _core_ticks(core: str) -> tuple[int, int]:
    """Return (idle, total) clock ticks of a core since boot; waiting for I/O counts as idle."""
    for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"cpu{core} "):
            ticks = [int(word) for word in line.split()[1:9]]
            return ticks[3] + ticks[4], sum(ticks)
    return 0, 1
