"""Frames of a session: what later ones take from the first, and what each becomes."""

import base64
import json
from typing import Any

import pytest

from aseloader import declare
from config.options import SessionOptions
from gateway.services.catalog import build_contract
from gateway.streaming.envelopes import EnvelopeReader
from schemas.model.document import canonical
from schemas.model.errors import AseError
from schemas.model.session import SessionEvent
from schemas.wire import LoaderInput
from tests.wrappers.talker import Talker

OPEN = {"additionalProperties": True}
FACTS = {"sid": "s" * 32}


def frames(*, only: bool = False, **meta: Any) -> EnvelopeReader:
    document = json.loads(declare.schema(Talker))
    document["schemainput"]["properties"]["parameter"]["properties"]["talker"]["properties"][
        "many"
    ] |= meta
    contract = build_contract(canonical(document), "file", {}, 5.0)
    return EnvelopeReader(contract, FACTS, SessionOptions(), single_frame=only)


def take(reader: EnvelopeReader, told: dict[str, Any]) -> LoaderInput:
    return LoaderInput.FromString(reader.transform_and_encode(told, reader.classify(told), False))


def first(**stream: Any) -> dict[str, Any]:
    text = {"text": base64.b64encode(b"hi").decode(), **stream}
    header = {"app_id": "a", "uid": "u", "status": 0}
    return {"header": header, "parameter": {"talker": {"act": "echo"}}, "payload": {"text": text}}


def test_a_later_frame_has_what_the_first_one_said() -> None:
    reader = frames()
    begun = take(reader, first())
    assert (begun.state, begun.sync_id) == (LoaderInput.STREAM, 1)
    later = take(reader, {"payload": {"text": {"text": "aGk="}}})
    assert later.sync_id == 2
    assert (later.headers["uid"], later.headers["status"]) == ("u", "1")
    assert later.params["act"] == "echo"
    assert later.pl[0].meta.attribute["status"] == "1"
    assert [told.name for told in later.expect] == ["facts", "said"]


def test_what_a_later_frame_says_stands_over_it() -> None:
    reader = frames()
    take(reader, first())
    later = take(
        reader, {"header": {"uid": "v", "status": 1}, "parameter": {"talker": {"many": 3}}}
    )
    assert (later.headers["uid"], later.headers["app_id"]) == ("v", "a")
    assert dict(later.params) == {"act": "echo", "many": "3"}


def test_the_end_is_told_to_a_loader_that_knows_payloads_alone() -> None:
    reader = frames()
    take(reader, first())
    last = take(reader, {"header": {"status": 2}})
    assert [(p.meta.name, p.data, p.meta.attribute["status"]) for p in last.pl] == [
        ("text", b"", "2")
    ]


def test_effects_are_done_on_what_each_frame_says() -> None:
    """A member that has got its other name would not be known, the second time."""
    reader = frames(replaceKey="number")
    begun = first()
    begun["parameter"]["talker"]["many"] = 3
    assert take(reader, begun).params["number"] == "3"
    assert take(reader, {}).params["number"] == "3"
    assert take(reader, {}).params["number"] == "3"


def test_those_that_say_nothing_new_are_as_if_they_did() -> None:
    """Their header and parameters are read once; what they cannot change with them is not kept."""
    document = json.loads(declare.schema(Talker))
    members = document["schemainput"]["properties"]
    members["payload"]["properties"]["text"]["properties"] |= {
        "format": {"type": "string", "replaceKey": "form"},
        "compress": {"type": "string", "defaultVal": "raw"},
    }
    members["header"]["setVal"] = {"kept": "${status}"}
    contract = build_contract(canonical(document), "file", {}, 5.0)
    assert contract.validator.has_independent_payload
    brief, whole = (EnvelopeReader(contract, FACTS, SessionOptions()) for _ in range(2))
    begun = first(format="x")
    for reader in (brief, whole):
        take(reader, json.loads(json.dumps(begun)))
    own: dict[str, Any]
    for number, own in enumerate(
        [{}, {}, {"status": 1}, {"status": None}, {"uid": "w"}, {}, {"status": 2}]
    ):
        payload = {"text": {"text": "aGk=", "format": f"f{number}"}}
        short = {"header": dict(own), "payload": json.loads(json.dumps(payload))}
        full = {**begun, "payload": payload, "header": begun["header"] | {"status": 1} | own}
        full["header"]["status"] = own.get("status") or 1
        told, expected = take(brief, short), take(whole, json.loads(json.dumps(full)))
        assert told == expected
        attributes = told.pl[0].meta.attribute
        assert (attributes["form"], attributes["compress"]) == (f"f{number}", "raw")


def test_what_is_kept_of_a_header_is_as_it_was_sent() -> None:
    document = json.loads(declare.schema(Talker))
    extra = {"type": "object", "properties": {"a": {"type": "string", "replaceKey": "b"}}}
    document["schemainput"]["properties"]["header"]["properties"]["extra"] = extra
    reader = EnvelopeReader(
        build_contract(canonical(document), "file", {}, 5.0), FACTS, SessionOptions()
    )
    begun = first()
    begun["header"]["extra"] = {"a": "x"}
    told = [take(reader, begun), *(take(reader, {"payload": {}}) for _ in range(4))]
    assert {frame.headers["extra"] for frame in told} == {'{"b":"x"}'}


def test_a_payload_that_changes_the_rest_is_never_brief() -> None:
    document = json.loads(declare.schema(Talker))
    document["schemainput"] |= {
        "if": {"properties": {"payload": {"required": ["text"], **OPEN}}, **OPEN},
        "then": {"properties": {"header": {"setVal": {"uid": "with"}, **OPEN}}, **OPEN},
    }
    reader = EnvelopeReader(
        build_contract(canonical(document), "file", {}, 5.0), FACTS, SessionOptions()
    )
    with_text = {"payload": {"text": {"text": "aGk="}}}
    take(reader, first())
    for told, uid in ((with_text, "with"), ({"payload": {}}, "u"), (with_text, "with")):
        assert take(reader, json.loads(json.dumps(told))).headers["uid"] == uid


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"payload": {"text": {"text": "aGl="}}}, "canonical base64"),
        ({"payload": {"text": {"text": "%"}}}, "base64"),
        ({"payload": {"other": {}}}, r"\$.payload.other: is not known here"),
        ({"parameter": {"talker": {"many": 0}}}, "breaks minimum 1"),
        ({"header": 3, "payload": []}, "must be of type object"),
        ({"header": {"status": 1, "nobody": 1}}, r"\$.header.nobody: is not known here"),
    ],
)
def test_each_frame_is_judged(told: dict[str, Any], words: str) -> None:
    reader = frames()
    take(reader, first())
    with pytest.raises(AseError, match=words):
        take(reader, told)


def test_numbers_are_kept() -> None:
    reader = frames()
    take(reader, first(seq=0))
    take(reader, {"payload": {"text": {"text": "aGk=", "seq": 1}}})
    with pytest.raises(AseError, match="seq: 2 is next, after 1"):
        take(reader, {"payload": {"text": {"text": "aGk=", "seq": 3}}})


def test_statuses() -> None:
    assert frames().classify({"header": {"status": 3}}) is SessionEvent.ONCE
    for told, words in (
        ({}, "is required: a session begins with 0"),
        ({"header": {}}, "is required"),
        ({"header": {"status": "0"}}, "must be 0, 1, 2 or 3"),
        ({"header": {"status": 4}}, "must be 0, 1, 2 or 3"),
    ):
        with pytest.raises(AseError, match=words):
            frames().classify(told)


def test_what_is_the_only_frame_may_call_itself_the_first() -> None:
    for status in (0, 3, None):
        reader = frames(only=True)
        told = {**first(), "header": {"app_id": "a", "status": status}}
        assert reader.classify(told) is SessionEvent.ONCE
        frame = take(reader, told)
        assert frame.headers["status"] == frame.pl[0].meta.attribute["status"] == "3"
    for header in ({"status": "3"}, {"status": 1}, {"status": 2}):
        with pytest.raises(AseError, match="must be 3: no other frame can follow"):
            frames(only=True).classify({"header": header})


def test_a_schema_that_takes_the_status_away_does_not_hide_it() -> None:
    document = json.loads(declare.schema(Talker))
    document["schemainput"]["properties"]["header"]["delete"] = ["status"]
    reader = EnvelopeReader(
        build_contract(canonical(document), "file", {}, 5.0), FACTS, SessionOptions()
    )
    assert take(reader, first()).pl[0].meta.attribute["status"] == "0"
    assert take(reader, {"header": {"status": 2}}).pl[0].meta.attribute["status"] == "2"
