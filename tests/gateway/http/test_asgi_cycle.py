"""Requests that Starlette serves: their bodies, their errors, and back-pressure on both sides."""

import json
from collections.abc import Iterator

import pytest

from config.options import GatewayOptions
from tests.inprocess import InProcessGateway
from tests.requests import CHUNKED, GET, POST, read_all, statuses_of, valid_request


@pytest.fixture
def gateway() -> Iterator[InProcessGateway]:
    with InProcessGateway(options=GatewayOptions(once_lane=False)) as running:
        yield running


def test_error_of_the_body_is_the_response(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(POST + CHUNKED + b"1\r\n{\r\nnonsense\r\n")
        response = read_all(sock)
    assert statuses_of(response) == [400]
    assert json.loads(response.partition(b"\r\n\r\n")[2])["header"]["code"] == 10163


def test_disconnect_cancels_the_call(gateway: InProcessGateway) -> None:
    gateway.caller.result = None
    sock = gateway.connect()
    sock.sendall(valid_request())
    (call,) = gateway.caller.calls
    sock.reset()
    gateway.loop.settle()
    assert call.cancelled
    assert json.loads(gateway.lines[-1])["status"] == 499


def test_body_that_a_page_does_not_read_is_limited_by_back_pressure(
    gateway: InProcessGateway,
) -> None:
    """A page answers without its body; the next request is served after it."""
    with gateway.connect() as sock:
        body = b"x" * 200_000
        sock.sendall(b"POST /v1/nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
        sock.sendall(body)
        sock.sendall(GET + b"\r\n")
        received = b""
        while len(statuses_of(received)) < 2:
            received += sock.recv(65536)
        assert statuses_of(received) == [404, 200]


def test_head_and_body_of_a_response_are_one_write(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(GET + b"\r\n")
        assert len(sock.transport.writes) == 1


def test_last_response_is_written_before_the_connection_closes(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(GET + b"Connection: close\r\n\r\n")
        assert statuses_of(read_all(sock)) == [200]
        assert sock.transport.lost
