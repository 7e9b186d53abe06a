"""The path of a request, step by step, without I/O: what it asks for, what it makes of it."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from aseloader import declare
from config.options import AuthOptions, GatewayOptions, ServiceOptions
from gateway.access.caller_head import CallerHead
from gateway.access.limits import UsageLimiter
from gateway.access.peer import Peer
from gateway.request.answer_store import AnswerStore
from gateway.request.envelope_exchange import EnvelopeExchange
from gateway.request.interfaces import Dependencies
from gateway.request.record import RequestRecord
from gateway.request.response import HttpError, HttpResponse
from gateway.services.catalog import Catalog, build_contract
from gateway.unary.handler import (
    AcquireSlot,
    CallLoader,
    ReadBody,
    ReadBodyStart,
    Steps,
    serve_unary,
)
from schemas.model.document import canonical
from schemas.model.errors import (
    CLIENT_GONE,
    LOADER_FULL,
    LOADER_LOST,
    UNREACHABLE,
    AseError,
    ErrorSpec,
)
from schemas.output.example import example_request
from schemas.wire import LoaderInput, LoaderOutput
from tests.fakes import FakeOperation, FakePicker, FakeSlot, new_authenticator, output_frame
from tests.harness import make_envelope
from tests.schema_documents import schema_documents
from tests.wrappers.probe import Idempotent, Probe

JSON = {b"content-type": b"application/json"}


class FakeDependencies:
    """All that a path is handed."""

    def __init__(
        self,
        *slots: FakeSlot,
        schema: bytes = declare.schema(Probe),
        options: GatewayOptions | None = None,
    ) -> None:
        self.slots = list(slots)
        self.now = 0.0
        self.picker = FakePicker(self.slots)
        self.internal_error_sids: list[str] = []
        contract = build_contract(schema, "file", {}, 5.0)
        self.dependencies = Dependencies(
            options or GatewayOptions(),
            Catalog([contract], {}, 5.0),
            self.picker,
            1.0,
            None,  # type: ignore[arg-type]
            clock=lambda: self.now,
            new_id=lambda: "i" * 32,
            on_internal_error=lambda sid, _: self.internal_error_sids.append(sid),
            answers=AnswerStore(60.0, 1 << 20),
            authenticator=new_authenticator(AuthOptions()),
            limiter=UsageLimiter({}, {}, lambda: self.now, lambda: self.now),
        )
        self.record = RequestRecord("s" * 32, 0.0, "POST", "/v1/private/probe", "127.0.0.1")

    def start(self, service_id: str = "probe", headers: dict[bytes, bytes] = JSON) -> Steps:
        head = CallerHead("POST", self.record.path, "", headers, Peer(self.record.client_ip))
        return serve_unary(
            service_id, head, None, self.record, self.dependencies, EnvelopeExchange()
        )


def finish(steps: Steps, last_input: Any) -> HttpResponse:
    """Send in the last thing; return the answer."""
    is_error = isinstance(last_input, Exception)
    response = steps.throw(last_input) if is_error else steps.send(last_input)
    assert isinstance(response, HttpResponse)
    return response


def request_body() -> bytes:
    return json.dumps(make_envelope()).encode()


def test_successful_request() -> None:
    fake = FakeDependencies(FakeSlot("a:1"))
    steps = fake.start()
    assert isinstance(next(steps), ReadBody)
    fake.now = 1.0
    call = steps.send(request_body())
    assert isinstance(call, CallLoader)
    assert call.target.addr == "a:1"
    assert call.timeout == 5.0
    frame = LoaderInput.FromString(call.frame)
    assert frame.headers["client_ip"] == "127.0.0.1"
    assert frame.headers["sid"] == "s" * 32
    assert fake.slots[0].in_flight == 1
    fake.now = 1.5
    response = finish(steps, FakeOperation(output_frame()))
    assert response.status == 200
    payload = json.loads(response.body)["payload"]
    assert base64.b64encode(b"hi").decode() in json.dumps(payload)
    assert fake.slots[0].in_flight == 0
    assert (fake.record.upstream_s, fake.record.attempts) == (0.5, 1)


@pytest.mark.parametrize(
    ("service_id", "headers", "status"),
    [
        ("nobody", JSON, 404),
        ("probe", {}, 415),
        ("probe", {**JSON, b"content-encoding": b"br"}, 415),
        ("probe", {**JSON, b"content-length": b"99999999"}, 413),
    ],
)
def test_requests_rejected_by_their_headers(
    service_id: str, headers: dict[bytes, bytes], status: int
) -> None:
    assert finish(FakeDependencies().start(service_id, headers), None).status == status


def test_expensive_schema_lowers_the_value_limit() -> None:
    document = json.loads(declare.schema(Probe))
    numbers = {"type": "array", "items": {"type": "number", "multipleOf": 0.5}}
    document["schemainput"]["properties"]["numbers"] = numbers
    fake = FakeDependencies(FakeSlot("a:1"), schema=canonical(document))
    max_values = fake.dependencies.catalog.find("probe").validator.max_values  # type: ignore[union-attr]
    assert max_values < fake.dependencies.options.max_nodes
    for value_count, status in ((max_values // 2, 200), (max_values, 400)):
        steps = fake.start()
        next(steps)
        body_json = json.dumps(make_envelope() | {"numbers": [1.5] * value_count}).encode()
        if status == 200:
            steps.send(body_json)
            assert finish(steps, FakeOperation(output_frame())).status == 200
        else:
            response = finish(steps, body_json)
            assert response.status == 400
            assert f"request body: more than {max_values} values" in response.body.decode()


def test_full_instance_is_retried_once_elsewhere() -> None:
    fake = FakeDependencies(FakeSlot("a:1"), FakeSlot("b:1"), FakeSlot("c:1"))
    steps = fake.start()
    next(steps)
    steps.send(request_body())
    second_call = steps.throw(AseError(LOADER_FULL))
    assert isinstance(second_call, CallLoader)
    assert second_call.target.addr == "b:1"
    fake.now = 1.0
    response = finish(steps, AseError(LOADER_FULL))
    assert response.status == 503, "its patience is over"
    assert fake.record.retry_reasons == ("full",)
    notes = [(note.instance, note.error_name, note.seconds) for note in fake.record.attempt_notes]
    assert notes == [("a:1", "full", 0.0), ("b:1", "full", 1.0)]
    assert (fake.record.attempt_notes[0].expected_ms, notes[0][2]) == (12.0, 0.0)
    assert [slot.in_flight for slot in fake.slots] == [0, 0, 0]


def test_every_instance_is_tried_until_one_can_be_reached() -> None:
    fake = FakeDependencies(*[FakeSlot(f"{name}:1") for name in "abcd"])
    steps = fake.start()
    next(steps)
    steps.send(request_body())
    for addr in ("b:1", "c:1", "d:1"):
        call = steps.throw(AseError(UNREACHABLE))
        assert isinstance(call, CallLoader)
        assert call.target.addr == addr
    assert finish(steps, AseError(UNREACHABLE)).status == 503, "none is left"


def test_unreachable_instances_are_tried_for_a_bounded_time() -> None:
    fake = FakeDependencies(*[FakeSlot(f"{name}:1") for name in "abcd"])
    steps = fake.start()
    next(steps)
    steps.send(request_body())
    assert isinstance(steps.throw(AseError(UNREACHABLE)), CallLoader)
    fake.now = 1.0
    assert finish(steps, AseError(UNREACHABLE)).status == 503, "longer than `lb.wait`"


def test_request_waits_for_a_slot_when_all_are_full() -> None:
    fake = FakeDependencies(FakeSlot("a:1"))
    fake.picker.all_full = True
    steps = fake.start()
    next(steps)
    wait = steps.send(request_body())
    assert isinstance(wait, AcquireSlot)
    assert (wait.service_id, wait.timeout, wait.at_front) == ("probe", 1.0, False)
    fake.now = 0.4
    call = steps.send(FakeOperation(fake.slots[0]))
    assert isinstance(call, CallLoader)
    assert call.timeout == 4.6
    response = finish(steps, FakeOperation(output_frame()))
    assert response.status == 200
    assert (fake.record.waited_s, fake.record.overhead_s) == (0.4, 0.0)


def test_wait_without_a_slot_is_10110() -> None:
    fake = FakeDependencies(FakeSlot("a:1"))
    fake.picker.all_full = True
    steps = fake.start()
    next(steps)
    steps.send(request_body())
    response = finish(steps, FakeOperation(AseError(LOADER_FULL)))
    assert (response.status, fake.record.code, fake.record.attempts) == (503, 10110, 0)


def test_rejected_request_waits_at_the_front() -> None:
    """An instance seemed to have room, and had none: that is part of the wait, not a failure."""
    fake = FakeDependencies(FakeSlot("a:1"))
    steps = fake.start()
    next(steps)
    steps.send(request_body())
    fake.now = 0.25
    wait = steps.throw(AseError(LOADER_FULL))
    assert isinstance(wait, AcquireSlot)
    assert (wait.timeout, wait.at_front) == (0.75, True)
    assert isinstance(steps.send(FakeOperation(fake.slots[0])), CallLoader)
    assert finish(steps, FakeOperation(output_frame())).status == 200


def test_no_retry_of_what_may_have_run_without_retry_budget() -> None:
    schema = declare.schema(Idempotent)
    fake = FakeDependencies(FakeSlot("a:1"), FakeSlot("b:1"), schema=schema)
    fake.picker.retry_budget = 0
    steps = fake.start("probe2")
    next(steps)
    steps.send(json.dumps(make_envelope("probe2")).encode())
    assert finish(steps, AseError(LOADER_LOST)).status == 502
    assert fake.record.attempts == 1


@pytest.mark.parametrize("spec", [LOADER_FULL, UNREACHABLE], ids=["full", "unreachable"])
def test_what_ran_nothing_needs_no_retry_budget(spec: ErrorSpec) -> None:
    """Several gateways at full load meet many rejections."""
    fake = FakeDependencies(FakeSlot("a:1"), FakeSlot("b:1"))
    fake.picker.retry_budget = 0
    steps = fake.start()
    next(steps)
    steps.send(request_body())
    assert isinstance(steps.throw(AseError(spec)), CallLoader)
    assert fake.picker.retry_budget == 0


def test_overload_sheds_a_request_by_its_start() -> None:
    """Neither the rest of the body nor its syntax matters: nothing is parsed."""
    fake = FakeDependencies(FakeSlot("a:1"))
    fake.picker.crowded = fake.picker.shedding = True
    steps = fake.start()
    assert isinstance(next(steps), ReadBodyStart)
    response = finish(steps, b'{"header": {"app_id" : "team-7", "x": ')
    assert (response.status, fake.record.code) == (503, 10110)
    assert b"retry-after" in dict(response.headers)
    assert fake.picker.shed_checks == ["team-7"]


def test_a_caller_that_the_proxy_names_is_shed_before_its_body() -> None:
    options = GatewayOptions(consumer_header="X-Consumer-Username")
    fake = FakeDependencies(FakeSlot("a:1"), options=options)
    fake.picker.crowded = fake.picker.shedding = True
    steps = fake.start(headers={**JSON, b"x-consumer-username": b"team-7"})
    response = next(steps)
    assert isinstance(response, HttpResponse)
    assert response.status == 503
    assert fake.picker.shed_checks == ["team-7"]


def test_a_crowded_service_takes_a_request_that_can_wait() -> None:
    fake = FakeDependencies(FakeSlot("a:1"))
    fake.picker.crowded = True
    steps = fake.start()
    assert isinstance(next(steps), ReadBodyStart)
    assert isinstance(steps.send(b'{"header":{"app_id":"tests"'), ReadBody)
    assert isinstance(steps.send(request_body()), CallLoader)
    assert fake.picker.shed_checks == ["tests", "tests"]


def test_a_service_without_waiting_requests_is_not_asked() -> None:
    fake = FakeDependencies(FakeSlot("a:1"))
    fake.picker.shedding = True
    steps = fake.start()
    assert isinstance(next(steps), ReadBody)
    assert isinstance(steps.send(request_body()), CallLoader)
    assert fake.picker.shed_checks == []


def test_client_disconnect_during_the_wait_is_499() -> None:
    fake = FakeDependencies(FakeSlot("a:1"))
    fake.picker.all_full = True
    steps = fake.start()
    next(steps)
    steps.send(request_body())
    assert finish(steps, AseError(CLIENT_GONE)).status == 499


def test_loader_error_is_reported_to_the_slot() -> None:
    """Its place hears of it: an instance that fails fast must not look good."""
    fake = FakeDependencies(FakeSlot("a:1"))
    steps = fake.start()
    next(steps)
    steps.send(request_body())

    failed_output = LoaderOutput(code=10908, err="no").SerializeToString()
    assert finish(steps, FakeOperation(failed_output)).status == 502
    (error,) = fake.slots[0].errors
    assert error.spec.code == 10908


def test_lost_request_is_not_retried() -> None:
    fake = FakeDependencies(FakeSlot("a:1"), FakeSlot("b:1"))
    steps = fake.start()
    next(steps)
    steps.send(request_body())
    assert finish(steps, AseError(LOADER_LOST)).status == 502


def test_a_deadline_covers_both_attempts() -> None:
    fake = FakeDependencies(FakeSlot("a:1"), FakeSlot("b:1"))
    steps = fake.start()
    next(steps)
    steps.send(request_body())
    fake.now = 6.0
    assert finish(steps, AseError(LOADER_FULL)).status == 504


@pytest.mark.parametrize("when", ["before the body", "during the call"])
def test_thrown_error_ends_the_request_and_releases_the_slot(when: str) -> None:
    fake = FakeDependencies(FakeSlot("a:1"))
    steps = fake.start()
    next(steps)
    if when == "during the call":
        steps.send(request_body())
    response = finish(steps, AseError(CLIENT_GONE))
    assert response.status == 499
    assert fake.slots[0].in_flight == 0


def test_http_errors_keep_their_status() -> None:
    steps = FakeDependencies().start()
    next(steps)
    assert finish(steps, HttpError(408, "late")).status == 408


def test_internal_error_is_reported_and_answered_with_500() -> None:
    fake = FakeDependencies(FakeSlot("a:1"))
    steps = fake.start()
    next(steps)
    steps.send(request_body())
    assert finish(steps, KeyError("inside")).status == 500
    assert fake.internal_error_sids == ["s" * 32]
    assert fake.slots[0].in_flight == 0


def test_closing_the_generator_releases_the_slot() -> None:
    fake = FakeDependencies(FakeSlot("a:1"))
    steps = fake.start()
    next(steps)
    steps.send(request_body())
    steps.close()
    assert fake.slots[0].in_flight == 0


def test_slot_after_the_deadline_is_released_unused() -> None:
    fake = FakeDependencies(FakeSlot("a:1"))
    fake.picker.all_full = True
    steps = fake.start()
    next(steps)
    steps.send(request_body())
    fake.now = 6.0
    response = finish(steps, FakeOperation(fake.slots[0]))
    assert response.status == 504
    message = json.loads(response.body)["header"]["message"]
    assert message.startswith("no answer within 5 s: `services.probe.deadline`, `deadline` of the")
    assert fake.slots[0].errors == ["unused"], "the instance is not to blame"


def test_error_of_the_second_wait_is_returned() -> None:
    fake = FakeDependencies(FakeSlot("a:1"))
    steps = fake.start()
    next(steps)
    steps.send(request_body())
    assert isinstance(steps.throw(AseError(LOADER_FULL)), AcquireSlot)
    assert finish(steps, AseError(CLIENT_GONE)).status == 499


def test_affinity_key_is_passed_to_acquire_and_wait() -> None:
    services = {"probe": ServiceOptions(affinity="header.app_id")}
    contract = build_contract(declare.schema(Probe), "file", services, 5.0)
    fake = FakeDependencies()
    fake.picker.all_full = True
    fake.dependencies = replace(fake.dependencies, catalog=Catalog([contract], services, 5.0))
    steps = fake.start()
    next(steps)
    wait = steps.send(request_body())
    assert isinstance(wait, AcquireSlot)
    assert (fake.picker.affinity_keys, wait.affinity_key) == (["tests"], "tests")


@given(schema_documents())
def test_example_of_any_schema_is_served(schema_document: dict[str, Any]) -> None:
    """An author can send the example that the documentation shows, whatever the schema declares."""
    fake = FakeDependencies(FakeSlot("a:1"), schema=canonical(schema_document))
    contract = fake.dependencies.catalog.find("probe")
    assert contract is not None
    request = example_request(contract.service, contract.validator)
    steps = fake.start()
    next(steps)
    assert isinstance(steps.send(json.dumps(request).encode()), CallLoader)
