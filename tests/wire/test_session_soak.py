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
from tests.wire.test_sockets import TALKER, frame, free

pytestmark = pytest.mark.sources_only  # it counts what is left, compiled or not

MANY = int(os.environ.get("ASE_SOAK", "1000"))
AT_ONCE = 50
KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


def framed(told: object) -> bytes:
    data = json.dumps(told).encode()
    return b"\x81\xfe" + len(data).to_bytes(2, "big") + b"\0\0\0\0" + data


async def broken(url: str, rng: Random) -> None:
    """Open one, send some of it, and leave it in some way."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    head = f"GET /v1/private/talker HTTP/1.1\r\nHost: {where.netloc}\r\nUpgrade: websocket\r\n"
    head += f"Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    act = rng.choice(["echo", "echo", "hold", "raise", "refuse", "undeclared", "end", "flood"])
    begun = framed(frame(rng.choice([0, 0, 0, 3, 1]), b"hello", act=act, many=50))
    more = [
        begun,
        framed(frame(1, b"more")),
        framed(frame(2)),
        framed({"a": 1}),
        b"\x89\x80\0\0\0\0",
    ]
    writer.write(head.encode() + b"".join(more[: rng.randrange(6)]))
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


async def storm(url: str, many: int) -> None:
    rng = Random(6)
    for _ in range(0, many, AT_ONCE):
        await asyncio.gather(*(broken(url, rng) for _ in range(AT_ONCE)))


def files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_broken_sessions_leave_nothing() -> None:
    with Gateway("--session-read-timeout", "0.3") as gateway, Loader(gateway.lb, TALKER) as loader:
        gateway.joined(loader)
        asyncio.run(storm(gateway.url, AT_ONCE))
        free(gateway)
        before = files(gateway.pid), files(loader.pid)
        asyncio.run(storm(gateway.url, MANY))
        free(gateway)
        assert (files(gateway.pid), files(loader.pid)) <= (before[0] + 1, before[1] + 1)
        began, over = loader.count("began"), loader.count("over")
        assert began == over
        assert began > MANY // 10
        assert not gateway.text, "nothing of a session is told on stderr"
        assert not [line for line in gateway.lines if line["level"] == "error"]
