"""The handshake of a WebSocket: what is accepted, what is rejected and how (RFC 6455, 4.2)."""

import json
from collections.abc import Iterator

import pytest

from tests.inprocess import InProcessGateway
from tests.requests import GET, statuses_of
from tests.sessions import InProcessWebSocket, frame, handshake_request, masked_frame


@pytest.fixture
def gateway() -> Iterator[InProcessGateway]:
    with InProcessGateway() as running:
        yield running


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
