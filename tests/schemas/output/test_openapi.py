"""OpenAPI: standard words for what the judge asks, and for what comes back."""

import base64
import dataclasses
import functools
import json
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.model import document
from schemas.model.service import DataType
from schemas.output import openapi
from schemas.output.openapi import BASE64_PATTERN, Operation
from schemas.sources import declare
from schemas.validation.compile import compile_input
from schemas.validation.request_validator import RequestValidator
from tests.schemas.sources.test_declare import API

SERVICE = document.service_from_document(declare.declaration_to_document(API))
OPERATION = Operation(SERVICE, RequestValidator(SERVICE.input).schema, {"a": 1})
DOCUMENT = openapi.build_document([OPERATION], title="t", version="1")
POST = DOCUMENT["paths"]["/v1/private/ocr"]["post"]
SCHEMA = POST["requestBody"]["content"]["application/json"]["schema"]


def request_body(**changes: Any) -> dict[str, Any]:
    body = {
        "header": {"app_id": "a", "status": 3},
        "parameter": {"ocr": {"lang": "en"}},
        "payload": {"page": {"image": "YWJj"}},
    }
    return {**body, **changes}


@pytest.mark.parametrize(
    ("body", "valid"),
    [
        (request_body(), True),
        (request_body(header={"app_id": "", "status": 3}), False),
        (request_body(header={"app_id": None, "status": 3}), False),
        (request_body(header=None), False),
        (request_body(payload=None), False),
        (request_body(payload={"page": {"image": None}}), False),
        (request_body(payload={"page": {"image": "YWJjZA"}}), False),
        (request_body(payload={"page": {"image": "YWJjZB=="}}), False),
        (request_body(payload={"page": {"image": "A" * 12}}), False),
        (request_body(payload={"page": {"image": "YWJj", "status": None}}), True),
        (request_body(parameter={"ocr": {"lang": None}}), False),
        (request_body(parameter={"ocr": None}), False),
        (request_body(parameter={"ocr": {"lang": "en", "size": None}}), True),
        (request_body(other=1), False),
    ],
)
def test_request_schema_is_standard_json_schema(body: Any, valid: bool) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert jsonschema.Draft202012Validator(SCHEMA).is_valid(body) is valid


def test_streaming_operation_is_described() -> None:
    assert "text/event-stream" in POST["responses"]["200"]["content"]
    assert "WebSocket" not in POST["description"]
    service = document.service_from_document(
        declare.declaration_to_document(dataclasses.replace(API, streaming=True))
    )
    operation = Operation(service, RequestValidator(service.input).schema)
    api_document = openapi.build_document([operation], title="t", version="1")
    assert "WebSocket" in api_document["paths"]["/v1/private/ocr"]["post"]["description"]


def test_no_dialect_keyword_remains() -> None:
    text = str(DOCUMENT)
    assert not [keyword for keyword in ("maxB64DLen", "minB64DLen", "'error':") if keyword in text]
    assert SCHEMA["properties"]["payload"]["properties"]["page"]["properties"]["image"] == {
        "type": "string",
        "minLength": 1,
        "maxLength": 8,
        "contentEncoding": "base64",
        "pattern": BASE64_PATTERN,
    }
    assert POST["requestBody"]["content"]["application/json"]["example"] == {"a": 1}
    assert POST["summary"] == "Reads text."


def test_error_keyword_becomes_a_never_valid_schema() -> None:
    schema = openapi.to_standard_schema({"if": {}, "then": {"error": "no"}}, SERVICE)
    assert schema["then"] == {"not": {}, "description": "no"}


def test_response_schema_is_open_and_allows_any_json() -> None:
    schema = POST["responses"]["200"]["content"]["application/json"]["schema"]
    validator = jsonschema.Draft202012Validator(schema)
    header = {"code": 0, "message": "success", "sid": "0" * 32}
    payload = {"words": {"text": {"any": [1]}, "more": 1}}
    assert validator.is_valid({"header": header, "payload": payload})
    assert validator.is_valid({"header": header})
    assert not validator.is_valid({"header": {**header, "code": 1}})
    assert not validator.is_valid({"header": {**header, "sid": "x"}})


@given(
    st.sampled_from(["maxB64DLen", "minB64DLen", "both"]), st.integers(0, 9), st.binary(max_size=12)
)
def test_limits_of_decoded_sizes_are_exact(keyword: str, limit: int, data: bytes) -> None:
    limits = {"maxB64DLen": limit, "minB64DLen": min(limit, 4)}
    rules = limits if keyword == "both" else {keyword: limits[keyword]}
    tree = {"items": {"type": "string", **rules}}
    validator = jsonschema.Draft202012Validator(
        openapi.to_standard_schema(compile_input(tree), SERVICE)
    )
    text = base64.b64encode(data).decode()
    accepted = rules.get("minB64DLen", 0) <= len(data) <= rules.get("maxB64DLen", 99)
    assert validator.is_valid([text]) is accepted
    assert validator.is_valid([None]), "null passes, as at the gateway"


@pytest.mark.parametrize(
    ("rules", "published"),
    [
        ({"type": "integer", "enum": [3]}, {"type": ["integer", "null"], "enum": [3, None]}),
        ({"type": "string", "enum": ["3"]}, {"type": ["null", "string"], "enum": ["3", None]}),
        ({"type": "boolean", "enum": [True]}, {"type": ["boolean", "null"], "enum": [True, None]}),
        ({"type": "number", "enum": [1.5]}, {"type": ["null", "number"], "enum": [1.5, None]}),
        ({"type": "integer", "const": 3}, {"type": ["integer", "null"], "enum": [3]}),
        (
            {"enum": ["3"]},
            {"allOf": [{"anyOf": [
                {"type": "string", "enum": ["3"]}, {"type": "integer", "enum": [3]},
                {"type": "null", "enum": [None]},
            ]}]},
        ),
        ({"enum": ["a"]}, {"allOf": [{"anyOf": [
            {"type": "string", "enum": ["a"]}, {"type": "null", "enum": [None]},
        ]}]}),
    ],
)  # fmt: skip
def test_choices_have_the_type_of_their_member(
    rules: dict[str, Any], published: dict[str, Any]
) -> None:
    """Generators fail on choices of several types: the dialect has each one as a text too."""
    assert (
        openapi.to_standard_schema(compile_input({"items": rules}), SERVICE)["items"] == published
    )


@pytest.mark.parametrize(
    ("pattern", "is_portable"),
    [
        ("^[a-z0-9_-]{1,8}$", True),
        (r"^\d+\.\d+(?:-rc)?$", True),
        (r"^(a|b)*?[^\]\s]$", True),
        (r"\u4e00", True),
        ("漢", True),
        (r"^\p{Han}+$", False),
        (r"(?i)abc", False),
        (r"(?P<name>a)", False),
        (r"\Aabc\z", False),
        (r"[[:alpha:]]", False),
        (r"[a-z&&[^b]]", False),
        (r"\x{41}", False),
        ("a{,3}", False),
    ],
)
def test_patterns_are_published_if_they_mean_the_same_everywhere(
    pattern: str, is_portable: bool
) -> None:
    tree = {"type": "string", "pattern": pattern, "maxLength": 9}
    schema = openapi.to_standard_schema({"items": tree}, SERVICE)
    assert ("pattern" in schema["items"]) is is_portable
    if is_portable:
        re.compile(pattern)
    conditions = {"not": tree, "if": tree, "then": {"const": 1}, "else": {"const": 2}}
    published = openapi.to_standard_schema({"items": conditions}, SERVICE)["items"]
    assert published == (conditions if is_portable else {})


@pytest.mark.parametrize("part", ["[^a]", "a+?", "[^^]", "(a)", "a{1,2}?", "\\d"])
def test_patterns_are_judged_in_linear_time(part: str) -> None:
    """Loaders report patterns: one that goes back at each part would take years."""
    tree = {"type": "string", "pattern": part * 3000 + r"\p{L}"}
    assert "pattern" not in openapi.to_standard_schema({"items": tree}, SERVICE)["items"]
    tree["pattern"] = part * 3000
    assert "pattern" in openapi.to_standard_schema({"items": tree}, SERVICE)["items"]


def test_server_is_absolute() -> None:
    """Paths are appended to the URL of the server, so a relative one would end in two slashes."""
    assert "servers" not in DOCUMENT
    serialized = openapi.with_server(json.dumps(DOCUMENT).encode(), 'http://h:1/a"')
    assert json.loads(serialized) == {"servers": [{"url": 'http://h:1/a"'}], **DOCUMENT}


def test_services_require_a_credential_and_pages_do_not() -> None:
    guarded = openapi.build_document(
        [OPERATION], title="t", version="1", auth_methods=["key", "mtls"]
    )
    schemes = guarded["components"]["securitySchemes"]
    assert {name: scheme["type"] for name, scheme in schemes.items()} == {
        "key": "http",
        "mtls": "mutualTLS",
    }
    for path, item in guarded["paths"].items():
        is_service = path in ("/v1/ocr", "/v1/private/ocr")
        expected = [{"key": []}, {"mtls": []}] if is_service else None
        assert {str(each.get("security")) for each in item.values() if isinstance(each, dict)} == {
            str(expected)
        }, path


def typed_document(schema: Any) -> dict[str, Any]:
    """Return the OpenAPI document of a service whose input and output have the JSON type."""
    typed = dataclasses.replace(
        API,
        inputs=(declare.PayloadStream("page", DataType.TEXT, value_schema=schema),),
        outputs=(declare.PayloadStream("text", DataType.TEXT, format="json", value_schema=schema),),
    )
    service = document.service_from_document(declare.declaration_to_document(typed))
    operation = Operation(service, RequestValidator(service.input).schema, {})
    return openapi.build_document([operation], title="t", version="1")


def typed_schemas(document: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    post = document["paths"]["/v1/private/ocr"]["post"]
    request = post["requestBody"]["content"]["application/json"]["schema"]
    response = post["responses"]["200"]["content"]["application/json"]["schema"]
    data = request["properties"]["payload"]["properties"]["page"]["properties"]["text"]
    return data, response["properties"]["payload"]["properties"]["text"]["properties"]["text"]


def test_types_of_json_are_described() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    request, response = typed_schemas(typed_document(schema))
    assert (request["contentMediaType"], request["contentSchema"]) == ("application/json", schema)
    assert response == {"description": "JSON, as it is", **schema}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nothing"},
        {"$ref": "#/components/schemas/Error"},
        {"minimum": "1"},
        {"properties": {"a": {"$dynamicRef": "#x"}}},
        {"type": "string", "pattern": "(?=a)"},
        functools.reduce(lambda schema, _: {"items": schema}, range(900), {}),
    ],
    ids=range(6),
)
def test_schema_of_a_type_that_is_none_is_left_out(schema: Any) -> None:
    request, response = typed_schemas(typed_document(schema))
    assert "contentSchema" not in request
    assert response == {"description": "JSON, as it is"}
