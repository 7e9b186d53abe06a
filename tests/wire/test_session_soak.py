"""Sessions opened and broken at random leave nothing: no slot, no stream, no descriptor.

ASE_SOAK sets how many; the count for the record is 10,000.
"""

import asyncio
import contextlib
import json
import os
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest

from tests.harness import Gateway, Loader
from tests.sessions import TALKER, frame
from tests.wire.test_sockets import wait_until_idle

pytestmark = pytest.mark.sources_only  # it counts what is left, compiled or not

SESSION_COUNT = int(os.environ.get("ASE_SOAK", "1000"))
CONCURRENCY = 50
KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


def ws_frame(message: object) -> bytes:
    data = json.dumps(message).encode()
    return b"\x81\xfe" + len(data).to_bytes(2, "big") + b"\0\0\0\0" + data


async def run_broken_session(url: str, rng: Random) -> None:
    """Open one, send some of it, and leave it in some way."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"GET /v1/private/talker HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\n"
    head += f"Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    act = rng.choice(["echo", "echo", "hold", "raise", "refuse", "undeclared", "end", "flood"])
    first_frame = ws_frame(frame(rng.choice([0, 0, 0, 3, 1]), b"hello", act=act, many=50))
    frames = [
        first_frame,
        ws_frame(frame(1, b"more")),
        ws_frame(frame(2)),
        ws_frame({"a": 1}),
        b"\x89\x80\0\0\0\0",
    ]
    writer.write(head.encode() + b"".join(frames[: rng.randrange(6)]))
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        match rng.randrange(5):
            case 0:
                pass
            case 1:
                await reader.readuntil(b"\r\n\r\n")
            case 2:
                await reader.readexactly(200)
            case 3:
                writer.write(b"\x88\x82\0\0\0\0\x03\xe8")
                await reader.read()
            case 4:
                writer.write(bytes([rng.randrange(256) for _ in range(20)]))
                await asyncio.wait({asyncio.ensure_future(reader.read(500))}, timeout=0.05)
        if rng.random() < 0.5:
            writer.transport.abort()
    writer.close()


async def run_broken_sessions(url: str, session_count: int) -> None:
    rng = Random(6)
    for _ in range(0, session_count, CONCURRENCY):
        await asyncio.gather(*(run_broken_session(url, rng) for _ in range(CONCURRENCY)))


def open_file_count(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_broken_sessions_leak_nothing() -> None:
    with Gateway("--session-read-timeout", "0.3") as gateway, Loader(gateway.lb, TALKER) as loader:
        gateway.wait_until_up(loader)
        asyncio.run(run_broken_sessions(gateway.url, CONCURRENCY))
        wait_until_idle(gateway)
        before = open_file_count(gateway.pid), open_file_count(loader.pid)
        asyncio.run(run_broken_sessions(gateway.url, SESSION_COUNT))
        wait_until_idle(gateway)
        assert (open_file_count(gateway.pid), open_file_count(loader.pid)) <= (
            before[0] + 1,
            before[1] + 1,
        )
        started, ended = loader.count("began"), loader.count("over")
        assert started == ended
        assert started > 0
        assert not gateway.text, "nothing of a session is told on stderr"
        assert not [line for line in gateway.lines if line["level"] == "error"]
