"""Requests per second through one worker on one core, ours and its peers', in turn, in one run.

The load and the backend share the other core; an arm during which that core was more than 90 % busy
is marked load-limited: its figure is a lower bound.
"""

import contextlib
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.arms import LOAD_CORE, PEERS, Arm, backend, started
from bench.machine import rss_bytes

_TICK = os.sysconf("SC_CLK_TCK")
_OURS = ("ours", "ours-python", "ours-asgi")


@dataclass(frozen=True, slots=True)
class Round:
    """One arm's turn."""

    rps: float
    p50_ms: float
    p99_ms: float
    errors: int
    cpu_us: float
    load_busy: float


def run(
    peers: list[str], payload: str, rounds: int, seconds: int, connections: int, fresh: str = ""
) -> dict[str, Any]:
    """Return {"payload", "arms": {name: figures or {"not_run": why}}, "ratios": {...}}.

    `fresh` names a header of which no two requests have the same value; "" for none. Ratios are
    medians of the ratios of one round. Raises RuntimeError when an arm answers wrong.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ground = backend(folder, stack)
        arms, absent = started(ground, ["ours", *peers], payload)
        for arm in arms:
            (folder / f"{arm.name}.body").write_bytes(arm.ask.body)
            turn(arm, folder, 1, connections, fresh)  # warm up
        turns: dict[str, list[Round]] = {arm.name: [] for arm in arms}
        for _ in range(rounds):
            for arm in arms:
                turns[arm.name].append(turn(arm, folder, seconds, connections, fresh))
        figures = {arm.name: _figures(turns[arm.name], _rss_mib(arm.pid)) for arm in arms}
    return {
        "payload": payload,
        "fresh": fresh,
        "connections": connections,
        "arms": {**figures, **absent},
        "ratios": {
            f"{ours}/{name}": round(
                median(a.rps / b.rps for a, b in zip(turns[ours], theirs, strict=True)), 3
            )
            for ours in ("ours", "ours-asgi")
            for name, theirs in turns.items()
            if ours in turns and name != ours and (ours == "ours" or name not in _OURS)
        },
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures as lines."""
    lines = [
        f"payload {result['payload']}, {result['connections']} connections, one core for each arm"
        + (f", {result['fresh']} never twice the same" if result["fresh"] else ""),
        "arm         requests/s   p50 ms   p99 ms   CPU us    MiB  errors",
    ]
    for name, told in result["arms"].items():
        if "not_run" in told:
            lines.append(f"{name:<10}{told['not_run']}")
            continue
        mark = "  load-limited" if told["load_limited"] else ""
        lines.append(
            f"{name:<10}{told['rps']:>12,.0f}{told['p50_ms']:>9.3f}{told['p99_ms']:>9.3f}"
            f"{told['cpu_us_per_request']:>9.1f}{told['rss_mib']:>7.1f}{told['errors']:>8}{mark}"
        )
    lines += [f"{name}: {ratio}" for name, ratio in result["ratios"].items()]
    return "\n".join(lines)


def turn(arm: Arm, folder: Path, seconds: int, connections: int, fresh: str = "") -> Round:
    """Load an arm for so many seconds; `folder` has its body. Return its figures."""
    env = {
        **os.environ,
        "BENCH_BODY": str(folder / f"{arm.name}.body"),
        "BENCH_TYPE": arm.ask.kind,
        "BENCH_FRESH": fresh,
    }
    words = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    words += ["--latency", "-s", str(PEERS / "wrk.lua"), arm.url + arm.ask.path]
    cpu, load = _cpu_seconds(arm.pid), _core(LOAD_CORE)
    said = subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout
    told = json.loads(said.splitlines()[-1])
    used, after = _cpu_seconds(arm.pid) - cpu, _core(LOAD_CORE)
    busy = 1 - (after[0] - load[0]) / max(1, after[1] - load[1])
    return Round(
        rps=told["requests"] / told["seconds"],
        p50_ms=told["p50_ms"],
        p99_ms=told["p99_ms"],
        errors=told["errors"],
        cpu_us=used / max(1, told["requests"]) * 1e6,
        load_busy=busy,
    )


def _figures(turns: list[Round], rss_mib: float) -> dict[str, Any]:
    return {
        "rps": round(median(turn.rps for turn in turns), 1),
        "p50_ms": round(median(turn.p50_ms for turn in turns), 4),
        "p99_ms": round(median(turn.p99_ms for turn in turns), 4),
        "cpu_us_per_request": round(median(turn.cpu_us for turn in turns), 2),
        "rss_mib": round(rss_mib, 1),
        "errors": sum(turn.errors for turn in turns),
        "load_limited": median(turn.load_busy for turn in turns) > 0.9,
    }


def _family(pid: int) -> list[int]:
    """Return a process and its children (nginx works in one)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    return [pid, *(grandchild for child in children for grandchild in _family(int(child)))]


def _cpu_seconds(pid: int) -> float:
    ticks = 0
    for member in _family(pid):
        told = Path(f"/proc/{member}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks += int(told[11]) + int(told[12])
    return ticks / _TICK


def _rss_mib(pid: int) -> float:
    return sum(rss_bytes(member) for member in _family(pid)) / 2**20


def _core(core: str) -> tuple[int, int]:
    """Return (idle, all) ticks of a core so far."""
    for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"cpu{core} "):
            ticks = [int(word) for word in line.split()[1:9]]
            return ticks[3] + ticks[4], sum(ticks)
    return 0, 1
