"""Latency added by an arm at a fixed rate, open-loop.

Each request is timed from when it was meant to be sent, so that a stall counts for all that wait
behind it. The direct call is made by our gRPC client to the backend, at the same rate.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bench import workload
from bench.arms import LOAD_CORE, Arm, backend, started
from bench.machine import pin
from rpc.client import Channel

_CONNECTIONS = 64

Send = Callable[[], Awaitable[None]]


def run(peers: list[str], rate: int, rounds: int, seconds: int) -> dict[str, Any]:
    """Return {"rate", "arms": {name: {"p50_ms", "p99_ms", "added_..."}}, "ratios": {...}}.

    Raises RuntimeError when an arm answers wrong.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ground = backend(folder, stack)
        arms, absent = started(ground, ["ours", *peers], "small")
        pin(LOAD_CORE)
        told = uvloop.run(_rounds(arms, f"127.0.0.1:{ground.backend}", rate, rounds, seconds))
    figures: dict[str, Any] = {"direct": _figures(told["direct"], None)}
    figures |= {arm.name: _figures(told[arm.name], told["direct"]) for arm in arms}
    return {"rate": rate, "arms": {**figures, **absent}, "ratios": _ratios(told, arms)}


def table(result: dict[str, Any]) -> str:
    """Return the figures as lines."""
    lines = [f"{result['rate']} requests/s, open-loop, {_CONNECTIONS} connections",
             "arm          p50 ms   p99 ms  added p50  added p99"]  # fmt: skip
    for name, told in result["arms"].items():
        if "not_run" in told:
            lines.append(f"{name:<10}{told['not_run']}")
            continue
        added = [told.get(key) for key in ("added_p50_ms", "added_p99_ms")]
        shown = "".join("          -" if value is None else f"{value:>11.3f}" for value in added)
        lines.append(f"{name:<10}{told['p50_ms']:>9.3f}{told['p99_ms']:>9.3f}{shown}")
    lines += [f"{name}: {ratio}" for name, ratio in result["ratios"].items()]
    return "\n".join(lines)


async def _rounds(
    arms: list[Arm], addr: str, rate: int, rounds: int, seconds: int
) -> dict[str, list[tuple[float, float]]]:
    """Return (p50, p99) in milliseconds of each round of each arm and of the direct call."""
    ways: dict[str, Callable[[], Awaitable[Send]]] = {"direct": lambda: _direct(addr)}
    ways |= {arm.name: over_http(arm) for arm in arms}
    told: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(rounds + 1):  # the first is to warm up
        for name, way in ways.items():
            send = await way()
            figures = await _turn(send, rate, seconds if turn else 1)
            if turn:
                told[name].append(figures)
    return told


async def open_loop(send: Send, rate: int, seconds: int) -> list[float]:
    """Return how long each of so many requests a second took, in ms, from when it was due."""
    times: list[float] = []
    began = time.perf_counter() + 0.05

    async def one(meant: float) -> None:
        await send()
        times.append((time.perf_counter() - meant) * 1000)

    tasks = []
    for number in range(rate * seconds):
        meant = began + number / rate
        await asyncio.sleep(max(0.0, meant - time.perf_counter()))
        tasks.append(asyncio.ensure_future(one(meant)))
    await asyncio.gather(*tasks)
    return times


async def _turn(send: Send, rate: int, seconds: int) -> tuple[float, float]:
    times = sorted(await open_loop(send, rate, seconds))
    return times[len(times) // 2], times[len(times) * 99 // 100]


async def _direct(addr: str) -> Send:
    channel, frame = Channel(addr), workload.framed("small").body[5:]

    async def send() -> None:
        await channel.unary("/ase.v1.Loader/Infer", frame, timeout=10)

    await send()
    return send


def over_http(arm: Arm) -> Callable[[], Awaitable[Send]]:
    """Return what connects to an arm, and then what sends one request and reads its answer."""
    where = urlsplit(arm.url)
    head = f"POST {arm.ask.path} HTTP/1.1\r\nHost: {where.netloc}\r\n"
    head += f"Content-Type: {arm.ask.kind}\r\nContent-Length: {len(arm.ask.body)}\r\n\r\n"
    request = head.encode() + arm.ask.body

    async def connected() -> Send:
        free: asyncio.Queue[Any] = asyncio.Queue()
        for _ in range(_CONNECTIONS):
            free.put_nowait(await asyncio.open_connection(where.hostname, where.port))

        async def send() -> None:
            reader, writer = await free.get()
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{arm.name}: {answer[:100]!r}")
            size = answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(size))
            free.put_nowait((reader, writer))

        return send

    return connected


def _figures(
    turns: list[tuple[float, float]], direct: list[tuple[float, float]] | None
) -> dict[str, float]:
    p50, p99 = (median(turn[i] for turn in turns) for i in (0, 1))
    figures = {"p50_ms": round(p50, 4), "p99_ms": round(p99, 4)}
    if direct is not None:
        figures["added_p50_ms"], figures["added_p99_ms"] = (
            round(median(a[i] - b[i] for a, b in zip(turns, direct, strict=True)), 4)
            for i in (0, 1)
        )
    return figures


def _ratios(told: dict[str, list[tuple[float, float]]], arms: list[Arm]) -> dict[str, float]:
    """Return ours / arm of the added latencies, medians over the rounds."""
    ratios = {}
    for arm in arms[1:]:
        for i, name in ((0, "p50"), (1, "p99")):
            rows = zip(told["ours"], told[arm.name], told["direct"], strict=True)
            ratio = median((a[i] - d[i]) / max(1e-6, b[i] - d[i]) for a, b, d in rows)
            ratios[f"ours/{arm.name} added {name}"] = round(ratio, 3)
    return ratios
