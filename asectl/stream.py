"""`asectl call --ws` and `--sse`: a session, its results printed as they come."""

import argparse
import asyncio
import base64
import contextlib
import io
import json
import wave
from collections.abc import Iterator
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from asectl.main import EXIT_FAILED, EXIT_UNREACHABLE, Failure
from schemas.service import Service

_CHUNK_S = 0.04
_CHUNK_BYTES = 1280  # of what is no WAV: 40 ms of 16-bit samples, 16,000 a second


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of sessions."""
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--ws", action="store_true", help="by WebSocket, the file in frames")
    way.add_argument("--sse", action="store_true", help="as server-sent events")
    parser.add_argument(
        "--realtime", action="store_true", help="with --ws: as fast as the samples are spoken"
    )


def run(service: Service, envelope: dict[str, Any], told: argparse.Namespace) -> int:
    """Ask for a session with an envelope of one frame; print each result. Raises Failure.

    To a service that streams, its longest payload goes in pieces; of a WAV the samples.
    """
    path = f"{told.url.rstrip('/')}/v1/private/{service.id}"
    cut = list(frames(envelope, whole=told.sse) if service.streams else [(envelope, 0.0)])
    if told.sse:
        return _events(path, cut[0][0], told.timeout)
    try:
        return asyncio.run(_socket(path, cut, told.realtime))
    except BrokenPipeError:  # our own lines, which nobody reads
        raise
    except (OSError, InvalidHandshake) as error:
        raise Failure(f"{told.url}: {error}", EXIT_UNREACHABLE) from None


def _events(path: str, envelope: dict[str, Any], timeout: float) -> int:
    headers = {"Accept": "text/event-stream"}
    with (
        httpx.Client(timeout=timeout, trust_env=False) as http,
        http.stream("POST", path, json=envelope, headers=headers) as answer,
    ):
        if answer.headers["content-type"] != "text/event-stream":
            _failed(json.loads(answer.read())["header"])
        for line in answer.iter_lines():
            if line.startswith("data: "):
                _show(json.loads(line.removeprefix("data: ")))
    return 0


async def _socket(path: str, cut: list[tuple[dict[str, Any], float]], realtime: bool) -> int:
    async with connect(path.replace("http", "ws", 1), proxy=None, max_size=None) as ws:
        sending = asyncio.ensure_future(_send(ws, cut, realtime))
        try:
            async for message in ws:
                _show(json.loads(message))
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else 1006
            raise Failure(f"the session ended with close code {code}", EXIT_FAILED) from None
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                await sending
    return 0


async def _send(
    ws: ClientConnection, cut: list[tuple[dict[str, Any], float]], realtime: bool
) -> None:
    """Send the frames, each when it is due."""
    loop = asyncio.get_running_loop()
    began, sent = loop.time(), 0.0
    for frame, seconds in cut:
        if realtime:
            await asyncio.sleep(max(0.0, began + sent - loop.time()))
        await ws.send(json.dumps(frame))
        sent += seconds


def frames(
    envelope: dict[str, Any], *, whole: bool = False
) -> Iterator[tuple[dict[str, Any], float]]:
    """Yield an envelope of one frame as many, and how many seconds of sound each one holds.

    Its longest payload is cut (`whole`: not); of a WAV the samples are sent.
    """
    payload = {name: dict(told) for name, told in envelope.get("payload", {}).items()}
    name, key = _longest(payload)
    if not name:
        yield envelope, 0.0
        return
    data, size, seconds, rate = _samples(base64.b64decode(payload[name][key]))
    size = len(data) if whole else size
    pieces = [data[at : at + size] for at in range(0, len(data), size or 1)] or [b""]
    if rate:
        payload[name].pop("encoding", None)
        payload[name]["sample_rate"] = rate
    for number, piece in enumerate(pieces):
        status = 2 if number == len(pieces) - 1 else 1 if number else 0
        status = 3 if len(pieces) == 1 else status
        told = {**payload[name], "status": status, "seq": number}
        told[key] = base64.b64encode(piece).decode()
        frame: dict[str, Any] = {"header": {"status": status}, "payload": {name: told}}
        if not number:
            others = {k: {**v, "status": status} for k, v in payload.items()}
            header = {**envelope["header"], "status": status}
            frame = {**envelope, "header": header, "payload": {**others, name: told}}
        yield frame, seconds


def _longest(payload: dict[str, dict[str, Any]]) -> tuple[str, str]:
    data = [
        (len(told[key]), name, key)
        for name, told in payload.items()
        for key in ("audio", "text", "image", "video", "other")
        if isinstance(told.get(key), str)
    ]
    return max(data)[1:] if data else ("", "")


def _samples(data: bytes) -> tuple[bytes, int, float, int]:
    """Return what is sent of a file, the bytes of each frame, their seconds, and a WAV's rate."""
    with contextlib.suppress(wave.Error, EOFError), wave.open(io.BytesIO(data)) as told:
        width, rate = told.getsampwidth() * told.getnchannels(), told.getframerate()
        return told.readframes(told.getnframes()), int(rate * _CHUNK_S) * width, _CHUNK_S, rate
    return data, _CHUNK_BYTES, _CHUNK_S, 0


def _show(told: dict[str, Any]) -> None:
    header = told["header"]
    if header["code"]:
        _failed(header)
    for name, part in told.get("payload", {}).items():
        value = next((part[key] for key in ("text", "audio", "image", "video", "other")
                      if key in part), None)  # fmt: skip
        if isinstance(value, str) and "text" in part:
            value = base64.b64decode(value).decode("utf-8", "replace")
        elif isinstance(value, str):
            value = f"{len(base64.b64decode(value))} bytes"
        print(json.dumps({name: value}, ensure_ascii=False), flush=True)


def _failed(header: dict[str, Any]) -> None:
    words = f"{header['message']} (code {header['code']})\n  sid {header['sid']}"
    raise Failure(words, EXIT_FAILED)
