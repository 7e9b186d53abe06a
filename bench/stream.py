"""Frames by WebSocket: ours, beside servers that echo and do nothing else.

Ours are validated, and converted both ways, to a loader in another process.

Each connection sends a frame and awaits its answer. What counts is frames for each second of the
server's own processor time: the load has the other core, and is slower than the fastest of them.
"""

import asyncio
import base64
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import httpx
import uvloop

from aseloader import declare
from aseloader.run import load
from bench import arms, product
from bench.arms import Ground
from bench.echo_loader import SLOW
from bench.machine import pin, rss_bytes
from rpc.client import Channel
from schemas.wire import LoaderInput, MetaDesc, Payload

_KEY = "AAAAAAAAAAAAAAAAAAAAAA=="
_DATA = base64.b64encode(b"y" * 210).decode()
WRAPPER = "bench/echo_wrapper.py:Echo"


def run(rounds: int, seconds: float, connections: int, sessions: int) -> dict[str, Any]:
    """Return {"arms": {name: {"frames_per_second", "errors", ...}}, "ratios": {...}, ...}.

    `many` sessions at a frame a second; `first` results by SSE, beside the loader's own stream.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ground = Ground(folder, 0, stack)
        ours_url, ours_pid, loader = ours(ground)
        told = {name: _peer(ground, name) for name in ("bare", "starlette")}
        told = {"ours": (ours_url, ours_pid), **told}
        pin(arms.LOAD_CORE)
        turns: dict[str, list[dict[str, float]]] = {name: [] for name in told}
        for turn in range(rounds + 1):  # the first is to warm up
            for name, (url, pid) in told.items():
                one = uvloop.run(_turn(url, pid, name == "ours", seconds, connections))
                if turn:
                    turns[name].append(one)
        crowd = uvloop.run(_many(ours_url, ours_pid, sessions, 12.0))
        first = uvloop.run(_first(ours_url, loader, 100))
    figures: dict[str, Any] = {name: _medians(all_) for name, all_ in turns.items()}
    ratios = {
        f"ours/{name}": round(median(
            a["frames_per_second"] / b["frames_per_second"]
            for a, b in zip(turns["ours"], turns[name], strict=True)
        ), 3)
        for name in ("bare", "starlette")
    }  # fmt: skip
    slow = first[f"sse_{SLOW}_ms"] / first[f"direct_{SLOW}_ms"]
    ratios["first result after 20 ms, sse/direct"] = round(slow, 3)
    return {"arms": figures, "ratios": ratios, "many": crowd, "first": first}


def _medians(turns: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(median(turn[key] for turn in turns), 1) for key in turns[0]}


def table(result: dict[str, Any]) -> str:
    """Return the figures as lines."""
    lines = ["arm         frames/s of a core   us a frame   frames/s   errors"]
    for name, told in result["arms"].items():
        lines.append(
            f"{name:<12}{told['frames_per_second']:>18,.0f}{told['cpu_us_per_frame']:>13.1f}"
            f"{told['wall_per_second']:>11,.0f}{told['errors']:>9.0f}"
        )
    many, first = result["many"], result["first"]
    lines.append(
        f"{many['sessions']:,} sessions at 1 frame/s: p50 {many['p50_ms']:.1f} ms, p99 "
        f"{many['p99_ms']:.1f} ms, {many['rss_kib']:.1f} KiB each, {many['errors']} errors"
    )
    lines.append(f"first result: {', '.join(f'{n} {ms:.2f}' for n, ms in first.items())}")
    return "\n".join([*lines, *(f"{name}: {ratio}" for name, ratio in result["ratios"].items())])


def ours(ground: Ground) -> tuple[str, int, str]:
    """Start the product, compiled, and its loader; return the URL, the process, the loader."""
    port, schemas = arms.free_port(), ground.folder / "schemas"
    schemas.mkdir()
    schema = declare.schema(load(WRAPPER))
    (schemas / "schema_echo.json").write_bytes(schema)
    instance = f"{{service: echo, addr: '127.0.0.1:{port}', total: 10000}}"
    config = ground.folder / "ase.yaml"
    config.write_text(f"schemas: schemas\ninstances: [{instance}]\n", encoding="utf-8")
    arms.start(ground, arms.LOAD_CORE, [sys.executable, "-m", "bench.echo_loader", str(port)])
    words = ["gateway", "--config", str(config), "--gateway-port", "0", "--lb-port", "0"]
    words += ["--gateway-admin-port", "0", "--gateway-lame-duck", "0"]
    log, env = ground.folder / "ours.log", product.environment(product.installed())
    process = arms.asectl(ground, arms.ARM_CORE, words, log, env)
    told = arms.said(log, "listening")
    return told["gateway"] + "/v1/private/echo", process.pid, f"127.0.0.1:{port}"


def _peer(ground: Ground, name: str) -> tuple[str, int]:
    port = arms.free_port()
    words = [sys.executable, "-m", "bench.echo", name, str(port)]
    process = arms.start(ground, arms.ARM_CORE, words)
    url = f"http://127.0.0.1:{port}"
    for _ in range(200):
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(url, trust_env=False)
            return f"{url}/", process.pid
        time.sleep(0.05)
    raise RuntimeError(f"{name} does not listen")


def envelope(status: int, lang: str = "en") -> bytes:
    """Return a frame of about 400 bytes."""
    told: dict[str, Any] = {"header": {"status": status}}
    told["payload"] = {"audio": {"encoding": "raw", "status": status, "audio": _DATA}}
    if status in (0, 3):
        told["header"] |= {"app_id": "bench", "uid": "u-1"}
        told["parameter"] = {"echo": {"lang": lang, "size": 12}}
    return json.dumps(told).encode()


def framed(message: bytes) -> bytes:
    """Return a message as a masked frame; the mask is zeros, so it is as it was."""
    return b"\x81\xfe" + len(message).to_bytes(2, "big") + b"\0\0\0\0" + message


class Client(asyncio.Protocol):
    """One connection: a handshake, then a frame at a time; `answered` is called for each answer."""

    def __init__(self, url: str, first: bytes, answered: Callable[["Client", bytes], None]) -> None:
        self._url = urlsplit(url)
        self._first = first
        self._answered = answered
        self._data = b""
        self.open = False
        self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the socket."""
        self.transport: Any = transport
        head = (
            f"GET {self._url.path} HTTP/1.1\r\nHost: {self._url.netloc}\r\nUpgrade: websocket\r\n"
        )
        head += f"Connection: Upgrade\r\nSec-WebSocket-Key: {_KEY}\r\nSec-WebSocket-Version: 13\r\n"
        transport.write(head.encode() + b"\r\n")  # type: ignore[attr-defined]

    def send(self, frame: bytes) -> None:
        """Send a frame."""
        self.sent = time.perf_counter()
        self.transport.write(frame)

    def data_received(self, data: bytes) -> None:
        """Take answers."""
        self._data += data
        if not self.open:
            head, found, self._data = self._data.partition(b"\r\n\r\n")
            if not found:
                self._data = head
                return
            self.open = b" 101 " in head
            self.send(self._first)
        while len(self._data) >= 4:
            size, at = self._data[1], 2
            if size == 126:
                size, at = int.from_bytes(self._data[2:4], "big"), 4
            if len(self._data) < at + size:
                return
            message, self._data = self._data[at : at + size], self._data[at + size :]
            self._answered(self, message)


async def _turn(
    url: str, pid: int, begins: bool, seconds: float, connections: int
) -> dict[str, float]:
    first, again = framed(envelope(0)), framed(envelope(1))
    told = {"frames": 0, "errors": 0}
    running = [True]

    def answered(client: Client, message: bytes) -> None:
        if begins and message.endswith(b'"status":0}}'):
            return  # the session's beginning
        if _DATA.encode() not in message:
            told["errors"] += 1
        told["frames"] += 1
        if running[0]:
            client.send(again)

    loop, where = asyncio.get_running_loop(), urlsplit(url)
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(
            lambda: Client(url, first, answered), where.hostname or "", where.port or 80
        )
        clients.append(client)
    await asyncio.sleep(0.5)
    before, used, began = told["frames"], _cpu_seconds(pid), time.perf_counter()
    await asyncio.sleep(seconds)
    frames = told["frames"] - before
    cpu, wall = _cpu_seconds(pid) - used, time.perf_counter() - began
    running[0] = False
    for client in clients:
        client.transport.abort()
    return {
        "frames_per_second": frames / max(cpu, 0.01),
        "cpu_us_per_frame": cpu / max(frames, 1) * 1e6,
        "wall_per_second": frames / wall,
        "errors": float(told["errors"]),
        "rss_mib": rss_bytes(pid) / 2**20,
    }


async def _many(url: str, pid: int, sessions: int, seconds: float) -> dict[str, Any]:
    """Open so many sessions and send a frame on each every second; time the answers."""
    first, again = framed(envelope(0)), framed(envelope(1))
    times: list[float] = []
    errors = 0

    def answered(client: Client, message: bytes) -> None:
        nonlocal errors
        if message.endswith(b'"status":0}}'):
            return
        if _DATA.encode() not in message:
            errors += 1
        times.append(time.perf_counter() - client.sent)

    loop, where = asyncio.get_running_loop(), urlsplit(url)
    before = rss_bytes(pid)
    clients: list[Client] = []
    for _ in range(sessions):
        _, client = await loop.create_connection(
            lambda: Client(url, first, answered), where.hostname or "", where.port or 80
        )
        clients.append(client)
    while len(times) < sessions:  # each has its first answer  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    held = rss_bytes(pid) - before
    times.clear()
    began = time.perf_counter()
    for number in range(int(sessions * seconds)):
        await asyncio.sleep(max(0.0, began + number / sessions - time.perf_counter()))
        clients[number % sessions].send(again)
    await asyncio.sleep(1)
    errors += int(sessions * seconds) - len(times)
    for client in clients:
        client.transport.abort()
    times.sort()
    return {
        "sessions": sessions,
        "p50_ms": round(times[len(times) // 2] * 1e3, 2),
        "p99_ms": round(times[len(times) * 99 // 100] * 1e3, 2),
        "rss_kib": round(held / sessions / 1024, 1),
        "errors": errors,
    }


async def _first(url: str, loader: str, times: int) -> dict[str, float]:
    """Return the median ms to a first result, by SSE and on the loader's own stream.

    Of a loader that takes 20 ms to it, as a model might, and of one that takes no time at all.
    """
    told: dict[str, list[float]] = {}
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    channel = Channel(loader)
    for turn in range(times):
        for lang in ("en", SLOW):
            by_sse = await _by_sse(reader, writer, url, lang)
            direct = await _direct(channel, lang)
            if turn > times // 10:
                told.setdefault(f"sse_{lang}", []).append(by_sse)
                told.setdefault(f"direct_{lang}", []).append(direct)
    writer.close()
    await channel.close()
    return {f"{name}_ms": round(median(all_) * 1e3, 3) for name, all_ in told.items()}


async def _by_sse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: str, lang: str
) -> float:
    body, where = envelope(3, lang), urlsplit(url)
    head = f"POST {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\nAccept: text/event-stream\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    began = time.perf_counter()
    writer.write(head.encode() + body)
    told = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in told:
        raise RuntimeError(f"{told!r}")
    await reader.readuntil(b"event: result")
    spent = time.perf_counter() - began
    await reader.readuntil(b"\r\n0\r\n\r\n")
    return spent


async def _direct(channel: Channel, lang: str) -> float:
    meta = MetaDesc(name="audio", dataType=MetaDesc.AUDIO, attribute={"status": "3"})
    data = Payload(meta=meta, data=base64.b64decode(_DATA))
    frame = LoaderInput(serviceId="echo", params={"lang": lang}, pl=[data]).SerializeToString()
    began = time.perf_counter()
    stream = channel.stream("/ase.v1.Loader/Session", timeout=10)
    await stream.send(frame)
    await stream.finish_sending()
    results = aiter(stream)
    await anext(results)  # it begins
    await anext(results)
    spent = time.perf_counter() - began
    async for _ in results:
        pass
    return spent


def _cpu_seconds(pid: int) -> float:
    told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")
