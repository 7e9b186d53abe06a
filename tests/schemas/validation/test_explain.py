"""Why a body is wrong: the first twenty, where they stand, and soon, however much is wrong."""

import time
from typing import Any

import pytest

from schemas.validation.compile import compile_input
from schemas.validation.explain import Violation, json_path, member_path
from schemas.validation.validate import MAX_VIOLATIONS, Validator

STRING_ARRAY = {"type": "array", "items": {"type": "string", "maxLength": 3}}


def violation_texts(tree: dict[str, Any], value: Any) -> list[str]:
    return [str(violation) for violation in Validator(compile_input(tree)).violations(value)]


@pytest.mark.parametrize(
    ("tree", "value", "expected"),
    [
        (
            STRING_ARRAY,
            ["a", 5, "b", "long"],
            ["$[1]: must be of type string", "$[3]: breaks maxLength 3"],
        ),
        (
            {"properties": {"a": STRING_ARRAY}, "additionalProperties": {"type": "integer"}},
            {"a": ["long"], "b": "x", "c": 1},
            ["$.a[0]: breaks maxLength 3", "$.b: must be of type integer"],
        ),
        (
            {"allOf": [{"type": "integer"}, {"minimum": 3}]},
            "x",
            ["$: must be of type integer"],
        ),
        (
            {"properties": {"a": {}}, "if": {"required": ["a"]}, "then": {"error": "not with a"}},
            {"a": 1, "b": 2},
            ["$.b: is not known here", "$: not with a"],
        ),
        ({"not": {"type": "integer"}}, 1, ["$: breaks not"]),
        ({"dependencies": {"a": ["b"]}}, {"a": 1}, ["$.b: is required"]),
        ({"type": "array", "uniqueItems": True}, [1, 1.0], ["$: breaks uniqueItems"]),
        ({"multipleOf": 3}, 4, ["$: breaks multipleOf 3"]),
        (
            {"items": {"items": {"items": {"items": {"type": "integer"}}}}},
            [[[[1], [1, "x"]], [[1], [1]]], [[[]], [[]]]],
            ["$[0][0][1]: has a wrong item"],
        ),
        (
            {"items": {"items": {"items": {"items": {"type": "integer"}}}}},
            [[[[1, "x"]]]],
            ["$[0][0][0]: has a wrong item"],
        ),
        (
            {"items": {"items": {"items": {"additionalProperties": {"type": "integer"}}}}},
            [[[{"a": "x"}]]],
            ["$[0][0][0]: has a wrong member"],
        ),
        (
            {"items": {"items": {"items": {"properties": {"a": {"type": "integer"}}}}}},
            [[[{"a": "x"}]]],
            ["$[0][0][0].a: must be of type integer"],
        ),
        (STRING_ARRAY | {"maxItems": 2}, ["long", "long", "long"], ["$: breaks maxItems 2"]),
        (
            {"additionalProperties": {"type": "integer"}, "maxProperties": 1},
            {"a": "x", "b": "x"},
            ["$: breaks maxProperties 1"],
        ),
        (
            {"items": {"type": "string"}, "uniqueItems": True},
            [1, 1],
            ["$[0]: must be of type string", "$[1]: must be of type string"],
        ),
    ],
    ids=str,
)
def test_each_path_has_its_own_violation(
    tree: dict[str, Any], value: Any, expected: list[str]
) -> None:
    assert violation_texts(tree, value) == expected


def test_violations_are_limited_and_found_quickly() -> None:
    alternatives = {"anyOf": [{"type": "string", "enum": [f"v{n}"]} for n in range(5)]}
    validator = Validator(compile_input({"items": alternatives}))
    start_s = time.process_time()
    violations = validator.violations(["none"] * 100_000)
    # The library would tell half a million: many minutes.
    assert time.process_time() - start_s < 5
    assert len(violations) == MAX_VIOLATIONS
    assert violations[3] == Violation("$[3]", "breaks anyOf")


def test_single_wrong_item_is_found_among_many() -> None:
    items: list[Any] = ["a"] * 100_000
    items[77_777] = 1
    assert violation_texts(STRING_ARRAY, items) == ["$[77777]: must be of type string"]


def test_json_path() -> None:
    assert json_path(["a", 0, "b-c", "d'e"]) == """$.a[0]['b-c']["d'e"]"""
    assert member_path("$", "x" * 99) == "$['" + "x" * 64 + "...']"
