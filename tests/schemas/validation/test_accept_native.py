"""A rule accepts what fits its schema, and nothing else; by the suite, and by two libraries."""

import json
from typing import Any

import jsonschema
import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import workload
from schemas.validation.accept_native import compile_rule
from schemas.validation.compile import compile_input
from schemas.validation.validate import _narrow_lengths
from tests.schemas.test_suite import CASES

pytestmark = pytest.mark.compiled_only

NAMES = st.sampled_from(["a", "b", "é", ""])
INTEGERS = st.sampled_from([0, 1, -1, 3, 2**53, 2**53 + 1, -(2**53) - 1, 2**63, -(2**63), 10**30])
NUMBERS = st.integers(-5, 5) | st.floats(-5, 5) | INTEGERS | st.sampled_from([3.0, 2.0**53, 1e300])
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=4)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
)
TYPES = ["object", "array", "string", "integer", "number", "boolean", "null"]
SIZES = st.integers(0, 4)


def of_keywords(members: Any) -> Any:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(TYPES)
            | st.lists(st.sampled_from(TYPES), min_size=1, unique=True),
            "properties": st.dictionaries(NAMES, members, max_size=3),
            "required": st.lists(NAMES, max_size=2, unique=True),
            "additionalProperties": st.booleans() | members,
            "items": members,
            "enum": st.lists(SCALARS, min_size=1, max_size=4),
            "minimum": NUMBERS,
            "maximum": NUMBERS,
            **dict.fromkeys(["minItems", "maxItems", "minProperties", "maxProperties"], SIZES),
            **dict.fromkeys(["minLength", "maxLength"], SIZES),
        },
    )


SCHEMAS = st.recursive(of_keywords(st.just({})), of_keywords, max_leaves=6)


@settings(max_examples=1500)
@given(SCHEMAS, st.lists(VALUES, min_size=1, max_size=8))
def test_what_a_rule_accepts_fits_the_schema(schema: dict[str, Any], values: list[Any]) -> None:
    rule = compile_rule(schema)
    if rule is None:
        return
    for value in values:
        if rule.accepts(value):
            assert jsonschema_rs.is_valid(schema, value)
            assert jsonschema.Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize(("schema", "test"), CASES)
def test_the_suite(schema: Any, test: Any) -> None:
    rule = compile_rule(schema)
    assert rule is None or not rule.accepts(test["data"]) or test["valid"]


def test_rules_accept_much_of_the_suite() -> None:
    rules = [(compile_rule(case.values[0]), case.values[1]) for case in CASES]
    accepted = [test for rule, test in rules if rule is not None and rule.accepts(test["data"])]
    assert len(accepted) > 100


@pytest.mark.parametrize("bound", [2**53, 2.0**53])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_integers_at_the_end_of_the_exact_ones(bound: float, offset: int) -> None:
    for schema, value in (
        ({"maximum": bound}, 2**53 + offset), ({"minimum": -bound}, -(2**53) + offset),
        ({"enum": [2**53]}, 2**53 + offset),
    ):  # fmt: skip
        rule = compile_rule(schema)
        assert rule is not None
        assert rule.accepts(value) is jsonschema_rs.is_valid(schema, value)


ORDINARY = {
    "type": ["object", "null"],
    "properties": {
        "name": {"type": ["string", "null"], "minLength": 1, "maxLength": 8},
        "kind": {"type": "string", "enum": ["x", "y", None, 3, True]},
        "count": {"type": "integer", "minimum": 1, "maximum": 99},
        "ratio": {"type": "number", "minimum": 0.5},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
        "flag": {"type": "boolean"},
        "any": {"enum": [None, False, 3, "z"]},
        "open": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, True), ({"name": None}, True), ({"name": ""}, False), ({"name": "é" * 9}, False),
        ({"kind": "x"}, True), ({"kind": "z"}, False), ({"count": 1}, True), ({"count": 0}, False),
        ({"count": 100}, False), ({"count": True}, False), ({"count": "1"}, False),
        ({"count": 2**70}, False), ({"ratio": 0.5}, True), ({"ratio": 1}, True),
        ({"ratio": 0.4}, False), ({"tags": ["a"]}, True), ({"tags": []}, False),
        ({"tags": [1]}, False), ({"tags": ["a", "b", "c"]}, False), ({"flag": False}, True),
        ({"flag": 0}, False), ({"any": None}, True), ({"any": False}, True), ({"any": 3}, True),
        ({"any": True}, False), ({"any": 0}, False), ({"open": {"b": 1}}, True),
        ({"open": {"b": "1"}}, False), ({"other": 1}, False),
    ],
)  # fmt: skip
def test_ordinary_bodies_are_accepted(members: dict[str, Any], expected: bool) -> None:
    rule = compile_rule(ORDINARY)
    assert rule is not None
    body = {"name": "n", **members}
    assert rule.accepts(body) is expected
    assert jsonschema_rs.is_valid(ORDINARY, body) is expected
    assert not rule.accepts(members) or "name" in members
    assert rule.accepts(None)
    assert not rule.accepts([])


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "a"}, {"properties": {"a": {"pattern": "a"}}}, {"items": {"not": {}}},
        {"additionalProperties": {"format": "date"}}, {"multipleOf": 2}, {"uniqueItems": True},
        {"minimum": 2**53 + 1}, {"maxLength": 1.5}, {"properties": {"a": False}}, {"$ref": "#"},
    ],
)  # fmt: skip
def test_schemas_that_are_left_to_the_library(schema: dict[str, Any]) -> None:
    assert compile_rule(schema) is None


def test_the_schema_of_a_wrapper_has_a_rule() -> None:
    schema = _narrow_lengths(
        compile_input(json.loads(workload.SCHEMA)["schemainput"]), ascii_only=True
    )
    rule = compile_rule(schema)
    assert rule is not None
    assert rule.accepts(json.loads(workload.request_body()))
