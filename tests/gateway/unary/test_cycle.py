"""A unary request in progress: its steps are executed as results arrive, on both HTTP paths."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from config.options import GatewayOptions
from gateway.access.peer import Peer
from gateway.request.response import HttpError, HttpResponse
from gateway.request.tracing import NO_TRACING
from gateway.unary.cycle import UnaryRequestCycle
from gateway.unary.request_head import UnaryRequestHead
from tests.fakes import FakeSlot
from tests.inprocess import InProcessGateway
from tests.requests import CHUNKED, POST, read_all, statuses_of, valid_request


@pytest.fixture(params=[True, False], ids=["fast path", "asgi"])
def gateway(request: pytest.FixtureRequest) -> Iterator[InProcessGateway]:
    options = GatewayOptions(once_lane=request.param)
    with InProcessGateway(options=options, slot_timeout=10.0) as running:
        yield running


def code_of(response: bytes) -> int:
    code: int = json.loads(response.partition(b"\r\n\r\n")[2])["header"]["code"]
    return code


@pytest.mark.parametrize("sizes", [(1, 1000), (30, 1000), (200, 10)])
def test_body_may_arrive_in_parts(gateway: InProcessGateway, sizes: tuple[int, int]) -> None:
    request = valid_request()
    head, rest = request[: sizes[0]], request[sizes[0] :]
    with gateway.connect() as sock:
        sock.sendall(head)
        for start in range(0, len(rest), sizes[1]):
            sock.sendall(rest[start : start + sizes[1]])
        assert statuses_of(sock.recv(65536)) == [200]


def test_body_in_chunks_is_joined(gateway: InProcessGateway) -> None:
    body = valid_request().partition(b"\r\n\r\n")[2]
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, body[i : i + 1]) for i in range(len(body)))
    with gateway.connect() as sock:
        sock.sendall(POST + CHUNKED + chunks + b"0\r\n\r\n")
        assert statuses_of(sock.recv(65536)) == [200]


def test_call_that_cannot_start_is_an_internal_error(gateway: InProcessGateway) -> None:
    gateway.caller.start_error = KeyError("inside")
    with gateway.connect() as sock:
        sock.sendall(valid_request())
        response = sock.recv(65536)
    assert (statuses_of(response), code_of(response)) == ([500], 11502)
    assert [slot.in_flight for slot in gateway.picker.new_slots] == [0]


def test_disconnect_while_waiting_for_a_slot_cancels_the_wait(gateway: InProcessGateway) -> None:
    gateway.picker.all_full = True
    sock = gateway.connect()
    sock.sendall(valid_request())
    (wait,) = gateway.picker.pending
    sock.reset()
    gateway.loop.settle()
    assert wait.cancelled
    assert json.loads(gateway.lines[-1])["status"] == 499
    wait.result = FakeSlot()
    gateway.run(wait.finish)
    assert len(gateway.lines) == 1, "a late slot is ignored"


def test_request_that_got_its_slot_late_is_served(gateway: InProcessGateway) -> None:
    gateway.picker.all_full = True
    with gateway.connect() as sock:
        sock.sendall(valid_request())
        (wait,) = gateway.picker.pending
        slot = wait.result = FakeSlot()
        gateway.run(wait.finish)
        assert statuses_of(sock.recv(65536)) == [200]
    assert slot.in_flight == 0


def test_late_result_of_a_cancelled_call_is_ignored(gateway: InProcessGateway) -> None:
    gateway.caller.result = None
    sock = gateway.connect()
    sock.sendall(valid_request())
    sock.reset()
    gateway.loop.settle()
    (call,) = gateway.caller.calls
    assert call.cancelled
    call.result = b""
    gateway.run(call.finish)
    assert len(gateway.lines) == 1


def test_request_is_ended_with_an_error_when_the_drain_time_is_over(
    gateway: InProcessGateway,
) -> None:
    gateway.caller.result = None
    with gateway.connect() as sock:
        sock.sendall(valid_request())
        for task in list(gateway.server.server_state.tasks):
            gateway.run(task.cancel)
        response = sock.recv(65536)
        assert (statuses_of(response), code_of(response)) == ([504], 10102)
    assert gateway.caller.calls[0].cancelled
    assert not gateway.server.server_state.tasks


def test_body_error_ends_a_queued_request_in_its_turn(gateway: InProcessGateway) -> None:
    gateway.caller.result = None
    with gateway.connect() as sock:
        sock.sendall(valid_request() + POST + CHUNKED + b"nonsense\r\n")
        sock.settimeout(1.0)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(60.0)
        gateway.caller.finish_calls()
        assert statuses_of(read_all(sock)) == [200, 400]


def test_gauge_of_requests_in_progress_returns_to_zero(gateway: InProcessGateway) -> None:
    gateway.caller.result = None
    with gateway.connect() as sock:
        sock.sendall(valid_request())
        assert gateway.metrics.inflight == 1
        gateway.caller.finish_calls()
        assert statuses_of(sock.recv(65536)) == [200]
        assert gateway.metrics.inflight == 0


def test_request_without_a_slot_in_time_is_503(gateway: InProcessGateway) -> None:
    gateway.picker.all_full = True
    with gateway.connect() as sock:
        sock.sendall(valid_request())
        (wait,) = gateway.picker.pending
        gateway.run(wait.finish)
        response = sock.recv(65536)
    assert (statuses_of(response), code_of(response)) == ([503], 10110)
    assert b"retry-after: " in response


class RecordingWriter:
    """The connection of a cycle: it notes what the cycle writes."""

    def __init__(self) -> None:
        self.written: list[Any] = []

    def send_continue(self) -> None:
        self.written.append("continue")

    def send_response(self, cycle: UnaryRequestCycle, response: HttpResponse) -> None:
        assert cycle.response_complete
        self.written.append(response.status)

    def may_write(self) -> bool:
        return True

    def send_head(self, cycle: UnaryRequestCycle, head: bytes) -> None:
        assert b"content-type: text/event-stream\r\n" in head
        self.written.append("head")

    def send_chunk(self, _: UnaryRequestCycle, data: bytes) -> None:
        self.written.append(data.partition(b"\n")[0])

    def send_last_chunk(self, cycle: UnaryRequestCycle) -> None:
        self.written.append("end")


BODY = valid_request().partition(b"\r\n\r\n")[2]


class CycleFixture:
    """A gateway without connections, and the cycles that a test makes."""

    def __init__(self, gateway: InProcessGateway) -> None:
        gateway.caller.result = None
        self.gateway = gateway
        self.writer = RecordingWriter()
        self.tasks: set[UnaryRequestCycle] = set()

    def new_cycle(
        self, service: str = "probe", *, expects: bool = False, accept: bytes = b"*/*"
    ) -> UnaryRequestCycle:
        headers = {b"content-type": b"application/json", b"accept": accept}
        head = UnaryRequestHead(service, f"/v1/private/{service}", headers, True, expects)
        context = self.gateway.context
        return UnaryRequestCycle(
            context, self.writer, self.tasks, head, NO_TRACING, Peer("127.0.0.1"), "192.0.2.1"
        )


@pytest.fixture
def cycles() -> Iterator[CycleFixture]:
    with InProcessGateway(slot_timeout=10.0) as gateway:
        yield CycleFixture(gateway)


def test_body_of_a_queued_request_is_kept_until_it_starts(cycles: CycleFixture) -> None:
    cycle = cycles.new_cycle()
    assert [cycle.add_body_chunk(part) for part in (BODY[:20], BODY[20:])] == [20, len(BODY)]
    cycle.complete_body()
    assert not cycles.gateway.caller.calls
    cycle.start()
    assert len(cycles.gateway.caller.calls) == 1
    cycles.gateway.caller.finish_calls()
    assert cycles.writer.written == [200]


def test_body_of_a_running_request_does_not_count_as_unread(cycles: CycleFixture) -> None:
    cycle = cycles.new_cycle()
    cycle.add_body_chunk(BODY[:20])
    cycle.start()
    assert cycle.add_body_chunk(BODY[20:]) == 0
    cycle.complete_body()
    assert len(cycles.gateway.caller.calls) == 1
    cycles.gateway.caller.finish_calls()
    assert cycle.add_body_chunk(b"more") == 0, "it is answered"


@pytest.mark.parametrize(
    ("service", "body", "written"),
    [("probe", b"", ["continue"]), ("probe", BODY, []), ("nobody", b"", [404])],
    ids=["no body yet", "body is complete", "rejected by its head"],
)
def test_continue_is_sent_if_the_body_is_needed(
    cycles: CycleFixture, service: str, body: bytes, written: list[Any]
) -> None:
    cycle = cycles.new_cycle(service, expects=True)
    if body:
        cycle.add_body_chunk(body)
        cycle.complete_body()
    cycle.start()
    assert cycles.writer.written == written


def test_body_error_of_a_queued_request_is_answered_when_it_starts(cycles: CycleFixture) -> None:
    cycle = cycles.new_cycle(expects=True)
    cycle.add_body_chunk(b"{")
    cycle.fail_body(HttpError(413, "too large"))
    assert cycles.writer.written == []
    cycle.start()
    assert cycles.writer.written == [413]
    assert not cycles.tasks


def test_tasks_may_be_cancelled_while_they_are_iterated_over(cycles: CycleFixture) -> None:
    """uvicorn does so when the drain time is over; the end of a cycle removes it from the set."""

    def cancel_all() -> None:
        for cycle in cycles.tasks:
            cycle.cancel()

    for _ in range(3):
        cycle = cycles.new_cycle()
        cycle.add_body_chunk(BODY)
        cycle.complete_body()
        cycle.start()
    assert len(cycles.tasks) == 3
    cycles.gateway.run(cancel_all)
    assert cycles.writer.written == [504, 504, 504]
    assert not cycles.tasks
    assert all(call.cancelled for call in cycles.gateway.caller.calls)


def test_event_stream_is_written_by_the_connection_of_its_request(cycles: CycleFixture) -> None:
    def start() -> None:
        cycle.add_body_chunk(BODY.replace(b"probe", b"talker"))
        cycle.complete_body()
        cycle.start()

    cycle = cycles.new_cycle("talker", accept=b"text/event-stream")
    cycles.gateway.run(start)
    (stream,) = cycles.gateway.caller.streams
    stream.push_result(1, b"ONE")
    assert cycles.writer.written == ["head", b"event: result"]
    assert cycle in cycles.tasks
    stream.push_result(2)
    assert cycles.writer.written[2:] == [b"event: end", "end"]
    assert not cycles.tasks
    assert cycle.response_complete
    assert cycles.gateway.metrics.inflight == 0


def test_disconnect_after_the_response_is_ignored(cycles: CycleFixture) -> None:
    cycle = cycles.new_cycle("nobody")
    cycle.start()
    cycle.on_disconnect()
    assert cycles.writer.written == [404]
    assert len(cycles.gateway.lines) == 1
