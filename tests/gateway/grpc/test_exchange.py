"""A call as the form of a request; its messages and its status have tests of their own."""

import pytest

from aseloader import declare
from config.options import GatewayOptions
from gateway.access.identity import ANONYMOUS
from gateway.grpc.exchange import CallExchange
from gateway.grpc.messages import MembersMessage
from gateway.request.record import RequestRecord
from gateway.request.response import PlainError
from gateway.services.catalog import build_contract
from schemas.model.errors import BAD_APP, LOADER_FULL, AseError
from schemas.wire import GatewayValue, InferResponse, SessionResponse
from tests.fakes import output_frame
from tests.wrappers.probe import Probe

CONTRACT = build_contract(declare.schema(Probe), "file", {}, 5.0)
OPTIONS = GatewayOptions()


def exchange(**members: GatewayValue) -> CallExchange:
    return CallExchange(MembersMessage("probe", members))


def test_members_become_an_envelope() -> None:
    call = exchange(text=GatewayValue(text="hi"), number=GatewayValue(integer=3))
    parsed = call.parse(CONTRACT, b"", {b"x-app-id": b"shop"}, ANONYMOUS, OPTIONS)
    assert (parsed.app_id, parsed.json_text) == ("shop", b"")
    assert parsed.envelope["header"]["app_id"] == "shop"
    assert parsed.envelope["parameter"] == {"probe": {"number": 3}}
    assert parsed.envelope["payload"]["text"]["text"] == "aGk="
    assert not call.wants_events(CONTRACT, parsed.envelope, {}, True)
    assert not call.accepts_events({b"accept": b"*/*"})


def test_app_id_is_that_of_the_metadata() -> None:
    call, required = exchange(), GatewayOptions(anonymous=False)
    assert call.peek_app_id({b"x-app-id": b"shop"}, b"", ANONYMOUS, OPTIONS) == "shop"
    assert call.parse(CONTRACT, b"", {}, ANONYMOUS, OPTIONS).app_id == "anonymous"
    with pytest.raises(AseError) as caught:
        call.parse(CONTRACT, b"", {}, ANONYMOUS, required)
    assert caught.value.spec is BAD_APP


def test_wrong_member_is_named() -> None:
    with pytest.raises(PlainError) as caught:
        exchange(txt=GatewayValue()).parse(CONTRACT, b"", {}, ANONYMOUS, OPTIONS)
    assert caught.value.violations == [("txt", "/txt", "is not known here; did you mean 'text'?")]


def test_answer_is_a_message_or_an_error() -> None:
    record = RequestRecord("a" * 32, 0.0)
    call = exchange()
    response = call.finish(call.decode(CONTRACT, output_frame(b"yes")), record, 1.0)
    expected = {"said": GatewayValue(text="yes")}
    assert dict(InferResponse.FromString(response.body).members) == expected
    assert (record.status, call.error) == (200, None)
    result, status = call.decode_result(CONTRACT, output_frame(b"yes", 1))
    assert (dict(SessionResponse.FromString(result).members), status) == (expected, 1)
    error = AseError(LOADER_FULL)
    response = call.fail(error, record, 1.0)
    assert (response.status, response.body, call.error) == (503, b"", error)
    assert (record.status, record.code, record.error_name) == (503, 10110, "full")
