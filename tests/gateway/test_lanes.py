"""One contract in two lanes: every golden case and every bad input gives the same bytes in both.

Clock and ids are handed in; what the loader answers is said by the test.
"""

import contextlib
import json
import socket
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from aseloader import declare
from config.options import GatewayOptions
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
from schemas.wire import LoaderOutput, MetaDesc, Payload
from tests.harness import make_envelope
from tests.inprocess import InProcessGateway
from tests.requests import read_all
from tests.wire.test_framing import REJECTED
from tests.wire.test_statuses import CASES, VIOLATIONS
from tests.wrappers.probe import Probe

ServerPair = tuple[InProcessGateway, InProcessGateway]
GOLDEN = Path(__file__).parent.parent / "golden"
# An output by service.
OUTPUTS = {
    service: LoaderOutput(pl=[Payload(meta=MetaDesc(name=name))]).SerializeToString()
    for service, name in (("gold", "words"), ("probe", "said"))
}


TEXTS = (
    document.canonical(json.loads((GOLDEN / "service.json").read_text())),
    declare.schema(Probe),
)


@pytest.fixture(scope="module")
def server_pair() -> Iterator[ServerPair]:
    """A gateway with the fast path, and one without."""
    with (
        InProcessGateway(schemas=TEXTS) as with_fast_path,
        InProcessGateway(schemas=TEXTS, options=GatewayOptions(once_lane=False)) as without,
    ):
        yield with_fast_path, without


def exchange(gateway: InProcessGateway, data: bytes) -> bytes:
    with gateway.connect() as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(data)
        return read_all(sock)


def exchange_with_both(server_pair: ServerPair, data: bytes, outcome: Any = None) -> bytes:
    """Send to both; return the one answer they gave, having compared their logs too.

    The outcome of the call is by default an output of the service that is asked.
    """
    if outcome is None:
        outcome = OUTPUTS["gold" if b"/gold " in data else "probe"]
    responses, lines = [], []
    for server_under_test in server_pair:
        server_under_test.caller.result = outcome
        server_under_test.lines.clear()
        responses.append(exchange(server_under_test, data))
        lines.append(list(server_under_test.lines))
    assert responses[0] == responses[1]
    assert lines[0] == lines[1]
    return responses[0]


def post_request(content: Any, service: str = "probe", **headers: str) -> bytes:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    header_values = {"content-type": "application/json", "content-length": str(len(data))}
    header_values |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in header_values.items())
    head = f"POST /v1/private/{service} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{lines}\r\n"
    return head.encode() + data


@pytest.mark.parametrize("path", sorted((GOLDEN / "encode").glob("*.txt")), ids=lambda p: p.stem)
def test_golden_requests(server_pair: ServerPair, path: Path) -> None:
    envelope = json.loads(path.read_text(encoding="utf-8").partition("----------\n")[0])
    assert exchange_with_both(server_pair, post_request(envelope, "gold")).startswith(b"HTTP/1.1 ")
    envelope["header"] = {"app_id": "a"}
    assert exchange_with_both(server_pair, post_request(envelope, "gold")).startswith(
        b"HTTP/1.1 200 "
    )


@pytest.mark.parametrize("path", sorted((GOLDEN / "decode").glob("*.txt")), ids=lambda p: p.stem)
def test_golden_responses(server_pair: ServerPair, path: Path) -> None:
    output_text, expected = path.read_text(encoding="utf-8").split("----------\n")
    output = LoaderOutput()
    json_format.Parse(output_text, output)
    response = exchange_with_both(
        server_pair, post_request({"header": {"app_id": "a"}}, "gold"), output.SerializeToString()
    )
    assert response.startswith(b"HTTP/1.1 200 ")
    payload = expected.rstrip("\n").encode()
    assert response.endswith(b',"payload":' + payload + b"}")


@pytest.mark.parametrize("post_args", [c[1] for c in CASES], ids=[c[0] for c in CASES])
def test_bad_json(server_pair: ServerPair, post_args: dict[str, Any]) -> None:
    assert exchange_with_both(server_pair, post_request(post_args["content"])).startswith(
        b"HTTP/1.1 400 "
    )


@pytest.mark.parametrize("envelope", [v[0] for v in VIOLATIONS], ids=[v[1] for v in VIOLATIONS])
def test_violations(server_pair: ServerPair, envelope: dict[str, Any]) -> None:
    assert exchange_with_both(server_pair, post_request(envelope)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("data", [row[1] for row in REJECTED], ids=[row[0] for row in REJECTED])
def test_framing(server_pair: ServerPair, data: bytes) -> None:
    assert exchange_with_both(server_pair, data)


@pytest.mark.parametrize(
    "data",
    [
        post_request(make_envelope(), "nobody"),
        post_request(make_envelope(), content_type="text/plain"),
        post_request(make_envelope(), content_encoding="gzip"),
        post_request(make_envelope(), x_consumer_username="another"),
        post_request({"header": {}}),
        post_request(b"", content_length="99999999"),
        post_request(make_envelope()).replace(b"connection: close\r\n", b"", 1)
        + post_request(make_envelope()),
        post_request(make_envelope()).replace(b"POST", b"PUT"),
        post_request(make_envelope()).replace(b"/v1/private/probe", b"/v1/private/probe/"),
        post_request(make_envelope()).replace(b"/v1/private/probe", b"/v1/private/%70robe?x=1"),
        post_request(make_envelope()).replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
    ids=range(11),
)
def test_other_rejections_and_routes(server_pair: ServerPair, data: bytes) -> None:
    assert exchange_with_both(server_pair, data).startswith(b"HTTP/1.1 ")


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
def test_failed_calls(server_pair: ServerPair, outcome: Any) -> None:
    assert not exchange_with_both(server_pair, post_request(make_envelope()), outcome).startswith(
        b"HTTP/1.1 200 "
    )


def make_request(content: bytes, *lines: str, content_type: str = "application/json") -> bytes:
    head = ["POST /v1/private/probe HTTP/1.1", "host: a", f"content-type: {content_type}", *lines]
    head += [f"Content-Length: {len(content)}", "", ""]
    return "\r\n".join(head).encode() + content


VALID_BODY = json.dumps(make_envelope()).encode()
CACHED_REQUESTS = [
    make_request(VALID_BODY + b" " * number, f"x-request-id: {number}") for number in range(3)
]


@pytest.mark.parametrize(
    "last",
    [
        make_request(VALID_BODY, "x-request-id: 9"),
        make_request(b"{", "x-request-id: 9"),
        make_request(b"", "x-request-id: 9"),
        make_request(b"", "x-request-id: 9").replace(b"Length: 0", b"Length: 99999999"),
        make_request(b"", "x-request-id: 9").replace(b"Length: 0", b"Length: +1"),
        make_request(b"", "x-request-id: 9").replace(b"Length: 0", b"Length: 01"),
        make_request(VALID_BODY, "x-request-id: 9", "transfer-encoding: chunked"),
        make_request(VALID_BODY, "x-request-id: 9", "x-request-id: 9"),
        make_request(VALID_BODY, "x-request-id: 9", "host: b"),
        make_request(VALID_BODY, "x-request-id : 9"),
        make_request(VALID_BODY, "x-request-id: 9", content_type="text/plain"),
        make_request(VALID_BODY, "x-request-id: 9", "x-consumer-username: another"),
        make_request(VALID_BODY, "x-request-id: 9", "content-encoding: gzip"),
        make_request(VALID_BODY, "x-request-id: 9") * 3,
        make_request(VALID_BODY, "x-request-id: 9") + b"GET /nowhere HTTP/1.1\r\nhost: a\r\n\r\n",
        make_request(VALID_BODY, "x-request-id: 9") + b"\x00",
        make_request(VALID_BODY, "x-request-id: 9").replace(b"HTTP/1.1", b"HTTP/1.0"),
        make_request(VALID_BODY, "x-request-id: 9", "connection: close"),
        make_request(VALID_BODY, "x-request-id: " + "9" * 40_000),
        make_request(VALID_BODY, *(f"x-request-id: {n}" for n in range(120))),
    ],
    ids=range(20),
)
def test_requests_after_a_cached_head(server_pair: ServerPair, last: bytes) -> None:
    responses, lines = [], []
    for server_under_test in server_pair:
        server_under_test.caller.result = OUTPUTS["probe"]
        server_under_test.lines.clear()
        with server_under_test.connect() as sock:
            for data in CACHED_REQUESTS:  # read, then learnt, then known
                sock.sendall(data)
                assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
            with contextlib.suppress(ConnectionError):
                sock.sendall(last)
            first = sock.recv(1)
            with contextlib.suppress(ConnectionError):
                sock.sendall(b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            responses.append(first + read_all(sock))
        lines.append(list(server_under_test.lines))
    assert responses[0] == responses[1]
    assert lines[0] == lines[1]
    cached_head = server_pair[0].server_context.fast_path.head_cache.find(CACHED_REQUESTS[0])
    assert cached_head is not None
    assert cached_head.value is not None


def test_request_id_value_is_not_read_as_content_length(
    server_pair: ServerPair,
) -> None:
    """Its text looks like one; what stands behind would be run as a request of its own."""
    inner = b"GET /v1/apis HTTP/1.1\r\nhost: a\r\n\r\n"
    trap = f"x-request-id: ength: {len(VALID_BODY)}\r\nContent-Length:".encode()
    data = make_request(VALID_BODY + inner).replace(b"Content-Length:", trap)
    for server_under_test in server_pair:
        server_under_test.caller.result = OUTPUTS["probe"]
        with server_under_test.connect() as sock:
            for cached in CACHED_REQUESTS:
                sock.sendall(cached)
                assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
            sock.sendall(data[: -len(inner)])
            with pytest.raises(TimeoutError):
                sock.settimeout(1)
                sock.recv(1)
            sock.settimeout(30)
            sock.sendall(inner)
            response = sock.recv(65536)
            assert response.startswith(b"HTTP/1.1 400 ")
            assert response.count(b"HTTP/1.1") == 1


def test_half_closed_client_gets_a_response(server_pair: ServerPair) -> None:
    requests = (
        b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n",
        make_request(VALID_BODY, content_type="text/plain"),
    )
    for server_under_test, data in product(server_pair, requests):
        for _ in range(20):
            with server_under_test.connect() as sock:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                assert read_all(sock).startswith(b"HTTP/1.1 ")


def test_pipelined_head_is_not_cached_for_the_one_before(
    server_pair: ServerPair,
) -> None:
    page = b"GET /v1/apis HTTP/1.1\r\nhost: a\r\nContent-Length: 2\r\n\r\n{}"
    for server_under_test in server_pair:
        with server_under_test.connect() as sock:
            for _ in range(3):
                sock.sendall(page + make_request(VALID_BODY))
                received = b""
                while received.count(b"HTTP/1.1 200 ") < 2:
                    received += sock.recv(65536)
            sock.sendall(page.replace(b"a\r\n", b"a\r\nconnection: close\r\n", 1))
            assert b'"apis"' in read_all(sock)
            fast_path = server_under_test.server_context.fast_path
            if fast_path is not None:
                cached_head = fast_path.head_cache.find(page)
                assert cached_head is not None
                assert cached_head.value is None


def test_no_instance(server_pair: ServerPair) -> None:
    for server_under_test in server_pair:
        server_under_test.picker.error = AseError(NO_INSTANCE, "none")
    response = exchange_with_both(server_pair, post_request(make_envelope()))
    for server_under_test in server_pair:
        server_under_test.picker.error = None
    assert response.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in response


def test_metrics_are_equal(server_pair: ServerPair) -> None:
    samples = [
        [
            (sample.name, sample.labels, sample.value)
            for metric in server_under_test.metrics.collect()
            for sample in metric.samples
        ]
        for server_under_test in server_pair
    ]
    assert samples[0] == samples[1]
    assert ("ase_inflight", {}, 0) in samples[0]
