"""Each row of the status table, through a real socket: the envelope, its code, never a 500."""

import base64
import contextlib
import gzip
import json
import signal
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.harness import Gateway, Loader, make_envelope, occupied_slot

CASES: list[tuple[str, dict[str, Any], int, str]] = [
    # name, what is asked, status, a part of the message
    ("not JSON", {"content": b"{"}, 400, "must be json"),
    ("empty", {"content": b""}, 400, "must be json"),
    ("not an object", {"content": b"[1]"}, 400, "must be a json object"),
    ("not UTF-8", {"content": b'{"a":"\xff"}'}, 400, "must be json"),
    ("UTF-16", {"content": '{"a":1}'.encode("utf-16")}, 400, "must be json"),
    ("BOM", {"content": b'\xef\xbb\xbf{"a":1}'}, 400, "must be json"),
    ("duplicate key", {"content": b'{"a":1,"a":2}'}, 400, "duplicate key"),
    ("NaN", {"content": b'{"a":NaN}'}, 400, "must be json"),
    ("Infinity", {"content": b'{"a":-Infinity}'}, 400, "must be json"),
    ("1e999", {"content": b'{"a":1e999}'}, 400, "out of range"),
    ("lone surrogate", {"content": b'{"a":"\\ud800"}'}, 400, "must be json"),
    ("NUL", {"content": b'{"a":"\\u0000"}'}, 400, "NUL"),
    ("many digits", {"content": b'{"a":1%s}' % (b"0" * 120)}, 400, "digits"),
    ("very many digits", {"content": b'{"a":1%s}' % (b"0" * 5000)}, 400, "must be json"),
    ("too deep", {"content": b'{"a":%s}' % (b"[" * 100 + b"]" * 100)}, 400, "deep"),
    ("far too deep", {"content": b'{"a":%s}' % (b"[" * 100_000)}, 400, "values|json"),
    ("too many values", {"content": b'{"a":[%s1]}' % (b"1," * 100_000)}, 400, "values"),
    ("trailing text", {"content": b'{"a":1}x'}, 400, "must be json"),
]


def assert_error_envelope(response: httpx.Response, status: int, code: int) -> str:
    """Assert that an answer is the envelope of that error; return its message."""
    assert response.status_code == status, response.text
    header = response.json()["header"]
    assert set(response.json()) == {"header"}
    assert header["code"] == code, response.text
    assert header["sid"] == response.headers["x-ase-request-id"]
    assert len(header["sid"]) == 32
    assert int(header["sid"], 16) >= 0
    assert response.headers["content-type"] == "application/json"
    message: str = header["message"]
    assert message
    return message


@pytest.mark.parametrize(("post_args", "status", "message_part"), [c[1:] for c in CASES],
                         ids=[c[0] for c in CASES])  # fmt: skip
def test_bad_json_is_10163(
    gateway: Gateway, loader: Loader, post_args: dict[str, Any], status: int, message_part: str
) -> None:
    headers = {"content-type": "application/json"}
    response = gateway.http.post("/v1/private/probe", headers=headers, **post_args)
    message = assert_error_envelope(response, status, 10163).lower()
    assert any(alternative in message for alternative in message_part.lower().split("|"))


def envelope_with(**members: Any) -> dict[str, Any]:
    request_envelope = make_envelope()
    for path, value in members.items():
        container = request_envelope
        *outer, last = path.split("__")
        for member in outer:
            container = container[member]
        if value is None:
            del container[last]
        else:
            container[last] = value
    return request_envelope


VIOLATIONS: list[tuple[dict[str, Any], str]] = [
    (
        envelope_with(parameter__probe={"number": 101}),
        "$.parameter.probe.number: breaks maximum 100",
    ),
    (
        envelope_with(parameter__probe={"number": "x-y"}),
        "$.parameter.probe.number: must be of type int",
    ),
    (
        envelope_with(parameter__probe={"act": "dance"}),
        "$.parameter.probe.act: must be one of answer,",
    ),
    (envelope_with(parameter__probe={"nmber": 1}), "$.parameter.probe.nmber: is not known here"),
    (envelope_with(parameter={"prob": {}}), "$.parameter.prob: is not known here"),
    (envelope_with(extra=1), "$.extra: is not known here"),
    (envelope_with(header__status=0), "$.header.status: must be one of 3"),
    (envelope_with(header__app_id="x" * 65), "$.header.app_id: breaks maxLength 64"),
    (envelope_with(payload=None), "$.payload: is required"),
    (envelope_with(payload={}), "$.payload.text: is required"),
    (envelope_with(payload__text={"status": 3}), "$.payload.text.text: is required"),
    (envelope_with(payload__text__text=5), "$.payload.text.text: must be of type string"),
    (envelope_with(payload__text=None, payload__sound={}), "$.payload.sound: is not known here"),
    (
        envelope_with(payload__text__text=base64.b64encode(b"x" * 1025).decode()),
        "$.payload.text.text: must decode to at most 1024 bytes",
    ),
    (envelope_with(payload__text__text="a$b="), "$.payload.text.text: must be a base64 string"),
    (envelope_with(payload__text__text="YW Jj"), "$.payload.text.text: must be a base64 string"),
    (envelope_with(payload__text__text="YWJj===="), "$.payload.text.text: must be a base64 string"),
    (envelope_with(payload__text__text="YWJ="), "$.payload.text.text: must be canonical"),
    (envelope_with(payload__text__text="YWI"), "$.payload.text.text: must be"),
    (envelope_with(payload__text__text="é"), "$.payload.text.text: must be a base64 string"),
]


@pytest.mark.parametrize(
    ("request_envelope", "message_part"), VIOLATIONS, ids=[part for _, part in VIOLATIONS]
)
def test_schema_violation_names_path_and_rule(
    gateway: Gateway, loader: Loader, request_envelope: dict[str, Any], message_part: str
) -> None:
    assert message_part in assert_error_envelope(gateway.post(request_envelope), 400, 10163)


def test_status_of_a_single_frame_may_be_left_out(gateway: Gateway, loader: Loader) -> None:
    response = gateway.post(envelope_with(header__status=None))
    assert response.status_code == 200, response.text
    facts = response.json()["payload"]["facts"]["text"]
    assert facts["headers"]["status"] == "3", "the loader gets it all the same"


def test_a_violation_never_repeats_the_value(gateway: Gateway, loader: Loader) -> None:
    request_envelope = envelope_with(parameter__probe={"act": "CANARY-1", "number": 12345678})
    response = gateway.post(request_envelope)
    message = assert_error_envelope(response, 400, 10163)
    assert "CANARY-1" not in response.text
    assert "12345678" not in response.text
    assert message.count("$.") == 2, "every violation is told, in one answer"


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=gbk"},
        {"content-type": ""},
        {"content-type": "application/json", "content-encoding": "br"},
    ],
    ids=str,
)
def test_unsupported_content_type_is_415(
    gateway: Gateway, loader: Loader, headers: dict[str, str]
) -> None:
    response = gateway.http.post("/v1/private/probe", content=b"{}", headers=headers)
    assert_error_envelope(response, 415, 10163)


def test_gzip_body_is_served_within_its_limit(gateway: Gateway, loader: Loader) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    body = json.dumps(make_envelope()).encode()
    for _ in range(3):  # the head is cached then
        response = gateway.http.post(
            "/v1/private/probe", content=gzip.compress(body), headers=headers
        )
        assert response.json()["header"]["code"] == 0, response.text
    bomb = gzip.compress(b" " * (2 * 1024 * 1024 + 1) + body)
    assert len(bomb) < 4000
    response = gateway.http.post("/v1/private/probe", content=bomb, headers=headers)
    assert "2097152 bytes, decompressed" in assert_error_envelope(response, 413, 10163)
    response = gateway.http.post("/v1/private/probe", content=body, headers=headers)
    assert_error_envelope(response, 400, 10163)


def test_utf8_charset_is_accepted(gateway: Gateway, loader: Loader) -> None:
    headers = {"content-type": "Application/JSON; charset=UTF-8"}
    response = gateway.http.post(
        "/v1/private/probe", content=json.dumps(make_envelope()).encode(), headers=headers
    )
    assert response.status_code == 200


def send_raw(gateway: Gateway, *pieces: bytes) -> bytes:
    """Send bytes as they are; return what comes until the connection ends."""
    address = urlsplit(gateway.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as sock:
        for piece in pieces:
            sock.sendall(piece)
        response = b""
        while piece := sock.recv(65536):
            response += piece
    return response


HEAD = b"POST /v1/private/probe HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"

BROKEN: list[tuple[str, bytes, int]] = [
    ("a body over the limit, unread", HEAD + b"Content-Length: 99999999\r\n\r\n", 413),
    ("nonsense", b"hello there\r\n\r\n", 400),
    ("bad length", HEAD + b"Content-Length: +5\r\n\r\n", 400),
    ("length and chunks", HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("no host", b"GET /livez HTTP/1.1\r\n\r\n", 400),
    ("two hosts", b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("a long target", b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a" * 9000), 414),
    ("large headers", HEAD + b"X-Pad: %s\r\n\r\n" % (b"a" * 40_000), 431),
    ("many headers", HEAD + b"".join(b"x-%d: a\r\n" % i for i in range(120)) + b"\r\n", 431),
]


@pytest.mark.parametrize(("data", "status"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_broken_http_is_an_envelope_and_the_connection_ends(
    gateway: Gateway, loader: Loader, data: bytes, status: int
) -> None:
    head, _, content = send_raw(gateway, data).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), head
    assert b"connection: close" in head
    header = json.loads(content)["header"]
    assert header["code"] == 10163
    assert header["sid"].encode() in head


def test_chunks_over_the_limit_are_413(gateway: Gateway, loader: Loader) -> None:
    chunk = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
    address = urlsplit(gateway.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as sock:
        sock.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(16):
            sock.sendall(chunk)
        sock.sendall(b"1\r\n ")
        assert sock.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_slow_head_and_slow_body_are_408() -> None:
    flags = ("--gateway-header-timeout", "0.3", "--gateway-body-timeout", "0.3")
    with Gateway(*flags) as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        head = send_raw(gateway, b"POST /v1/pri")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b'"code": 10163' in head
        slow = send_raw(gateway, HEAD + b"Content-Length: 10\r\n\r\n{")
        assert slow.startswith(b"HTTP/1.1 408 ")
        assert b'"code": 10163' in slow
        assert send_raw(gateway).startswith(b"HTTP/1.1 408 "), "a silent connection ends too"


def test_missing_app_id_is_400_and_foreign_app_id_is_403(gateway: Gateway, loader: Loader) -> None:
    for request_envelope in (
        envelope_with(header__app_id=None),
        envelope_with(header__app_id=""),
        envelope_with(header=None),
    ):
        assert_error_envelope(gateway.post(request_envelope), 400, 10313)
    other = gateway.post(make_envelope(), headers={"X-Consumer-Username": "somebody"})
    assert_error_envelope(other, 403, 10313)
    assert (
        gateway.post(make_envelope(), headers={"X-Consumer-Username": "tests"}).status_code == 200
    )
    old_envelope = envelope_with(header__app_id=None, header__appid="tests")
    message = assert_error_envelope(gateway.post(old_envelope), 400, 10163)
    assert "$.header.app_id: is required" in message, "found, but the schema asks for the new name"


def test_an_unknown_service_is_10225(gateway: Gateway, loader: Loader) -> None:
    assert_error_envelope(gateway.post(make_envelope(), "nobody"), 404, 10225)
    for path in ("/", "/v1/private/", "/v1/private/a/b", "/v2/private/nobody"):
        assert_error_envelope(gateway.http.post(path, json={}), 404, 10225)
    assert_error_envelope(gateway.http.get("/v1/apis/nobody/schema"), 404, 10225)


def test_another_method_is_405(gateway: Gateway, loader: Loader) -> None:
    response = gateway.http.get("/v1/private/probe")
    assert_error_envelope(response, 405, 10163)
    assert response.headers["allow"] == "OPTIONS, POST"


def test_rejected_input_is_10107_with_the_wrapper_message(gateway: Gateway, loader: Loader) -> None:
    assert assert_error_envelope(gateway.call(act="refuse"), 400, 10107) == "not this one"


def test_a_wrapper_that_raises_is_10908_and_the_traceback_stays_at_the_loader(
    gateway: Gateway, loader: Loader
) -> None:
    response = gateway.call(act="raise")
    assert "ValueError" in assert_error_envelope(response, 502, 10908)
    assert "secret" not in response.text
    sid = response.headers["x-ase-request-id"]
    assert "a secret of the model" in loader.wait_for_event("wrapper raised", sid=sid)["traceback"]
    gateway.wait_for_event("request", sid=sid)
    assert not any("secret" in str(line) for line in gateway.lines)
    for _ in range(4):
        assert gateway.call().status_code == 200, "its slot is free again"


def test_an_undeclared_output_is_10106(gateway: Gateway, loader: Loader) -> None:
    assert_error_envelope(gateway.call(act="undeclared"), 502, 10106)


def test_no_output_at_all_is_10106(gateway: Gateway, loader: Loader) -> None:
    response = gateway.call(act="bare")
    assert_error_envelope(response, 502, 10106)
    assert "returned no output; declared: 'facts', 'said'" in response.text


def test_a_missed_deadline_is_10102() -> None:
    with Gateway("--gateway-deadline", "0.3") as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        response = gateway.call(act="hold")
        assert_error_envelope(response, 504, 10102)
        sid = response.headers["x-ase-request-id"]
        assert loader.wait_for_event("let go", sid=sid)["cancelled"], "the loader was told"


def test_no_live_loader_is_20002_with_retry_after() -> None:
    with Gateway() as gateway:
        with Loader(gateway.lb) as loader:
            gateway.wait_until_up(loader)
            assert loader.stop() == 0
            gateway.wait_for_event("instance gone", instance=loader.addr)
        response = gateway.call()
        assert_error_envelope(response, 503, 20002)
        assert int(response.headers["retry-after"]) >= 1
        assert gateway.http.get("/readyz").status_code == 200, (
            "one empty service is not the gateway"
        )


def test_all_full_is_10110(gateway: Gateway, loader: Loader) -> None:
    with occupied_slot(gateway, loader, "a"), occupied_slot(gateway, loader, "b"):
        response = gateway.call()
        assert_error_envelope(response, 503, 10110)
        assert "retry-after" in response.headers
        assert response.headers["x-ase-attempts"] == "0", "it waited, and nobody had room"
    for name in ("a", "b"):
        loader.wait_for_event("let go", request_id=name)
    loader_line = next(line for line in gateway.state() if line["instance"] == loader.addr)
    assert loader_line["inflight"] == 0


def test_trailers_do_not_join_the_headers(gateway: Gateway, loader: Loader) -> None:
    """Sent in one piece, so that they are parsed before the application begins."""
    content = json.dumps(make_envelope()).encode()
    chunks = b"%x\r\n%s\r\n0\r\nX-Consumer-Username: somebody\r\n\r\n" % (len(content), content)
    head = HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert send_raw(gateway, head + chunks).startswith(b"HTTP/1.1 200 ")


def connect(gateway: Gateway) -> socket.socket:
    address = urlsplit(gateway.url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


@pytest.mark.parametrize(
    "prefix",
    [
        b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Endless: ",
        b"GET /",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Endless: ",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;ext=",
    ],
    ids=["header", "target", "trailer", "chunk extension"],
)
def test_endless_line_is_rejected(gateway: Gateway, loader: Loader, prefix: bytes) -> None:
    """The parser keeps an unfinished line and joins it anew each time: unbounded, it stalls all."""
    with connect(gateway) as sock:
        sock.sendall(prefix)
        sent_size = 0
        with contextlib.suppress(ConnectionError):
            while sent_size < 64 << 20:
                sent_size += sock.send(b"a" * 65536)
        assert sent_size < 8 << 20


def test_request_after_an_early_response_is_served(gateway: Gateway, loader: Loader) -> None:
    """The first is answered before its body came; the rest of it is no late head."""
    content = json.dumps(make_envelope()).encode()
    with connect(gateway) as sock:
        sock.sendall(HEAD.replace(b"probe", b"nobody") + b"Content-Length: 300000\r\n\r\n")
        assert read_response(sock).startswith(b"HTTP/1.1 404 ")
        sock.sendall(b" " * 300_000)
        sock.sendall(HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(content), content))
        assert read_response(sock).startswith(b"HTTP/1.1 200 ")


def read_response(sock: socket.socket) -> bytes:
    """Read one whole answer."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += sock.recv(65536)
    head, _, rest = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(rest) < length:
        rest += sock.recv(65536)
    return received


def test_garbage_after_a_request_gets_a_response_after_it(gateway: Gateway, loader: Loader) -> None:
    content = json.dumps(make_envelope()).encode()
    response = send_raw(
        gateway, HEAD + b"Content-Length: %d\r\n\r\n%sgarbage\r\n\r\n" % (len(content), content)
    )
    assert response.startswith(b"HTTP/1.1 200 ")
    assert response.count(b"HTTP/1.1 400 ") == 1


@pytest.mark.parametrize("path", ["/v1/private/probe/", "/v1/apis/", "//v1/private/probe/"])
def test_extra_slash_is_an_error_envelope_not_a_redirect(gateway: Gateway, path: str) -> None:
    response = gateway.http.post(path, json={}, headers={"host": "evil.example"})
    assert_error_envelope(response, 404, 10225)


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\n{}}",
        HEAD.replace(b"POST", b"GET")
        + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\n{}\n",
    ],
    ids=["chunk size", "h2c", "websocket"],
)
def test_a_broken_or_hidden_body_is_400_once(gateway: Gateway, loader: Loader, data: bytes) -> None:
    response = send_raw(gateway, data.replace(b"Host: a", b"Host: a\r\nConnection: close", 1))
    assert response.startswith(b"HTTP/1.1 400 ")
    assert response.count(b"\r\n\r\n") == 1
    assert b'"code": 10163' in response


def test_get_with_upgrade_offer_is_served(gateway: Gateway) -> None:
    offer = {"connection": "Upgrade", "upgrade": "h2c"}
    assert gateway.http.get("/livez", headers=offer).status_code == 200


@pytest.mark.parametrize(
    ("name", "values", "status"),
    [
        ("X-Consumer-Username", ["somebody", "tests"], 403),
        ("Content-Encoding", ["gzip", "identity"], 400),
        ("Content-Type", ["text/plain", "application/json"], 400),
    ],
)
def test_repeated_header_is_rejected(
    gateway: Gateway, loader: Loader, name: str, values: list[str], status: int
) -> None:
    headers = [(name, value) for value in values]
    headers += [] if name == "Content-Type" else [("Content-Type", "application/json")]
    content = json.dumps(make_envelope()).encode()
    response = gateway.http.post("/v1/private/probe", content=content, headers=headers)
    assert response.status_code == status


def test_unread_responses_do_not_keep_a_draining_gateway_alive() -> None:
    flags = ("--gateway-drain", "1", "--gateway-write-timeout", "0.5")
    big = "tests/wrappers/big.py:Big"
    with Gateway(*flags) as gateway, Loader(gateway.lb, big) as loader:
        gateway.wait_until_up(loader)
        content = json.dumps(make_envelope("big") | {"payload": {}}).encode()
        head = HEAD.replace(b"probe", b"big") + b"Content-Length: %d\r\n\r\n" % len(content)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            address = urlsplit(gateway.url)
            sock.connect((address.hostname, address.port))
            sock.sendall((head + content) * 2)
            loader.wait_for_event("made")
            gateway.signal(signal.SIGTERM)
            assert gateway.wait_for_exit() == 0
