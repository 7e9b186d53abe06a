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

ANY_PROPERTIES = {"additionalProperties": True}
EXTRA_HEADERS = {"sid": "s" * 32}


def new_reader(*, single_frame: bool = False, **keywords: Any) -> EnvelopeReader:
    document = json.loads(declare.schema(Talker))
    document["schemainput"]["properties"]["parameter"]["properties"]["talker"]["properties"][
        "many"
    ] |= keywords
    contract = build_contract(canonical(document), "file", {}, 5.0)
    return EnvelopeReader(contract, EXTRA_HEADERS, SessionOptions(), single_frame=single_frame)


def status_reader(header: Any) -> EnvelopeReader:
    document = json.loads(declare.schema(Talker))
    document["schemainput"]["properties"]["header"] = header
    contract = build_contract(canonical(document), "file", {}, 5.0)
    return EnvelopeReader(contract, EXTRA_HEADERS, SessionOptions())


def read_frame(reader: EnvelopeReader, envelope: dict[str, Any]) -> LoaderInput:
    return LoaderInput.FromString(
        reader.transform_and_encode(envelope, reader.classify(envelope), False)
    )


def first_envelope(**stream: Any) -> dict[str, Any]:
    text = {"text": base64.b64encode(b"hi").decode(), **stream}
    header = {"app_id": "a", "uid": "u", "status": 0}
    return {"header": header, "parameter": {"talker": {"act": "echo"}}, "payload": {"text": text}}


def test_later_frames_inherit_from_the_first() -> None:
    reader = new_reader()
    first = read_frame(reader, first_envelope())
    assert (first.state, first.sync_id) == (LoaderInput.STREAM, 1)
    later = read_frame(reader, {"payload": {"text": {"text": "aGk="}}})
    assert later.sync_id == 2
    assert (later.headers["uid"], later.headers["status"]) == ("u", "1")
    assert later.params["act"] == "echo"
    assert later.pl[0].meta.attribute["status"] == "1"
    assert [output_desc.name for output_desc in later.expect] == ["facts", "said"]


def test_later_frames_override_the_first() -> None:
    reader = new_reader()
    read_frame(reader, first_envelope())
    later = read_frame(
        reader, {"header": {"uid": "v", "status": 1}, "parameter": {"talker": {"many": 3}}}
    )
    assert (later.headers["uid"], later.headers["app_id"]) == ("v", "a")
    assert dict(later.params) == {"act": "echo", "many": "3"}


def test_last_frame_gets_an_empty_payload() -> None:
    reader = new_reader()
    read_frame(reader, first_envelope())
    last = read_frame(reader, {"header": {"status": 2}})
    assert [
        (payload.meta.name, payload.data, payload.meta.attribute["status"]) for payload in last.pl
    ] == [("text", b"", "2")]


def test_transforms_apply_to_each_frame() -> None:
    """A member that has got its other name would not be known, the second time."""
    reader = new_reader(replaceKey="number")
    first = first_envelope()
    first["parameter"]["talker"]["many"] = 3
    assert read_frame(reader, first).params["number"] == "3"
    assert read_frame(reader, {}).params["number"] == "3"
    assert read_frame(reader, {}).params["number"] == "3"


def test_brief_frames_equal_full_frames() -> None:
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
    brief_reader, full_reader = (
        EnvelopeReader(contract, EXTRA_HEADERS, SessionOptions()) for _ in range(2)
    )
    first = first_envelope(format="x")
    for reader in (brief_reader, full_reader):
        read_frame(reader, json.loads(json.dumps(first)))
    header: dict[str, Any]
    for number, header in enumerate(
        [{}, {}, {"status": 1}, {"status": None}, {"uid": "w"}, {}, {"status": 2}]
    ):
        payload = {"text": {"text": "aGk=", "format": f"f{number}"}}
        brief_envelope = {"header": dict(header), "payload": json.loads(json.dumps(payload))}
        full_envelope = {
            **first,
            "payload": payload,
            "header": first["header"] | {"status": 1} | header,
        }
        full_envelope["header"]["status"] = header.get("status") or 1
        frame, expected = (
            read_frame(brief_reader, brief_envelope),
            read_frame(full_reader, json.loads(json.dumps(full_envelope))),
        )
        assert frame == expected
        attributes = frame.pl[0].meta.attribute
        assert (attributes["form"], attributes["compress"]) == (f"f{number}", "raw")


def test_inherited_header_is_kept_untransformed() -> None:
    document = json.loads(declare.schema(Talker))
    extra = {"type": "object", "properties": {"a": {"type": "string", "replaceKey": "b"}}}
    document["schemainput"]["properties"]["header"]["properties"]["extra"] = extra
    reader = EnvelopeReader(
        build_contract(canonical(document), "file", {}, 5.0), EXTRA_HEADERS, SessionOptions()
    )
    first = first_envelope()
    first["header"]["extra"] = {"a": "x"}
    frames = [read_frame(reader, first), *(read_frame(reader, {"payload": {}}) for _ in range(4))]
    assert {frame.headers["extra"] for frame in frames} == {'{"b":"x"}'}


def test_payload_dependent_schema_transforms_every_frame() -> None:
    document = json.loads(declare.schema(Talker))
    document["schemainput"] |= {
        "if": {
            "properties": {"payload": {"required": ["text"], **ANY_PROPERTIES}},
            **ANY_PROPERTIES,
        },
        "then": {
            "properties": {"header": {"setVal": {"uid": "with"}, **ANY_PROPERTIES}},
            **ANY_PROPERTIES,
        },
    }
    reader = EnvelopeReader(
        build_contract(canonical(document), "file", {}, 5.0), EXTRA_HEADERS, SessionOptions()
    )
    with_text = {"payload": {"text": {"text": "aGk="}}}
    read_frame(reader, first_envelope())
    for envelope, uid in ((with_text, "with"), ({"payload": {}}, "u"), (with_text, "with")):
        assert read_frame(reader, json.loads(json.dumps(envelope))).headers["uid"] == uid


@pytest.mark.parametrize(
    ("envelope", "message"),
    [
        ({"payload": {"text": {"text": "aGl="}}}, "canonical base64"),
        ({"payload": {"text": {"text": "%"}}}, "base64"),
        ({"payload": {"other": {}}}, r"\$.payload.other: is not known here"),
        ({"parameter": {"talker": {"many": 0}}}, "breaks minimum 1"),
        ({"header": 3, "payload": []}, "must be of type object"),
        ({"header": {"status": 1, "nobody": 1}}, r"\$.header.nobody: is not known here"),
    ],
)
def test_each_frame_is_validated(envelope: dict[str, Any], message: str) -> None:
    reader = new_reader()
    read_frame(reader, first_envelope())
    with pytest.raises(AseError, match=message):
        read_frame(reader, envelope)


def test_seq_must_be_consecutive() -> None:
    reader = new_reader()
    read_frame(reader, first_envelope(seq=0))
    read_frame(reader, {"payload": {"text": {"text": "aGk=", "seq": 1}}})
    with pytest.raises(AseError, match="seq: 2 is next, after 1"):
        read_frame(reader, {"payload": {"text": {"text": "aGk=", "seq": 3}}})


def test_statuses() -> None:
    assert new_reader().classify({"header": {"status": 3}}) is SessionEvent.ONCE
    for envelope, message in (
        ({}, "is required: a session begins with 0"),
        ({"header": {}}, "is required"),
        ({"header": {"status": "0"}}, "must be 0, 1, 2 or 3"),
        ({"header": {"status": 4}}, "must be 0, 1, 2 or 3"),
    ):
        with pytest.raises(AseError, match=message):
            new_reader().classify(envelope)


def test_single_frame_may_have_status_0() -> None:
    for status in (0, 3, None):
        reader = new_reader(single_frame=True)
        envelope = {**first_envelope(), "header": {"app_id": "a", "status": status}}
        assert reader.classify(envelope) is SessionEvent.ONCE
        frame = read_frame(reader, envelope)
        assert frame.headers["status"] == frame.pl[0].meta.attribute["status"] == "3"
    for header in ({"status": "3"}, {"status": 1}, {"status": 2}):
        with pytest.raises(AseError, match="must be 3: no other frame can follow"):
            new_reader(single_frame=True).classify({"header": header})


def test_status_is_sent_though_the_schema_deletes_it() -> None:
    document = json.loads(declare.schema(Talker))
    document["schemainput"]["properties"]["header"]["delete"] = ["status"]
    reader = EnvelopeReader(
        build_contract(canonical(document), "file", {}, 5.0), EXTRA_HEADERS, SessionOptions()
    )
    assert read_frame(reader, first_envelope()).pl[0].meta.attribute["status"] == "0"
    assert read_frame(reader, {"header": {"status": 2}}).pl[0].meta.attribute["status"] == "2"


@pytest.mark.parametrize(
    "header",
    [
        {"type": "object", "properties": {"app_id": {"type": "string"}}, "required": ["app_id"]},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object"},
        {"allOf": [{"type": "object", "properties": {"app_id": {"type": "string"}}}]},
        [{"type": "object", "properties": {"app_id": {"type": "string"}}}],
        {
            "type": "object",
            "properties": {"uid": {}},
            "allOf": [{"type": "object", "properties": {"uid": {}}}],
        },
    ],
)
def test_status_of_a_session_needs_no_declaration(header: Any) -> None:
    """Public schemas close their header and declare no status; the status is the gateway's."""
    reader = status_reader(header)
    frames: list[dict[str, Any]] = [
        {"header": {"app_id": "a", "status": 0}, "payload": {"text": {"text": "aGk="}}},
        {"payload": {"text": {"text": "aGk="}}},
        {"header": {"status": 2}},
    ]
    for frame, status in zip(frames, "012", strict=True):
        loader_input = read_frame(reader, frame)
        assert dict(loader_input.headers)["status"] == status
        assert loader_input.pl[0].meta.attribute["status"] == status
        assert loader_input.headers["app_id"] == "a"


def test_declared_status_still_limits_a_session() -> None:
    status = {"type": "integer", "enum": [3]}
    reader = status_reader({"type": "object", "properties": {"app_id": {}, "status": status}})
    with pytest.raises(AseError, match=r"header.status: must be one of 3"):
        read_frame(reader, {"header": {"app_id": "a", "status": 0}})
