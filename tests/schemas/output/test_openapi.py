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
TOLD = openapi.build_document(
    [Operation(SERVICE, RequestValidator(SERVICE.input).schema, {"a": 1})], title="t", version="1"
)
POST = TOLD["paths"]["/v1/private/ocr"]["post"]
SCHEMA = POST["requestBody"]["content"]["application/json"]["schema"]


def good(**changes: Any) -> dict[str, Any]:
    body = {
        "header": {"app_id": "a", "status": 3},
        "parameter": {"ocr": {"lang": "en"}},
        "payload": {"page": {"image": "YWJj"}},
    }
    return {**body, **changes}


@pytest.mark.parametrize(
    ("body", "valid"),
    [
        (good(), True),
        (good(header={"app_id": "", "status": 3}), False),
        (good(header={"app_id": None, "status": 3}), False),
        (good(header=None), False),
        (good(payload=None), False),
        (good(payload={"page": {"image": None}}), False),
        (good(payload={"page": {"image": "YWJjZA"}}), False),
        (good(payload={"page": {"image": "YWJjZB=="}}), False),
        (good(payload={"page": {"image": "A" * 12}}), False),
        (good(payload={"page": {"image": "YWJj", "status": None}}), True),
        (good(parameter={"ocr": {"lang": None}}), False),
        (good(parameter={"ocr": None}), False),
        (good(parameter={"ocr": {"lang": "en", "size": None}}), True),
        (good(other=1), False),
    ],
)
def test_a_request_is_told_in_standard_words(body: Any, valid: bool) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert jsonschema.Draft202012Validator(SCHEMA).is_valid(body) is valid


def test_who_streams_says_how() -> None:
    assert "text/event-stream" in POST["responses"]["200"]["content"]
    assert "WebSocket" not in POST["description"]
    streams = document.service_from_document(
        declare.declaration_to_document(dataclasses.replace(API, streaming=True))
    )
    judged = Operation(streams, RequestValidator(streams.input).schema)
    told = openapi.build_document([judged], title="t", version="1")
    assert "WebSocket" in told["paths"]["/v1/private/ocr"]["post"]["description"]


def test_no_word_of_ours_is_left() -> None:
    words = str(TOLD)
    assert not [word for word in ("maxB64DLen", "minB64DLen", "'error':") if word in words]
    assert SCHEMA["properties"]["payload"]["properties"]["page"]["properties"]["image"] == {
        "type": "string",
        "minLength": 1,
        "maxLength": 8,
        "contentEncoding": "base64",
        "pattern": BASE64_PATTERN,
    }
    assert POST["requestBody"]["content"]["application/json"]["example"] == {"a": 1}
    assert POST["summary"] == "Reads text."


def test_an_error_is_a_schema_that_never_holds() -> None:
    told = openapi.to_standard_schema({"if": {}, "then": {"error": "no"}}, SERVICE)
    assert told["then"] == {"not": {}, "description": "no"}


def test_an_answer_is_open_and_json_is_any() -> None:
    answer = POST["responses"]["200"]["content"]["application/json"]["schema"]
    check = jsonschema.Draft202012Validator(answer)
    header = {"code": 0, "message": "success", "sid": "0" * 32}
    words = {"words": {"text": {"any": [1]}, "more": 1}}
    assert check.is_valid({"header": header, "payload": words})
    assert check.is_valid({"header": header})
    assert not check.is_valid({"header": {**header, "code": 1}})
    assert not check.is_valid({"header": {**header, "sid": "x"}})
