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

from tests.harness import TIMEOUT_S, Gateway, Loader
from tests.wire.test_sockets import TALKER, frame, wait_until_idle

KEY = "AAAAAAAAAAAAAAAAAAAAAA=="
MANY_PINGS = b"\x89\x80\0\0\0\0" * 10_000


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    flags = ("--session-max-frame", "65536", "--session-ping", "0.5")
    with Gateway(*flags) as running, Loader(running.lb, TALKER) as loader:
        running.wait_until_up(loader)
        yield running


@contextlib.contextmanager
def open_raw_session(gateway: Gateway, query: str = "", extra: str = "") -> Iterator[socket.socket]:
    """Open a socket by hand; the answer to the handshake is read."""
    address = urlsplit(gateway.url)
    with socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S) as sock:
        head = f"GET /v1/private/talker{query} HTTP/1.1\r\nHost: {address.netloc}\r\n"
        head += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        sock.sendall(f"{head}Sec-WebSocket-Key: {KEY}\r\n{extra}\r\n".encode())
        handshake = b""
        while not handshake.endswith(b"\r\n\r\n"):
            handshake += sock.recv(1)
        assert b" 101 " in handshake.split(b"\r\n")[0]
        assert b"sec-websocket-extensions" not in handshake.lower()
        yield sock


def masked_frame(opcode: int, data: bytes, *, fin: bool = True) -> bytes:
    size = len(data)
    if size < 126:
        head = struct.pack(">BB", opcode | fin << 7, size | 128)
    else:
        head = struct.pack(">BBH", opcode | fin << 7, 126 | 128, size)
    return head + b"\0\0\0\0" + data


def receive_close_code(sock: socket.socket) -> int | None:
    """Return the code of the close frame that comes; None when the connection ends without."""
    received = b""
    with contextlib.suppress(OSError):
        while data := sock.recv(65536):
            received += data
    offset = 0
    while offset + 2 <= len(received):
        size, opcode, offset = received[offset + 1], received[offset] & 15, offset + 2
        if size == 126:
            size, offset = int.from_bytes(received[offset : offset + 2], "big"), offset + 2
        if opcode == 8:
            return int.from_bytes(received[offset : offset + 2], "big")
        offset += size
    return None


TEXT = json.dumps(frame(0, b"a")).encode()
ATTACKS: list[tuple[str, bytes, int]] = [
    ("not masked", b"\x81\x02{}", 1002),
    ("a reserved bit", b"\xc1\x82\0\0\0\0{}", 1002),
    ("a reserved opcode", b"\x83\x82\0\0\0\0{}", 1002),
    ("a fragmented ping", b"\x09\x80\0\0\0\0", 1002),
    ("a large ping", masked_frame(9, b"x" * 126), 1002),
    ("goes on with nothing", masked_frame(0, b"x"), 1002),
    ("text within a text", masked_frame(1, b"{", fin=False) + masked_frame(1, b"}"), 1002),
    ("a gigabyte, its head", b"\x81\xff" + (1 << 30).to_bytes(8, "big") + b"\0\0\0\0", 1009),
    ("2^63 bytes, its head", b"\x81\xff" + b"\x80" + b"\0" * 7 + b"\0\0\0\0", 1009),
    (
        "more than may be",
        masked_frame(1, b"x" * 60_000, fin=False) + masked_frame(0, b"x" * 60_000),
        1009,
    ),
    (
        "a million fragments",
        masked_frame(1, b"{", fin=False) + masked_frame(0, b" ", fin=False) * 10_000,
        1008,
    ),
    ("a flood of pings", MANY_PINGS, 1008),
    ("no UTF-8", masked_frame(1, b'{"a":"\xff"}'), 1007),
    ("a close of one byte", masked_frame(8, b"\x03"), 1002),
    ("a close with no such code", masked_frame(8, b"\x03\xec"), 1002),
]


@pytest.mark.parametrize(("data", "expected"), [row[1:] for row in ATTACKS],
                         ids=[row[0] for row in ATTACKS])  # fmt: skip
def test_attack_is_closed_with_its_code(gateway: Gateway, data: bytes, expected: int) -> None:
    with open_raw_session(gateway) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(masked_frame(1, TEXT) + data)
        assert receive_close_code(sock) == expected
    wait_until_idle(gateway)
    assert gateway.http.get("/livez").status_code == 200


def test_compression_is_not_negotiated(gateway: Gateway) -> None:
    with open_raw_session(
        gateway, extra="Sec-WebSocket-Extensions: permessage-deflate\r\n"
    ) as sock:
        sock.sendall(masked_frame(8, b"\x03\xe8"))
        assert receive_close_code(sock) == 1000


def test_client_without_pong_is_closed(gateway: Gateway) -> None:
    """Its kernel acknowledges everything; nobody is there."""
    with open_raw_session(gateway) as sock:
        sock.sendall(masked_frame(1, json.dumps(frame(0, b"a", act="hold")).encode()))
        received = b""
        with contextlib.suppress(OSError):
            while data := sock.recv(65536):
                received += data
        assert b"\x89\x00" in received, "it was asked"
    wait_until_idle(gateway)


def test_half_closed_connection_ends_the_session(gateway: Gateway) -> None:
    with open_raw_session(gateway) as sock:
        sock.sendall(masked_frame(1, json.dumps(frame(0, b"a", act="hold")).encode()))
        sock.recv(10)
        sock.shutdown(socket.SHUT_WR)
        wait_until_idle(gateway)


def test_frames_after_close_are_ignored(gateway: Gateway) -> None:
    with open_raw_session(gateway) as sock:
        sock.sendall(
            masked_frame(1, TEXT) + masked_frame(8, b"\x03\xe8") + masked_frame(1, b"{") * 100
        )
        assert receive_close_code(sock) == 1000
    wait_until_idle(gateway)


def test_client_that_does_not_read_does_not_block_others(gateway: Gateway) -> None:
    flood = json.dumps(frame(0, b"a", act="flood", many=100_000)).encode()
    with open_raw_session(gateway) as nonreader, open_raw_session(gateway) as other:
        nonreader.sendall(masked_frame(1, flood))
        other.sendall(masked_frame(1, json.dumps(frame(3, b"hello")).encode()))
        assert receive_close_code(other) == 1000
    wait_until_idle(gateway)


def test_ping_flood_after_close_is_cut_off(gateway: Gateway) -> None:
    """Who was told to go, reads nothing and pings on is cut off, and costs nothing meanwhile."""
    with open_raw_session(gateway) as sock:
        flood = masked_frame(9, b"p" * 125) * 2000
        with pytest.raises(OSError, match=r"reset|Broken"):
            for _ in range(400):  # 100 MB
                sock.sendall(flood)
