"""The WebSocket connection: each violation is closed with its code, and nothing of it stays.

Source: RFC 6455, section 5.
"""

import contextlib
import itertools
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from config.options import GatewayOptions, SessionOptions
from tests.fakes import FakeSlot
from tests.inprocess import ClientSocket, InProcessGateway
from tests.requests import statuses_of
from tests.sessions import (
    InProcessWebSocket,
    frame,
    handshake_request,
    masked_frame,
    read_close_code,
)

OPTIONS = SessionOptions(max_frame=65536, read_timeout=1000.0)
MANY_PINGS = b"\x89\x80\0\0\0\0" * 10_000
TEXT = masked_frame(1, json.dumps(frame(0, b"a")).encode())


@pytest.fixture
def gateway() -> Iterator[InProcessGateway]:
    with InProcessGateway(session_options=OPTIONS) as running:
        yield running


@contextlib.contextmanager
def open_raw_session(gateway: InProcessGateway, extra: str = "") -> Iterator[ClientSocket]:
    with gateway.connect() as sock:
        sock.sendall(handshake_request("gateway", extra=extra))
        handshake = sock.recv(65536)
        assert statuses_of(handshake) == [101]
        assert b"sec-websocket-extensions" not in handshake.lower()
        yield sock


def assert_all_released(gateway: InProcessGateway) -> None:
    """Check that every slot was released once, every stream ended, and no connection is left."""
    assert [len(slot.errors) for slot in gateway.picker.new_slots] == [1] * len(
        gateway.picker.new_slots
    )
    assert all(stream.cancelled or stream.error for stream in gateway.caller.streams)
    assert not gateway.server.server_state.tasks


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
    ("more than may be",
     masked_frame(1, b"x" * 60_000, fin=False) + masked_frame(0, b"x" * 60_000), 1009),
    ("a million fragments",
     masked_frame(1, b"{", fin=False) + masked_frame(0, b" ", fin=False) * 10_000, 1008),
    ("a flood of pings", MANY_PINGS, 1008),
    ("no UTF-8", masked_frame(1, b'{"a":"\xff"}'), 1007),
    ("a close of one byte", masked_frame(8, b"\x03"), 1002),
    ("a close with no such code", masked_frame(8, b"\x03\xec"), 1002),
]  # fmt: skip


def test_close_within_a_fragmented_message_is_a_normal_close(gateway: InProcessGateway) -> None:
    """Control frames may come between fragments (RFC 6455, 5.4)."""
    with open_raw_session(gateway) as sock:
        sock.sendall(masked_frame(1, b"{", fin=False) + masked_frame(8, b"\x03\xe8"))
        assert read_close_code(sock) == 1000
        assert sock.transport.lost
    assert_all_released(gateway)


@pytest.mark.parametrize("data", [b"\x81\x02{}", masked_frame(0, b"x")])
def test_client_that_violates_the_protocol_sees_the_end_at_once(
    gateway: InProcessGateway, data: bytes
) -> None:
    with open_raw_session(gateway) as sock:
        before = gateway.loop.time()
        sock.sendall(data)
        assert read_close_code(sock) == 1002
        assert sock.transport.eof_written
        sock.close()
        gateway.loop.settle()
        assert sock.transport.lost
        assert gateway.loop.time() - before < 0.1


@pytest.mark.parametrize(("data", "expected"), [row[1:] for row in ATTACKS],
                         ids=[row[0] for row in ATTACKS])  # fmt: skip
def test_attack_is_closed_with_its_code(
    gateway: InProcessGateway, data: bytes, expected: int
) -> None:
    with open_raw_session(gateway) as sock:
        with contextlib.suppress(ConnectionResetError):
            sock.sendall(TEXT + data)
        assert read_close_code(sock) == expected
    assert_all_released(gateway)
    with open_raw_session(gateway) as sock:
        sock.sendall(masked_frame(8, b"\x03\xe8"))
        assert read_close_code(sock) == 1000


def test_compression_is_not_negotiated(gateway: InProcessGateway) -> None:
    extra = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
    with open_raw_session(gateway, extra) as sock:
        sock.sendall(masked_frame(8, b"\x03\xe8"))
        assert read_close_code(sock) == 1000


def test_client_without_pong_is_aborted_after_two_pings(gateway: InProcessGateway) -> None:
    """Its kernel acknowledges everything, and the client is gone."""
    with open_raw_session(gateway) as sock:
        sock.sendall(masked_frame(1, json.dumps(frame(0, b"a")).encode()))
        gateway.caller.streams[0].push_result(0)
        start = gateway.loop.time()
        received = b""
        while data := sock.recv(65536):
            received += data
        assert received.count(b"\x89\x00") == 1, "it was sent a ping"
        assert sock.transport.aborted
        assert gateway.loop.time() - start <= 2 * OPTIONS.ping
    assert_all_released(gateway)


def test_any_bytes_show_that_a_client_is_connected() -> None:
    options = SessionOptions(read_timeout=1000.0)
    with InProcessGateway(session_options=options) as gateway, open_raw_session(gateway) as sock:
        for _ in range(10):
            gateway.loop.sleep(options.ping)
            sock.sendall(masked_frame(10, b""))
        assert not sock.transport.is_closing()


def test_half_closed_connection_ends_the_session(gateway: InProcessGateway) -> None:
    with open_raw_session(gateway) as sock:
        sock.sendall(TEXT)
        sock.shutdown(socket.SHUT_WR)
        gateway.loop.settle()
        assert_all_released(gateway)


@pytest.mark.parametrize("end", ["close", "fin", "rst"])
def test_client_disconnect_cancels_the_loader(gateway: InProcessGateway, end: str) -> None:
    with open_raw_session(gateway) as sock:
        sock.sendall(TEXT)
        (stream,) = gateway.caller.streams
        assert not stream.cancelled
        if end == "close":
            sock.sendall(masked_frame(8, b"\x03\xe8"))
        elif end == "rst":
            sock.reset()
        else:
            sock.close()
        gateway.loop.settle()
        assert stream.cancelled
        assert_all_released(gateway)


def test_frames_after_close_are_ignored(gateway: InProcessGateway) -> None:
    with open_raw_session(gateway) as sock:
        sock.sendall(TEXT + masked_frame(8, b"\x03\xe8") + masked_frame(1, b"{") * 100)
        assert read_close_code(sock) == 1000
    assert_all_released(gateway)


def test_client_that_does_not_read_does_not_block_others(gateway: InProcessGateway) -> None:
    with InProcessWebSocket(gateway) as nonreader, InProcessWebSocket(gateway) as other:
        nonreader.send(frame(0, b"a"))
        flooding = gateway.caller.streams[0]
        nonreader.sock.stop_reading()
        for _ in range(1000):
            flooding.push_result(1, b"x" * 1024)
        assert flooding.results, "results wait at the loader's stream while the client reads none"
        other.send(frame(3, b"hello"))
        gateway.caller.streams[1].push_result(2, b"HELLO")
        assert other.receive()["header"]["status"] == 2
        nonreader.sock.continue_reading()
        assert len([nonreader.receive() for _ in range(1000)]) == 1000


def test_client_that_reads_nothing_is_aborted(gateway: InProcessGateway) -> None:
    with InProcessWebSocket(gateway) as ws:
        ws.send(frame(0, b"a"))
        ws.sock.stop_reading()
        for _ in range(100):
            gateway.caller.streams[0].push_result(1, b"x" * 1024)
        gateway.loop.sleep(2 * GatewayOptions().write_timeout + 1)
        assert ws.sock.transport.aborted
    assert_all_released(gateway)


def test_ping_flood_after_the_close_frame_is_cut_off(gateway: InProcessGateway) -> None:
    """The client got a close frame, reads nothing and sends pings on."""
    with open_raw_session(gateway) as sock:
        sock.sendall(masked_frame(1, b"{"))
        sock.stop_reading()
        with pytest.raises(ConnectionResetError):
            for _ in range(100):
                sock.sendall(masked_frame(9, b"p" * 125) * 2000)
        assert sock.transport.aborted


def test_fragments_are_joined(gateway: InProcessGateway) -> None:
    text = json.dumps(frame(3, b"hello")).encode()
    with open_raw_session(gateway) as sock:
        sock.sendall(
            masked_frame(1, text[:20], fin=False)
            + masked_frame(9, b"between")
            + masked_frame(0, text[20:40], fin=False)
            + masked_frame(0, text[40:])
        )
        assert sock.recv(100) == b"\x8a\x07between"
        assert len(gateway.caller.streams[0].sent_frames) == 1


def test_read_of_many_frames_is_handled_in_several_iterations(gateway: InProcessGateway) -> None:
    """Other connections are served between them, and no frame is lost."""
    responses_by_iteration: list[int] = []

    def watch() -> None:
        responses_by_iteration.append(len(sock.transport.writes))
        if not sock.transport.is_reading():
            gateway.loop.call_soon(watch)

    with gateway.connect() as sock:
        sock.sendall(handshake_request("gateway", "?stream_mode=multiplex"))
        sock.recv(65536)
        sock.transport.writes.clear()
        sock.transport.receive(masked_frame(1, b"{}") * 8000)
        assert not sock.transport.is_reading()
        watch()
        gateway.loop.settle()
        assert sock.transport.writes == [sock.transport.writes[0]] * 8000
        assert sock.transport.is_reading()
        sock.reset()
    gateway.loop.settle()
    steps = [after - before for before, after in itertools.pairwise(responses_by_iteration)]
    assert 0 < max(steps) <= 300


def test_large_messages_arrive_in_any_reads(gateway: InProcessGateway) -> None:
    text = json.dumps(frame(3, b"x" * 40_000)).encode()
    with open_raw_session(gateway) as sock:
        message = masked_frame(1, text)
        for start in range(0, len(message), 9973):
            sock.sendall(message[start : start + 9973])
        assert len(gateway.caller.streams[0].sent_frames) == 1


def test_server_drain_ends_idle_sockets_at_once_and_sessions_at_the_deadline(
    gateway: InProcessGateway,
) -> None:
    with InProcessWebSocket(gateway) as idle, InProcessWebSocket(gateway) as busy:
        busy.send(frame(0, b"a"))
        gateway.caller.streams[0].push_result(0)
        for connection in list(gateway.server.server_state.connections):
            connection.shutdown()
        gateway.loop.settle()
        assert idle.receive_close_code() == 1001
        assert not busy.sock.transport.is_closing()
        for task in list(gateway.server.server_state.tasks):
            task.cancel()
        gateway.loop.settle()
        headers = [envelope["header"] for envelope in busy.receive_all()]
        assert [header["code"] for header in headers] == [0, 10102]
        assert busy.receive_close_code() == 1001
    assert_all_released(gateway)


def _slots(gateway: InProcessGateway) -> list[FakeSlot]:
    return gateway.picker.new_slots


def test_each_error_of_a_session_is_sent_before_the_close_frame(gateway: InProcessGateway) -> None:
    bad: list[tuple[Any, str]] = [
        ("{", "must be json"),
        (frame(7, b"a", app_id="t"), "must be 0, 1, 2 or 3"),
    ]
    for message, part in bad:
        with InProcessWebSocket(gateway) as ws:
            ws.send(message)
            header = ws.receive()["header"]
            assert header["code"] == 10163
            assert part in header["message"]
            assert ws.receive_close_code() == 1008
    assert not _slots(gateway)
