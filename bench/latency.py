"""Latency added by an arm, and its processor time, at a fixed request rate, open-loop.

The latency of a request starts at the time when it was due, not when it was sent. So a stall counts
for every request that it delays. The baseline `direct` calls the backend with our gRPC client at
the same rate.
"""

import asyncio
import contextlib
import itertools
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bench import workload
from bench.arms import LOAD_CORE, Arm, start_arms, start_backend
from bench.gateway import cpu_seconds_of
from bench.machine import pin
from rpc.client import Channel

_CONNECTIONS = 64

Send = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class OpenLoopResult:
    """The figures of one round of one arm: latencies, and processor time for each request."""

    p50_ms: float
    p99_ms: float
    cpu_us: float


def run(
    peers: list[str], rate: int, rounds: int, seconds: int, loaders: int = 1, heads: str = "wrk"
) -> dict[str, Any]:
    """Return {"rate", "arms": {name: {"p50_ms", "p99_ms", "added_...", ...}}, "ratios": {...}}.

    `rate` is in requests per second, `heads` is a key of `workload.HEADS`. Each arm runs for
    `seconds` in each of `rounds` rounds. The processor time of an arm is that of all its processes,
    also for what it does without requests. Raises RuntimeError if an arm does not respond
    correctly.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        context = start_backend(folder, stack, loaders)
        arms, unavailable = start_arms(context, ["ours", *peers], "small", heads)
        pin(LOAD_CORE)
        results = uvloop.run(
            _run_rounds(arms, f"127.0.0.1:{context.backend_port}", rate, rounds, seconds)
        )
    figures: dict[str, Any] = {"direct": _summarize(results["direct"], None)}
    figures |= {arm.name: _summarize(results[arm.name], results["direct"]) for arm in arms}
    return {
        "rate": rate,
        "loaders": loaders,
        "heads": heads,
        "arms": {**figures, **unavailable},
        "ratios": _ratios(results, arms),
    }


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text, one line per arm and ratio."""
    load = f"{_CONNECTIONS} connections, loaders {result['loaders']}, heads {result['heads']}"
    lines = [
        f"{result['rate']} requests/s, open-loop, {load}, one core for each arm",
        "arm          p50 ms   p99 ms  added p50  added p99   CPU us",
    ]
    for name, figures in result["arms"].items():
        if "not_run" in figures:
            lines.append(f"{name:<10}{figures['not_run']}")
            continue
        columns = [figures.get(key) for key in ("added_p50_ms", "added_p99_ms")]
        text = "".join("          -" if value is None else f"{value:>11.3f}" for value in columns)
        cpu = figures.get("cpu_us_per_request")
        text += "        -" if cpu is None else f"{cpu:>9.1f}"
        lines.append(f"{name:<10}{figures['p50_ms']:>9.3f}{figures['p99_ms']:>9.3f}{text}")
    lines += [f"{name}: {ratio}" for name, ratio in result["ratios"].items()]
    return "\n".join(lines)


async def _run_rounds(
    arms: list[Arm], addr: str, rate: int, rounds: int, seconds: int
) -> dict[str, list[OpenLoopResult]]:
    """Return the figures of each round, by the name of the arm or `direct`."""
    connectors: dict[str, Callable[[], Awaitable[Send]]] = {"direct": lambda: _connect_direct(addr)}
    connectors |= {arm.name: http_connector(arm) for arm in arms}
    arms_by_name = {arm.name: arm for arm in arms}
    results: dict[str, list[OpenLoopResult]] = {name: [] for name in connectors}
    for round_number in range(rounds + 1):  # the first round is a warm-up
        for name, connect in connectors.items():
            send, arm = await connect(), arms_by_name.get(name)
            result = await _measure(send, arm, rate, seconds if round_number else 1)
            if round_number:
                results[name].append(result)
    return results


async def open_loop(send: Send, rate: int, seconds: int) -> list[float]:
    """Send `rate` requests per second for `seconds`; return their latencies in milliseconds.

    The latency of a request starts at the time when it was due. Latencies are in the order in which
    the requests ended. If `send` raises for a request, the exception is raised here.
    """
    times: list[float] = []
    started_at = time.perf_counter() + 0.05

    async def send_one(due: float) -> None:
        await send()
        times.append((time.perf_counter() - due) * 1000)

    tasks = []
    for number in range(rate * seconds):
        due = started_at + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.ensure_future(send_one(due)))
    await asyncio.gather(*tasks)
    return times


async def _measure(send: Send, arm: Arm | None, rate: int, seconds: int) -> OpenLoopResult:
    cpu_before = cpu_seconds_of(arm) if arm is not None else 0.0
    times = sorted(await open_loop(send, rate, seconds))
    cpu = cpu_seconds_of(arm) - cpu_before if arm is not None else 0.0
    count = len(times)
    return OpenLoopResult(times[count // 2], times[count * 99 // 100], cpu / count * 1e6)


async def _connect_direct(addr: str) -> Send:
    channel, frame = Channel(addr), workload.grpc_request("small").body[5:]

    async def send() -> None:
        await channel.unary("/ase.v1.Loader/Infer", frame, timeout=10)

    await send()
    return send


def http_connector(arm: Arm) -> Callable[[], Awaitable[Send]]:
    """Return a function that opens 64 connections to an arm and returns its `send`.

    `send` is as in `status_connector`, and raises RuntimeError if the status is not 200.
    """

    async def connect() -> Send:
        send_for_status = await status_connector(arm, _CONNECTIONS)()

        async def send() -> None:
            status = await send_for_status()
            if status != HTTPStatus.OK:
                raise RuntimeError(f"{arm.name} answers {status}")

        return send

    return connect


def status_connector(
    arm: Arm, connections: int
) -> Callable[[], Awaitable[Callable[[], Awaitable[int]]]]:
    """Return a function that opens `connections` to an arm and returns its `send`.

    `send` sends one request on an idle connection, waiting for one if there is none, reads the
    response and returns its status; the requests have the arm's header sets in turn. It opens a
    connection anew if the response ended it.
    """
    url = urlsplit(arm.url)
    requests = itertools.cycle(
        [_encode_request(arm, url.netloc, headers) for headers in arm.request.header_sets or ({},)]
    )

    async def connect() -> Callable[[], Awaitable[int]]:
        idle_connections: asyncio.Queue[Any] = asyncio.Queue()
        for _ in range(connections):
            idle_connections.put_nowait(await asyncio.open_connection(url.hostname, url.port))

        async def send() -> int:
            reader, writer = await idle_connections.get()
            writer.write(next(requests))
            response_head = await reader.readuntil(b"\r\n\r\n")
            head = response_head.lower()
            if b"transfer-encoding: chunked" in head:
                await reader.readuntil(b"0\r\n\r\n")
            else:
                length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
            if b"connection: close" in head:
                writer.close()
                reader, writer = await asyncio.open_connection(url.hostname, url.port)
            idle_connections.put_nowait((reader, writer))
            return int(response_head.split(b" ", 2)[1])

        return send

    return connect


def _encode_request(arm: Arm, host: str, headers: Mapping[str, str]) -> bytes:
    head = f"POST {arm.request.path} HTTP/1.1\r\nHost: {host}\r\n"
    head += f"Content-Type: {arm.request.content_type}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head += f"Content-Length: {len(arm.request.body)}\r\n\r\n"
    return head.encode() + arm.request.body


def _summarize(
    results: list[OpenLoopResult], direct_results: list[OpenLoopResult] | None
) -> dict[str, float]:
    figures = {
        "p50_ms": round(median(result.p50_ms for result in results), 4),
        "p99_ms": round(median(result.p99_ms for result in results), 4),
    }
    if direct_results is not None:
        pairs = list(zip(results, direct_results, strict=True))
        figures["added_p50_ms"] = round(median(a.p50_ms - b.p50_ms for a, b in pairs), 4)
        figures["added_p99_ms"] = round(median(a.p99_ms - b.p99_ms for a, b in pairs), 4)
        figures["cpu_us_per_request"] = round(median(result.cpu_us for result in results), 2)
    return figures


def _ratios(results: dict[str, list[OpenLoopResult]], arms: list[Arm]) -> dict[str, float]:
    """Return the figures of `ours` divided by those of each other arm, as medians over rounds.

    The first of `arms` is `ours`. Added latencies of the other arms are at least 1 ns.
    """
    ratios: dict[str, float] = {}
    for arm in arms[1:]:
        rounds = list(zip(results["ours"], results[arm.name], results["direct"], strict=True))
        values = {
            "added p50": [
                (a.p50_ms - d.p50_ms) / max(1e-6, b.p50_ms - d.p50_ms) for a, b, d in rounds
            ],
            "added p99": [
                (a.p99_ms - d.p99_ms) / max(1e-6, b.p99_ms - d.p99_ms) for a, b, d in rounds
            ],
            "cpu": [a.cpu_us / max(1e-6, b.cpu_us) for a, b, _ in rounds],
        }
        ratios |= {
            f"ours/{arm.name} {name}": round(median(ratio), 3) for name, ratio in values.items()
        }
    return ratios
