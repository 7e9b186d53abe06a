"""WebSocket messages through the gateway, and through servers that only echo.

The gateway validates each message, converts it in both directions and calls a loader in another
process.

Each connection sends a message and waits for the response. The figure is messages per second of the
server's processor time, because the load on the other core is slower than the fastest server.
"""

import asyncio
import base64
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import httpx
import uvloop

from aseloader import declare
from aseloader.loading import load
from bench import arms, product
from bench.arms import BenchContext
from bench.echo_loader import SLOW
from bench.machine import cpu_seconds, pin, rss_bytes
from rpc.client import Channel
from schemas.wire import LoaderInput, MetaDesc, Payload

_WEBSOCKET_KEY = "AAAAAAAAAAAAAAAAAAAAAA=="
_AUDIO_BASE64 = base64.b64encode(b"y" * 210).decode()
WRAPPER = "bench/echo_wrapper.py:Echo"


def run(rounds: int, seconds: float, connections: int, sessions: int) -> dict[str, Any]:
    """Return {"arms": {name: {"frames_per_second", "errors", ...}}, "ratios", "many", "first"}.

    Each arm runs for `seconds` in each of `rounds` rounds, with `connections` connections. `many`
    has the latencies of `sessions` sessions that each send one message per second for 12 s. `first`
    has the times to the first result by SSE and by gRPC directly from the loader.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        context = BenchContext(folder, 0, stack)
        ours_url, ours_pid, loader_addr = start_ours(context)
        servers = {name: _start_peer(context, name) for name in ("bare", "starlette")}
        servers = {"ours": (ours_url, ours_pid), **servers}
        pin(arms.LOAD_CORE)
        results: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
        for round_number in range(rounds + 1):  # the first round is a warm-up
            for name, (url, pid) in servers.items():
                result = uvloop.run(_measure_server(url, pid, name == "ours", seconds, connections))
                if round_number:
                    results[name].append(result)
        many_sessions = uvloop.run(_measure_many_sessions(ours_url, ours_pid, sessions, 12.0))
        first_results = uvloop.run(_measure_first_result(ours_url, loader_addr, 100))
    figures: dict[str, Any] = {name: _medians(arm_results) for name, arm_results in results.items()}
    ratios = {
        f"ours/{name}": round(median(
            a["frames_per_second"] / b["frames_per_second"]
            for a, b in zip(results["ours"], results[name], strict=True)
        ), 3)
        for name in ("bare", "starlette")
    }  # fmt: skip
    slow_ratio = first_results[f"sse_{SLOW}_ms"] / first_results[f"direct_{SLOW}_ms"]
    ratios["first result after 20 ms, sse/direct"] = round(slow_ratio, 3)
    return {"arms": figures, "ratios": ratios, "many": many_sessions, "first": first_results}


def _medians(results: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(median(result[key] for result in results), 1) for key in results[0]}


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text, one line per arm, measurement and ratio."""
    lines = ["arm         frames/s of a core   us a frame   frames/s   errors"]
    for name, figures in result["arms"].items():
        lines.append(
            f"{name:<12}{figures['frames_per_second']:>18,.0f}{figures['cpu_us_per_frame']:>13.1f}"
            f"{figures['wall_per_second']:>11,.0f}{figures['errors']:>9.0f}"
        )
    many, first = result["many"], result["first"]
    lines.append(
        f"{many['sessions']:,} sessions at 1 frame/s: p50 {many['p50_ms']:.1f} ms, p99 "
        f"{many['p99_ms']:.1f} ms, {many['rss_kib']:.1f} KiB each, {many['errors']} errors"
    )
    lines.append(f"first result: {', '.join(f'{n} {ms:.2f}' for n, ms in first.items())}")
    return "\n".join([*lines, *(f"{name}: {ratio}" for name, ratio in result["ratios"].items())])


def start_ours(context: BenchContext) -> tuple[str, int, str]:
    """Start the compiled product and its loader.

    Returns the URL of the service, the process id of the gateway and the address of the loader.
    """
    port, schemas = arms.free_port(), context.folder / "schemas"
    schemas.mkdir()
    schema = declare.schema(load(WRAPPER))
    (schemas / "schema_echo.json").write_bytes(schema)
    instance = f"{{service: echo, addr: '127.0.0.1:{port}', total: 10000}}"
    config = context.folder / "ase.yaml"
    config.write_text(f"schemas: schemas\ninstances: [{instance}]\n", encoding="utf-8")
    arms.start_pinned(
        context, arms.LOAD_CORE, [sys.executable, "-m", "bench.echo_loader", str(port)]
    )
    args = ["gateway", "--config", str(config), "--gateway-port", "0", "--lb-port", "0"]
    args += ["--gateway-admin-port", "0", "--gateway-lame-duck", "0"]
    log, env = context.folder / "ours.log", product.import_environment(product.ensure_installed())
    process = arms.start_asectl(context, arms.ARM_CORE, args, log, env)
    endpoints = arms.wait_for_log_record(log, "listening")
    return endpoints["gateway"] + "/v1/private/echo", process.pid, f"127.0.0.1:{port}"


def _start_peer(context: BenchContext, name: str) -> tuple[str, int]:
    port = arms.free_port()
    command = [sys.executable, "-m", "bench.echo", name, str(port)]
    process = arms.start_pinned(context, arms.ARM_CORE, command)
    url = f"http://127.0.0.1:{port}"
    for _ in range(200):
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(url, trust_env=False)
            return f"{url}/", process.pid
        time.sleep(0.05)
    raise RuntimeError(f"{name} does not listen")


def envelope(status: int, lang: str = "en") -> bytes:
    """Return a JSON message of a session, about 400 bytes.

    `status` is 0 for the first message, 1 for the following ones, and 3 for a single one.
    """
    message: dict[str, Any] = {"header": {"status": status}}
    message["payload"] = {"audio": {"encoding": "raw", "status": status, "audio": _AUDIO_BASE64}}
    if status in (0, 3):
        message["header"] |= {"app_id": "bench", "uid": "u-1"}
        message["parameter"] = {"echo": {"lang": lang, "size": 12}}
    return json.dumps(message).encode()


def websocket_frame(message: bytes) -> bytes:
    """Return a text message as a masked frame (RFC 6455, section 5.2).

    The masking key is zero, so the payload is unchanged. A message must have 126 to 65,535 bytes.
    """
    return b"\x81\xfe" + len(message).to_bytes(2, "big") + b"\0\0\0\0" + message


class StreamClient(asyncio.Protocol):
    """One WebSocket connection: the handshake, then one message at a time.

    Sends `first_frame` after the handshake. `on_message` is called with this client and the payload
    of every received frame. `sent_at` is the time of the last `send` (`time.perf_counter`). The
    server's frames must be unmasked and shorter than 64 KiB.
    """

    def __init__(
        self, url: str, first_frame: bytes, on_message: Callable[["StreamClient", bytes], None]
    ) -> None:
        self._url = urlsplit(url)
        self._first_frame = first_frame
        self._on_message = on_message
        self._buffer = b""
        self.is_open = False
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake request."""
        self.transport: Any = transport
        head = (
            f"GET {self._url.path} HTTP/1.1\r\nHost: {self._url.netloc}\r\nUpgrade: websocket\r\n"
        )
        head += f"Connection: Upgrade\r\nSec-WebSocket-Key: {_WEBSOCKET_KEY}\r\n"
        head += "Sec-WebSocket-Version: 13\r\n"
        transport.write(head.encode() + b"\r\n")  # type: ignore[attr-defined]

    def send(self, frame: bytes) -> None:
        """Write an encoded frame and record the time."""
        self.sent_at = time.perf_counter()
        self.transport.write(frame)

    def data_received(self, data: bytes) -> None:
        """Handle the handshake response, then every complete frame."""
        self._buffer += data
        if not self.is_open:
            head, separator, self._buffer = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                self._buffer = head
                return
            self.is_open = b" 101 " in head
            self.send(self._first_frame)
        while len(self._buffer) >= 4:
            size, offset = self._buffer[1], 2
            if size == 126:
                size, offset = int.from_bytes(self._buffer[2:4], "big"), 4
            if len(self._buffer) < offset + size:
                return
            message, self._buffer = (
                self._buffer[offset : offset + size],
                self._buffer[offset + size :],
            )
            self._on_message(self, message)


async def _measure_server(
    url: str, pid: int, sends_begin: bool, seconds: float, connections: int
) -> dict[str, float]:
    first_frame, next_frame = websocket_frame(envelope(0)), websocket_frame(envelope(1))
    counters = {"frames": 0, "errors": 0}
    running = [True]

    def on_message(client: StreamClient, message: bytes) -> None:
        if sends_begin and message.endswith(b'"status":0}}'):
            return  # the gateway acknowledges the start of the session
        if _AUDIO_BASE64.encode() not in message:
            counters["errors"] += 1
        counters["frames"] += 1
        if running[0]:
            client.send(next_frame)

    loop, parsed_url = asyncio.get_running_loop(), urlsplit(url)
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(
            lambda: StreamClient(url, first_frame, on_message),
            parsed_url.hostname or "",
            parsed_url.port or 80,
        )
        clients.append(client)
    await asyncio.sleep(0.5)
    frames_before, cpu_before, started_at = (
        counters["frames"],
        cpu_seconds(pid),
        time.perf_counter(),
    )
    await asyncio.sleep(seconds)
    frames = counters["frames"] - frames_before
    cpu_used, wall = cpu_seconds(pid) - cpu_before, time.perf_counter() - started_at
    running[0] = False
    for client in clients:
        client.transport.abort()
    return {
        "frames_per_second": frames / max(cpu_used, 0.01),
        "cpu_us_per_frame": cpu_used / max(frames, 1) * 1e6,
        "wall_per_second": frames / wall,
        "errors": float(counters["errors"]),
        "rss_mib": rss_bytes(pid) / 2**20,
    }


async def _measure_many_sessions(
    url: str, pid: int, sessions: int, seconds: float
) -> dict[str, Any]:
    """Open `sessions` sessions and send one message per second on each, for `seconds`.

    Returns latencies in milliseconds, and the memory of the gateway per session. Counts messages
    without a response as errors.
    """
    first_frame, next_frame = websocket_frame(envelope(0)), websocket_frame(envelope(1))
    latencies: list[float] = []
    errors = 0

    def on_message(client: StreamClient, message: bytes) -> None:
        nonlocal errors
        if message.endswith(b'"status":0}}'):
            return
        if _AUDIO_BASE64.encode() not in message:
            errors += 1
        latencies.append(time.perf_counter() - client.sent_at)

    loop, parsed_url = asyncio.get_running_loop(), urlsplit(url)
    rss_before = rss_bytes(pid)
    clients: list[StreamClient] = []
    for _ in range(sessions):
        _, client = await loop.create_connection(
            lambda: StreamClient(url, first_frame, on_message),
            parsed_url.hostname or "",
            parsed_url.port or 80,
        )
        clients.append(client)
    while len(latencies) < sessions:  # until each has its first result  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    rss_growth = rss_bytes(pid) - rss_before
    latencies.clear()
    started_at = time.perf_counter()
    for number in range(int(sessions * seconds)):
        await asyncio.sleep(max(0.0, started_at + number / sessions - time.perf_counter()))
        clients[number % sessions].send(next_frame)
    await asyncio.sleep(1)
    errors += int(sessions * seconds) - len(latencies)
    for client in clients:
        client.transport.abort()
    latencies.sort()
    return {
        "sessions": sessions,
        "p50_ms": round(latencies[len(latencies) // 2] * 1e3, 2),
        "p99_ms": round(latencies[len(latencies) * 99 // 100] * 1e3, 2),
        "rss_kib": round(rss_growth / sessions / 1024, 1),
        "errors": errors,
    }


async def _measure_first_result(url: str, loader_addr: str, repetitions: int) -> dict[str, float]:
    """Return the median times to the first result in ms, by SSE and directly from the loader.

    Each is measured for a loader that needs 20 ms to its first result, as a model may, and for one
    that responds at once. The two take turns in coming first: what comes after a pause of all
    processes finds their caches cold.
    """
    latencies: dict[str, list[float]] = {}
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    channel = Channel(loader_addr)
    for repetition in range(repetitions):
        for lang in ("en", SLOW):
            ways: list[tuple[str, Callable[[], Awaitable[float]]]] = [
                (f"sse_{lang}", partial(_first_result_by_sse, reader, writer, url, lang)),
                (f"direct_{lang}", partial(_first_result_direct, channel, lang)),
            ]
            for name, measure in ways if repetition % 2 else reversed(ways):
                seconds = await measure()
                if repetition > repetitions // 10:
                    latencies.setdefault(name, []).append(seconds)
    writer.close()
    await channel.close()
    return {f"{name}_ms": round(median(values) * 1e3, 3) for name, values in latencies.items()}


async def _first_result_by_sse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: str, lang: str
) -> float:
    body, parsed_url = envelope(3, lang), urlsplit(url)
    request_head = f"POST {parsed_url.path} HTTP/1.1\r\nHost: {parsed_url.netloc}\r\n"
    request_head += "Accept: text/event-stream\r\n"
    request_head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    started_at = time.perf_counter()
    writer.write(request_head.encode() + body)
    response_head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in response_head:
        raise RuntimeError(f"{response_head!r}")
    await reader.readuntil(b"event: result")
    elapsed = time.perf_counter() - started_at
    await reader.readuntil(b"\r\n0\r\n\r\n")
    return elapsed


async def _first_result_direct(channel: Channel, lang: str) -> float:
    meta = MetaDesc(name="audio", dataType=MetaDesc.AUDIO, attribute={"status": "3"})
    payload = Payload(meta=meta, data=base64.b64decode(_AUDIO_BASE64))
    frame = LoaderInput(serviceId="echo", params={"lang": lang}, pl=[payload]).SerializeToString()
    started_at = time.perf_counter()
    stream = channel.stream("/ase.v1.Loader/Session", timeout=10)
    await stream.send(frame)
    await stream.finish_sending()
    results = aiter(stream)
    await anext(results)  # the BEGIN message without a result
    await anext(results)
    elapsed = time.perf_counter() - started_at
    async for _ in results:
        pass
    return elapsed
