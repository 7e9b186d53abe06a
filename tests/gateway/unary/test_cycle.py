"""A unary request in progress: its steps are executed as results arrive, on both HTTP paths."""

import json
from collections.abc import Iterator

import pytest

from config.options import GatewayOptions
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
