"""Requests that the original's rules allow are taken, and those that they forbid refused.

Each row names the section of the original's contract, then the rule (docs/wire.md).
"""

import copy
import json
from typing import Any

import pytest

from gateway.access.identity import ANONYMOUS
from gateway.request import checks, json_body
from gateway.services.catalog import build_contract
from schemas.model import category, document
from schemas.model.document import DocumentError
from schemas.model.errors import AseError
from schemas.wire import LoaderInput

STATUS = {"type": "integer", "enum": [3]}
DOCUMENT: dict[str, Any] = {
    "meta": {
        "serviceId": "ocr", "version": "v1.0", "service": ["svc"], "sub": "ase", "call": "atmos",
        "call_type": "0", "webgate_type": 0, "hosts": "api.example", "route": "/v1/private/ocr",
        "svc": {
            "input": {"page": {"dataType": "image"}, "note": "text"},
            "accept": {"words": {"dataType": "text"}},
        },
    },
    "schemainput": {
        "type": "object",
        "properties": {
            "header": {
                "type": "object",
                "properties": {
                    **{n: {"type": "string", "maxLength": 50} for n in
                       ("app_id", "appid", "uid", "did", "imei", "imsi", "mac", "sid", "cid")},
                    "net_type": {"type": "string", "enum": ["wifi", "2G", "3G", "4G", "5G"]},
                    "net_isp": {"type": "string", "enum": ["CMCC", "CUCC", "CTCC", "other"]},
                    "status": STATUS,
                    "request_id": {"type": "string", "maxLength": 64},
                    "res_id": {"type": "string", "maxLength": 1024},
                    "data_cleaner_ttl": {"type": "string", "maxLength": 13},
                    "patch_id": {"type": "array", "items": {"type": "string"}, "maxItems": 9},
                },
                "required": ["app_id", "status"],
            },
            "parameter": {
                "type": "object",
                "properties": {
                    "svc": {
                        "type": "object",
                        "properties": {
                            "lang": {"type": "string", "enum": ["en", "zh"], "defaultVal": "en"},
                            "size": {"type": "integer", "minimum": 1, "maximum": 9},
                            "words": {"type": "object", "properties": {
                                "encoding": {"type": "string", "enum": ["utf8", "gb2312"]},
                                "compress": {"type": "string", "enum": ["raw", "gzip"]},
                                "format": {"type": "string", "enum": ["plain", "json", "xml"]},
                            }},
                        },
                    }
                },
            },
            "payload": {
                "type": "object",
                "properties": {
                    "page": {
                        "type": "object",
                        "properties": {
                            "encoding": {"type": "string", "enum": ["jpg", "png", "bmp", "jpeg"]},
                            "image": {"type": "string", "minLength": 1, "maxLength": 40},
                            "status": STATUS,
                            "seq": {"type": "integer", "minimum": 0, "maximum": 9999999},
                        },
                        "required": ["image"],
                    },
                    "note": {"type": "object", "properties": {"text": {"type": "string"}}},
                },
                "required": ["page"],
            },
        },
        "required": ["header", "payload"],
    },
    "schemaoutput": {},
}  # fmt: skip
BODY: dict[str, Any] = {
    "header": {"app_id": "a", "status": 3},
    "parameter": {"svc": {}},
    "payload": {"page": {"image": "YWJj"}},
}

EXTRA_HEADERS = {"sid": "s", "client_ip": "::1", "service_id": "ocr", "route": "/v1/private/ocr"}


def with_value(tree: Any, path: str, value: Any) -> Any:
    """Return a copy with another value at a path; `...` takes it away."""
    result = copy.deepcopy(tree)
    parent = result
    *parents, last = path.split(".")
    for name in parents:
        parent = parent.setdefault(name, {})
    if value is ...:
        del parent[last]
    else:
        parent[last] = value
    return result


def encode_frame(schema_document: Any, envelope: Any) -> LoaderInput:
    """Return the frame that a body becomes. Raises AseError when it is refused."""
    contract = build_contract(document.canonical(schema_document), "file", {}, 5.0)
    text = json.dumps(envelope).encode()
    parsed_envelope = json_body.parse(text, 64, 100_000, 10_000)
    checks.check_app_id(parsed_envelope, ANONYMOUS)
    violations = contract.validator.validate_and_transform(
        parsed_envelope, json_body.text_traits(text)[0]
    )
    if violations:
        raise AssertionError("; ".join(map(str, violations)))
    return LoaderInput.FromString(contract.encoder.encode(parsed_envelope, EXTRA_HEADERS))


BODIES: list[tuple[str, str, Any, bool]] = [
    # 1.3, the request envelope
    ("1.3 app_id", "header.app_id", "x", True),
    ("1.3 app_id", "header.app_id", ..., False),
    ("1.3 app_id is a string", "header.app_id", 5, False),
    ("1.3 appid beside it", "header.appid", "a", True),
    ("1.3 uid", "header.uid", "u", True),
    ("1.3 did", "header.did", "d" * 51, False),
    ("1.3 net_type", "header.net_type", "wifi", True),
    ("1.3 net_type", "header.net_type", "6G", False),
    ("1.3 net_isp", "header.net_isp", "CTCC", True),
    ("1.3 net_isp", "header.net_isp", "else", False),
    ("1.3 status, once", "header.status", 3, True),
    ("1.3 status of a stream", "header.status", 0, False),
    ("1.3 status required", "header.status", ..., False),
    ("1.3 request_id <= 64", "header.request_id", "r" * 64, True),
    ("1.3 request_id <= 64", "header.request_id", "r" * 65, False),
    ("1.3 res_id <= 1024", "header.res_id", "r" * 1025, False),
    ("1.3 data_cleaner_ttl <= 13", "header.data_cleaner_ttl", "1" * 14, False),
    ("1.3 patch_id [s]", "header.patch_id", ["a", "b"], True),
    ("1.3 patch_id [s]", "header.patch_id", "a", False),
    ("7.1 directEngIp names whom to call: dropped", "header.directEngIp", "10.0.0.1:1", False),
    ("1.3 parameter may be absent", "parameter", ..., True),
    ("1.3 scalar parameter", "parameter.svc.size", 5, True),
    ("1.3 accept", "parameter.svc.words", {"encoding": "utf8", "format": "json"}, True),
    ("1.3 accept", "parameter.svc.words", {"encoding": "latin1"}, False),
    ("1.3 payload required", "payload", ..., False),
    ("1.3 payload.encoding", "payload.page.encoding", "jpg", True),
    ("1.3 payload.encoding", "payload.page.encoding", "gif", False),
    ("1.3 payload.status", "payload.page.status", 3, True),
    ("1.3 payload.seq", "payload.page.seq", 10_000_000, False),
    ("1.3 the key is the declared type", "payload.page.text", "YWJj", False),
    ("1.3 standard base64 with padding", "payload.page.image", "YWI=", True),
    ("1.3 standard base64 with padding", "payload.page.image", "YWI", False),
    ("1.3 size in bytes of base64 text", "payload.page.image", "A" * 40, True),
    ("1.3 size in bytes of base64 text", "payload.page.image", "A" * 44, False),
    ("1.3 another declared stream", "payload.note.text", "aGk=", True),
    # 2.2, the dialect, at this schema
    ("2.2 unknown properties", "header.unknown", 1, False),
    ("2.2 unknown properties", "parameter.svc.unknown", 1, False),
    ("2.2 unknown properties", "payload.unknown", {}, False),
    ("2.2 null passes type and enum", "header.net_type", None, True),
    ("2.2 enum compares as strings, type does not", "header.status", "3", False),
    ("2.2 enum compares as strings", "header.net_isp", "other", True),
    ("2.2 maxLength in bytes", "header.uid", "é" * 25, True),
    ("2.2 maxLength in bytes", "header.uid", "é" * 26, False),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "path", "value", "accepted"), BODIES)
def test_body_rules(rule: str, path: str, value: Any, accepted: bool) -> None:
    envelope = with_value(BODY, path, value)
    if accepted:
        assert encode_frame(DOCUMENT, envelope).serviceId == "ocr"
        return
    with pytest.raises((AseError, AssertionError)):
        encode_frame(DOCUMENT, envelope)


# 2.2, one keyword at a time: the rules of parameter `p`, its value, taken or not.
RULES: list[tuple[str, dict[str, Any], Any, bool]] = [
    ("type union", {"type": "string|number"}, 1.5, True),
    ("type union", {"type": "string|number"}, True, False),
    ("maxLength of an array", {"type": "array", "maxLength": 1}, [1, 2], False),
    ("maxB64DLen", {"maxB64DLen": 2}, "YWJj", False),
    ("minB64DLen", {"minB64DLen": 3}, "YWJj", True),
    ("oneOf as anyOf", {"oneOf": [{"type": "integer"}, {"minimum": 1}]}, 5, True),
    ("if/then/else", {"if": {"type": "integer"}, "then": {"minimum": 3}}, 2, False),
    ("if/then/else", {"if": {"type": "integer"}, "else": {"maxLength": 1}}, "a", True),
    ("allOf", {"allOf": [{"type": "integer"}, {"maximum": 3}]}, 4, False),
    ("anyOf", {"anyOf": [{"type": "integer"}, {"enum": ["a"]}]}, "a", True),
    ("not", {"not": {"type": "string"}}, "a", False),
    ("pattern", {"pattern": "^a+$"}, "ab", False),
    ("format", {"format": "ipv4"}, "1.2.3", False),
    ("multipleOf", {"multipleOf": 5}, 10, True),
    ("items", {"type": "array", "items": {"type": "integer"}}, ["a"], False),
    ("minItems", {"minItems": 2}, [1], False),
    ("maxItems", {"maxItems": 2}, [1, 2], True),
    ("uniqueItems", {"uniqueItems": True}, [1, 1], False),
    ("minProperties", {"minProperties": 1}, {}, False),
    ("keyMatch", {"keyMatch": {"a": "x"}}, {"a": "x"}, True),
    ("keyMatch", {"keyMatch": {"a": "x"}}, {}, False),
    ("dependencies", {"dependencies": {"a": ["b"]}}, {"a": 1}, False),
    ("children", {"children": {"a": {"type": "integer"}}}, {"a": 1, "b": 2}, True),
    ("switch", {"switch": "t", "case": {"a": {"required": ["x"]}}}, {"t": "a"}, False),
    ("switch default", {"switch": "t", "case": {}, "default": {"required": ["x"]}}, {"x": 1}, True),
    ("error", {"if": {"minimum": 9}, "then": {"error": "too many"}}, 9, False),
    ("ignored", {"title": "t", "comment": "c", "$comment": "d", "examples": [1]}, 1, True),
]


@pytest.mark.parametrize(("rule", "keywords", "value", "accepted"), RULES)
def test_schema_keyword_rules(
    rule: str, keywords: dict[str, Any], value: Any, accepted: bool
) -> None:
    parameter_path = "schemainput.properties.parameter.properties.svc.properties.p"
    schema_document = with_value(DOCUMENT, parameter_path, keywords)
    envelope = with_value(BODY, "parameter.svc.p", value)
    if accepted:
        encode_frame(schema_document, envelope)
        return
    with pytest.raises(AssertionError, match=r"\$\.parameter\.svc\.p"):
        encode_frame(schema_document, envelope)


@pytest.mark.parametrize(
    ("rule", "keywords", "parameters", "params"),
    [
        ("2.2 defaultVal", {"defaultVal": "d"}, {}, {"lang": "en", "p": "d"}),
        ("2.2 default", {"default": 7}, {}, {"lang": "en", "p": "7"}),
        ("2.2 constVal", {"constVal": "c"}, {"p": "x"}, {"lang": "en", "p": "c"}),
        ("2.2 replaceKey", {"replaceKey": "q"}, {"p": "x"}, {"lang": "en", "q": "x"}),
        ("2.2 formatVal", {"formatVal": "upper"}, {"p": "x"}, {"lang": "en", "p": "X"}),
        ("2.3 true/false", {}, {"p": True}, {"lang": "en", "p": "true"}),
        ("2.3 null", {}, {"p": None}, {"lang": "en", "p": ""}),
        ("2.3 array joined by ;", {}, {"p": [1, "a"]}, {"lang": "en", "p": "1;a"}),
        ("2.3 float, shortest", {}, {"p": 1.0}, {"lang": "en", "p": "1"}),
    ],
)
def test_params_sent_to_the_loader(
    rule: str, keywords: dict[str, Any], parameters: dict[str, Any], params: dict[str, str]
) -> None:
    parameter_path = "schemainput.properties.parameter.properties.svc.properties.p"
    frame = encode_frame(
        with_value(DOCUMENT, parameter_path, keywords),
        with_value(BODY, "parameter.svc", parameters),
    )
    assert dict(frame.params) == params
    assert [output_desc.name for output_desc in frame.expect] == ["words"]


@pytest.mark.parametrize(
    ("rule", "path", "value", "message"),
    [
        ("2.1 serviceId", "meta.serviceId", "", "meta.serviceId: is missing or empty"),
        ("2.1 service", "meta.service", ["other"], "nick 'other' has no member in meta"),
        ("2.1 codeMap", "meta.codeMap", {"10163": 99}, "must map a code to an HTTP status"),
        ("2.1 subRoute", "meta.subRoute", [{}], "needs a subServiceId and an integer priority"),
        ("2.1 routeKey", "meta.routeKey", 5, "must be a string or a list of strings"),
        ("2.1 session_timeout", "meta.session_timeout", 0, "must be a number of seconds"),
        ("2.2 required is declared", "schemainput.required", ["x"], "'x' is not in properties"),
        ("2.2 unknown keyword", "schemainput.requird", [], "did you mean 'required'?"),
    ],
)
def test_invalid_documents_are_rejected(rule: str, path: str, value: Any, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        build_contract(document.canonical(with_value(DOCUMENT, path, value)), "file", {}, 5.0)
    assert message in str(caught.value)


def test_meta_overrides() -> None:
    """2.1: hosts, route, call and the like are read by nobody; types, maps and times are."""
    schema_document = with_value(
        with_value(DOCUMENT, "meta.session_timeout", 9), "meta.codeMap", {"10163": "422"}
    )
    contract = build_contract(document.canonical(schema_document), "file", {}, 5.0)
    assert contract.deadline == 9.0
    assert contract.service.code_map == {10163: 422}
    unknown_type_document = with_value(DOCUMENT, "meta.svc.input.page.dataType", "hologram")
    service = build_contract(document.canonical(unknown_type_document), "file", {}, 5.0).service
    assert service.inputs["page"].key == "audio"  # 2.1: an unknown type is audio


def test_category_routing() -> None:
    """2.1 subRoute, routeKey: by priority, rules AND, values OR, compared as strings."""
    sub_routes = [
        {"subServiceId": "a", "priority": 1, "rules": {"$.header.uid": ["1", "2"]}},
        {"subServiceId": "b", "priority": 2, "rules": {"header.uid": 1, "$.header.did": "d"}},
    ]
    meta = {
        **DOCUMENT["meta"],
        "type": "category",
        "subRoute": sub_routes,
        "routeKey": ["uid", "did"],
    }
    service = build_contract(
        document.canonical({**DOCUMENT, "meta": meta}), "file", {}, 5.0
    ).service

    def choose(**header: str) -> Any:
        sub_service = category.choose_sub_service(service, {"header": header})
        return (sub_service.service_id, sub_service.route_key) if sub_service else None

    assert choose(uid="1", did="d") == ("b", "1_d")
    assert choose(uid="2") == ("a", "2")
    assert choose(uid="3") is None
