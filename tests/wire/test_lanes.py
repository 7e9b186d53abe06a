"""One contract in two lanes: every golden case and every bad input gives the same bytes in both.

Clock and ids are handed in; what the loader answers is said by the test.
"""

import asyncio
import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from google.protobuf import json_format
from prometheus_client import CollectorRegistry

from aseloader import declare
from config.options import GatewayOptions, SessionOptions
from gateway import server
from gateway.http import app
from gateway.http.connection import HttpConnection
from gateway.http.server_context import ServerContext
from gateway.request.interfaces import Dependencies
from gateway.services.catalog import Catalog, build_contract
from gateway.streaming.upgrade import WebSocketUpgrader
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.metrics import Metrics
from schemas.model import document
from schemas.model.errors import (
    BAD_REPLY,
    DEADLINE,
    LOADER_FULL,
    LOADER_LOST,
    NO_INSTANCE,
    UNREACHABLE,
    AseError,
    loader_error_spec,
)
from schemas.wire import LoaderOutput
from tests.fakes import gateway_context
from tests.harness import body
from tests.wire.test_framing import ROWS, rest
from tests.wire.test_statuses import CASES, VIOLATIONS
from tests.wrappers.probe import Probe

GOLDEN = Path(__file__).parent.parent / "golden"
NOTHING = LoaderOutput().SerializeToString()


class Place:
    """An instance that is always there."""

    addr = "loader:1"
    instance: Any = property(lambda self: self)

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_: object) -> None: ...


class Caller:
    """Answers what the test says."""

    came: bytes | Exception = NOTHING

    def start_call(self, attempt: Any, done: Callable[[Any], None]) -> Any:
        asyncio.get_running_loop().call_soon(done, self)
        return self

    def outcome(self) -> bytes:
        if isinstance(self.came, Exception):
            raise self.came
        return self.came

    def cancel(self) -> None: ...


class Laned:
    """A door with everything but a loader, in a thread; with the lane or without."""

    def __init__(self, *, once_lane: bool) -> None:
        texts = [
            document.canonical(json.loads((GOLDEN / "service.json").read_text())),
            declare.schema(Probe),
        ]
        contracts = [build_contract(text, "file", {}, 5.0) for text in texts]
        self.caller, self.lines = Caller(), []
        self.pick: Any = lambda *_: Place()
        options = GatewayOptions()
        parts = Dependencies(
            options,
            Catalog(contracts, {}, 5.0),
            self,
            0.0,
            self.caller,
            clock=lambda: 1.0,
            new_id=lambda: "5" * 32,
            on_internal_error=lambda *_: None,
        )
        log = AccessLog(self.lines.append, lambda: 0.0)
        self.metrics = Metrics(CollectorRegistry())
        context, session_metrics = gateway_context(parts, self.metrics, log)
        self.context = context
        door = ServerContext(
            limits=server._limits(options),
            reject_request=partial(server._reject_request, context=context),
            fast_path=server._fast_path(context) if once_lane else None,
            is_draining=lambda: False,
            upgrader=WebSocketUpgrader(context, session_metrics, SessionOptions()),
        )
        self.fast_path = door.fast_path
        served = app.build_app(context, app.Readiness(lambda: True), lambda _: 1)
        config = uvicorn.Config(
            served,
            http=partial(HttpConnection, server_context=door),
            log_config=None,  # type: ignore[arg-type]
            lifespan="off",
            ws="none",
            server_header=False,
        )
        self.server = server.HttpServer(config)
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(
            target=lambda: asyncio.run(self.server.serve([self.sock])), daemon=True
        )
        self.thread.start()

    def acquire(self, *told: Any) -> Any:
        return self.pick(*told)

    def try_acquire_retry(self) -> bool:
        return True

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)
        self.sock.close()

    def answer(self, sent: bytes) -> bytes:
        with socket.create_connection(self.sock.getsockname(), timeout=30) as sock:
            with contextlib.suppress(ConnectionError):
                sock.sendall(sent)
            return re.sub(rb"date: [^\r]*\r\n", b"", rest(sock))


@pytest.fixture(scope="module")
def lanes() -> Iterator[tuple[Laned, Laned]]:
    both = Laned(once_lane=True), Laned(once_lane=False)
    yield both
    for lane in both:
        lane.stop()


def same(lanes: tuple[Laned, Laned], sent: bytes, outcome: Any = NOTHING) -> bytes:
    """Send to both; return the one answer they gave, having compared their logs too."""
    answers, lines = [], []
    for lane in lanes:
        lane.caller.came = outcome
        lane.lines.clear()
        answers.append(lane.answer(sent))
        lines.append(list(lane.lines))
    assert answers[0] == answers[1]
    assert lines[0] == lines[1]
    return answers[0]


def post(told: Any, service: str = "probe", **headers: str) -> bytes:
    text = told if isinstance(told, bytes) else json.dumps(told).encode()
    named = {"content-type": "application/json", "content-length": str(len(text))}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    head = f"POST /v1/private/{service} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{lines}\r\n"
    return head.encode() + text


@pytest.mark.parametrize("path", sorted((GOLDEN / "encode").glob("*.txt")), ids=lambda p: p.stem)
def test_golden_requests(lanes: tuple[Laned, Laned], path: Path) -> None:
    told = json.loads(path.read_text(encoding="utf-8").partition("----------\n")[0])
    assert same(lanes, post(told, "gold")).startswith(b"HTTP/1.1 ")
    told["header"] = {"app_id": "a"}
    assert same(lanes, post(told, "gold")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("path", sorted((GOLDEN / "decode").glob("*.txt")), ids=lambda p: p.stem)
def test_golden_answers(lanes: tuple[Laned, Laned], path: Path) -> None:
    told, expected = path.read_text(encoding="utf-8").split("----------\n")
    output = LoaderOutput()
    json_format.Parse(told, output)
    answer = same(lanes, post({"header": {"app_id": "a"}}, "gold"), output.SerializeToString())
    assert answer.startswith(b"HTTP/1.1 200 ")
    payload = expected.rstrip("\n").encode()
    assert answer.endswith(b"}}" if payload == b"{}" else b',"payload":' + payload + b"}")


@pytest.mark.parametrize("asked", [c[1] for c in CASES], ids=[c[0] for c in CASES])
def test_bad_json(lanes: tuple[Laned, Laned], asked: dict[str, Any]) -> None:
    assert same(lanes, post(asked["content"])).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("told", [v[0] for v in VIOLATIONS], ids=[v[1] for v in VIOLATIONS])
def test_violations(lanes: tuple[Laned, Laned], told: dict[str, Any]) -> None:
    assert same(lanes, post(told)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("data", [row[1] for row in ROWS], ids=[row[0] for row in ROWS])
def test_framing(lanes: tuple[Laned, Laned], data: bytes) -> None:
    assert same(lanes, data)


@pytest.mark.parametrize(
    "sent",
    [
        post(body(), "nobody"),
        post(body(), content_type="text/plain"),
        post(body(), content_encoding="gzip"),
        post(body(), x_consumer_username="another"),
        post({"header": {}}),
        post(b"", content_length="99999999"),
        post(body()).replace(b"connection: close\r\n", b"", 1) + post(body()),
        post(body()).replace(b"POST", b"PUT"),
        post(body()).replace(b"/v1/private/probe", b"/v1/private/probe/"),
        post(body()).replace(b"/v1/private/probe", b"/v1/private/%70robe?x=1"),
        post(body()).replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
    ids=range(11),
)
def test_other_refusals_and_ways(lanes: tuple[Laned, Laned], sent: bytes) -> None:
    assert same(lanes, sent).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize(
    "outcome",
    [
        b"\xff\xff\xff",
        LoaderOutput(code=10107, err='no "such" thing\n').SerializeToString(),
        AseError(LOADER_FULL), AseError(UNREACHABLE), AseError(LOADER_LOST), AseError(DEADLINE),
        AseError(BAD_REPLY), AseError(loader_error_spec(4242), "odd"), KeyError("inside"),
    ],
    ids=str,
)  # fmt: skip
def test_whatever_comes_of_the_call(lanes: tuple[Laned, Laned], outcome: Any) -> None:
    assert not same(lanes, post(body()), outcome).startswith(b"HTTP/1.1 200 ")


def again(text: bytes, *lines: str, kind: str = "application/json") -> bytes:
    head = ["POST /v1/private/probe HTTP/1.1", "host: a", f"content-type: {kind}", *lines]
    head += [f"Content-Length: {len(text)}", "", ""]
    return "\r\n".join(head).encode() + text


GOOD = json.dumps(body()).encode()
KEPT = [again(GOOD + b" " * number, f"x-request-id: {number}") for number in range(3)]


@pytest.mark.parametrize(
    "last",
    [
        again(GOOD, "x-request-id: 9"),
        again(b"{", "x-request-id: 9"),
        again(b"", "x-request-id: 9"),
        again(b"", "x-request-id: 9").replace(b"Length: 0", b"Length: 99999999"),
        again(b"", "x-request-id: 9").replace(b"Length: 0", b"Length: +1"),
        again(b"", "x-request-id: 9").replace(b"Length: 0", b"Length: 01"),
        again(GOOD, "x-request-id: 9", "transfer-encoding: chunked"),
        again(GOOD, "x-request-id: 9", "x-request-id: 9"),
        again(GOOD, "x-request-id: 9", "host: b"),
        again(GOOD, "x-request-id : 9"),
        again(GOOD, "x-request-id: 9", kind="text/plain"),
        again(GOOD, "x-request-id: 9", "x-consumer-username: another"),
        again(GOOD, "x-request-id: 9", "content-encoding: gzip"),
        again(GOOD, "x-request-id: 9") * 3,
        again(GOOD, "x-request-id: 9") + b"GET /nowhere HTTP/1.1\r\nhost: a\r\n\r\n",
        again(GOOD, "x-request-id: 9") + b"\x00",
        again(GOOD, "x-request-id: 9").replace(b"HTTP/1.1", b"HTTP/1.0"),
        again(GOOD, "x-request-id: 9", "connection: close"),
        again(GOOD, "x-request-id: " + "9" * 40_000),
        again(GOOD, *(f"x-request-id: {n}" for n in range(120))),
    ],
    ids=range(20),
)
def test_whatever_follows_a_head_that_came_again(lanes: tuple[Laned, Laned], last: bytes) -> None:
    answers, lines = [], []
    for lane in lanes:
        lane.caller.came = NOTHING
        lane.lines.clear()
        with socket.create_connection(lane.sock.getsockname(), timeout=30) as sock:
            for sent in KEPT:  # read, then learnt, then known
                sock.sendall(sent)
                assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
            with contextlib.suppress(ConnectionError):
                sock.sendall(last)
            first = sock.recv(1)
            with contextlib.suppress(ConnectionError):
                sock.sendall(b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            answers.append(re.sub(rb"date: [^\r]*\r\n", b"", first + rest(sock)))
        lines.append(list(lane.lines))
    assert answers[0] == answers[1]
    assert lines[0] == lines[1]
    read = lanes[0].fast_path.head_cache.find(KEPT[0])
    assert read is not None
    assert read.value is not None


def test_a_line_for_tracing_tells_no_length(lanes: tuple[Laned, Laned]) -> None:
    """Its text looks like one; what stands behind would be run as a request of its own."""
    inner = b"GET /v1/apis HTTP/1.1\r\nhost: a\r\n\r\n"
    trap = f"x-request-id: ength: {len(GOOD)}\r\nContent-Length:".encode()
    sent = again(GOOD + inner).replace(b"Content-Length:", trap)
    for lane in lanes:
        lane.caller.came = NOTHING
        with socket.create_connection(lane.sock.getsockname(), timeout=30) as sock:
            for kept in KEPT:
                sock.sendall(kept)
                assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
            sock.sendall(sent[: -len(inner)])
            with pytest.raises(TimeoutError):
                sock.settimeout(0.2)
                sock.recv(1)
            sock.settimeout(30)
            sock.sendall(inner)
            answer = sock.recv(65536)
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert answer.count(b"HTTP/1.1") == 1


def test_a_client_that_closes_its_side_is_answered(lanes: tuple[Laned, Laned]) -> None:
    asked = (b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n", again(GOOD, kind="text/plain"))
    for lane, sent in product(lanes, asked):
        for _ in range(20):
            with socket.create_connection(lane.sock.getsockname(), timeout=30) as sock:
                sock.sendall(sent)
                sock.shutdown(socket.SHUT_WR)
                assert rest(sock).startswith(b"HTTP/1.1 ")


def test_a_head_is_not_taken_for_one_that_came_behind_it(lanes: tuple[Laned, Laned]) -> None:
    page = b"GET /v1/apis HTTP/1.1\r\nhost: a\r\nContent-Length: 2\r\n\r\n{}"
    for lane in lanes:
        with socket.create_connection(lane.sock.getsockname(), timeout=30) as sock:
            for _ in range(3):
                sock.sendall(page + again(GOOD))
                told = b""
                while told.count(b"HTTP/1.1 200 ") < 2:
                    told += sock.recv(65536)
            sock.sendall(page.replace(b"a\r\n", b"a\r\nconnection: close\r\n", 1))
            assert b'"apis"' in rest(sock)
            if lane.fast_path is not None:
                read = lane.fast_path.head_cache.find(page)
                assert read is not None
                assert read.value is None


def test_nobody_is_there(lanes: tuple[Laned, Laned]) -> None:
    def nobody(*_: object) -> Any:
        raise AseError(NO_INSTANCE, "none")

    for lane in lanes:
        lane.pick = nobody
    answer = same(lanes, post(body()))
    for lane in lanes:
        lane.pick = lambda *_: Place()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in answer


def test_both_counted_the_same(lanes: tuple[Laned, Laned]) -> None:
    told = [
        [(s.name, s.labels, s.value) for metric in lane.metrics.collect() for s in metric.samples]
        for lane in lanes
    ]
    assert told[0] == told[1]
    assert ("ase_inflight", {}, 0) in told[0]
