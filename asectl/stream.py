"""`asectl call --ws` and `--sse`: run a session and print its results as they arrive."""

import argparse
import asyncio
import base64
import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from asectl import wav
from asectl.http_client import HttpTarget
from asectl.main import EXIT_FAILED, EXIT_UNREACHABLE, Failure
from asectl.wav import WavError
from schemas.model.service import DataType, Service, member_schema

_KEYS = [kind.key for kind in DataType]
_LAST_STATUS = 2  # `header.status` of the last result; 3: the only one
_MAX_CHARACTER_BYTES = 4  # the longest character in UTF-8
_CHUNK_S = 0.04
_CHUNK_BYTES = 1280  # if the file is no WAV: 40 ms of 16-bit samples at 16 kHz


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the session flags."""
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--ws", action="store_true", help="by WebSocket, the file in frames")
    mode.add_argument("--sse", action="store_true", help="as server-sent events")
    parser.add_argument(
        "--realtime", action="store_true", help="with --ws: as fast as the samples are spoken"
    )


def run(
    service: Service, envelope: dict[str, Any], args: argparse.Namespace, paths: Mapping[str, str]
) -> int:
    """Run a session with the request in `envelope`, a single frame; print each result. Return 0.

    For a service that streams, the longest payload is sent as WAV samples if it is a WAV file, and
    with `--ws` it is split into frames. An output that has a path is written there, result after
    result. Raises Failure: exit code 1 if the session fails or ends early, 4 if the gateway cannot
    be reached or sends no result for `--timeout` seconds.
    """
    gateway, path = HttpTarget.from_args(args), f"/v1/private/{service.id}"
    timed_frames = [(envelope, 0.0)]
    if service.streaming:
        timed_frames = list(split_envelope(envelope, service, single_frame=args.sse))
    with contextlib.ExitStack() as files:
        printer = _ResultPrinter(paths, files)
        if args.sse:
            _run_sse(gateway, path, timed_frames[0][0], args.timeout, printer)
            return 0
        try:
            asyncio.run(_run_websocket(gateway, path, timed_frames, args, printer))
        except BrokenPipeError:  # the reader of stdout has closed it; not a network error
            raise
        except TimeoutError:
            message = f"{args.url}: no result for {args.timeout:g} s; --timeout waits longer"
            raise Failure(message, EXIT_UNREACHABLE) from None
        except (OSError, InvalidHandshake) as error:
            raise Failure(f"{args.url}: {error}", EXIT_UNREACHABLE) from None
    return 0


def _run_sse(
    gateway: HttpTarget,
    path: str,
    envelope: dict[str, Any],
    timeout: float,
    printer: "_ResultPrinter",
) -> None:
    headers = {"Accept": "text/event-stream"}
    with (
        gateway.client(timeout) as client,
        client.stream("POST", path, json=envelope, headers=headers) as response,
    ):
        if response.headers["content-type"] != "text/event-stream":
            _raise_failure(json.loads(response.read())["header"])
        for line in response.iter_lines():
            if line.startswith("data: "):
                printer.show(json.loads(line.removeprefix("data: ")))
    if not printer.is_finished:
        raise Failure("the events ended before the last one", EXIT_FAILED)


async def _run_websocket(
    gateway: HttpTarget,
    path: str,
    timed_frames: list[tuple[dict[str, Any], float]],
    args: argparse.Namespace,
    printer: "_ResultPrinter",
) -> None:
    loop = asyncio.get_running_loop()
    async with (
        connect(
            gateway.url.replace("http", "ws", 1) + path,
            additional_headers=gateway.headers(),
            proxy=None,
            max_size=None,
            ssl=gateway.tls_context(),
        ) as ws,
        asyncio.timeout(None) as result_timeout,
    ):

        async def send_all() -> None:
            await _send_frames(ws, timed_frames, args.realtime)
            result_timeout.reschedule(loop.time() + args.timeout)

        send_task = asyncio.ensure_future(send_all())
        try:
            async for message in ws:
                printer.show(json.loads(message))
                if send_task.done():
                    result_timeout.reschedule(loop.time() + args.timeout)
        except ConnectionClosed:
            pass  # the close code is reported below
        finally:
            send_task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                await send_task
    if not printer.is_finished:
        reason = f"the session ended before its last result: close code {ws.close_code}"
        raise Failure(f"{reason} {ws.close_reason}".rstrip(), EXIT_FAILED)


async def _send_frames(
    ws: ClientConnection, timed_frames: list[tuple[dict[str, Any], float]], realtime: bool
) -> None:
    """Send the frames; with `realtime`, each after the duration of the frames before it."""
    loop = asyncio.get_running_loop()
    started_at, sent_s = loop.time(), 0.0
    for frame, seconds in timed_frames:
        if realtime:
            await asyncio.sleep(max(0.0, started_at + sent_s - loop.time()))
        await ws.send(json.dumps(frame))
        sent_s += seconds


def split_envelope(
    envelope: dict[str, Any], service: Service, *, single_frame: bool = False
) -> Iterator[tuple[dict[str, Any], float]]:
    """Split a single-frame envelope into frames; yield each with its duration in seconds.

    The longest payload is cut into pieces of 40 ms (of 1280 bytes if it is no WAV file). It is left
    whole if `single_frame`, or if the schema allows only the status of an only frame for it. The
    header's `status` is 0 in the first frame, 1 in the next ones, 2 in the last, 3 in an only one.
    The payload has it too, and `seq`, which counts from 0, if the schema declares them. The first
    frame carries all other members of the envelope, and other payloads whole. An envelope without a
    payload is yielded as it is, with 0 seconds.

    Of a WAV file only the samples are sent. `encoding` is dropped, and `sample_rate`, `channels`
    and `bit_depth` are set if the service's schema has them.
    """
    payload = {name: dict(part) for name, part in envelope.get("payload", {}).items()}
    name, key = _longest_part(payload)
    if not name:
        yield envelope, 0.0
        return
    data, chunk_bytes, seconds, audio_attributes = _extract_samples(
        base64.b64decode(payload[name][key])
    )
    is_whole = single_frame or not _may_be_split(service, name)
    pieces = [data] if is_whole else list(_split_data(data, chunk_bytes, text=key == "text"))
    if audio_attributes:
        payload[name].pop("encoding", None)
        payload[name] |= _declared_only(service, name, audio_attributes)
    for index, piece in enumerate(pieces or [b""]):
        status = 2 if index == len(pieces) - 1 else 1 if index else 0
        status = 3 if len(pieces) <= 1 else status
        part = payload[name] | _declared_only(service, name, {"status": status, "seq": index})
        part[key] = base64.b64encode(piece).decode()
        frame: dict[str, Any] = {"header": {"status": status}, "payload": {name: part}}
        if not index:
            header = {**envelope["header"], "status": status}
            frame = {**envelope, "header": header, "payload": {**payload, name: part}}
        yield frame, seconds


def _may_be_split(service: Service, name: str) -> bool:
    """Return whether the schema allows the status of a first frame for a payload, or any."""
    rules = member_schema(service.input, "payload", name, "status") or {}
    statuses = rules.get("enum")
    return not isinstance(statuses, list) or 0 in statuses


def _declared_only(service: Service, name: str, members: dict[str, Any]) -> dict[str, Any]:
    """Return those of `members` that the schema declares for the payload `name`."""
    return {
        member: value
        for member, value in members.items()
        if member_schema(service.input, "payload", name, member) is not None
    }


def _split_data(data: bytes, size: int, *, text: bool) -> Iterator[bytes]:
    """Yield pieces of at most `size` bytes (at least 4); with `text`, cut between characters only.

    A UTF-8 character has at most 4 bytes, so each piece holds one and the loop makes progress.
    """
    start, size = 0, max(size, _MAX_CHARACTER_BYTES)
    while start < len(data):
        end = start + size
        if text and end < len(data):
            end -= next((n for n in range(_MAX_CHARACTER_BYTES) if data[end - n] & 0xC0 != 0x80), 0)
        yield data[start:end]
        start = end


def _longest_part(payload: dict[str, dict[str, Any]]) -> tuple[str, str]:
    candidates = [
        (len(part[key]), name, key)
        for name, part in payload.items()
        for key in _KEYS
        if isinstance(part.get(key), str)
    ]
    return max(candidates)[1:] if candidates else ("", "")


def _extract_samples(data: bytes) -> tuple[bytes, int, float, dict[str, int]]:
    """Return the bytes to send of a file, bytes per frame, seconds per frame, and WAV attributes.

    If the file is no WAV, the bytes are `data` and the attributes are empty. Raises Failure for a
    WAV file whose samples are no PCM.
    """
    if not wav.is_wav(data):
        return data, _CHUNK_BYTES, _CHUNK_S, {}
    try:
        sound = wav.parse(data)
    except WavError as error:
        raise Failure(str(error), EXIT_FAILED) from None
    attributes = {
        "sample_rate": sound.rate,
        "channels": sound.channels,
        "bit_depth": sound.bits,
    }
    return sound.data, int(sound.rate * _CHUNK_S) * sound.frame_size, _CHUNK_S, attributes


def is_embedded_json(part: Mapping[str, Any], value: Any) -> bool:
    """Return whether the data of an output is a JSON value, which may be a text, and not base64."""
    return not isinstance(value, str) or (part.get("format") == "json" and value != "")


class _ResultPrinter:
    """Prints each result. An output in `paths` is appended to its file instead.

    `ended` is true once the last result has been shown. `files` closes the open files.
    """

    def __init__(self, paths: Mapping[str, str], files: contextlib.ExitStack) -> None:
        self._files: dict[str, BinaryIO] = {}
        for name, path in paths.items():
            file = Path(path).open("wb")  # noqa: SIM115 (`files` closes it)
            self._files[name] = files.enter_context(file)
        self.is_finished = False

    def show(self, envelope: dict[str, Any]) -> None:
        """Print or write the outputs of a response envelope. Raises Failure for an error code."""
        header = envelope["header"]
        if header["code"]:
            _raise_failure(header)
        self.is_finished = header["status"] >= _LAST_STATUS
        for name, part in envelope.get("payload", {}).items():
            key = next((key for key in _KEYS if key in part), "")
            value = part.get(key)
            is_json = is_embedded_json(part, value)
            data = json.dumps(value).encode() + b"\n" if is_json else base64.b64decode(value)
            if name in self._files:
                self._files[name].write(data)
                continue
            if not is_json:
                value = data.decode("utf-8", "replace") if key == "text" else f"{len(data)} bytes"
            print(json.dumps({name: value}, ensure_ascii=False), flush=True)


def _raise_failure(header: dict[str, Any]) -> None:
    message = f"{header['message']} (code {header['code']})\n  sid {header['sid']}"
    raise Failure(message, EXIT_FAILED)
