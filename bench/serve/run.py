"""Requests per second, latency and processor time of the whole chain beside model servers.

Every server runs alone on one core, the load on the other. The processor time of a request is that
of all processes of the server. Rounds alternate between the servers, and only the server that is
measured runs: some use their core without requests, too.
"""

import asyncio
import contextlib
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from bench import product
from bench.arms import Arm, BenchContext, PeerUnavailableError, wait_until_ready
from bench.gateway import ArmResult, cpu_seconds_of, measure_arm, rss_mib, summarize
from bench.latency import http_connector, open_loop
from bench.serve.cases import CASES, Case
from bench.serve.environments import FOLDER, installed_versions
from bench.serve.servers import code_lines, start_server

_START_TIMEOUT_S = 90.0
_WARM_UP_S = 2
_OPEN_LOOP_TIMEOUT_S = 60.0
_P99_LIMIT_MS = 50.0
_SHOWN_VERSIONS = ("fastapi", "litserve", "bentoml", "mlserver", "ray", "scikit-learn")


def run(peers: list[str], cases: list[str], rounds: int, seconds: int) -> dict[str, Any]:
    """Return {"arms", "ratios", "cases": {case: {load: {"arms", "ratios"}}}, ...}.

    A load is a number of connections, "open" for the open loop, or "limit" for the most requests
    per second at a p99 of 50 ms. "arms" and "ratios" are those of the first case with the most
    connections; "ours/fastapi" is the ratio of the requests per second, a median over the rounds.
    """
    measured: dict[str, Any] = {}
    product_folder = product.ensure_installed()
    for name in cases:
        case = CASES[name]
        servers = ["ours", *(peer for peer in peers if peer in case.peers)]
        measured[name] = _run_case(case, servers, rounds, seconds, product_folder)
    first = measured[cases[0]]
    main_load = str(max(CASES[cases[0]].connections))
    versions = {
        peer: {
            name: v
            for name, v in installed_versions(FOLDER / peer).items()
            if name in _SHOWN_VERSIONS
        }
        for peer in peers
        if (FOLDER / peer).exists()
    }
    return {
        **first[main_load],
        "cases": measured,
        "code_lines": {server: code_lines(server) for server in ("ours", *peers)},
        "servers": versions,
    }


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text, one line per case, load and server."""
    lines = [
        "case          load   server      requests/s   p50 ms   p99 ms   CPU us    MiB  errors"
    ]
    for case, loads in result["cases"].items():
        for load, figures in loads.items():
            lines += [
                f"{case:<14}{load:<7}{_format_row(name, row)}"
                for name, row in figures["arms"].items()
            ]
            lines += [f"{case:<14}{load:<7}{name}: {r}" for name, r in figures["ratios"].items()]
    lines.append(
        "lines of code of forest_batch: "
        + ", ".join(f"{name} {count}" for name, count in result["code_lines"].items())
    )
    return "\n".join(lines)


def _format_row(name: str, row: dict[str, Any]) -> str:
    if "not_run" in row:
        return f"{name:<12}{row['not_run'][:100]}"
    columns = f"{name:<10}{row['rps']:>12,.0f}{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f}"
    columns += f"{row['cpu_us_per_request']:>9.0f}{row['rss_mib']:>7.0f}{row['errors']:>8}"
    return columns + ("  load-limited" if row.get("load_limited") else "")


def _run_case(
    case: Case, servers: list[str], rounds: int, seconds: int, product_folder: Path
) -> dict[str, Any]:
    """Measure each server under each load; every turn starts it anew, and no other runs then."""
    results: dict[str, dict[str, list[ArmResult]]] = {}
    memory: dict[str, float] = {}
    unavailable: dict[str, dict[str, str]] = {}
    for _ in range(rounds):
        for name in servers:
            if name in unavailable:
                continue
            try:
                turn, memory[name] = _run_turn(case, name, seconds, product_folder)
            except (PeerUnavailableError, RuntimeError, TimeoutError) as error:
                unavailable[name] = {"not_run": str(error) or type(error).__name__}
                continue
            for load, result in turn.items():
                results.setdefault(load, {}).setdefault(name, []).append(result)
    loads = {
        load: {
            "arms": {
                name: summarize(measured, memory[name])
                for name, measured in by_server.items()
                if name not in unavailable
            }
            | unavailable,
            "ratios": _ratios(by_server),
        }
        for load, by_server in results.items()
    }
    if case.seeks_limit:
        loads["limit"] = _best_within_limit(loads)
    return loads


def _run_turn(
    case: Case, name: str, seconds: int, product_folder: Path
) -> tuple[dict[str, ArmResult], float]:
    """Return the figures of a server under each load, and its memory in MiB at the end."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        arm = start_server(BenchContext(folder, 0, stack), name, case.name, product_folder)
        wait_until_ready(arm, _START_TIMEOUT_S)
        (folder / f"{arm.name}.body").write_bytes(arm.request.body)
        measure_arm(arm, folder, _WARM_UP_S, case.connections[-1])
        figures = {
            str(count): measure_arm(arm, folder, seconds, count) for count in case.connections
        }
        if case.rate:
            figures["open"] = _measure_at_rate(arm, case.rate, seconds)
        return figures, rss_mib(arm)


def _measure_at_rate(arm: Arm, rate: int, seconds: int) -> ArmResult:
    cpu_before = cpu_seconds_of(arm)
    latencies, errors = uvloop.run(_send_at_rate(arm, rate, seconds))
    cpu_us = (cpu_seconds_of(arm) - cpu_before) / len(latencies) * 1e6
    p50_ms, p99_ms = latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100]
    return ArmResult((len(latencies) - errors) / seconds, p50_ms, p99_ms, errors, cpu_us, 0.0)


def _ratios(results: dict[str, list[ArmResult]]) -> dict[str, float]:
    """Return the requests/s of ours divided by those of each other server."""
    return {
        f"ours/{name}": round(
            median(a.rps / max(b.rps, 1e-9) for a, b in zip(results["ours"], theirs, strict=False)),
            3,
        )
        for name, theirs in results.items()
        if name != "ours" and "ours" in results
    }


async def _send_at_rate(arm: Arm, rate: int, seconds: int) -> tuple[list[float], int]:
    """Return the sorted latencies in milliseconds, and the number of failed requests."""
    send = await http_connector(arm)()
    errors = 0

    async def send_and_count() -> None:
        nonlocal errors
        try:
            await send()
        except RuntimeError:
            errors += 1

    async with asyncio.timeout(_OPEN_LOOP_TIMEOUT_S + seconds):
        return sorted(await open_loop(send_and_count, rate, seconds)), errors


def _best_within_limit(loads: dict[str, Any]) -> dict[str, Any]:
    """Return for each server the closed loop with the most requests/s at a p99 of 50 ms."""
    arms: dict[str, Any] = {}
    for load, figures in loads.items():
        for name, row in figures["arms"].items():
            if "not_run" in row:
                arms.setdefault(name, row)
            elif load != "open" and row["p99_ms"] <= _P99_LIMIT_MS:
                best = arms.get(name)
                if best is None or row["rps"] > best["rps"]:
                    arms[name] = row
    ours = arms.get("ours", {}).get("rps")
    ratios = {
        f"ours/{name}": round(ours / row["rps"], 3)
        for name, row in arms.items()
        if name != "ours" and ours and "rps" in row
    }
    return {"arms": arms, "ratios": ratios}
