"""Forms of requests that RFC 9110 and 9112 demand, on the fast path and through Starlette."""

import base64
import json
from collections.abc import Iterator

import pytest

from config.options import GatewayOptions
from schemas.wire import LoaderInput
from tests.harness import make_envelope
from tests.inprocess import InProcessGateway
from tests.requests import POST, read_all, statuses_of, valid_request
from tests.sessions import InProcessWebSocket, frame


@pytest.fixture(params=[True, False], ids=["fast path", "starlette"])
def gateway(request: pytest.FixtureRequest) -> Iterator[InProcessGateway]:
    with InProcessGateway(options=GatewayOptions(once_lane=request.param)) as running:
        yield running


def event_request(version: str, accept: str = "text/event-stream") -> bytes:
    body = json.dumps(frame(3, b"hello")).encode()
    head = POST.replace(b"probe", b"talker").replace(b"HTTP/1.1", f"HTTP/{version}".encode())
    head += f"Accept: {accept}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return head + body


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_events_to_http_1_0_end_with_the_connection(
    gateway: InProcessGateway, version: str
) -> None:
    with gateway.connect() as sock:
        sock.sendall(event_request(version))
        stream = gateway.caller.streams[0]
        stream.push_result(1, b"ONE")
        stream.push_result(2, b"LAST")
        if version == "1.0":
            response = read_all(sock)
        else:
            response = b""
            while not response.endswith(b"\r\n0\r\n\r\n"):
                response += sock.recv(65536)
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    is_chunked = b"transfer-encoding: chunked" in head.lower()
    assert is_chunked is (version == "1.1")
    assert (b"connection: close" in head.lower()) is (version == "1.0")
    if not is_chunked:
        assert body.startswith(b"event: result\n")
        assert body.endswith(b"\n\n")
    assert body.count(b"event: ") == 3


def test_unary_response_to_http_1_0(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(valid_request().replace(b"HTTP/1.1", b"HTTP/1.0"))
        response = read_all(sock)
    assert statuses_of(response) == [200]
    assert b"transfer-encoding" not in response.lower()


@pytest.mark.parametrize(
    ("accept", "is_events"),
    [
        ("application/json, text/event-stream;q=0", False),
        ("text/event-stream-x", False),
        ("text/*", False),
        ("application/json, TEXT/EVENT-STREAM;q=0.1", True),
    ],
)
def test_weight_of_events(gateway: InProcessGateway, accept: str, is_events: bool) -> None:
    with gateway.connect() as sock:
        sock.sendall(event_request("1.1", accept))
        assert bool(gateway.caller.streams) is is_events


def test_absolute_target_is_served(gateway: InProcessGateway) -> None:
    for _ in range(3):  # a repeated head takes another way
        with gateway.connect() as sock:
            sock.sendall(valid_request().replace(b"POST /", b"POST http://b:80/"))
            assert statuses_of(sock.recv(65536)) == [200]
    assert json.loads(gateway.lines[-1])["path"] == "/v1/private/probe"
    with gateway.connect() as sock:
        sock.sendall(b"GET http://b/livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert statuses_of(sock.recv(65536)) == [200]
    for target in (b"http://user@b/livez", b"http://b//livez", b"ftp://b/livez", b"http://b:x/"):
        with gateway.connect() as sock:
            sock.sendall(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
            assert statuses_of(read_all(sock)) == [400]


def test_upgrade_on_a_request_with_a_body_is_ignored(gateway: InProcessGateway) -> None:
    """Some proxies are configured to add it to every request."""
    upgrade = b"Host: a\r\nConnection: upgrade\r\nUpgrade: websocket"
    with gateway.connect() as sock:
        for _ in range(3):
            sock.sendall(valid_request().replace(b"Host: a", upgrade))
            assert statuses_of(sock.recv(65536)) == [200]


@pytest.mark.parametrize("form", ["{}", "W/{}", '"x", {}', "*"])
def test_if_none_match(gateway: InProcessGateway, form: str) -> None:
    page = b"GET /v1/apis/probe/schema HTTP/1.1\r\nHost: a\r\n"
    with gateway.connect() as sock:
        sock.sendall(page + b"\r\n")
        response = sock.recv(65536)
        etag = response.partition(b"etag: ")[2].partition(b"\r\n")[0].decode()
        sock.sendall(page + f"If-None-Match: {form.format(etag)}\r\n\r\n".encode())
        assert b" 304 " in sock.recv(65536).partition(b"\r\n")[0]


@pytest.mark.parametrize(("coding", "is_gzip"), [("gzip;q=0", False), ("br, GZIP", True)])
def test_accept_encoding_of_pages(gateway: InProcessGateway, coding: str, is_gzip: bool) -> None:
    with gateway.connect() as sock:
        sock.sendall(
            b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n"
            + f"Accept-Encoding: {coding}\r\n\r\n".encode()
        )
        assert (b"content-encoding: gzip" in sock.recv(1000)) is is_gzip


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_base64_with_line_breaks_is_served(gateway: InProcessGateway, line_break: str) -> None:
    text = base64.encodebytes(b"x" * 200).decode().replace("\n", line_break)
    body = json.dumps(make_envelope() | {"payload": {"text": {"text": text}}}).encode()
    with gateway.connect() as sock:
        sock.sendall(POST + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        assert statuses_of(sock.recv(65536)) == [200]
    with InProcessWebSocket(gateway) as ws:
        envelope = frame(3, b"hello")
        envelope["payload"]["text"]["text"] = f"aGVs{line_break}bG8=" + line_break
        ws.send(envelope)
        loader_input = LoaderInput.FromString(gateway.caller.streams[-1].sent_frames[0])
        assert loader_input.pl[0].data == b"hello"
