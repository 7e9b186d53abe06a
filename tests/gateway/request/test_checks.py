"""Content types, app ids and services: what is checked before the schema."""

import json
from typing import Any

import pytest

from aseloader import declare
from gateway.access.identity import Identity
from gateway.request.checks import (
    accepts_event_stream,
    affinity_key,
    check_app_id,
    check_content_headers,
    find_contract,
    join_base64_lines,
    pop_stream_flag,
    resolve_contract,
)
from gateway.request.record import RequestRecord
from gateway.request.response import HttpError
from gateway.services.catalog import Catalog, build_contract
from schemas.model import document
from schemas.model.errors import BAD_APP, NO_SERVICE, NO_SUB_SERVICE, AseError
from schemas.model.service import DataType
from schemas.sources import declare as schema_declare
from schemas.sources.declare import Declaration, PayloadStream
from tests.wrappers.probe import Probe


@pytest.mark.parametrize(
    ("content_type", "encoding", "accepted"),
    [
        ("application/json", "", True),
        ("application/json;charset=utf-8", "identity", True),
        ('Application/Json; charset="UTF-8"', "", True),
        ("application/json; charset=latin-1", "", False),
        ("application/json-patch", "", False),
        ("text/json", "", False),
        ("", "", False),
        ("application/json", "gzip", True),
        ("application/json", "gzip, gzip", False),
        ("application/json", "br", False),
    ],
)
def test_content_headers(content_type: str, encoding: str, accepted: bool) -> None:
    headers = {b"content-type": content_type.encode()}
    headers |= {b"content-encoding": encoding.encode()} if encoding else {}
    if accepted:
        check_content_headers(headers)
    else:
        with pytest.raises(HttpError) as caught:
            check_content_headers(headers)
        assert caught.value.status == 415


@pytest.mark.parametrize(
    ("body", "own_id", "status"),
    [
        ({"header": {"app_id": "a"}}, "", 0),
        ({"header": {"appid": "a"}}, "", 0),
        ({"header": {"app_id": "a"}}, "a", 0),
        ({"header": {"app_id": "a"}}, "b", 403),
        ({"header": {"app_id": "a", "appid": "a"}}, "a", 0),
        ({"header": {"app_id": "a", "appid": "victim"}}, "a", 403),
        ({"header": {"app_id": "a", "appid": 7}}, "", 400),
        ({"header": {"app_id": ""}}, "", 400),
        ({"header": {"app_id": 7}}, "", 400),
        ({"header": {"app_id": ["a"]}}, "", 400),
        ({"header": None}, "", 400),
        ({"header": "a"}, "", 400),
        ({}, "a", 400),
    ],
    ids=str,
)
def test_app_id(body: dict[str, Any], own_id: str, status: int) -> None:
    identity = Identity(app_id=own_id)
    if not status:
        check_app_id(body, identity)
        return
    with pytest.raises(AseError) as caught:
        check_app_id(body, identity)
    assert caught.value.spec is BAD_APP
    assert getattr(caught.value, "status", 400) == status


@pytest.mark.parametrize(
    ("path", "expected_key"),
    [
        ("header.uid", "u-1"),
        ("parameter.ocr.page", "7"),
        ("header", ""),  # an object is no key
        ("header.none", ""),
        ("header.uid.deeper", ""),
        ("parameter.ocr.fast", ""),
        ("parameter.ocr.nothing", ""),
    ],
)
def test_affinity_key_is_the_scalar_at_a_path(path: str, expected_key: str) -> None:
    body = {
        "header": {"uid": "u-1"},
        "parameter": {"ocr": {"page": 7, "fast": True, "nothing": None}},
    }
    assert affinity_key(body, tuple(path.split("."))) == expected_key


PROBE = build_contract(declare.schema(Probe), "file", {}, 5.0)


def build_category_contract(sub_service: str) -> Any:
    rules = {"$.parameter.any.ent": "x"}
    meta = {
        "serviceId": "any",
        "service": [],
        "routeKey": ["ent"],
        "subRoute": [{"subServiceId": sub_service, "priority": 1, "rules": rules}],
    }
    text = json.dumps({"meta": meta, "schemainput": {"type": "object"}}).encode()
    return build_contract(text, "file", {}, 5.0)


def new_record() -> RequestRecord:
    return RequestRecord("s" * 32, 0.0, "POST", "/v1/private/any", "9.9.9.9")


def test_service_is_found_by_id_and_recorded() -> None:
    record = new_record()
    assert find_contract(Catalog([PROBE], {}, 5.0), "probe", record) is PROBE
    assert record.service == "probe"
    with pytest.raises(AseError) as raised:
        find_contract(Catalog([PROBE], {}, 5.0), "nobody", new_record())
    assert raised.value.spec is NO_SERVICE


def test_a_service_without_sub_services_serves_itself() -> None:
    contract, headers = resolve_contract(PROBE, {}, new_record(), Catalog([PROBE], {}, 5.0))
    assert contract is PROBE
    assert headers == {
        "sid": "s" * 32,
        "client_ip": "9.9.9.9",
        "service_id": "probe",
        "route": "/v1/private/any",
    }


def test_a_category_is_served_by_the_sub_service_that_the_envelope_selects() -> None:
    envelope, record = {"parameter": {"any": {"ent": "x"}}}, new_record()
    any_probe = build_category_contract("probe")
    catalog = Catalog([PROBE, any_probe], {}, 5.0)
    contract, headers = resolve_contract(any_probe, envelope, record, catalog)
    assert contract is PROBE
    assert (record.service, headers["service_id"]) == ("probe", "probe")
    assert (headers["route_param"], headers["routekey"]) == ("x", "x")


@pytest.mark.parametrize(
    ("sub_service", "value", "message"),
    [
        ("probe", "y", "no category route fits"),
        ("away", "x", "sub service not found: away"),
    ],
)
def test_no_sub_service(sub_service: str, value: str, message: str) -> None:
    any_probe = build_category_contract(sub_service)
    catalog = Catalog([PROBE, any_probe], {}, 5.0)
    with pytest.raises(AseError) as raised:
        resolve_contract(any_probe, {"parameter": {"any": {"ent": value}}}, new_record(), catalog)
    assert raised.value.spec is NO_SUB_SERVICE
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (b"text/event-stream", True),
        (b"application/json, Text/Event-Stream;q=0.9", True),
        (b"application/json", False),
        (b"*/*", False),
        (None, False),
    ],
)
def test_the_accept_header(accept: bytes | None, expected: bool) -> None:
    assert accepts_event_stream({b"accept": accept} if accept is not None else {}) is expected


@pytest.mark.parametrize("flag", [1, "true", None, [True]])
def test_non_boolean_stream_flag_is_ignored(flag: object) -> None:
    service = document.service_from_document(
        schema_declare.declaration_to_document(
            Declaration("s", inputs=(PayloadStream("t", DataType.TEXT),))
        )
    )
    envelope = {"header": {"stream": flag}}
    assert not pop_stream_flag(envelope, service)
    assert envelope == {"header": {"stream": flag}}


def test_stream_flag_declared_in_the_schema_is_kept() -> None:
    schema_document = schema_declare.declaration_to_document(
        Declaration("s", inputs=(PayloadStream("t", DataType.TEXT),))
    )
    envelope = {"header": {"stream": True, "status": 3}}
    assert pop_stream_flag(envelope, document.service_from_document(schema_document))
    assert envelope == {"header": {"status": 3}}, "no schema knows it"
    schema_document["schemainput"]["properties"]["header"]["properties"]["stream"] = {
        "type": "boolean"
    }
    envelope = {"header": {"stream": True, "status": 3}}
    assert not pop_stream_flag(envelope, document.service_from_document(schema_document))
    assert envelope == {"header": {"stream": True, "status": 3}}


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_base64_lines_are_joined(line_break: str) -> None:
    """As Android, MIME encoders and `base64 FILE` write them."""
    service = build_contract(declare.schema(Probe), "file", {}, 5.0).service
    text = line_break.join(["QUJD", "REVG", ""])
    envelope: dict[str, Any] = {
        "header": {"note": text},
        "payload": {"text": {"text": text, "encoding": text}, "other": {"text": text}},
    }
    join_base64_lines(envelope, service)
    assert envelope["payload"]["text"] == {"text": "QUJDREVG", "encoding": text}
    assert (envelope["header"]["note"], envelope["payload"]["other"]["text"]) == (text, text)


@pytest.mark.parametrize("payload", [None, [], {}, {"text": None}, {"text": {"text": 7}}])
def test_joining_lines_ignores_what_is_no_text(payload: Any) -> None:
    service = build_contract(declare.schema(Probe), "file", {}, 5.0).service
    envelope = {"payload": payload}
    join_base64_lines(envelope, service)
    assert envelope == {"payload": payload}
