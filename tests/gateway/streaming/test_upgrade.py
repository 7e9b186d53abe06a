"""The handshake of a WebSocket: what is accepted, what is rejected and how (RFC 6455, 4.2)."""

import json

import pytest

from gateway.request.response import HttpError
from gateway.streaming.websocket import accept_handshake
from tests.inprocess import InProcessGateway
from tests.requests import GET, read_all, statuses_of
from tests.sessions import InProcessWebSocket, frame, handshake_request, masked_frame

HANDSHAKE = handshake_request("gateway")
KEY_LINE = next(line for line in HANDSHAKE.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key"))
REJECTED: list[tuple[str, bytes, int, int]] = [
    ("unknown service", HANDSHAKE.replace(b"/talker", b"/nobody"), 404, 10225),
    ("foreign origin", handshake_request("gateway", extra="Origin: https://evil.example\r\n"),
     403, 10163),
    ("version 99", HANDSHAKE.replace(b"Version: 13", b"Version: 99"), 400, 10163),
    ("short key", HANDSHAKE.replace(KEY_LINE, b"Sec-WebSocket-Key: short"), 400, 10163),
    ("no key", HANDSHAKE.replace(KEY_LINE + b"\r\n", b""), 400, 10163),
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"), [row[1:] for row in REJECTED],
    ids=[row[0] for row in REJECTED],
)  # fmt: skip
def test_rejected_handshake_is_answered_with_an_envelope(
    gateway: InProcessGateway, request_bytes: bytes, status: int, code: int
) -> None:
    with gateway.connect() as sock:
        sock.sendall(request_bytes)
        response = sock.recv(65536)
    assert statuses_of(response) == [status]
    assert json.loads(response.partition(b"\r\n\r\n")[2])["header"]["code"] == code


def test_message_sent_together_with_the_handshake_is_received(gateway: InProcessGateway) -> None:
    message = json.dumps(frame(0, b"at once")).encode()
    with gateway.connect() as sock:
        sock.sendall(HANDSHAKE + masked_frame(1, message))
        assert statuses_of(sock.recv(65536)) == [101]
        assert len(gateway.caller.streams) == 1


def test_upgrade_to_another_protocol_is_served_as_http(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert statuses_of(sock.recv(65536)) == [200]


def test_handshake_behind_a_pending_request_is_not_upgraded(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(GET + b"\r\n" + HANDSHAKE)
        response = sock.recv(65536)
        assert statuses_of(response)[0] == 200
        assert 101 not in statuses_of(response)


@pytest.mark.parametrize(
    ("subprotocol", "chosen"), [("", None), ("ase.binary.v1", "ase.binary.v1"), ("chat", None)]
)
def test_only_the_known_subprotocol_is_chosen(
    gateway: InProcessGateway, subprotocol: str, chosen: str | None
) -> None:
    with InProcessWebSocket(gateway, subprotocol=subprotocol) as ws:
        assert ws.subprotocol == chosen


MORE_REJECTED: list[tuple[str, bytes, int]] = [
    ("no version", HANDSHAKE.replace(b"Sec-WebSocket-Version: 13\r\n", b""), 400),
    ("two keys", HANDSHAKE.replace(KEY_LINE, KEY_LINE + b"\r\n" + KEY_LINE), 400),
    ("a body", handshake_request("gateway", extra="Content-Length: 2\r\n") + b"{}", 400),
    ("a chunked body",
     handshake_request("gateway", extra="Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n", 400),
    ("no service in the path", HANDSHAKE.replace(b"/talker", b"/"), 404),
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_bytes", "status"), [row[1:] for row in MORE_REJECTED],
    ids=[row[0] for row in MORE_REJECTED],
)  # fmt: skip
def test_rejected_handshake_ends_the_connection(
    gateway: InProcessGateway, request_bytes: bytes, status: int
) -> None:
    with gateway.connect() as sock:
        sock.sendall(request_bytes)
        response = read_all(sock)
    assert statuses_of(response) == [status]
    assert b"\r\nconnection: close\r\n" in response
    assert not gateway.server.server_state.tasks
    assert len(gateway.lines) == 1


@pytest.mark.parametrize(
    "headers",
    [[(b"upgrade", b"websocket")], [(b"upgrade", b"h2c"), (b"connection", b"upgrade")]],
    ids=["no connection field", "another protocol"],
)
def test_handshake_without_an_upgrade_is_426(headers: list[tuple[bytes, bytes]]) -> None:
    """The parser passes on only requests to upgrade, so a client cannot get here."""
    with pytest.raises(HttpError) as caught:
        accept_handshake(b"/v1/private/talker", [(b"host", b"a"), *headers], 65536)
    assert caught.value.status == 426
    assert caught.value.headers == [(b"upgrade", b"websocket"), (b"connection", b"close")]


@pytest.mark.parametrize(
    "change",
    [
        (b"Connection: Upgrade", b"Connection: keep-alive"),
        (b"Upgrade: websocket", b"Upgrade: websocket, h2c"),
        (b"GET ", b"HEAD "),
    ],
    ids=["not requested", "two protocols", "not GET"],
)
def test_request_that_is_no_handshake_is_served_as_http(
    gateway: InProcessGateway, change: tuple[bytes, bytes]
) -> None:
    with gateway.connect() as sock:
        sock.sendall(HANDSHAKE.replace(*change))
        assert statuses_of(sock.recv(65536)) == [405]
        sock.sendall(GET + b"\r\n")
        assert statuses_of(sock.recv(65536)) == [200], "the connection stays"


def test_handshake_after_a_response_is_accepted(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(GET + b"\r\n")
        assert statuses_of(sock.recv(65536)) == [200]
        sock.sendall(HANDSHAKE[:50])
        sock.sendall(HANDSHAKE[50:])
        response = sock.recv(65536)
        assert statuses_of(response) == [101]
        assert b"\r\nSec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n" in response


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/any/prefix/talker", 101),
        (b"/other?serviceId=talker", 101),
        (b"/v1/private/nobody?serviceId=talker", 404),
        (b"/other", 404),
    ],
)
def test_service_of_a_handshake_is_selected_by_its_target(
    gateway: InProcessGateway, target: bytes, status: int
) -> None:
    with gateway.connect() as sock:
        sock.sendall(HANDSHAKE.replace(b"/v1/private/talker", target))
        assert statuses_of(sock.recv(65536)) == [status]


def test_part_of_a_message_may_come_with_the_handshake(gateway: InProcessGateway) -> None:
    message = masked_frame(1, json.dumps(frame(0, b"in parts")).encode())
    with gateway.connect() as sock:
        sock.sendall(HANDSHAKE + message[:9])
        assert statuses_of(sock.recv(65536)) == [101]
        assert not gateway.caller.streams
        sock.sendall(message[9:])
        assert len(gateway.caller.streams) == 1


def test_upgraded_connection_counts_until_it_is_lost(gateway: InProcessGateway) -> None:
    state = gateway.server.server_state
    with InProcessWebSocket(gateway) as ws:
        assert len(state.connections) == len(state.tasks) == 1
        ws.sock.reset()
        assert not state.connections
        assert not state.tasks
