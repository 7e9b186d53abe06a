"""OpenAPI: standard words for what the judge asks, and for what comes back."""

import dataclasses
from typing import Any

import jsonschema
import pytest

from schemas.model import document
from schemas.output import openapi
from schemas.output.openapi import BASE64_PATTERN, Operation
from schemas.sources import declare
from schemas.validation.request_validator import RequestValidator
from tests.schemas.sources.test_declare import API

SERVICE = document.service_from_document(declare.declaration_to_document(API))
DOCUMENT = openapi.build_document(
    [Operation(SERVICE, RequestValidator(SERVICE.input).schema, {"a": 1})], title="t", version="1"
)
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
