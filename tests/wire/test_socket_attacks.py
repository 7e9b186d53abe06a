"""WebSockets of hostile clients, through a kernel's buffers; others are served on.

All other attacks are in tests/gateway/streaming/test_websocket.py, in one process.
"""

import contextlib
import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.harness import TIMEOUT_S, Gateway, Loader
from tests.sessions import TALKER, frame, handshake_request, masked_frame, read_close_code
from tests.wire.test_sockets import wait_until_idle


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    flags = ("--session-max-frame", "65536", "--session-ping", "0.5")
    with Gateway(*flags) as running, Loader(running.lb, TALKER) as loader:
        running.wait_until_up(loader)
        yield running


@contextlib.contextmanager
def open_raw_session(gateway: Gateway) -> Iterator[socket.socket]:
    """Open a WebSocket by hand; the response to the handshake is read."""
    address = urlsplit(gateway.url)
    with socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S) as sock:
        sock.sendall(handshake_request(address.netloc))
        handshake = b""
        while not handshake.endswith(b"\r\n\r\n"):
            handshake += sock.recv(1)
        assert b" 101 " in handshake.split(b"\r\n")[0]
        yield sock


def test_violation_is_closed_with_its_code(gateway: Gateway) -> None:
    with open_raw_session(gateway) as sock:
        sock.sendall(b"\x81\x02{}")  # not masked
        assert read_close_code(sock) == 1002
    wait_until_idle(gateway)


def test_client_without_pong_is_closed(gateway: Gateway) -> None:
    """Its kernel acknowledges everything, and the client is gone."""
    with open_raw_session(gateway) as sock:
        sock.sendall(masked_frame(1, json.dumps(frame(0, b"a", act="hold")).encode()))
        received = b""
        with contextlib.suppress(OSError):
            while data := sock.recv(65536):
                received += data
        assert b"\x89\x00" in received, "it was sent a ping"
    wait_until_idle(gateway)


def test_client_that_does_not_read_does_not_block_others(gateway: Gateway) -> None:
    flood = json.dumps(frame(0, b"a", act="flood", many=100_000)).encode()
    with open_raw_session(gateway) as nonreader, open_raw_session(gateway) as other:
        nonreader.sendall(masked_frame(1, flood))
        other.sendall(masked_frame(1, json.dumps(frame(3, b"hello")).encode()))
        assert read_close_code(other) == 1000
    wait_until_idle(gateway)


def test_ping_flood_after_the_close_frame_is_cut_off(gateway: Gateway) -> None:
    """The client was sent a close frame, reads nothing and sends pings on: it is cut off."""
    with open_raw_session(gateway) as sock:
        flood = masked_frame(9, b"p" * 125) * 2000
        with pytest.raises(OSError, match=r"reset|Broken"):
            for _ in range(400):  # 100 MB
                sock.sendall(flood)
