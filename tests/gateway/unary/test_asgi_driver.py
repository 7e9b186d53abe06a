"""The drivers of a request: they execute its steps, and end it early when they are to.

`AsgiRequestDriver` stands for `RequestDriver` too; the fast path is in test_cycle.py.
"""

import json
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from gateway.access.caller_head import CallerHead
from gateway.access.peer import Peer
from gateway.request.envelope_exchange import EnvelopeExchange
from gateway.request.event_stream import EventStreamRequest, Sink
from gateway.request.response import HttpError
from gateway.unary.asgi_driver import AsgiRequestDriver
from gateway.unary.handler import serve_unary
from schemas.model.errors import CLIENT_GONE, DEADLINE, LOADER_FULL, UNREACHABLE, AseError
from tests.fakes import FakeCaller, FakeGateway, FakeOperation, FakeSlot, output_frame
from tests.harness import make_envelope

JSON = {b"content-type": b"application/json"}
EVENTS = {**JSON, b"accept": b"text/event-stream"}
BODY = json.dumps(make_envelope()).encode()


class CallerThatFailsOnce(FakeCaller):
    """Raises `start_error` at the first start of a call alone."""

    def start_call(self, *args: Any) -> FakeOperation:
        try:
            return super().start_call(*args)
        finally:
            self.start_error = None


class FakeEventStream:
    """An event stream that notes the errors it is ended with."""

    def __init__(self, _: EventStreamRequest, sink: Sink) -> None:
        self.sink = sink
        self.started = False
        self.errors: list[AseError] = []

    def start(self) -> None:
        self.started = True

    def fail(self, error: AseError) -> None:
        self.errors.append(error)

    def resume_writing(self) -> None:
        raise AssertionError("the task does that, not the driver")


class DriverFixture:
    """A driver on the fakes of a gateway; its calls end when the test says so.

    `wakes` counts how often the task was woken.
    """

    def __init__(
        self,
        headers: dict[bytes, bytes] = JSON,
        service_id: str = "probe",
        caller: FakeCaller | None = None,
    ) -> None:
        self.gateway = FakeGateway(slot_timeout=10.0)
        self.picker = self.gateway.picker
        self.caller = caller or self.gateway.caller
        self.caller.result = None
        self.wakes = 0
        self.event_streams: list[FakeEventStream] = []
        dependencies = replace(self.gateway.context.dependencies, caller=self.caller)
        record = self.gateway.context.new_record("POST", "/v1/private/probe", "192.0.2.1")
        self.driver = AsgiRequestDriver(self._open_event_stream, self._wake)
        exchange = EnvelopeExchange()
        head = CallerHead("POST", record.path, "", headers, Peer(record.client_ip))
        self.start = partial(
            self.driver.drive,
            serve_unary(service_id, head, None, record, dependencies, exchange),
            record,
            dependencies,
            exchange,
        )

    def _open_event_stream(self, request: EventStreamRequest, sink: Sink) -> FakeEventStream:
        self.event_streams.append(FakeEventStream(request, sink))
        return self.event_streams[-1]

    def _wake(self) -> None:
        self.wakes += 1

    @property
    def outcome(self) -> tuple[int, int]:
        """Return the status and the code of the response."""
        response = self.driver.response
        assert response is not None
        return response.status, json.loads(response.body)["header"]["code"]

    def assert_answered_once(self, status: int, code: int) -> None:
        assert self.driver.finished
        assert self.outcome == (status, code)
        assert self.wakes == 1

    def in_flight(self) -> list[int]:
        return [slot.in_flight for slot in self.picker.new_slots]


def started(headers: dict[bytes, bytes] = JSON) -> DriverFixture:
    fixture = DriverFixture(headers)
    fixture.start()
    return fixture


def test_request_is_answered_when_its_call_has_ended() -> None:
    fixture = started()
    assert not fixture.caller.calls, "the body is missing"
    fixture.driver.feed(BODY)
    (call,) = fixture.caller.calls
    assert not fixture.driver.finished
    assert fixture.in_flight() == [1]
    call.result = output_frame()
    call.finish()
    fixture.assert_answered_once(200, 0)
    assert fixture.in_flight() == [0]


def test_request_rejected_by_its_head_ignores_its_body() -> None:
    fixture = DriverFixture(service_id="nobody")
    fixture.start()
    fixture.assert_answered_once(404, 10225)
    fixture.driver.feed(BODY)
    fixture.assert_answered_once(404, 10225)
    assert not fixture.caller.calls


ERRORS = [
    (AseError(CLIENT_GONE), 499, 499),
    (AseError(DEADLINE), 504, 10102),
    (HttpError(413, "too large"), 413, 10163),
]


@pytest.mark.parametrize(("error", "status", "code"), ERRORS)
def test_failure_while_the_body_arrives_is_the_response(
    error: AseError, status: int, code: int
) -> None:
    fixture = started()
    fixture.driver.fail(error)
    fixture.driver.feed(BODY)
    fixture.assert_answered_once(status, code)
    assert not fixture.caller.calls


@pytest.mark.parametrize(("error", "status", "code"), ERRORS)
def test_failure_cancels_the_call_and_releases_the_slot(
    error: AseError, status: int, code: int
) -> None:
    fixture = started()
    fixture.driver.feed(BODY)
    fixture.driver.fail(error)
    fixture.assert_answered_once(status, code)
    assert [call.cancelled for call in fixture.caller.calls] == [True]
    assert fixture.in_flight() == [0]
    (slot,) = fixture.picker.new_slots
    assert slot.errors == [error]


@pytest.mark.parametrize("result", [output_frame(), AseError(DEADLINE)], ids=["result", "error"])
def test_late_completion_of_a_cancelled_call_is_ignored(result: Any) -> None:
    fixture = started()
    fixture.driver.feed(BODY)
    fixture.driver.fail(AseError(CLIENT_GONE))
    (call,) = fixture.caller.calls
    call.result = result
    call.finish()
    fixture.assert_answered_once(499, 499)
    assert [len(slot.errors) for slot in fixture.picker.new_slots] == [1]


def test_failure_cancels_the_wait_for_a_slot() -> None:
    fixture = started()
    fixture.picker.all_full = True
    fixture.driver.feed(BODY)
    (wait,) = fixture.picker.pending
    fixture.driver.fail(AseError(CLIENT_GONE))
    assert wait.cancelled
    slot = wait.result = FakeSlot()
    wait.finish()
    fixture.assert_answered_once(499, 499)
    assert not fixture.caller.calls
    assert slot.in_flight == 0


def test_slot_that_was_waited_for_is_used() -> None:
    fixture = started()
    fixture.picker.all_full = True
    fixture.driver.feed(BODY)
    (wait,) = fixture.picker.pending
    slot = wait.result = FakeSlot()
    wait.finish()
    (call,) = fixture.caller.calls
    assert slot.in_flight == 1
    call.result = output_frame()
    call.finish()
    fixture.assert_answered_once(200, 0)
    assert slot.errors == [None]


def test_wait_without_a_slot_is_an_overload() -> None:
    fixture = started()
    fixture.picker.all_full = True
    fixture.driver.feed(BODY)
    fixture.picker.pending[0].finish()
    fixture.assert_answered_once(503, LOADER_FULL.code)


def test_failure_after_the_response_is_ignored() -> None:
    fixture = started()
    fixture.driver.feed(b"{")
    fixture.assert_answered_once(400, 10163)
    fixture.driver.fail(AseError(CLIENT_GONE))
    fixture.assert_answered_once(400, 10163)


def test_call_that_cannot_start_is_an_internal_error() -> None:
    fixture = started()
    fixture.caller.start_error = KeyError("a secret")
    fixture.driver.feed(BODY)
    fixture.assert_answered_once(500, 11502)
    assert [str(error) for _, error in fixture.gateway.internal_errors] == ["'a secret'"]
    assert fixture.in_flight() == [0]
    assert b"secret" not in fixture.driver.response.body  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("error", "attempts"), [(AseError(UNREACHABLE), 2), (AseError(DEADLINE), 1)]
)
def test_call_that_cannot_start_is_retried_if_nothing_ran(error: AseError, attempts: int) -> None:
    fixture = DriverFixture(caller=CallerThatFailsOnce())
    fixture.caller.start_error = error
    fixture.start()
    fixture.driver.feed(BODY)
    assert len(fixture.picker.new_slots) == attempts
    for call in fixture.caller.calls:
        call.result = output_frame()
        call.finish()
    fixture.assert_answered_once(*((200, 0) if attempts == 2 else (504, 10102)))
    assert fixture.in_flight() == [0] * attempts


def test_events_become_messages_that_the_task_sends() -> None:
    fixture = started(EVENTS)
    fixture.driver.feed(BODY)
    (events,) = fixture.event_streams
    assert events.started
    assert events.sink.writable()
    events.sink.start_response(b"content-type: text/event-stream\r\n")
    events.sink.write(b"data: 1\n\n")
    assert not events.sink.writable(), "the task has to send first"
    events.sink.end()
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"text/event-stream")],
    }
    assert list(fixture.driver.messages) == [
        start,
        {"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True},
        {"type": "http.response.body", "body": b""},
    ]
    assert fixture.wakes == 3
    assert fixture.driver.finished
    assert fixture.driver.response is None
    fixture.driver.messages.clear()
    assert events.sink.writable()


def test_failure_of_an_event_stream_is_passed_to_it() -> None:
    fixture = started(EVENTS)
    fixture.driver.feed(BODY)
    (events,) = fixture.event_streams
    error = AseError(CLIENT_GONE)
    fixture.driver.fail(error)
    assert events.errors == [error]
    assert fixture.driver.response is None
    assert not fixture.driver.finished
    events.sink.end()
    fixture.driver.fail(error)
    assert events.errors == [error], "it has ended"


def test_event_stream_that_fails_first_is_answered_with_the_error() -> None:
    fixture = started(EVENTS)
    fixture.driver.feed(BODY)
    fixture.event_streams[0].sink.send_error(AseError(DEADLINE))
    fixture.assert_answered_once(504, 10102)
    assert fixture.driver.event_stream is None
    assert not fixture.driver.messages
