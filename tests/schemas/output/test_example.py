"""A request made from a schema is valid; where none can be made, it is said at which rule."""

import base64
import contextlib
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.model import document
from schemas.model.service import DataType
from schemas.output.example import NoExampleError, example_request, string_matching
from schemas.sources import declare
from schemas.sources.declare import Declaration, Param, PayloadStream
from schemas.validation.request_validator import RequestValidator
from tests.schemas.sources.test_declare import API

TEXT_API = Declaration("x", inputs=(PayloadStream("t", DataType.TEXT),))


def build_example(api: Declaration) -> dict[str, Any]:
    service = document.service_from_document(declare.declaration_to_document(api))
    return example_request(service, RequestValidator(service.input))


def example_value(rules: dict[str, Any]) -> Any:
    api = Declaration(
        "x", params=(Param("p", rules),), outputs=(PayloadStream("t", DataType.TEXT),)
    )
    return build_example(api)["parameter"]["x"]["p"]


def test_request_has_required_inputs_and_all_parameters() -> None:
    request = build_example(API)
    assert request["header"] == {"app_id": "text", "status": 3}
    assert request["parameter"] == {"ocr": {"lang": "en", "size": 3}}
    assert list(request["payload"]) == ["page"]
    assert set(request["payload"]["page"]) == {"image"}


@pytest.mark.parametrize(
    ("rules", "value"),
    [
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "maximum": -5}, -5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "minimum": 5, "multipleOf": 4}, 8),
        ({"type": "number", "minimum": 0.5, "maximum": 1}, 0.5),
        ({"type": "boolean"}, True),
        ({"type": "string"}, "text"),
        ({"type": "string", "maxLength": 2}, "a"),
        ({"type": "string", "minLength": 6}, "aaaaaa"),
        ({"type": "string", "enum": ["b", "c"]}, "b"),
        ({"type": "string", "default": "d"}, "d"),
        ({"type": "string", "examples": ["e"], "pattern": "^e$"}, "e"),
        ({"type": "string", "format": "ipv4"}, "192.0.2.1"),
        ({"type": "string", "format": "phone"}, "+8613800000000"),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
        ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, 3),
        ({"type": "integer", "format": "int32", "minimum": 50, "maximum": 60}, 50),
    ],
    ids=str,
)
def test_example_value(rules: dict[str, Any], value: Any) -> None:
    assert example_value(rules) == value


def test_impossible_example_error_names_the_rule() -> None:
    with pytest.raises(NoExampleError, match=r"parameter.x.p: breaks not"):
        example_value({"type": "string", "not": {"enum": ["text"]}})
    with pytest.raises(NoExampleError, match="no text could be made for the pattern"):
        example_value({"type": "string", "pattern": r"^\p{Han}+$"})


@pytest.mark.parametrize(
    ("rules", "size"),
    [
        ({}, 5),
        ({"maxLength": 4}, 1),
        ({"minLength": 9}, 9),
        ({"minB64DLen": 7, "maxB64DLen": 8}, 7),
        ({"maxB64DLen": 2}, 1),
        ({"minLength": 70_000}, 52_500),
    ],
)
def test_data_of_an_input_has_an_allowed_size(rules: dict[str, Any], size: int) -> None:
    schema_document = declare.declaration_to_document(TEXT_API)
    members = schema_document["schemainput"]["properties"]["payload"]["properties"]["t"]
    members["properties"]["text"] = {"type": "string", **rules}
    service = document.service_from_document(schema_document)
    request = example_request(service, RequestValidator(service.input))
    assert len(base64.b64decode(request["payload"]["t"]["text"])) == size


def test_examples_are_small() -> None:
    """A loader reports its schema: no size in it may cost the gateway its memory."""
    rules: dict[str, Any] = {"type": "integer"}
    for _ in range(4):
        rules = {"type": "array", "items": rules, "minItems": 100}
    with pytest.raises(NoExampleError, match="more than 10000 values"):
        example_value(rules)
    with pytest.raises(NoExampleError, match="minItems 101"):
        example_value({"type": "array", "minItems": 101})
    stream = PayloadStream("t", DataType.TEXT, max_bytes=2**40)
    schema_document = declare.declaration_to_document(Declaration("x", inputs=(stream,)))
    members = schema_document["schemainput"]["properties"]["payload"]["properties"]["t"]
    members["properties"]["text"]["minB64DLen"] = 2**39
    service = document.service_from_document(schema_document)
    with pytest.raises(NoExampleError, match="payload of 549755813888 bytes"):
        example_request(service, RequestValidator(service.input))


def test_required_member_that_no_loader_gets_has_no_example() -> None:
    schema_document = declare.declaration_to_document(TEXT_API)
    parameter = schema_document["schemainput"]["properties"]["parameter"]
    parameter["properties"]["other"] = {"type": "object"}
    parameter["required"] = ["other"]
    service = document.service_from_document(schema_document)
    with pytest.raises(NoExampleError, match=r"\$\.parameter\.other: is required"):
        example_request(service, RequestValidator(service.input))


def test_schema_is_not_changed_by_its_example() -> None:
    schema_document = declare.declaration_to_document(TEXT_API)
    header = schema_document["schemainput"]["properties"]["header"]
    header |= {"default": {"status": 3}, "required": []}
    service = document.service_from_document(schema_document)
    validator = RequestValidator(service.input)
    assert example_request(service, validator)["header"] == {"status": 3, "app_id": "demo"}
    assert validator.schema["properties"]["header"]["default"] == {"status": 3}


@pytest.mark.parametrize(
    "pattern",
    [
        "^a+$", "[a-z]{2,5}", "^(ab|cd)x?$", r"^\d{3}-\d{4}$", "[^a-c]", "^[^ ]+$", ".", r"\w+@\w+",
        r"^\s$", "[A-Z0-9]{8}", "(?:x){3}", "^$", r"\.", "a|b", "[^!-y]",
    ],
)  # fmt: skip
def test_string_matches_the_pattern(pattern: str) -> None:
    assert re.search(pattern, string_matching(pattern))


@given(st.text(max_size=12))
@example("[[a]")  # Python warns of it
@example("[a--b]")
def test_any_pattern_gives_a_string_or_an_error(pattern: str) -> None:
    with contextlib.suppress(NoExampleError):
        assert len(string_matching(pattern)) <= 4096
