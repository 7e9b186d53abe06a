"""The fast path of a connection: which requests it serves, and how their responses end."""

import pytest

from config.options import GatewayOptions
from gateway.unary.request_head import UnaryRequestHead
from tests.inprocess import ClientSocket, InProcessGateway
from tests.requests import GET, read_all, read_statuses, statuses_of, valid_request


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
        assert read_statuses(sock, 4) == [200] * 4


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


OTHER_HEAD = UnaryRequestHead(
    "nobody", "/v1/private/nobody", {b"content-length": b"1"}, True, False
)
REQUEST = valid_request()
TRACED = REQUEST.replace(b"Host: a", b"Host: a\r\nTraceparent: 00-1-1-00")


def replace_cached_head(gateway: InProcessGateway, request: bytes) -> None:
    """Cache the head of an unknown service for a request: only the parser sees its own one."""
    head_cache = gateway.server_context.fast_path.head_cache
    head_cache.add(head_cache.find(request).key, OTHER_HEAD)


READS: list[tuple[str, bytes, list[bytes], list[int]]] = [
    ("one request", REQUEST, [REQUEST], [404]),
    ("one after another", REQUEST, [REQUEST, REQUEST], [404, 404]),
    ("body of another length", REQUEST, [
        REQUEST.replace(b"Length: %d" % len(REQUEST.partition(b"\r\n\r\n")[2]), b"Length: 2")
        .partition(b"\r\n\r\n")[0] + b"\r\n\r\n{}"], [404]),
    ("another trace id", TRACED, [TRACED.replace(b"00-1-1-00", b"00-2-2-00")], [404]),
    ("two in one read", REQUEST, [REQUEST * 2], [200, 200]),
    ("a second one begins", REQUEST, [REQUEST + REQUEST[:5], REQUEST[5:]], [200, 200]),
    ("body in a second read", REQUEST, [REQUEST[:-5], REQUEST[-5:]], [200]),
    ("head in two reads", REQUEST, [REQUEST[:30], REQUEST[30:]], [200]),
    ("blank line before it", REQUEST, [b"\r\n" + REQUEST], [200]),
    ("another header", REQUEST, [REQUEST.replace(b"Host: a", b"Host: a\r\nX-Other: 1")], [200]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cached", "reads", "statuses"), [row[1:] for row in READS], ids=[row[0] for row in READS]
)
def test_only_a_read_of_exactly_one_request_bypasses_the_parser(
    gateway: InProcessGateway, cached: bytes, reads: list[bytes], statuses: list[int]
) -> None:
    """The cached head is that of an unknown service (404)."""
    replace_cached_head(gateway, cached)
    with gateway.connect() as sock:
        for data in reads:
            sock.sendall(data)
        assert read_statuses(sock, len(statuses)) == statuses


def test_request_behind_a_pending_one_does_not_bypass_the_parser(
    gateway: InProcessGateway,
) -> None:
    replace_cached_head(gateway, REQUEST)
    gateway.caller.result = None
    with gateway.connect() as sock:
        sock.sendall(REQUEST.replace(b"Host: a", b"Host: b"))
        sock.sendall(REQUEST)
        gateway.caller.finish_calls()
        assert read_statuses(sock, 2) == [200, 200]


def test_cached_head_does_not_lift_the_limit_of_the_headers() -> None:
    def with_request_id(size: int) -> bytes:
        return valid_request().replace(b"Host: a", b"Host: a\r\nX-Request-Id: " + b"1" * size)

    options = GatewayOptions(max_header_bytes=512)
    with InProcessGateway(options=options) as gateway, gateway.connect() as sock:
        for _ in range(3):
            assert statuses_of(exchange(sock, with_request_id(8))) == [200]
        sock.sendall(with_request_id(600))
        assert statuses_of(read_all(sock)) == [431]


def event_request(*lines: bytes) -> bytes:
    head = b"\r\n".join([b"Host: a", b"Accept: text/event-stream", *lines])
    return valid_request("talker").replace(b"Host: a", head)


def read_chunks(sock: ClientSocket) -> tuple[bytes, list[bytes]]:
    """Return the head and the chunks of a response in chunked transfer coding."""
    response = b""
    while b"\r\n0\r\n\r\n" not in response:
        data = sock.recv(65536)
        assert data, response
        response += data
    head, _, rest = response.partition(b"\r\n\r\n")
    chunks = []
    while rest != b"0\r\n\r\n":
        size, _, rest = rest.partition(b"\r\n")
        chunks.append(rest[: int(size, 16)])
        assert rest[len(chunks[-1]) :].startswith(b"\r\n")
        rest = rest[len(chunks[-1]) + 2 :]
    return head, chunks


def test_streamed_response_is_chunked_and_keeps_the_connection(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(event_request())
        stream = gateway.caller.streams[0]
        stream.push_result(1, b"ONE")
        stream.push_result(2, b"x" * 5000)
        head, chunks = read_chunks(sock)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\ntransfer-encoding: chunked" in head
        assert b"content-length" not in head
        assert b"connection: close" not in head
        assert [chunk.partition(b"\n")[0] for chunk in chunks] == [
            b"event: result", b"event: result", b"event: end",
        ]  # fmt: skip
        assert statuses_of(exchange(sock, REQUEST)) == [200]


@pytest.mark.parametrize("is_draining", [False, True], ids=["requested", "draining"])
def test_streamed_response_says_close_and_ends_the_connection(
    gateway: InProcessGateway, is_draining: bool
) -> None:
    gateway.readiness.drain_state.draining = is_draining
    with gateway.connect() as sock:
        sock.sendall(event_request(*([] if is_draining else [b"Connection: close"])))
        gateway.caller.streams[0].push_result(2, b"LAST")
        head, chunks = read_chunks(sock)
        assert head.endswith(b"\r\nconnection: close")
        assert len(chunks) == 2
        sock.settimeout(1.0)
        assert sock.recv(1) == b"", "it is not the idle timeout that closes it"
