"""TypeScript types of JSON Schemas; a compiler reads them in tests/wire/test_clients."""

from typing import Any

import pytest

from schemas.output.typescript_types import property_name, typescript_type


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, "string"),
        ({"type": ["integer", "null"]}, "number | null"),
        ({"type": ["integer", "number"]}, "number"),
        ({"type": "array", "items": {"type": "boolean"}}, "Array<boolean>"),
        ({"type": "array"}, "Array<unknown>"),
        ({"type": "object"}, "Record<string, unknown>"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "Record<string, number>"),
        ({"enum": ["a", 1.5, True, None]}, '"a" | 1.5 | true | null'),
        ({"enum": [[]]}, "unknown"),
        ({"enum": []}, "unknown"),
        ({"const": 'a"b'}, '"a\\"b"'),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string | null"),
        ({"oneOf": [{"type": "string"}, {}]}, "unknown"),
        ({}, "unknown"),
        (True, "unknown"),
    ],
)
def test_types(schema: Any, expected: str) -> None:
    assert typescript_type(schema) == expected


def test_objects() -> None:
    schema = {
        "type": "object",
        "properties": {"x": {"type": "integer"}, "a-b": {"type": "string"}},
        "required": ["x"],
    }
    assert typescript_type(schema) == '{ x: number; "a-b"?: string }'


@pytest.mark.parametrize(("name", "expected"), [("a", "a"), ("$_9", "$_9"), ("9", '"9"')])
def test_property_names(name: str, expected: str) -> None:
    assert property_name(name) == expected
