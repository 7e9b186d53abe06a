"""The fast path of a connection: which requests it serves, and how their responses end."""

from collections.abc import Iterator

import pytest

from config.options import GatewayOptions
from tests.inprocess import ClientSocket, InProcessGateway
from tests.requests import GET, read_all, statuses_of, valid_request


@pytest.fixture
def gateway() -> Iterator[InProcessGateway]:
    with InProcessGateway() as running:
        yield running


def exchange(sock: ClientSocket, data: bytes) -> bytes:
    sock.sendall(data)
    return sock.recv(1 << 20)


def cached_head(gateway: InProcessGateway, request: bytes) -> object:
    lookup = gateway.server_context.fast_path.head_cache.find(request)
    return lookup.value if lookup is not None else None


def test_head_is_cached_when_it_is_repeated(gateway: InProcessGateway) -> None:
    request = valid_request()
    with gateway.connect() as sock:
        for is_cached in (False, True, True):
            assert statuses_of(exchange(sock, request)) == [200]
            assert (cached_head(gateway, request) is not None) is is_cached
    with gateway.connect() as sock:
        assert statuses_of(exchange(sock, request)) == [200], "of another connection too"


@pytest.mark.parametrize(
    "change",
    [
        (b"Host: a", b"Host: a\r\nConnection: close"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"Host: a", b"Host: a\r\nExpect: 100-continue"),
    ],
)
def test_heads_that_end_the_connection_or_expect_something_are_not_cached(
    gateway: InProcessGateway, change: tuple[bytes, bytes]
) -> None:
    request = valid_request().replace(*change)
    for _ in range(3):
        with gateway.connect() as sock:
            sock.sendall(request)
            assert 200 in statuses_of(read_all(sock))
    assert cached_head(gateway, request) is None


def test_requests_after_a_cached_head_are_pipelined(gateway: InProcessGateway) -> None:
    request = valid_request()
    with gateway.connect() as sock:
        for _ in range(2):
            exchange(sock, request)
        sock.sendall(request * 3 + GET + b"\r\n")
        received = b""
        while len(statuses_of(received)) < 4:
            received += sock.recv(65536)
        assert statuses_of(received) == [200] * 4


def test_split_request_with_a_cached_head_is_served(gateway: InProcessGateway) -> None:
    request = valid_request()
    with gateway.connect() as sock:
        for _ in range(2):
            exchange(sock, request)
        sock.sendall(request[:-10])
        assert statuses_of(exchange(sock, request[-10:])) == [200]


def test_cached_head_does_not_lift_the_limit_of_the_body() -> None:
    with InProcessGateway(options=GatewayOptions(max_body=1000)) as gateway:
        request = valid_request()
        with gateway.connect() as sock:
            for _ in range(3):
                exchange(sock, request)
            head = request.partition(b"\r\n\r\n")[0].rpartition(b" ")[0]
            sock.sendall(head + b" 2000\r\n\r\n" + b" " * 2000)
            assert statuses_of(read_all(sock)) == [413]


def test_response_says_close_if_the_request_does(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(valid_request().replace(b"Host: a", b"Host: a\r\nConnection: close"))
        response = read_all(sock)
    assert statuses_of(response) == [200]
    assert b"connection: close\r\n" in response


def test_without_the_option_every_request_is_an_asgi_request() -> None:
    with InProcessGateway(options=GatewayOptions(once_lane=False)) as gateway:
        assert gateway.server_context.fast_path is None
        with gateway.connect() as sock:
            assert statuses_of(exchange(sock, valid_request())) == [200]
