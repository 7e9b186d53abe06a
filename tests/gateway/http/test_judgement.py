"""A request whose framing is wrong is rejected before it is answered, and as soon as it shows."""

import contextlib
import json
from collections.abc import Iterable, Iterator

import pytest

from config.options import GatewayOptions
from tests.inprocess import ClientSocket, InProcessGateway
from tests.requests import CHUNKED, GET, HOST, POST, read_all, read_statuses, statuses_of


@pytest.fixture(params=[True, False], ids=["fast path", "starlette"])
def gateway(request: pytest.FixtureRequest) -> Iterator[InProcessGateway]:
    with InProcessGateway(options=GatewayOptions(once_lane=request.param)) as running:
        yield running


def parts_of(data: bytes) -> list[list[bytes]]:
    """Return the data in one read, in two, and byte by byte."""
    middle = len(data) // 2
    return [[data], [data[:middle], data[middle:]], [data[i : i + 1] for i in range(len(data))]]


def send_all(sock: ClientSocket, reads: Iterable[bytes]) -> None:
    """Send reads until the server has closed the connection."""
    with contextlib.suppress(ConnectionResetError):
        for read in reads:
            sock.sendall(read)


@pytest.mark.parametrize("protocol", [b"RTSP/1.0", b"RTSP/1.1", b"ICE/1.1", b"HTTP/2.0"])
@pytest.mark.parametrize("method", [b"GET", b"POST", b"SOURCE", b"DESCRIBE"])
def test_other_protocols(gateway: InProcessGateway, method: bytes, protocol: bytes) -> None:
    data = method + b" /livez " + protocol + b"\r\n" + HOST + b"\r\n"
    for reads in parts_of(data):
        with gateway.connect() as sock:
            send_all(sock, reads)
            assert statuses_of(read_all(sock)) == [400]


@pytest.mark.parametrize("line", [b"GET  /livez HTTP/1.1\r\n", b"GET /livez  HTTP/1.1\r\n"])
def test_spaces_in_the_second_line_of_a_read(gateway: InProcessGateway, line: bytes) -> None:
    with gateway.connect() as sock:
        sock.sendall(GET + b"\r\n" + line + HOST + b"\r\n")
        assert statuses_of(read_all(sock)) == [200, 400]


MALFORMED_BODIES = [
    b"0x1\r\n{\r\n0\r\n\r\n",
    b"+1\r\n{\r\n0\r\n\r\n",
    b"\r\n",
    b"-1\r\n",
    b"1 \r\n{\r\n0\r\n\r\n",
    b"1\r\n{x0\r\n\r\n",
    b"1\n{\n0\n\n",
    b"1;\nxx\r\n{\r\n0\r\n\r\n",
    b"1;a\rb\r\n{\r\n0\r\n\r\n",
    b"0\r\nX Y: a\r\n\r\n",
    b"0\r\n: a\r\n\r\n",
    b"0\r\nX: a\0\r\n\r\n",
    b"FFFFFFFFFFFFFFFFF\r\n",
    b"FFFFFFFFFFFFFFFF\r\n",
    b"FFFFFFFFFFFFFFFF\r\nabc",
    b"FFFFFFFFFFFFFFFF;a=b\r\nabc",
    b"1\r\n{\r\n00FFFFFFFFFFFFFFFF\r\n",
]


@pytest.mark.parametrize("body", MALFORMED_BODIES)
@pytest.mark.parametrize(
    "start",
    [b"GET /livez", b"GET /v1/apis", b"GET /docs", b"HEAD /livez", b"POST /v1/private/probe"],
)
def test_malformed_body_is_never_answered_200(
    gateway: InProcessGateway, start: bytes, body: bytes
) -> None:
    data = start + b" HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n" + CHUNKED + body
    for reads in parts_of(data):
        with gateway.connect() as sock:
            before = gateway.loop.time()
            send_all(sock, reads)
            assert statuses_of(read_all(sock)) == [400]
            assert gateway.loop.time() - before < 2, "it did not wait for a time-out"


@pytest.mark.parametrize("size", [b"ffffffffff", b"1000001"])
def test_chunk_beyond_the_limit_is_rejected_by_its_size(
    gateway: InProcessGateway, size: bytes
) -> None:
    with gateway.connect() as sock:
        sock.sendall(POST + CHUNKED + size + b"\r\nabc")
        assert statuses_of(read_all(sock)) == [413]


@pytest.mark.parametrize("head", [POST, GET])
def test_body_beyond_the_limit_is_rejected_by_its_length(
    gateway: InProcessGateway, head: bytes
) -> None:
    with gateway.connect() as sock:
        sock.sendall(head + b"Content-Length: 16777217\r\n\r\n")
        assert statuses_of(read_all(sock)) == [413]


@pytest.mark.parametrize("head", [POST, GET])
def test_trailers_are_limited_in_size(gateway: InProcessGateway, head: bytes) -> None:
    limit = GatewayOptions().max_header_bytes
    with gateway.connect() as sock:
        sock.sendall(head + CHUNKED + b"0\r\n" + b"X: a\r\n" * (limit // 7) + b"\r\n")
        assert 431 not in read_statuses(sock, 1)
    with gateway.connect() as sock:
        sock.sendall(head + CHUNKED + b"0\r\n")
        send_all(sock, [b"X: %b\r\n" % (b"a" * 1000)] * (limit // 1000 + 2))
        response = read_all(sock)
    assert statuses_of(response) == [431]
    assert b"trailers are larger than" in response


def test_trailer_may_look_like_the_head_of_a_chunk(gateway: InProcessGateway) -> None:
    for data in parts_of(b"0\r\nFFFFFFFFFFFFFFFFFFFF: a\r\n\r\n"):
        with gateway.connect() as sock:
            sock.sendall(GET + CHUNKED)
            send_all(sock, data)
            assert read_statuses(sock, 1) == [200]


def test_page_is_answered_after_a_body_that_it_does_not_read(gateway: InProcessGateway) -> None:
    body = b"x" * 200_000
    with gateway.connect() as sock:
        sock.sendall(GET + b"Content-Length: %d\r\n\r\n" % len(body))
        assert not sock.transport.delivered
        sock.sendall(body + GET + b"\r\n")
        assert read_statuses(sock, 2) == [200, 200]


def test_page_asks_for_a_body_that_it_does_not_read(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(GET + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert sock.transport.delivered == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"{}")
        assert read_statuses(sock, 2) == [100, 200]


def test_queued_page_with_a_malformed_body_is_rejected_in_its_order(
    gateway: InProcessGateway,
) -> None:
    with gateway.connect() as sock:
        sock.sendall(GET + b"\r\n" + GET + b"\r\n" + GET + CHUNKED + b"nonsense\r\n")
        assert statuses_of(read_all(sock)) == [200, 200, 400]


def test_body_of_a_page_times_out(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(GET + b"Content-Length: 2\r\n\r\n")
        response = read_all(sock)
    assert statuses_of(response) == [408]
    assert json.loads(response.partition(b"\r\n\r\n")[2])["header"]["code"] == 10163


def test_response_to_a_rejected_head_request_has_no_body(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(b"HEAD /livez HTTP/1.1\r\n" + HOST + b"X_Y: a\r\n\r\n")
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert not body
