"""Responses by server-sent events, on both HTTP paths, in one process."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from config.options import GatewayOptions, SessionOptions
from schemas.model.errors import WRAPPER_RAISED, AseError
from schemas.wire import LoaderOutput, MetaDesc, Payload
from tests.inprocess import ClientSocket, InProcessGateway
from tests.requests import GET, statuses_of, valid_request
from tests.sessions import frame

OPTIONS = SessionOptions()


@pytest.fixture(params=[True, False], ids=["fast path", "asgi"])
def gateway(request: pytest.FixtureRequest) -> Iterator[InProcessGateway]:
    with InProcessGateway(options=GatewayOptions(once_lane=request.param)) as running:
        yield running


def event_request(*lines: str, envelope: dict[str, Any] | None = None) -> bytes:
    content = json.dumps(envelope or frame(3, b"hello")).encode()
    head = [
        "POST /v1/private/talker HTTP/1.1", "Host: a", "Content-Type: application/json",
        "Accept: text/event-stream", *lines, f"Content-Length: {len(content)}",
    ]  # fmt: skip
    return "\r\n".join([*head, "", ""]).encode() + content


def read_until(sock: ClientSocket, part: bytes) -> bytes:
    received = b""
    while part not in received:
        data = sock.recv(65536)
        assert data, received
        received += data
    return received


def events_of(response: bytes) -> list[tuple[str, Any]]:
    """Return the name and the header of each event in the chunks of a response."""
    lines = response.decode().split("\r\n")
    blocks = [line for line in lines if line.startswith("event: ")]
    events = []
    for block in blocks:
        fields = dict(line.partition(": ")[::2] for line in block.splitlines() if line)
        events.append((fields["event"], json.loads(fields["data"])["header"]))
    return events


def test_results_and_the_end_are_events(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(event_request())
        (stream,) = gateway.caller.streams
        stream.push_result(1, b"ONE")
        stream.push_result(2, b"TWO")
        response = read_until(sock, b"0\r\n\r\n")
        assert b"content-type: text/event-stream\r\n" in response
        events = events_of(response)
        assert [name for name, _ in events] == ["result", "result", "end"]
        assert [header["status"] for _, header in events] == [1, 1, 2]
        assert b"id: 1\n" in response
        assert b"id: 2\n" in response
    assert [slot.errors for slot in gateway.picker.new_slots] == [[None]]


def test_next_request_on_the_connection_is_served_after_the_events(
    gateway: InProcessGateway,
) -> None:
    with gateway.connect() as sock:
        sock.sendall(event_request() + GET + b"\r\n")
        gateway.caller.streams[0].push_result(2, b"LAST")
        response = read_until(sock, b'{"status":"alive"}')
        assert statuses_of(response) == [200, 200]


def test_result_without_a_payload_is_no_event(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(event_request())
        gateway.caller.streams[0].push_result(2)
        assert [name for name, _ in events_of(read_until(sock, b"0\r\n\r\n"))] == ["end"]


def test_error_before_the_first_event_is_a_json_response(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(event_request())
        gateway.caller.streams[0].fail_with(AseError(WRAPPER_RAISED))
        response = sock.recv(65536)
        assert statuses_of(response) == [502]
        assert json.loads(response.partition(b"\r\n\r\n")[2])["header"]["code"] == 10908
    assert len(gateway.lines) == 1


def test_error_after_the_first_event_is_an_event(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(event_request())
        (stream,) = gateway.caller.streams
        stream.push_result(1, b"ONE")
        stream.fail_with(AseError(WRAPPER_RAISED))
        events = events_of(read_until(sock, b"0\r\n\r\n"))
        assert [(name, header["code"]) for name, header in events] == [
            ("result", 0),
            ("error", 10908),
        ]
    (line,) = gateway.lines
    assert json.loads(line)["code"] == 10908


def test_comments_are_sent_while_the_loader_is_silent(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(event_request())
        start = gateway.loop.time()
        response = read_until(sock, b": still here\n\n")
        assert statuses_of(response) == [200]
        assert gateway.loop.time() - start == pytest.approx(OPTIONS.keep_alive)
        read_until(sock, b": still here\n\n")
        assert gateway.loop.time() - start == pytest.approx(2 * OPTIONS.keep_alive)


@pytest.mark.parametrize("results", [0, 1], ids=["before the first event", "after it"])
def test_disconnect_cancels_the_loader(gateway: InProcessGateway, results: int) -> None:
    sock = gateway.connect()
    sock.sendall(event_request())
    (stream,) = gateway.caller.streams
    for _ in range(results):
        stream.push_result(1, b"ONE")
    sock.reset()
    gateway.loop.settle()
    assert stream.cancelled
    assert [len(slot.errors) for slot in gateway.picker.new_slots] == [1]
    assert json.loads(gateway.lines[-1])["code"] == 499


def test_results_wait_for_a_client_that_does_not_read(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(event_request())
        (stream,) = gateway.caller.streams
        sock.stop_reading()
        for _ in range(200):
            stream.push_result(1, b"x" * 1024)
        assert stream.results, "they stay with the loader's stream"
        sock.continue_reading()
        gateway.loop.settle()
        assert not stream.results
        stream.push_result(2)
        events = events_of(read_until(sock, b"event: end"))
        assert len(events) == 201


def test_member_stream_selects_events(gateway: InProcessGateway) -> None:
    envelope = frame(3, b"hello", stream=True)
    with gateway.connect() as sock:
        sock.sendall(
            event_request(envelope=envelope).replace(b"Accept: text/event-stream\r\n", b"")
        )
        gateway.caller.streams[0].push_result(2, b"LAST")
        assert b"event: end" in read_until(sock, b"0\r\n\r\n")


def test_server_that_stops_ends_the_events_with_an_error(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(event_request())
        gateway.caller.streams[0].push_result(1, b"ONE")
        for task in list(gateway.server.server_state.tasks):
            gateway.run(task.cancel)
        events = events_of(read_until(sock, b"0\r\n\r\n"))
        assert [(name, header["code"]) for name, header in events] == [
            ("result", 0),
            ("error", 10102),
        ]


def test_unary_service_answers_with_events_too(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        request = valid_request().replace(b"Host: a", b"Host: a\r\nAccept: text/event-stream")
        sock.sendall(request)
        gateway.caller.streams[0].push_result(2, b"LAST")
        names = [name for name, _ in events_of(read_until(sock, b"0\r\n\r\n"))]
        assert names == ["result", "end"]


def test_error_after_a_comment_is_an_event(gateway: InProcessGateway) -> None:
    """The comment has started the response, with status 200."""
    with gateway.connect() as sock:
        sock.sendall(event_request())
        read_until(sock, b": still here\n\n")
        gateway.caller.streams[0].fail_with(AseError(WRAPPER_RAISED))
        (event,) = events_of(read_until(sock, b"0\r\n\r\n"))
        assert (event[0], event[1]["code"]) == ("error", 10908)


def test_client_that_does_not_keep_up_gets_no_comments(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(event_request())
        sock.stop_reading()
        for _ in range(100):
            gateway.caller.streams[0].push_result(1, b"x" * 1024)
        gateway.loop.sleep(OPTIONS.keep_alive + 1.0)
        assert b": still here" not in sock.transport.buffered()
        sock.continue_reading()
        read_until(sock, b": still here\n\n")


def test_comments_end_with_the_events(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(event_request())
        gateway.caller.streams[0].push_result(2, b"LAST")
        read_until(sock, b"0\r\n\r\n")
        gateway.loop.sleep(2 * OPTIONS.keep_alive)
        assert not sock.transport.delivered


@pytest.mark.parametrize(
    ("keep_alive", "status"), [(15.0, 200), (1000.0, 400)], ids=["after a comment", "before any"]
)
@pytest.mark.parametrize("once_lane", [True, False], ids=["fast path", "asgi"])
def test_silent_loader_ends_the_events_at_the_lifetime(
    once_lane: bool, keep_alive: float, status: int
) -> None:
    session_options = SessionOptions(lifetime=40.0, keep_alive=keep_alive)
    with (
        InProcessGateway(
            options=GatewayOptions(once_lane=once_lane), session_options=session_options
        ) as gateway,
        gateway.connect() as sock,
    ):
        start = gateway.loop.time()
        sock.sendall(event_request())
        response = read_until(sock, b"session timeout")
        assert gateway.loop.time() - start == pytest.approx(40.0)
        assert statuses_of(response) == [status]
        assert (b"event: error" in response) is (status == 200)
        assert b'"code": 10114' in response
        assert gateway.caller.streams[0].cancelled


def test_line_breaks_of_a_result_do_not_end_its_event(gateway: InProcessGateway) -> None:
    meta = MetaDesc(name="facts", dataType=0, attribute={"format": "json"})
    payload = Payload(meta=meta, data=b'{"a":\r\n1,\n"b":\r2}')
    with gateway.connect() as sock:
        sock.sendall(event_request())
        (stream,) = gateway.caller.streams
        stream.results.append(LoaderOutput(pl=[payload], status=1).SerializeToString())
        stream.push_result(2)
        response = read_until(sock, b"0\r\n\r\n")
        (data,) = [line for line in response.splitlines() if b'"payload"' in line]
        envelope = json.loads(data.removeprefix(b"data: "))
        assert envelope["payload"]["facts"]["text"] == {"a": 1, "b": 2}


@pytest.mark.parametrize("flag", [False, None])
def test_without_the_member_or_the_header_the_response_is_json(
    gateway: InProcessGateway, flag: bool | None
) -> None:
    fields = {} if flag is None else {"stream": flag}
    request = event_request(envelope=frame(3, b"hello", **fields))
    with gateway.connect() as sock:
        sock.sendall(request.replace(b"Accept: text/event-stream\r\n", b""))
        response = sock.recv(65536)
        assert statuses_of(response) == [200]
        assert b"\r\ncontent-type: application/json\r\n" in response
    assert not gateway.caller.streams


@pytest.mark.parametrize("is_full", [True, False], ids=["no slot", "invalid"])
def test_request_that_is_refused_is_answered_without_events(
    gateway: InProcessGateway, is_full: bool
) -> None:
    gateway.picker.all_full = is_full
    envelope = frame(3, b"hello")
    if not is_full:
        envelope["payload"] = {"text": {"text": "%"}}
    with gateway.connect() as sock:
        sock.sendall(event_request(envelope=envelope))
        response = sock.recv(65536)
        assert statuses_of(response) == [503 if is_full else 400]
        code = json.loads(response.partition(b"\r\n\r\n")[2])["header"]["code"]
        assert code == (10110 if is_full else 10163)
    assert not gateway.caller.streams
    assert len(gateway.lines) == 1
