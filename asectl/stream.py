"""`asectl call --ws` and `--sse`: a session, its results printed as they come."""

import argparse
import asyncio
import base64
import contextlib
import io
import json
import wave
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from asectl.main import EXIT_FAILED, EXIT_UNREACHABLE, Failure
from schemas.service import DataType, Service, member_schema

_KEYS = [kind.key for kind in DataType]
_LAST = 2  # header.status of the last result, and beyond
_LONGEST = 4  # bytes of a character in UTF-8
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


def run(
    service: Service, envelope: dict[str, Any], told: argparse.Namespace, paths: Mapping[str, str]
) -> int:
    """Ask for a session with an envelope of one frame; print each result. Raises Failure.

    To a service that streams, its longest payload goes in pieces; of a WAV the samples. Outputs
    with a path are written there, one result behind the other.
    """
    path = f"{told.url.rstrip('/')}/v1/private/{service.id}"
    cut = [(envelope, 0.0)]
    if service.streaming:
        cut = list(frames(envelope, service, whole=told.sse))
    with contextlib.ExitStack() as files:
        results = _Results(paths, files)
        if told.sse:
            _events(path, cut[0][0], told.timeout, results)
            return 0
        try:
            asyncio.run(_socket(path, cut, told, results))
        except BrokenPipeError:  # our own lines, which nobody reads
            raise
        except TimeoutError:
            words = f"{told.url}: no result for {told.timeout:g} s; --timeout waits longer"
            raise Failure(words, EXIT_UNREACHABLE) from None
        except (OSError, InvalidHandshake) as error:
            raise Failure(f"{told.url}: {error}", EXIT_UNREACHABLE) from None
    return 0


def _events(path: str, envelope: dict[str, Any], timeout: float, results: "_Results") -> None:
    headers = {"Accept": "text/event-stream"}
    with (
        httpx.Client(timeout=timeout, trust_env=False) as http,
        http.stream("POST", path, json=envelope, headers=headers) as answer,
    ):
        if answer.headers["content-type"] != "text/event-stream":
            _failed(json.loads(answer.read())["header"])
        for line in answer.iter_lines():
            if line.startswith("data: "):
                results.take(json.loads(line.removeprefix("data: ")))
    if not results.ended:
        raise Failure("the events ended before the last one", EXIT_FAILED)


async def _socket(
    path: str,
    cut: list[tuple[dict[str, Any], float]],
    told: argparse.Namespace,
    results: "_Results",
) -> None:
    loop = asyncio.get_running_loop()
    async with (
        connect(path.replace("http", "ws", 1), proxy=None, max_size=None) as ws,
        asyncio.timeout(None) as limit,
    ):

        async def send() -> None:
            await _send(ws, cut, told.realtime)
            limit.reschedule(loop.time() + told.timeout)

        sending = asyncio.ensure_future(send())
        try:
            async for message in ws:
                results.take(json.loads(message))
                if sending.done():
                    limit.reschedule(loop.time() + told.timeout)
        except ConnectionClosed:
            pass  # by which code is told below
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                await sending
    if not results.ended:
        words = f"the session ended before its last result: close code {ws.close_code}"
        raise Failure(f"{words} {ws.close_reason}".rstrip(), EXIT_FAILED)


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
    envelope: dict[str, Any], service: Service, *, whole: bool = False
) -> Iterator[tuple[dict[str, Any], float]]:
    """Yield an envelope of one frame as many, and how many seconds of sound each one holds.

    Its longest payload is cut (`whole`: not); of a WAV the samples are sent, and what they are
    where the schema of the service has a word for it.
    """
    payload = {name: dict(told) for name, told in envelope.get("payload", {}).items()}
    name, key = _longest(payload)
    if not name:
        yield envelope, 0.0
        return
    data, size, seconds, facts = _samples(base64.b64decode(payload[name][key]))
    pieces = [data] if whole else list(_cut(data, size, text=key == "text")) or [b""]
    if facts:
        known = (member_schema(service.input, "payload", name) or {}).get("properties", {})
        payload[name].pop("encoding", None)
        payload[name] |= {fact: value for fact, value in facts.items() if fact in known}
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


def _cut(data: bytes, size: int, *, text: bool) -> Iterator[bytes]:
    """Yield pieces of at most so many bytes; no character of a text is cut."""
    at, size = 0, max(size, _LONGEST)
    while at < len(data):
        end = at + size
        if text and end < len(data):
            end -= next((n for n in range(_LONGEST) if data[end - n] & 0xC0 != 0x80), 0)
        yield data[at:end]
        at = end


def _longest(payload: dict[str, dict[str, Any]]) -> tuple[str, str]:
    data = [
        (len(told[key]), name, key)
        for name, told in payload.items()
        for key in _KEYS
        if isinstance(told.get(key), str)
    ]
    return max(data)[1:] if data else ("", "")


def _samples(data: bytes) -> tuple[bytes, int, float, dict[str, int]]:
    """Return what is sent of a file, the bytes of each frame, their seconds, and a WAV's facts."""
    with contextlib.suppress(wave.Error, EOFError), wave.open(io.BytesIO(data)) as told:
        width, rate = told.getsampwidth() * told.getnchannels(), told.getframerate()
        facts = {"sample_rate": rate, "channels": told.getnchannels()}
        facts["bit_depth"] = told.getsampwidth() * 8
        return told.readframes(told.getnframes()), int(rate * _CHUNK_S) * width, _CHUNK_S, facts
    return data, _CHUNK_BYTES, _CHUNK_S, {}


class _Results:
    """Prints each result; what is to be written goes to its file, a result behind the other."""

    def __init__(self, paths: Mapping[str, str], files: contextlib.ExitStack) -> None:
        self._files: dict[str, BinaryIO] = {}
        for name, path in paths.items():
            file = Path(path).open("wb")  # noqa: SIM115 (`files` closes it)
            self._files[name] = files.enter_context(file)
        self.ended = False

    def take(self, told: dict[str, Any]) -> None:
        """Take an envelope. Raises Failure for an error."""
        header = told["header"]
        if header["code"]:
            _failed(header)
        self.ended = header["status"] >= _LAST
        for name, part in told.get("payload", {}).items():
            key = next((key for key in _KEYS if key in part), "")
            value = part.get(key)
            data = base64.b64decode(value) if isinstance(value, str) else b""
            if name in self._files:
                self._files[name].write(data or json.dumps(value).encode() + b"\n")
                continue
            if isinstance(value, str):
                value = data.decode("utf-8", "replace") if key == "text" else f"{len(data)} bytes"
            print(json.dumps({name: value}, ensure_ascii=False), flush=True)


def _failed(header: dict[str, Any]) -> None:
    words = f"{header['message']} (code {header['code']})\n  sid {header['sid']}"
    raise Failure(words, EXIT_FAILED)
