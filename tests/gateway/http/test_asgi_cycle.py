"""Requests that Starlette serves: their bodies, their errors, and back-pressure on both sides."""

import json
from collections.abc import Iterator

import pytest

from config.options import GatewayOptions
from tests.inprocess import InProcessGateway
from tests.requests import CHUNKED, GET, POST, read_all, read_statuses, statuses_of, valid_request


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
        assert read_statuses(sock, 2) == [404, 200]


def test_head_and_body_of_a_response_are_one_write(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(GET + b"\r\n")
        assert len(sock.transport.writes) == 1


def test_last_response_is_written_before_the_connection_closes(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(GET + b"Connection: close\r\n\r\n")
        assert statuses_of(read_all(sock)) == [200]
        assert sock.transport.lost


BODY = valid_request().partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("size", [1, 7, len(BODY)])
def test_body_in_chunks_is_received_as_a_whole(gateway: InProcessGateway, size: int) -> None:
    parts = [BODY[start : start + size] for start in range(0, len(BODY), size)]
    with gateway.connect() as sock:
        sock.sendall(POST + CHUNKED)
        for part in parts:
            sock.sendall(b"%x\r\n%b\r\n" % (len(part), part))
            assert not gateway.caller.calls
        sock.sendall(b"0\r\n\r\n")
        assert statuses_of(sock.recv(65536)) == [200]
    assert len(gateway.caller.calls) == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (POST + b"Content-Length: 99\r\n\r\n{", 408),
        (POST + CHUNKED + b"1\r\n{\r\n", 408),
        (POST + CHUNKED + b"2000\r\n%b\r\n" % (b"x" * 0x2000), 413),
    ],
    ids=["slow", "slow, in chunks", "too large"],
)
def test_error_of_the_body_ends_the_connection(data: bytes, status: int) -> None:
    options = GatewayOptions(once_lane=False, max_body=4096)
    with InProcessGateway(options=options) as gateway, gateway.connect() as sock:
        sock.sendall(data)
        response = read_all(sock)
        assert statuses_of(response) == [status]
        assert b"\r\nconnection: close\r\n" in response
        assert not gateway.caller.calls


def test_body_is_requested_when_the_application_reads_it(gateway: InProcessGateway) -> None:
    head, _, _ = valid_request().partition(b"\r\n\r\n")
    with gateway.connect() as sock:
        sock.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(BODY)
        assert statuses_of(sock.recv(65536)) == [200]


def test_unread_body_of_a_queued_request_stops_reading(gateway: InProcessGateway) -> None:
    """The first request waits for its loader, so the application does not read the second."""
    gateway.caller.result = None
    body = BODY.ljust(200_000)
    with gateway.connect() as sock:
        sock.sendall(valid_request() + POST + b"Content-Length: 200000\r\n\r\n")
        sock.sendall(body[:60_000])
        assert sock.transport.is_reading()
        sock.sendall(body[60_000:])
        assert not sock.transport.is_reading()
        gateway.caller.finish_calls()
        assert read_statuses(sock, 2) == [200, 200]
        assert sock.transport.is_reading()


def test_disconnect_while_the_body_arrives_ends_the_request(gateway: InProcessGateway) -> None:
    sock = gateway.connect()
    sock.sendall(valid_request()[:-5])
    assert len(gateway.server.server_state.tasks) == 1
    sock.reset()
    gateway.loop.settle()
    assert not gateway.server.server_state.tasks
    assert json.loads(gateway.lines[-1])["status"] == 499
    assert not gateway.caller.calls


PLAIN = valid_request()
TWO_READS = [PLAIN[:40], PLAIN[40:]]


@pytest.mark.parametrize("reads", [[PLAIN], TWO_READS], ids=["one read", "two reads"])
def test_a_request_is_the_same_however_it_is_received(
    gateway: InProcessGateway, reads: list[bytes]
) -> None:
    """One read that is a whole request bypasses the parser; the connection goes on as always."""
    with gateway.connect() as sock:
        for _ in range(3):
            for data in reads:
                sock.sendall(data)
            assert read_statuses(sock, 1) == [200]
        sock.sendall(PLAIN * 2 + GET + b"\r\n")
        assert read_statuses(sock, 3) == [200] * 3
        gateway.loop.sleep(gateway.server_context.limits.idle_timeout - 1)
        assert not sock.transport.lost
        gateway.loop.sleep(2)
        assert sock.transport.lost, "an idle connection is closed"


def test_a_whole_request_that_follows_a_running_one_waits(gateway: InProcessGateway) -> None:
    gateway.caller.result = None
    with gateway.connect() as sock:
        sock.sendall(PLAIN)
        sock.sendall(PLAIN)
        assert len(gateway.caller.calls) == 1
        gateway.caller.finish_calls()
        assert read_statuses(sock, 2) == [200] * 2


def test_a_large_body_is_counted_also_if_it_is_received_at_once(gateway: InProcessGateway) -> None:
    budget = gateway.server_context.body_budget
    gateway.caller.result = None
    head, _, body = PLAIN.partition(b"\r\n\r\n")
    body += b" " * 80_000
    with gateway.connect() as sock:
        sock.sendall(head[: head.rindex(b" ")] + b" %d\r\n\r\n" % len(body) + body)
        assert budget.total == len(body)
