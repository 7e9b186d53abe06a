"""Defaults must be what a client could send."""

from typing import Any

import pytest

from schemas.model.document import DocumentError
from schemas.validation.request_validator import RequestValidator


def problems_of(member: Any) -> list[tuple[str, str]]:
    try:
        RequestValidator({"type": "object", "properties": {"a": member}})
    except DocumentError as error:
        return [(".".join(map(str, problem.path)), problem.message) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "member",
    [
        {"type": "integer", "default": "abc"},
        {"type": "integer", "defaultVal": 1.5},
        {"enum": ["en", "zh"], "default": "fr"},
        {"type": "integer", "minimum": 3, "default": 2},
        {"type": "string", "maxLength": 2, "default": "abc"},
        {"type": "string", "maxLength": 2, "default": "é!"},  # bytes
        {"type": "string", "pattern": "^a", "default": "b"},
        {"type": "integer", "format": "int32", "default": 2**31},
        {"type": "array", "items": {"type": "string"}, "default": [1]},
        {"type": "object", "properties": {"b": {"type": "string"}}, "default": {"c": ""}},
    ],
    ids=str,
)
def test_default_that_breaks_its_rules_is_a_problem(member: dict[str, Any]) -> None:
    ((path, message),) = problems_of(member)
    assert path == "schemainput.properties.a.default"
    assert message.startswith("breaks the rules of its own member: ")


@pytest.mark.parametrize(
    "member",
    [
        {"type": "integer", "default": 5},
        {"type": "number", "default": 5},
        {"type": "string", "default": None},  # null is of every type here
        {"enum": ["1", "2"], "default": 2},  # values compare as strings
        {"type": "string", "maxLength": 2, "default": "é"},
        {"default": [1, {"a": None}]},
        {"type": "integer", "minimum": 3},
    ],
    ids=str,
)
def test_valid_defaults(member: dict[str, Any]) -> None:
    assert problems_of(member) == []


def test_defaults_are_found_at_every_level() -> None:
    wrong = {"type": "integer", "default": "x"}
    member = {
        "properties": {"b": wrong},
        "allOf": [{"properties": {"c": wrong}}],
    }
    assert [path for path, _ in problems_of(member)] == [
        "schemainput.properties.a.properties.b.default",
        "schemainput.properties.a.allOf.0.properties.c.default",
    ]


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        ("minimum", "maximum"),
        ("minLength", "maxLength"),
        ("minItems", "maxItems"),
        ("minProperties", "maxProperties"),
        ("minB64DLen", "maxB64DLen"),
    ],
)
def test_bounds_that_nothing_can_meet_are_a_problem(lower: str, upper: str) -> None:
    assert problems_of({lower: 3, upper: 3}) == []
    assert problems_of({lower: 3, upper: 2}) == [
        (f"schemainput.properties.a.{lower}", f"3 is above {upper} 2: nothing is valid")
    ]
