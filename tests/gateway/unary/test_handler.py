"""The path of a request, step by step, without I/O: what it asks for, what it makes of it."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from aseloader import declare
from config.options import GatewayOptions, ServiceOptions
from gateway.request.interfaces import Dependencies
from gateway.request.record import RequestRecord
from gateway.request.response import HttpError, HttpResponse
from gateway.services.catalog import Catalog, build_contract
from gateway.unary.handler import AcquireSlot, CallLoader, ReadBody, Steps, serve_unary
from schemas.model.document import canonical
from schemas.model.errors import (
    CLIENT_GONE,
    LOADER_FULL,
    LOADER_LOST,
    NO_INSTANCE,
    UNREACHABLE,
    AseError,
)
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload
from tests.harness import body
from tests.wrappers.probe import Probe

JSON = {b"content-type": b"application/json"}


class Place:
    """An instance that counts who holds it."""

    def __init__(self, addr: str) -> None:
        self.addr = addr
        self.held = 0
        self.errors: list[Any] = []

    @property
    def instance(self) -> "Place":
        return self

    def __enter__(self) -> "Place":
        self.held += 1
        return self

    def __exit__(self, _: Any, error: Any, __: Any) -> None:
        self.held -= 1
        self.errors.append(error)

    def release_unused(self) -> None:
        self.errors.append("unused")


class Over:
    """A call that ended well."""

    def outcome(self) -> bytes:
        meta = MetaDesc(name="said", dataType=0)
        return LoaderOutput(pl=[Payload(meta=meta, data=b"hi")]).SerializeToString()


class World:
    """All that a path is handed."""

    def __init__(self, *places: Place, schema: bytes = declare.schema(Probe)) -> None:
        self.places = list(places)
        self.now = 0.0
        self.full = False
        self.keys: list[str] = []
        self.retries = 99
        self.faults: list[str] = []
        contract = build_contract(schema, "file", {}, 5.0)
        self.parts = Dependencies(
            GatewayOptions(),
            Catalog([contract], {}, 5.0),
            self,
            1.0,
            None,  # type: ignore[arg-type]
            clock=lambda: self.now,
            new_id=lambda: "i" * 32,
            on_internal_error=lambda sid, _: self.faults.append(sid),
        )
        self.record = RequestRecord("s" * 32, 0.0, "POST", "/v1/private/probe", "9.9.9.9")

    def acquire(self, _: str, __: str, exclude: Any, key: str) -> Any:
        self.keys.append(key)
        if self.full:
            raise AseError(LOADER_FULL)
        for place in self.places:
            if place.addr not in exclude:
                return place
        raise AseError(NO_INSTANCE)

    def try_acquire_retry(self) -> bool:
        self.retries -= 1
        return self.retries >= 0

    def steps(self, service: str = "probe", headers: dict[bytes, bytes] = JSON) -> Steps:
        return serve_unary(service, headers, None, self.record, self.parts)


def end(steps: Steps, sent: Any) -> HttpResponse:
    """Send in the last thing; return the answer."""
    with pytest.raises(StopIteration) as stopped:
        steps.throw(sent) if isinstance(sent, Exception) else steps.send(sent)
    answer: HttpResponse = stopped.value.value
    return answer


def told() -> bytes:
    return json.dumps(body()).encode()


def test_body_then_a_call_then_the_answer() -> None:
    world = World(Place("a:1"))
    steps = world.steps()
    assert isinstance(next(steps), ReadBody)
    world.now = 1.0
    attempt = steps.send(told())
    assert isinstance(attempt, CallLoader)
    assert attempt.target.addr == "a:1"
    assert attempt.timeout == 5.0
    frame = LoaderInput.FromString(attempt.frame)
    assert frame.headers["client_ip"] == "9.9.9.9"
    assert frame.headers["sid"] == "s" * 32
    assert world.places[0].held == 1
    world.now = 1.5
    answer = end(steps, Over())
    assert answer.status == 200
    payload = json.loads(answer.body)["payload"]
    assert base64.b64encode(b"hi").decode() in json.dumps(payload)
    assert world.places[0].held == 0
    assert (world.record.upstream_s, world.record.attempts) == (0.5, 1)


@pytest.mark.parametrize(
    ("service", "headers", "status"),
    [
        ("nobody", JSON, 404),
        ("probe", {}, 415),
        ("probe", {**JSON, b"content-encoding": b"gzip"}, 415),
        ("probe", {**JSON, b"content-length": b"99999999"}, 413),
    ],
)
def test_some_are_refused_by_their_head(
    service: str, headers: dict[bytes, bytes], status: int
) -> None:
    assert end(World().steps(service, headers), None).status == status


def test_a_schema_whose_values_are_dear_takes_fewer_of_them() -> None:
    document = json.loads(declare.schema(Probe))
    numbers = {"type": "array", "items": {"type": "number", "multipleOf": 0.5}}
    document["schemainput"]["properties"]["numbers"] = numbers
    world = World(Place("a:1"), schema=canonical(document))
    most = world.parts.catalog.find("probe").validator.max_values  # type: ignore[union-attr]
    assert most < world.parts.options.max_nodes
    for many, status in ((most // 2, 200), (most, 400)):
        steps = world.steps()
        next(steps)
        sent = json.dumps(body() | {"numbers": [1.5] * many}).encode()
        if status == 200:
            steps.send(sent)
            assert end(steps, Over()).status == 200
        else:
            answer = end(steps, sent)
            assert answer.status == 400
            assert f"request body: more than {most} values" in answer.body.decode()


def test_a_full_instance_is_left_for_one_other() -> None:
    world = World(Place("a:1"), Place("b:1"), Place("c:1"))
    steps = world.steps()
    next(steps)
    steps.send(told())
    second = steps.throw(AseError(LOADER_FULL))
    assert isinstance(second, CallLoader)
    assert second.target.addr == "b:1"
    world.now = 1.0
    answer = end(steps, AseError(LOADER_FULL))
    assert answer.status == 503, "its patience is over"
    assert world.record.retry_reasons == ("full",)
    assert [place.held for place in world.places] == [0, 0, 0]


def test_an_unreachable_instance_is_left_for_one_other_and_no_more() -> None:
    world = World(Place("a:1"), Place("b:1"), Place("c:1"))
    steps = world.steps()
    next(steps)
    steps.send(told())
    assert isinstance(steps.throw(AseError(UNREACHABLE)), CallLoader)
    assert end(steps, AseError(UNREACHABLE)).status == 503


class Room:
    """A wait that is over: there is a place, or there is none."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def outcome(self) -> Any:
        if isinstance(self.result, AseError):
            raise self.result
        return self.result


def test_where_all_are_full_it_waits_its_turn() -> None:
    world = World(Place("a:1"))
    world.full = True
    steps = world.steps()
    next(steps)
    turn = steps.send(told())
    assert isinstance(turn, AcquireSlot)
    assert (turn.service_id, turn.timeout, turn.at_front) == ("probe", 1.0, False)
    world.now = 0.4
    attempt = steps.send(Room(world.places[0]))
    assert isinstance(attempt, CallLoader)
    assert attempt.timeout == 4.6
    answer = end(steps, Over())
    assert answer.status == 200
    assert (world.record.waited_s, world.record.overhead_s) == (0.4, 0.0)


def test_a_wait_that_finds_no_room_is_10110() -> None:
    world = World(Place("a:1"))
    world.full = True
    steps = world.steps()
    next(steps)
    steps.send(told())
    answer = end(steps, Room(AseError(LOADER_FULL)))
    assert (answer.status, world.record.code, world.record.attempts) == (503, 10110, 0)


def test_refused_by_all_it_waits_ahead_of_others() -> None:
    """An instance seemed to have room, and had none: that is part of the wait, not a failure."""
    world = World(Place("a:1"))
    steps = world.steps()
    next(steps)
    steps.send(told())
    world.now = 0.25
    turn = steps.throw(AseError(LOADER_FULL))
    assert isinstance(turn, AcquireSlot)
    assert (turn.timeout, turn.at_front) == (0.75, True)
    assert isinstance(steps.send(Room(world.places[0])), CallLoader)
    assert end(steps, Over()).status == 200


def test_without_a_budget_nothing_is_tried_again() -> None:
    world = World(Place("a:1"), Place("b:1"))
    world.retries = 0
    steps = world.steps()
    next(steps)
    steps.send(told())
    assert end(steps, AseError(LOADER_FULL)).status == 503
    assert world.record.attempts == 1


def test_who_goes_away_while_it_waits_is_gone() -> None:
    world = World(Place("a:1"))
    world.full = True
    steps = world.steps()
    next(steps)
    steps.send(told())
    assert end(steps, AseError(CLIENT_GONE)).status == 499


def test_what_a_loader_says_is_wrong_counts_against_it() -> None:
    """Its place hears of it: an instance that fails fast must not look good."""
    world = World(Place("a:1"))
    steps = world.steps()
    next(steps)
    steps.send(told())

    class Raised:
        def outcome(self) -> bytes:
            return LoaderOutput(code=10908, err="no").SerializeToString()

    assert end(steps, Raised()).status == 502
    (error,) = world.places[0].errors
    assert error.spec.code == 10908


def test_a_lost_request_is_not_sent_again() -> None:
    world = World(Place("a:1"), Place("b:1"))
    steps = world.steps()
    next(steps)
    steps.send(told())
    assert end(steps, AseError(LOADER_LOST)).status == 502


def test_a_deadline_covers_both_attempts() -> None:
    world = World(Place("a:1"), Place("b:1"))
    steps = world.steps()
    next(steps)
    steps.send(told())
    world.now = 6.0
    assert end(steps, AseError(LOADER_FULL)).status == 504


@pytest.mark.parametrize("when", ["before the body", "during the call"])
def test_whatever_is_thrown_in_ends_it_and_frees_the_place(when: str) -> None:
    world = World(Place("a:1"))
    steps = world.steps()
    next(steps)
    if when == "during the call":
        steps.send(told())
    answer = end(steps, AseError(CLIENT_GONE))
    assert answer.status == 499
    assert world.places[0].held == 0


def test_http_s_own_errors_keep_their_status() -> None:
    steps = World().steps()
    next(steps)
    assert end(steps, HttpError(408, "late")).status == 408


def test_a_fault_of_ours_is_told_and_answered() -> None:
    world = World(Place("a:1"))
    steps = world.steps()
    next(steps)
    steps.send(told())
    assert end(steps, KeyError("inside")).status == 500
    assert world.faults == ["s" * 32]
    assert world.places[0].held == 0


def test_closing_it_frees_the_place() -> None:
    world = World(Place("a:1"))
    steps = world.steps()
    next(steps)
    steps.send(told())
    steps.close()
    assert world.places[0].held == 0


def test_a_place_that_comes_after_the_deadline_is_given_back_unused() -> None:
    world = World(Place("a:1"))
    world.full = True
    steps = world.steps()
    next(steps)
    steps.send(told())
    world.now = 6.0
    assert end(steps, Room(world.places[0])).status == 504
    assert world.places[0].errors == ["unused"], "the instance is not to blame"


def test_what_ends_the_wait_of_a_second_attempt_is_told() -> None:
    world = World(Place("a:1"))
    steps = world.steps()
    next(steps)
    steps.send(told())
    assert isinstance(steps.throw(AseError(LOADER_FULL)), AcquireSlot)
    assert end(steps, AseError(CLIENT_GONE)).status == 499


def test_a_key_goes_with_every_look_for_a_place() -> None:
    services = {"probe": ServiceOptions(affinity="header.app_id")}
    contract = build_contract(declare.schema(Probe), "file", services, 5.0)
    world = World()
    world.full = True
    world.parts = replace(world.parts, catalog=Catalog([contract], services, 5.0))
    steps = world.steps()
    next(steps)
    turn = steps.send(told())
    assert isinstance(turn, AcquireSlot)
    assert (world.keys, turn.affinity_key) == (["tests"], "tests")
