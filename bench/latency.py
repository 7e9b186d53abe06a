"""Latency added by an arm at a fixed request rate, open-loop.

The latency of a request starts at the time when it was due, not when it was sent. So a stall counts
for every request that it delays. The baseline `direct` calls the backend with our gRPC client at
the same rate.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bench import workload
from bench.arms import LOAD_CORE, Arm, start_arms, start_backend
from bench.machine import pin
from rpc.client import Channel

_CONNECTIONS = 64

Send = Callable[[], Awaitable[None]]


def run(peers: list[str], rate: int, rounds: int, seconds: int) -> dict[str, Any]:
    """Return {"rate", "arms": {name: {"p50_ms", "p99_ms", "added_..."}}, "ratios": {...}}.

    `rate` is in requests per second. Each arm runs for `seconds` in each of `rounds` rounds. Raises
    RuntimeError if an arm does not respond correctly.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        context = start_backend(folder, stack)
        arms, unavailable = start_arms(context, ["ours", *peers], "small")
        pin(LOAD_CORE)
        percentiles = uvloop.run(
            _run_rounds(arms, f"127.0.0.1:{context.backend_port}", rate, rounds, seconds)
        )
    figures: dict[str, Any] = {"direct": _summarize(percentiles["direct"], None)}
    figures |= {arm.name: _summarize(percentiles[arm.name], percentiles["direct"]) for arm in arms}
    return {"rate": rate, "arms": {**figures, **unavailable}, "ratios": _ratios(percentiles, arms)}


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text, one line per arm and ratio."""
    lines = [f"{result['rate']} requests/s, open-loop, {_CONNECTIONS} connections",
             "arm          p50 ms   p99 ms  added p50  added p99"]  # fmt: skip
    for name, figures in result["arms"].items():
        if "not_run" in figures:
            lines.append(f"{name:<10}{figures['not_run']}")
            continue
        added = [figures.get(key) for key in ("added_p50_ms", "added_p99_ms")]
        added_columns = "".join(
            "          -" if value is None else f"{value:>11.3f}" for value in added
        )
        lines.append(f"{name:<10}{figures['p50_ms']:>9.3f}{figures['p99_ms']:>9.3f}{added_columns}")
    lines += [f"{name}: {ratio}" for name, ratio in result["ratios"].items()]
    return "\n".join(lines)


async def _run_rounds(
    arms: list[Arm], addr: str, rate: int, rounds: int, seconds: int
) -> dict[str, list[tuple[float, float]]]:
    """Return (p50, p99) in milliseconds of each round, by the name of the arm or `direct`."""
    connectors: dict[str, Callable[[], Awaitable[Send]]] = {"direct": lambda: _connect_direct(addr)}
    connectors |= {arm.name: http_connector(arm) for arm in arms}
    percentiles: dict[str, list[tuple[float, float]]] = {name: [] for name in connectors}
    for round_number in range(rounds + 1):  # the first round is a warm-up
        for name, connect in connectors.items():
            send = await connect()
            figures = await _measure_percentiles(send, rate, seconds if round_number else 1)
            if round_number:
                percentiles[name].append(figures)
    return percentiles


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


async def _measure_percentiles(send: Send, rate: int, seconds: int) -> tuple[float, float]:
    times = sorted(await open_loop(send, rate, seconds))
    return times[len(times) // 2], times[len(times) * 99 // 100]


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
    response and returns its status; each has the first of the arm's header sets. It opens a
    connection anew if the response ended it.
    """
    url = urlsplit(arm.url)
    request_head = f"POST {arm.request.path} HTTP/1.1\r\nHost: {url.netloc}\r\n"
    request_head += f"Content-Type: {arm.request.content_type}\r\n"
    for name, value in (arm.request.header_sets or ({},))[0].items():
        request_head += f"{name}: {value}\r\n"
    request_head += f"Content-Length: {len(arm.request.body)}\r\n\r\n"
    request = request_head.encode() + arm.request.body

    async def connect() -> Callable[[], Awaitable[int]]:
        idle_connections: asyncio.Queue[Any] = asyncio.Queue()
        for _ in range(connections):
            idle_connections.put_nowait(await asyncio.open_connection(url.hostname, url.port))

        async def send() -> int:
            reader, writer = await idle_connections.get()
            writer.write(request)
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


def _summarize(
    percentiles: list[tuple[float, float]], direct_percentiles: list[tuple[float, float]] | None
) -> dict[str, float]:
    p50, p99 = (median(pair[i] for pair in percentiles) for i in (0, 1))
    figures = {"p50_ms": round(p50, 4), "p99_ms": round(p99, 4)}
    if direct_percentiles is not None:
        figures["added_p50_ms"], figures["added_p99_ms"] = (
            round(
                median(a[i] - b[i] for a, b in zip(percentiles, direct_percentiles, strict=True)), 4
            )
            for i in (0, 1)
        )
    return figures


def _ratios(percentiles: dict[str, list[tuple[float, float]]], arms: list[Arm]) -> dict[str, float]:
    """Return the added latency of `ours` divided by that of each other arm, as medians over rounds.

    The first of `arms` is `ours`. Added latencies of the other arms are at least 1 ns.
    """
    ratios = {}
    for arm in arms[1:]:
        for i, name in ((0, "p50"), (1, "p99")):
            rounds = zip(
                percentiles["ours"], percentiles[arm.name], percentiles["direct"], strict=True
            )
            ratio = median((a[i] - d[i]) / max(1e-6, b[i] - d[i]) for a, b, d in rounds)
            ratios[f"ours/{arm.name} added {name}"] = round(ratio, 3)
    return ratios
