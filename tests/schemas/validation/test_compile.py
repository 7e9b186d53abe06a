"""The dialect against JSON Schema: what it changes, what it refuses; `jsonschema` is the oracle."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.model.document import DocumentError
from schemas.validation.compile import MAX_DEPTH, compile_input
from schemas.validation.validate import Validator

CASES: list[tuple[dict[str, Any], Any, bool]] = [
    # schema, value, accepted
    ({"type": "string", "maxLength": 2.0}, "ab", True),
    ({"type": "string", "maxLength": 2.0}, "abc", False),
    ({"type": "array", "maxLength": 2.0, "items": {}}, [1, 2, 3], False),
    ({"type": "array", "minProperties": 2}, [1], False),
    ({"minProperties": 2}, [1, 2], True),
    ({"minProperties": 2}, [1], False),
    ({"minProperties": 2}, {"a": 1}, False),
    ({"type": "object", "minProperties": 1.0}, {"a": 1}, True),
    ({"const": ""}, None, True),
    ({"const": None}, "", True),
    ({"const": None}, "null", False),
    ({"type": "object", "properties": {"a": {}}}, {"a": 1}, True),
    ({"type": "object", "properties": {"a": {}}}, {"b": 1}, False),
    ({"type": "object", "properties": {"a": {}}, "additionalProperties": True}, {"b": 1}, True),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, {"b": 1}, True),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, {"b": "x"}, False),
    ({"type": "string"}, None, True),
    ({"type": "string"}, 1, False),
    ({"type": "string|number"}, 1.5, True),
    ({"type": "string|number"}, True, False),
    ({"type": "bool"}, True, True),
    ({"type": ["integer", "boolean"]}, False, True),
    ({"enum": ["a", "3"]}, 3, True),
    ({"enum": [3]}, "3", True),
    ({"enum": [3]}, None, True),
    ({"enum": [3]}, 4, False),
    ({"enum": [True]}, "true", True),
    ({"enum": ["false"]}, False, True),
    ({"enum": [1.5]}, "1.5", True),
    ({"type": "integer", "minimum": 1, "maximum": 3}, 3, True),
    ({"type": "integer", "minimum": 1, "maximum": 3}, 4, False),
    ({"type": "integer", "exclusiveMaximum": 3}, 3, False),
    ({"type": "number", "multipleOf": 0.5}, 1.5, True),
    ({"type": "string", "maxLength": 2}, "abc", False),
    ({"type": "string", "minLength": 2}, "ab", True),
    ({"type": "string", "pattern": "^a+$"}, "aaa", True),
    ({"type": "string", "pattern": "^a+$"}, "ab", False),
    ({"type": "string", "format": "ipv4"}, "1.2.3.4", True),
    ({"type": "array", "items": {"type": "integer"}, "maxItems": 2}, [1, 2], True),
    ({"type": "array", "items": {"type": "integer"}}, ["a"], False),
    ({"type": "array", "uniqueItems": True}, [1, 1], False),
    ({"oneOf": [{"type": "string"}, {"enum": ["a"]}]}, "a", True),
    ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, 2, False),
    ({"not": {"type": "string"}}, 1, True),
    ({"if": {"type": "integer"}, "then": {"minimum": 3}, "else": {"maxLength": 1}}, 2, False),
    ({"const": "a"}, "b", False),
    ({"enum": ["1.5"]}, 1.5, True),
    ({"enum": ["007"]}, 7, False),
    ({"enum": ["-0"]}, 0, False),
    ({"enum": ["100000000000000000000"]}, 10**20, True),
    ({"enum": [1000000.5]}, "1000000.5", True),
    ({"enum": [16777216.0]}, "16777216", True),
    ({"required": ["a", "a"], "properties": {"a": {}}}, {"a": 1}, True),
    ({"switch": "t", "case": {"1.5": {"required": ["x"]}}}, {"t": 1.5}, False),
    ({"switch": "t", "case": {}, "default": [{"required": ["x"]}]}, {"t": 1}, False),
    ({"properties": {"a": {}}, "required": ["a"]}, {}, False),
    ({"title": "t", "description": "d", "comment": "c", "$comment": "e", "default": 1}, 5, True),
]


@pytest.mark.parametrize(
    "keyword",
    [
        "maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties",
        "maxB64DLen", "minB64DLen",
    ],
)  # fmt: skip
def test_counts_are_whole_numbers(keyword: str) -> None:
    """JSON does not tell 2.0 from 2; the number in the compiled schema is whole in Python too."""
    assert type(compile_input({keyword: 2.0})[keyword]) is int
    for value in (2.5, -1.0, 1e300, True, "2"):
        with pytest.raises(DocumentError, match=f"{keyword}: must be a whole number >= 0"):
            compile_input({keyword: value})


def test_annotations_of_openapi_are_taken() -> None:
    """Files that come from OpenAPI 3.0 have them; they do not decide what is valid."""
    ignored = {
        "nullable": True, "readOnly": False, "writeOnly": False, "externalDocs": {"url": "x"},
        "xml": {}, "contentEncoding": "base64", "contentMediaType": "image/png",
        "x-oaiMeta": {"beta": True}, "comment": 1,
    }  # fmt: skip
    tree = {"type": "integer", "deprecated": True, "example": 7, **ignored}
    assert compile_input(tree) == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": ["integer", "null"],
        "deprecated": True,
        "examples": [7],
    }
    with pytest.raises(DocumentError, match="beside `maximum`: write the number here"):
        compile_input({"maximum": 3, "exclusiveMaximum": True})


@pytest.mark.parametrize(("tree", "value", "accepted"), CASES, ids=str)
def test_value_is_accepted_or_rejected(tree: dict[str, Any], value: Any, accepted: bool) -> None:
    schema = compile_input(tree)
    assert (Validator(schema).violations(value) == ()) is accepted
    jsonschema.Draft202012Validator.check_schema(schema)
    assert jsonschema.Draft202012Validator(schema).is_valid(value) == accepted


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"maxLenght": 3}, "schemainput.maxLenght: keyword 'maxLenght' is not supported"),
        ({"$ref": "http://127.0.0.1/x"}, "schemainput.$ref: keyword '$ref' is not supported"),
        ({"properties": {"a": {"defaultval": 1}}}, "not supported; did you mean 'defaultVal'?"),
        ({"properties": {}, "required": ["a"]}, "schemainput.required: 'a' is not in properties"),
        ({"type": "text"}, "schemainput.type: must be one of array, boolean, integer"),
        ({"type": []}, "schemainput.type: must be one of"),
        ({"type": 5}, "schemainput.type: must be one of"),
        ({"required": [[]]}, "schemainput.required: must be a list of names"),
        ({"enum": []}, "schemainput.enum: must be a list with at least one value"),
        ({"minimum": "1"}, "schemainput.minimum: must be a number"),
        ({"maxLength": -1}, "schemainput.maxLength: must be a whole number >= 0"),
        ({"properties": []}, "schemainput.properties: must be an object"),
        ({"items": 3}, "schemainput.items: must be an object (a schema)"),
        ({"anyOf": []}, "schemainput.anyOf: must be a list with at least one schema"),
        ({"required": "a"}, "schemainput.required: must be a list of names"),
        ({"format": []}, "format '[]' is not known"),
        ({"maxLength": 10**400}, "schemainput.maxLength: must be a whole number >= 0"),
        ({"multipleOf": 10**400}, "schemainput.multipleOf: must be a number > 0"),
        (
            {"type": "strng"},
            "number, object, string; did you mean 'string'?",
        ),
        ({"case": {}}, "keyword 'case' needs a `switch` beside it"),
        ({"enum": [*range(10_000)]}, "schemainput: has more than 10000 values"),
    ],
    ids=str,
)
def test_schema_outside_the_dialect_is_rejected(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        compile_input(tree)
    assert message in str(caught.value)


def test_all_problems_are_reported() -> None:
    with pytest.raises(DocumentError) as caught:
        compile_input({"a": 1, "b": 2, "properties": {"c": {"d": 3}}})
    assert len(caught.value.problems) == 3


def test_too_deep_schema_is_rejected() -> None:
    tree: dict[str, Any] = {}
    for _ in range(MAX_DEPTH * 3):
        tree = {"items": tree}
    with pytest.raises(DocumentError, match="deep"):
        compile_input(tree)


@given(
    st.lists(st.integers(-5, 5) | st.sampled_from(["a", "1", "true"]) | st.booleans(), min_size=1),
    st.integers(-5, 5) | st.sampled_from(["a", "1", "true", "b"]) | st.booleans() | st.none(),
)
def test_an_enum_compares_as_strings(values: list[Any], candidate: Any) -> None:
    def enum_text(value: Any) -> str:
        return str(value).lower() if isinstance(value, bool) else str(value)

    accepted = candidate is None or enum_text(candidate) in {enum_text(value) for value in values}
    # JSON Schema has no way to tell 1 from 1.0 or true; Python's 1 == True must not leak in.
    violations = Validator(compile_input({"enum": values})).violations(candidate)
    assert (violations == ()) is accepted
