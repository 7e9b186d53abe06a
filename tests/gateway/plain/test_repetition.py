"""Requests that come again: by `Idempotency-Key`, by `Last-Event-ID`; and what OPTIONS says."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from aseloader import declare
from config.options import GatewayOptions
from rpc.handler_tasks import CallContext
from rpc.status import RpcError
from schemas.model.errors import WRAPPER_RAISED, AseError
from schemas.wire import GatewayValue, InferRequest, InferResponse
from tests.fakes import output_frame
from tests.harness import make_envelope
from tests.inprocess import InProcessGateway
from tests.requests import read_all, statuses_of
from tests.wrappers.forms import Forms
from tests.wrappers.probe import Idempotent, Probe
from tests.wrappers.talker import Talker

ANY_BODY = "application/json, multipart/form-data, application/x-www-form-urlencoded"
KEY = "Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324"


class Repeatable(Talker):
    """The same, and asking twice does no harm."""

    service = "repeatable"
    idempotent = True


@pytest.fixture(params=[True, False], ids=["fast path", "starlette"])
def gateway(request: pytest.FixtureRequest) -> Iterator[InProcessGateway]:
    schemas = tuple(map(declare.schema, (Idempotent, Probe, Forms, Repeatable, Talker)))
    options = GatewayOptions(once_lane=request.param, max_answers=2000)
    with InProcessGateway(schemas=schemas, options=options) as running:
        yield running


def send(
    gateway: InProcessGateway,
    *lines: str,
    path: str = "/v1/probe2",
    body: bytes = b'{"text": "hi"}',
    method: str = "POST",
) -> tuple[int, dict[str, str], bytes]:
    head = [f"{method} {path} HTTP/1.1", "Host: a", "Connection: close", *lines]
    if method == "POST":
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    with gateway.connect() as sock:
        sock.sendall("\r\n".join([*head, "", ""]).encode() + (body if method == "POST" else b""))
        head_bytes, _, content = read_all(sock).partition(b"\r\n\r\n")
    status_line, *header_lines = head_bytes.decode().split("\r\n")
    return int(status_line.split()[1]), dict(x.split(": ", 1) for x in header_lines), content


def runs(gateway: InProcessGateway) -> int:
    return len(gateway.caller.frames)


def test_same_key_gets_the_same_answer(gateway: InProcessGateway) -> None:
    first = send(gateway, KEY)
    gateway.caller.result = output_frame(b"changed")
    again = send(gateway, KEY, "traceparent: 00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    assert first[0] == again[0] == 200
    assert first[2] == again[2] == b'{"said":"hi"}'
    assert "idempotency-replayed" not in first[1]
    assert again[1]["idempotency-replayed"] == "true"
    assert again[1]["content-type"] == "application/json"
    assert runs(gateway) == 1
    line = json.loads(gateway.lines[-1])
    assert (line["status"], line["attempts"], line["instance"]) == (200, 0, "")


@pytest.mark.parametrize(
    ("lines", "body", "status"),
    [
        ([KEY], b'{"text": "other"}', 422),
        ([KEY], b'{"text": "hi", "number": 8}', 422),
        ([KEY, "Accept: multipart/mixed"], b'{"text": "hi"}', 422),
        ([KEY, "X-App-Id: other"], b'{"text": "hi"}', 200),
        ([KEY + "x"], b'{"text": "hi"}', 200),
        ([], b'{"text": "hi"}', 200),
        (["Idempotency-Key: " + "x" * 256], b'{"text": "hi"}', 400),
    ],
    ids=range(7),
)
def test_key_stands_for_one_request(
    gateway: InProcessGateway, lines: list[str], body: bytes, status: int
) -> None:
    send(gateway, KEY)
    code, _, content = send(gateway, *lines, body=body)
    assert code == status
    assert runs(gateway) == (2 if status == 200 else 1)
    if status == 422:
        assert json.loads(content)["detail"] == "idempotency-key was used for another request"


def test_key_works_with_envelopes_and_by_grpc(gateway: InProcessGateway) -> None:
    envelope = json.dumps(make_envelope("probe2")).encode()
    answers = [send(gateway, KEY, path="/v1/private/probe2", body=envelope) for _ in range(2)]
    assert answers[0][2] == answers[1][2]
    assert runs(gateway) == 1
    request = InferRequest(service="probe2", members={"text": GatewayValue(text="hi")})
    for _ in range(2):
        call = CallContext({"idempotency-key": "g"}, "ipv4:192.0.2.1:1", None)
        infer = gateway.grpc_service.infer(request.SerializeToString(), call)
        data = gateway.loop.run_until_complete(infer)
        assert InferResponse.FromString(data).members["said"].text == "hi"
    assert runs(gateway) == 2


def test_key_stands_for_one_form(gateway: InProcessGateway) -> None:
    """An answer in another form than that of the request would be none."""
    envelope = json.dumps(make_envelope("probe2")).encode()
    envelope = envelope.replace(b'"tests"', b'"anonymous"').replace(b"aGVsbG8=", b"aGk=")
    request = InferRequest(service="probe2", members={"text": GatewayValue(text="hi")})

    def call_by_grpc() -> None:
        call = CallContext({"idempotency-key": KEY.partition(": ")[2]}, "ipv4:192.0.2.1:1", None)
        infer = gateway.grpc_service.infer(request.SerializeToString(), call)
        gateway.loop.run_until_complete(infer)

    assert send(gateway, KEY)[0] == 200
    assert send(gateway, KEY, path="/v1/private/probe2", body=envelope)[0] == 422
    assert send(gateway, KEY, "Accept: application/json;q=0.5")[1]["idempotency-replayed"]
    with pytest.raises(RpcError, match="was used for another request"):
        call_by_grpc()
    assert runs(gateway) == 1


def test_request_with_a_key_runs_once_at_a_time(gateway: InProcessGateway) -> None:
    gateway.caller.result = None
    body = b'{"text": "hi"}'
    lines = ["Content-Type: application/json", f"Content-Length: {len(body)}", KEY]
    head = "\r\n".join(["POST /v1/probe2 HTTP/1.1", "Host: a", *lines, "", ""]).encode()
    with gateway.connect() as sock:
        sock.sendall(head + body)
        status, headers, content = send(gateway, KEY)
        assert (status, headers["retry-after"]) == (409, "1")
        assert json.loads(content)["detail"] == "the request with this idempotency-key runs"
        gateway.caller.finish_calls()
        assert send(gateway, KEY)[1]["idempotency-replayed"] == "true"
    assert runs(gateway) == 1


def test_request_that_failed_or_whose_client_left_runs_again(gateway: InProcessGateway) -> None:
    gateway.caller.result = AseError(WRAPPER_RAISED)
    assert send(gateway, KEY)[0] == 502
    gateway.caller.result = None
    body = b'{"text": "hi"}'
    lines = ["Content-Type: application/json", f"Content-Length: {len(body)}", KEY]
    head = "\r\n".join(["POST /v1/probe2 HTTP/1.1", "Host: a", *lines, "", ""]).encode()
    with gateway.connect() as sock:
        sock.sendall(head + body)
    gateway.loop.settle()
    gateway.caller.result = output_frame(b"at last")
    assert send(gateway, KEY)[2] == b'{"said":"at last"}'
    assert not gateway.context.dependencies.answers._running


def test_other_services_have_no_kept_answers(gateway: InProcessGateway) -> None:
    for _ in range(2):
        assert "idempotency-replayed" not in send(gateway, KEY, path="/v1/probe")[1]
    assert runs(gateway) == 2


def test_answers_in_memory_are_bounded(gateway: InProcessGateway) -> None:
    gateway.caller.result = output_frame(b"x" * 500)
    for number in range(5):
        send(gateway, f"Idempotency-Key: {number}")
    assert send(gateway, "Idempotency-Key: 4")[1]["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in send(gateway, "Idempotency-Key: 0")[1]


def open_events(gateway: InProcessGateway, service: str, *lines: str) -> Any:
    """Send a request for events; return its connection and its stream, if there is one."""
    body = b'{"text": "hi"}'
    head = [f"POST /v1/{service} HTTP/1.1", "Host: a", "Connection: close", *lines]
    head += ["Accept: text/event-stream", "Content-Type: application/json"]
    sock = gateway.connect()
    gateway.caller.streams.clear()
    sock.sendall("\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body)
    return sock, next(iter(gateway.caller.streams), None)


@pytest.mark.parametrize("received", [0, 1, 2, 3, 9])
def test_stream_resumes_after_the_last_result(gateway: InProcessGateway, received: int) -> None:
    sock, stream = open_events(gateway, "repeatable", f"Last-Event-ID: {received}")
    for number, text in enumerate((b"a", b"b", b"c")):
        stream.push_result(2 if number == 2 else 1, text)
    response = read_all(sock)
    ids = [int(line[4:]) for line in response.split(b"\n") if line.startswith(b"id: ")]
    assert ids == [number for number in (1, 2, 3) if number > received]
    assert b"event: end\n" in response
    sock.close()


def test_stream_of_another_service_does_not_resume(gateway: InProcessGateway) -> None:
    sock, stream = open_events(gateway, "talker", "Last-Event-ID: 1")
    response = read_all(sock)
    assert stream is None
    assert b" 409 " in response
    assert b"cannot be resumed" in response
    sock.close()


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
@pytest.mark.parametrize("texts", [[], [b"a"], [b"a", b"b"]], ids=len)
def test_connection_goes_on_after_a_stream(
    gateway: InProcessGateway, accept: str, texts: list[bytes]
) -> None:
    """The end of a stream is one last chunk: more bytes would be the start of another answer."""
    body = b'{"text": "hi"}'
    lines = ["Host: a", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    head = "\r\n".join(["POST /v1/talker HTTP/1.1", *lines, f"Accept: {accept}", "", ""])
    with gateway.connect() as sock:
        for _ in range(2):
            gateway.caller.streams.clear()
            sock.sendall(head.encode() + body)
            (stream,) = gateway.caller.streams
            for text in texts:
                stream.push_result(1, text)
            stream.push_result(2)
        sock.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        response = read_all(sock)
    assert statuses_of(response) == [200, 200, 200]
    assert b"0\r\n\r\n0\r\n" not in response


@pytest.mark.parametrize(
    ("path", "status", "allow", "accept_post"),
    [
        ("/v1/private/probe", 204, "OPTIONS, POST", "application/json"),
        (
            "/v1/forms",
            204,
            "OPTIONS, POST",
            f"{ANY_BODY}, text/*, image/png, image/jpeg",
        ),
        ("/v1/nobody", 404, None, None),
        ("/v1/private/nobody", 404, None, None),
    ],
)
def test_options_say_what_a_service_takes(
    gateway: InProcessGateway, path: str, status: int, allow: str | None, accept_post: str | None
) -> None:
    code, headers, content = send(gateway, path=path, method="OPTIONS")
    assert (code, headers.get("allow"), headers.get("accept-post")) == (status, allow, accept_post)
    assert status == 404 or (content == b"" and "content-length" not in headers)
    assert json.loads(gateway.lines[-1])["status"] == status
    assert "access-control-allow-origin" not in headers
