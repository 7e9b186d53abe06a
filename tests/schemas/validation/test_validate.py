"""Violations: path and rule, never the value; limits of base64; schemas that are none."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.model.document import DocumentError
from schemas.validation.compile import compile_input
from schemas.validation.explain import json_path
from schemas.validation.validate import MAX_VIOLATIONS, Validator


def violation_texts(tree: dict[str, Any], value: Any) -> list[str]:
    return [str(violation) for violation in Validator(compile_input(tree)).violations(value)]


@pytest.mark.parametrize(
    ("tree", "value", "message"),
    [
        ({"maximum": 3}, 7, "$: breaks maximum 3"),
        (
            {"properties": {"a": {"type": "integer"}}},
            {"a": "CANARY"},
            "$.a: must be of type integer",
        ),
        ({"properties": {"a": {"enum": ["x", 3]}}}, {"a": 9}, "$.a: must be one of x, 3"),
        ({"properties": {"a": {}}, "required": ["a"]}, {}, "$.a: is required"),
        ({"properties": {}}, {"b c": 1}, "$['b c']: is not known here"),
        ({"items": {"maxLength": 1}}, ["a", "bb"], "$[1]: breaks maxLength 1"),
        ({"anyOf": [{"type": "string"}]}, 1, "$: breaks anyOf"),
        ({"pattern": "^a$"}, "CANARY", "$: breaks pattern ^a$"),
        ({"maxB64DLen": 3}, "YWJjZA==", "$: must decode to at most 3 bytes"),
        ({"minB64DLen": 3}, "YQ==", "$: must decode to at least 3 bytes"),
    ],
    ids=str,
)
def test_violation_has_path_and_rule(tree: dict[str, Any], value: Any, message: str) -> None:
    assert violation_texts(tree, value) == [message]


@pytest.mark.parametrize(("text", "valid"), [("YWJj", True), ("YWI=", True), ("YWJjZA==", False)])
def test_base64_limits_are_exact(text: str, valid: bool) -> None:
    assert (violation_texts({"maxB64DLen": 3}, text) == []) is valid


SIZES = st.integers(0, 30)
LIMIT = st.fixed_dictionaries(
    {}, optional={"maxB64DLen": SIZES, "minB64DLen": SIZES, "maxLength": SIZES, "minLength": SIZES}
)
SCHEMA_WRAPPERS: list[Callable[[Any], Any]] = [
    lambda limit: limit,
    lambda limit: {"properties": {"a": limit}},
    lambda limit: {"properties": {"a": {"items": limit}}},
    lambda limit: {"properties": {"a": {"anyOf": [limit, {"type": "integer"}]}}},
    lambda limit: {"properties": {"a": {"anyOf": [limit, {"minLength": 9}]}}},
    lambda limit: {"properties": {"a": {"not": limit}}},
    lambda limit: {"properties": {"maxB64DLen": {"const": {"maxB64DLen": 3}}, "a": limit}},
    lambda limit: {"properties": {"a": {"if": limit, "then": {"type": "string"}}}},
    lambda limit: {"allOf": [{"properties": {"a": limit}}], "type": "object"},
]


@pytest.mark.unmeasured
@pytest.mark.parametrize("wrap_schema", SCHEMA_WRAPPERS, ids=range(len(SCHEMA_WRAPPERS)))
@settings(max_examples=150)
@given(limit=LIMIT, size=SIZES, near=st.integers(-5, 5), padding=st.integers(0, 3))
def test_size_limits_are_exact_at_any_position(
    wrap_schema: Callable[[Any], Any], limit: dict[str, int], size: int, near: int, padding: int
) -> None:
    """Near the limit above all: that is where lengths and sizes differ."""
    size = limit.get("maxB64DLen", limit.get("minB64DLen", size))
    text = "A" * max(0, size * 4 // 3 + near - padding) + "=" * padding
    validator = Validator(wrap_schema(limit))
    for value in (text, {"a": text}, {"a": [text]}, {"a": text, "maxB64DLen": {"maxB64DLen": 3}}):
        exact = validator._exact_schema.is_valid(value)
        assert (validator.violations(value) == ()) is exact
        assert (validator.violations(value, True) == ()) is exact


@pytest.mark.unmeasured
@pytest.mark.parametrize("wrap_schema", SCHEMA_WRAPPERS, ids=range(len(SCHEMA_WRAPPERS)))
@settings(max_examples=150)
@given(
    limit=st.fixed_dictionaries({}, optional={"maxLength": SIZES, "minLength": SIZES}),
    text=st.text("aé漢😀", max_size=12),
)
def test_lengths_are_bytes_at_any_position(
    wrap_schema: Callable[[Any], Any], limit: dict[str, int], text: str
) -> None:
    validator = Validator(wrap_schema(limit))
    for value in (text, {"a": text}, {"a": [text]}):
        exact = validator._exact_schema.is_valid(value)
        assert (validator.violations(value) == ()) is exact
        if text.isascii():
            assert (validator.violations(value, True) == ()) is exact
    size = len(text.encode())
    within_limits = limit.get("minLength", 0) <= size <= limit.get("maxLength", 99)
    assert (Validator(limit).violations(text) == ()) is within_limits


def test_violations_are_limited() -> None:
    value = {f"m{number}": 1 for number in range(100)}
    assert len(violation_texts({"properties": {}}, value)) == MAX_VIOLATIONS


def test_long_member_name_is_truncated() -> None:
    (line,) = violation_texts({"properties": {}}, {"x" * 10_000: 1})
    assert len(line) < 120


def test_json_path() -> None:
    assert json_path(["a", 0, "b-c", "d'e"]) == """$.a[0]['b-c']["d'e"]"""


@pytest.mark.parametrize("schema", [{"pattern": "(a"}, {"pattern": "(?<=a)b"}, {"type": "x"}])
def test_invalid_schema_is_rejected(schema: dict[str, Any]) -> None:
    with pytest.raises(DocumentError):
        Validator(schema)


def test_a_remote_reference_is_not_fetched() -> None:
    with pytest.raises(DocumentError, match="disabled"):
        Validator({"$ref": "http://127.0.0.1:9/x"})


def test_a_pattern_costs_linear_time() -> None:
    """Backtracking would take 2^60 steps here; the test would not end."""
    assert violation_texts({"pattern": "^(a+)+$"}, "a" * 60 + "b") == ["$: breaks pattern ^(a+)+$"]
