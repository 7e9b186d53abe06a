"""Each row of the status table, through a real socket: the envelope, its code, never a 500."""

import base64
import contextlib
import json
import signal
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.harness import Gateway, Loader, body, held

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


def envelope(answer: httpx.Response, status: int, code: int) -> str:
    """Assert that an answer is the envelope of that error; return its message."""
    assert answer.status_code == status, answer.text
    header = answer.json()["header"]
    assert set(answer.json()) == {"header"}
    assert header["code"] == code, answer.text
    assert header["sid"] == answer.headers["x-ase-request-id"]
    assert len(header["sid"]) == 32
    assert int(header["sid"], 16) >= 0
    assert answer.headers["content-type"] == "application/json"
    message: str = header["message"]
    assert message
    return message


@pytest.mark.parametrize(("asked", "status", "part"), [c[1:] for c in CASES],
                         ids=[c[0] for c in CASES])  # fmt: skip
def test_what_is_not_good_json_is_10163(
    gateway: Gateway, loader: Loader, asked: dict[str, Any], status: int, part: str
) -> None:
    headers = {"content-type": "application/json"}
    answer = gateway.http.post("/v1/private/probe", headers=headers, **asked)
    message = envelope(answer, status, 10163).lower()
    assert any(one in message for one in part.lower().split("|"))


def changed(**members: Any) -> dict[str, Any]:
    told = body()
    for path, value in members.items():
        inner = told
        *outer, last = path.split("__")
        for member in outer:
            inner = inner[member]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    return told


VIOLATIONS: list[tuple[dict[str, Any], str]] = [
    (changed(parameter__probe={"number": 101}), "$.parameter.probe.number: breaks maximum 100"),
    (changed(parameter__probe={"number": "x-y"}), "$.parameter.probe.number: must be of type int"),
    (changed(parameter__probe={"act": "dance"}), "$.parameter.probe.act: must be one of answer,"),
    (changed(parameter__probe={"nmber": 1}), "$.parameter.probe.nmber: is not known here"),
    (changed(parameter={"prob": {}}), "$.parameter.prob: is not known here"),
    (changed(extra=1), "$.extra: is not known here"),
    (changed(header__status=0), "$.header.status: must be one of 3"),
    (changed(header__status=None), "$.header.status: is required"),
    (changed(payload=None), "$.payload: is required"),
    (changed(payload={}), "$.payload.text: is required"),
    (changed(payload__text={"status": 3}), "$.payload.text.text: is required"),
    (changed(payload__text__text=5), "$.payload.text.text: must be of type string"),
    (changed(payload__text=None, payload__sound={}), "$.payload.sound: is not known here"),
    (
        changed(payload__text__text=base64.b64encode(b"x" * 1025).decode()),
        "$.payload.text.text: must decode to at most 1024 bytes",
    ),
    (changed(payload__text__text="a$b="), "$.payload.text.text: must be a base64 string"),
    (changed(payload__text__text="YW Jj"), "$.payload.text.text: must be a base64 string"),
    (changed(payload__text__text="YWJj===="), "$.payload.text.text: must be a base64 string"),
    (changed(payload__text__text="YWJ="), "$.payload.text.text: must be canonical"),
    (changed(payload__text__text="YWI"), "$.payload.text.text: must be"),
    (changed(payload__text__text="é"), "$.payload.text.text: must be a base64 string"),
]


@pytest.mark.parametrize(("told", "part"), VIOLATIONS, ids=[part for _, part in VIOLATIONS])
def test_a_schema_violation_tells_path_and_rule(
    gateway: Gateway, loader: Loader, told: dict[str, Any], part: str
) -> None:
    assert part in envelope(gateway.post(told), 400, 10163)


def test_a_violation_never_repeats_the_value(gateway: Gateway, loader: Loader) -> None:
    told = changed(parameter__probe={"act": "CANARY-1", "number": 12345678})
    answer = gateway.post(told)
    message = envelope(answer, 400, 10163)
    assert "CANARY-1" not in answer.text
    assert "12345678" not in answer.text
    assert message.count("$.") == 2, "every violation is told, in one answer"


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=gbk"},
        {"content-type": ""},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
    ids=str,
)
def test_another_form_of_body_is_415(
    gateway: Gateway, loader: Loader, headers: dict[str, str]
) -> None:
    answer = gateway.http.post("/v1/private/probe", content=b"{}", headers=headers)
    envelope(answer, 415, 10163)


def test_content_type_with_utf8_charset_is_taken(gateway: Gateway, loader: Loader) -> None:
    headers = {"content-type": "Application/JSON; charset=UTF-8"}
    answer = gateway.http.post(
        "/v1/private/probe", content=json.dumps(body()).encode(), headers=headers
    )
    assert answer.status_code == 200


def raw(gateway: Gateway, *pieces: bytes) -> bytes:
    """Send bytes as they are; return what comes until the connection ends."""
    where = urlsplit(gateway.url)
    with socket.create_connection((where.hostname, where.port), timeout=30) as sock:
        for piece in pieces:
            sock.sendall(piece)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    return answer


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


@pytest.mark.parametrize(("sent", "status"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_broken_http_is_an_envelope_and_the_connection_ends(
    gateway: Gateway, loader: Loader, sent: bytes, status: int
) -> None:
    head, _, told = raw(gateway, sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), head
    assert b"connection: close" in head
    header = json.loads(told)["header"]
    assert header["code"] == 10163
    assert header["sid"].encode() in head


def test_chunks_over_the_limit_are_413(gateway: Gateway, loader: Loader) -> None:
    chunk = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
    where = urlsplit(gateway.url)
    with socket.create_connection((where.hostname, where.port), timeout=30) as sock:
        sock.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(16):
            sock.sendall(chunk)
        sock.sendall(b"1\r\n ")
        assert sock.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_slow_head_and_a_slow_body_are_408() -> None:
    flags = ("--gateway-header-timeout", "0.3", "--gateway-body-timeout", "0.3")
    with Gateway(*flags) as gateway, Loader(gateway.lb) as loader:
        gateway.joined(loader)
        head = raw(gateway, b"POST /v1/pri")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b'"code": 10163' in head
        slow = raw(gateway, HEAD + b"Content-Length: 10\r\n\r\n{")
        assert slow.startswith(b"HTTP/1.1 408 ")
        assert b'"code": 10163' in slow
        assert raw(gateway).startswith(b"HTTP/1.1 408 "), "a silent connection ends too"


def test_no_app_id_is_400_and_another_s_is_403(gateway: Gateway, loader: Loader) -> None:
    for told in (changed(header__app_id=None), changed(header__app_id=""), changed(header=None)):
        envelope(gateway.post(told), 400, 10313)
    other = gateway.post(body(), headers={"X-Consumer-Username": "somebody"})
    envelope(other, 403, 10313)
    assert gateway.post(body(), headers={"X-Consumer-Username": "tests"}).status_code == 200
    old_name = changed(header__app_id=None, header__appid="tests")
    message = envelope(gateway.post(old_name), 400, 10163)
    assert "$.header.app_id: is required" in message, "found, but the schema asks for the new name"


def test_an_unknown_service_is_10225(gateway: Gateway, loader: Loader) -> None:
    envelope(gateway.post(body(), "nobody"), 404, 10225)
    for path in ("/", "/v1/private/", "/v1/private/a/b", "/v2/private/nobody"):
        envelope(gateway.http.post(path, json={}), 404, 10225)
    envelope(gateway.http.get("/v1/apis/nobody/schema"), 404, 10225)


def test_another_method_is_405(gateway: Gateway, loader: Loader) -> None:
    answer = gateway.http.get("/v1/private/probe")
    envelope(answer, 405, 10163)
    assert answer.headers["allow"] == "POST"


def test_refused_input_is_10107_with_the_wrapper_s_words(gateway: Gateway, loader: Loader) -> None:
    assert envelope(gateway.call(act="refuse"), 400, 10107) == "not this one"


def test_a_wrapper_that_raises_is_10908_and_the_traceback_stays_at_the_loader(
    gateway: Gateway, loader: Loader
) -> None:
    answer = gateway.call(act="raise")
    assert "ValueError" in envelope(answer, 502, 10908)
    assert "secret" not in answer.text
    sid = answer.headers["x-ase-request-id"]
    assert "a secret of the model" in loader.event("wrapper raised", sid=sid)["traceback"]
    gateway.event("request", sid=sid)
    assert not any("secret" in str(line) for line in gateway.lines)
    for _ in range(4):
        assert gateway.call().status_code == 200, "its slot is free again"


def test_an_undeclared_output_is_10106(gateway: Gateway, loader: Loader) -> None:
    envelope(gateway.call(act="undeclared"), 502, 10106)


def test_no_outputs_is_an_envelope_without_payload(gateway: Gateway, loader: Loader) -> None:
    answer = gateway.call(act="bare")
    assert answer.status_code == 200
    assert set(answer.json()) == {"header"}


def test_a_missed_deadline_is_10102() -> None:
    with Gateway("--gateway-deadline", "0.3") as gateway, Loader(gateway.lb) as loader:
        gateway.joined(loader)
        answer = gateway.call(act="hold")
        envelope(answer, 504, 10102)
        sid = answer.headers["x-ase-request-id"]
        assert loader.event("let go", sid=sid)["cancelled"], "the loader was told"


def test_nobody_alive_is_20002_and_says_when_to_come_back() -> None:
    with Gateway() as gateway:
        with Loader(gateway.lb) as loader:
            gateway.joined(loader)
            assert loader.stop() == 0
            gateway.event("instance gone", instance=loader.addr)
        answer = gateway.call()
        envelope(answer, 503, 20002)
        assert int(answer.headers["retry-after"]) >= 1
        assert gateway.http.get("/readyz").status_code == 200, (
            "one empty service is not the gateway"
        )


def test_all_full_is_10110(gateway: Gateway, loader: Loader) -> None:
    with held(gateway, loader, "a"), held(gateway, loader, "b"):
        answer = gateway.call()
        envelope(answer, 503, 10110)
        assert "retry-after" in answer.headers
        assert answer.headers["x-ase-attempts"] == "0", "it waited, and nobody had room"
    for name in ("a", "b"):
        loader.event("let go", request_id=name)
    loader_line = next(line for line in gateway.state() if line["instance"] == loader.addr)
    assert loader_line["inflight"] == 0


def test_trailers_do_not_join_the_headers(gateway: Gateway, loader: Loader) -> None:
    """Sent in one piece, so that they are parsed before the application begins."""
    told = json.dumps(body()).encode()
    chunks = b"%x\r\n%s\r\n0\r\nX-Consumer-Username: somebody\r\n\r\n" % (len(told), told)
    head = HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert raw(gateway, head + chunks).startswith(b"HTTP/1.1 200 ")


def conversation(gateway: Gateway) -> socket.socket:
    where = urlsplit(gateway.url)
    return socket.create_connection((where.hostname, where.port), timeout=30)


@pytest.mark.parametrize(
    "begin",
    [
        b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Endless: ",
        b"GET /",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Endless: ",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;ext=",
    ],
    ids=["header", "target", "trailer", "chunk extension"],
)
def test_an_endless_line_is_cut(gateway: Gateway, loader: Loader, begin: bytes) -> None:
    """The parser keeps an unfinished line and joins it anew each time: unbounded, it stalls all."""
    with conversation(gateway) as sock:
        sock.sendall(begin)
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 64 << 20:
                sent += sock.send(b"a" * 65536)
        assert sent < 8 << 20


def test_a_request_after_an_early_answer_is_served(gateway: Gateway, loader: Loader) -> None:
    """The first is answered before its body came; the rest of it is no late head."""
    told = json.dumps(body()).encode()
    with conversation(gateway) as sock:
        sock.sendall(HEAD.replace(b"probe", b"nobody") + b"Content-Length: 300000\r\n\r\n")
        assert next_answer(sock).startswith(b"HTTP/1.1 404 ")
        sock.sendall(b" " * 300_000)
        sock.sendall(HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(told), told))
        assert next_answer(sock).startswith(b"HTTP/1.1 200 ")


def next_answer(sock: socket.socket) -> bytes:
    """Read one whole answer."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += sock.recv(65536)
    head, _, rest = got.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(rest) < length:
        rest += sock.recv(65536)
    return got


def test_garbage_behind_a_request_is_answered_after_it(gateway: Gateway, loader: Loader) -> None:
    told = json.dumps(body()).encode()
    answer = raw(gateway, HEAD + b"Content-Length: %d\r\n\r\n%sgarbage\r\n\r\n" % (len(told), told))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 400 ") == 1


@pytest.mark.parametrize("path", ["/v1/private/probe/", "/v1/apis/", "//v1/private/probe/"])
def test_a_slash_too_many_is_an_envelope_not_a_redirect(gateway: Gateway, path: str) -> None:
    answer = gateway.http.post(path, json={}, headers={"host": "evil.example"})
    envelope(answer, 404, 10225)


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\n{}}",
        HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\n{}\n",
    ],
    ids=["chunk size", "h2c", "websocket"],
)
def test_a_broken_or_hidden_body_is_400_once(gateway: Gateway, loader: Loader, sent: bytes) -> None:
    answer = raw(gateway, sent.replace(b"Host: a", b"Host: a\r\nConnection: close", 1))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"\r\n\r\n") == 1
    assert b'"code": 10163' in answer


def test_a_get_that_offers_another_protocol_is_served(gateway: Gateway) -> None:
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
def test_a_header_that_stands_twice_is_not_its_last(
    gateway: Gateway, loader: Loader, name: str, values: list[str], status: int
) -> None:
    headers = [(name, value) for value in values]
    headers += [] if name == "Content-Type" else [("Content-Type", "application/json")]
    told = json.dumps(body()).encode()
    answer = gateway.http.post("/v1/private/probe", content=told, headers=headers)
    assert answer.status_code == status


def test_answers_that_nobody_reads_do_not_keep_a_gateway_alive() -> None:
    flags = ("--gateway-drain", "1", "--gateway-write-timeout", "0.5")
    big = "tests/wrappers/big.py:Big"
    with Gateway(*flags) as gateway, Loader(gateway.lb, big) as loader:
        gateway.joined(loader)
        told = json.dumps(body("big") | {"payload": {}}).encode()
        head = HEAD.replace(b"probe", b"big") + b"Content-Length: %d\r\n\r\n" % len(told)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            where = urlsplit(gateway.url)
            sock.connect((where.hostname, where.port))
            sock.sendall((head + told) * 2)
            loader.event("made")
            gateway.signal(signal.SIGTERM)
            assert gateway.ended() == 0
