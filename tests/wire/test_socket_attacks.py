"""WebSockets of clients that mean ill: each is closed with its code, and others are served on.

Source: RFC 6455, section 5.
"""

import contextlib
import json
import socket
import struct
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.harness import PATIENCE, Gateway, Loader
from tests.wire.test_sockets import TALKER, frame, free

KEY = "AAAAAAAAAAAAAAAAAAAAAA=="
MANY_PINGS = b"\x89\x80\0\0\0\0" * 10_000


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    flags = ("--session-max-frame", "65536", "--session-ping", "0.5")
    with Gateway(*flags) as running, Loader(running.lb, TALKER) as loader:
        running.joined(loader)
        yield running


@contextlib.contextmanager
def raw(gateway: Gateway, query: str = "", extra: str = "") -> Iterator[socket.socket]:
    """Open a socket by hand; the answer to the handshake is read."""
    where = urlsplit(gateway.url)
    with socket.create_connection((where.hostname, where.port), timeout=PATIENCE) as sock:
        head = f"GET /v1/private/talker{query} HTTP/1.1\r\nHost: {where.netloc}\r\n"
        head += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        sock.sendall(f"{head}Sec-WebSocket-Key: {KEY}\r\n{extra}\r\n".encode())
        told = b""
        while not told.endswith(b"\r\n\r\n"):
            told += sock.recv(1)
        assert b" 101 " in told.split(b"\r\n")[0]
        assert b"sec-websocket-extensions" not in told.lower()
        yield sock


def masked(opcode: int, data: bytes, *, fin: bool = True) -> bytes:
    size = len(data)
    if size < 126:
        head = struct.pack(">BB", opcode | fin << 7, size | 128)
    else:
        head = struct.pack(">BBH", opcode | fin << 7, 126 | 128, size)
    return head + b"\0\0\0\0" + data


def code(sock: socket.socket) -> int | None:
    """Return the code of the close frame that comes; None when the connection ends without."""
    told = b""
    with contextlib.suppress(OSError):
        while data := sock.recv(65536):
            told += data
    at = 0
    while at + 2 <= len(told):
        size, opcode, at = told[at + 1], told[at] & 15, at + 2
        if size == 126:
            size, at = int.from_bytes(told[at : at + 2], "big"), at + 2
        if opcode == 8:
            return int.from_bytes(told[at : at + 2], "big")
        at += size
    return None


TEXT = json.dumps(frame(0, b"a")).encode()
ATTACKS: list[tuple[str, bytes, int]] = [
    ("not masked", b"\x81\x02{}", 1002),
    ("a reserved bit", b"\xc1\x82\0\0\0\0{}", 1002),
    ("a reserved opcode", b"\x83\x82\0\0\0\0{}", 1002),
    ("a fragmented ping", b"\x09\x80\0\0\0\0", 1002),
    ("a large ping", masked(9, b"x" * 126), 1002),
    ("goes on with nothing", masked(0, b"x"), 1002),
    ("text within a text", masked(1, b"{", fin=False) + masked(1, b"}"), 1002),
    ("a gigabyte, its head", b"\x81\xff" + (1 << 30).to_bytes(8, "big") + b"\0\0\0\0", 1009),
    ("2^63 bytes, its head", b"\x81\xff" + b"\x80" + b"\0" * 7 + b"\0\0\0\0", 1009),
    ("more than may be", masked(1, b"x" * 60_000, fin=False) + masked(0, b"x" * 60_000), 1009),
    ("a million fragments", masked(1, b"{", fin=False) + masked(0, b" ", fin=False) * 10_000, 1008),
    ("a flood of pings", MANY_PINGS, 1008),
    ("no UTF-8", masked(1, b'{"a":"\xff"}'), 1007),
    ("a close of one byte", masked(8, b"\x03"), 1002),
    ("a close with no such code", masked(8, b"\x03\xec"), 1002),
]


@pytest.mark.parametrize(("data", "expected"), [row[1:] for row in ATTACKS],
                         ids=[row[0] for row in ATTACKS])  # fmt: skip
def test_each_is_closed_with_its_code(gateway: Gateway, data: bytes, expected: int) -> None:
    with raw(gateway) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(masked(1, TEXT) + data)
        assert code(sock) == expected
    free(gateway)
    assert gateway.http.get("/livez").status_code == 200


def test_compression_is_not_spoken(gateway: Gateway) -> None:
    with raw(gateway, extra="Sec-WebSocket-Extensions: permessage-deflate\r\n") as sock:
        sock.sendall(masked(8, b"\x03\xe8"))
        assert code(sock) == 1000


def test_who_answers_no_ping_is_gone(gateway: Gateway) -> None:
    """Its kernel acknowledges everything; nobody is there."""
    with raw(gateway) as sock:
        sock.sendall(masked(1, json.dumps(frame(0, b"a", act="hold")).encode()))
        told = b""
        with contextlib.suppress(OSError):
            while data := sock.recv(65536):
                told += data
        assert b"\x89\x00" in told, "it was asked"
    free(gateway)


def test_half_a_connection_is_none(gateway: Gateway) -> None:
    with raw(gateway) as sock:
        sock.sendall(masked(1, json.dumps(frame(0, b"a", act="hold")).encode()))
        sock.recv(10)
        sock.shutdown(socket.SHUT_WR)
        free(gateway)


def test_frames_behind_a_close_are_nothing(gateway: Gateway) -> None:
    with raw(gateway) as sock:
        sock.sendall(masked(1, TEXT) + masked(8, b"\x03\xe8") + masked(1, b"{") * 100)
        assert code(sock) == 1000
    free(gateway)


def test_one_who_reads_nothing_does_not_stop_another(gateway: Gateway) -> None:
    flood = json.dumps(frame(0, b"a", act="flood", many=100_000)).encode()
    with raw(gateway) as greedy, raw(gateway) as other:
        greedy.sendall(masked(1, flood))
        other.sendall(masked(1, json.dumps(frame(3, b"hello")).encode()))
        assert code(other) == 1000
    free(gateway)


def test_a_flood_of_pings_goes_unanswered_behind_the_close(gateway: Gateway) -> None:
    """Who was told to go, reads nothing and pings on is cut off, and costs nothing meanwhile."""
    with raw(gateway) as sock:
        flood = masked(9, b"p" * 125) * 2000
        with pytest.raises(OSError, match=r"reset|Broken"):
            for _ in range(400):  # 100 MB
                sock.sendall(flood)
