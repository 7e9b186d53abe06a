"""What the worst body can cost: counted for patterns and arrays, and refused with the cure."""

import itertools
import time
from typing import Any

import pytest

from bench import worst
from schemas.model.document import DocumentError
from schemas.validation.compile import compile_input
from schemas.validation.cost import (
    MIN_BODY_VALUES,
    check_costs,
    count_atoms,
    pattern_byte_ns,
    schema_costs,
)
from schemas.validation.request_validator import RequestValidator
from schemas.validation.validate import Validator


@pytest.mark.parametrize(
    ("pattern", "size"),
    [
        ("", 0), ("^abc$", 3), ("a+", 1), ("[a-z]{2,5}", 5), ("(ab){3}", 6),
        ("(a{10}){10}", 100), (r"\d{3}-\d{4}", 8), (r"\p{Han}{4}", 4), ("[]a]{2}", 2),
        ("[^]a]{2}", 2), (r"[\]]{3}", 3), ("[[:alpha:]]{2}", 2), ("a{,3}", 5), ("a{x}", 4),
        ("(a|b)*a(a|b){9}", 21),
        ("(a", 1), ("a)", 2), ("[a", 1), ("a{2,}", 2), (r"\x{41}{3}", 3), ("(?:ab)", 3), ("\\", 1),
    ],
)  # fmt: skip
def test_pattern_size_counts_expanded_repetitions(pattern: str, size: int) -> None:
    assert count_atoms(pattern) == size


def test_pattern_cost_grows_with_size() -> None:
    assert pattern_byte_ns("^[a-z0-9]+$") < 5
    assert pattern_byte_ns("(a|b)*a(a|b){30}") > 100 * pattern_byte_ns("^[a-z0-9]+$")


@pytest.mark.parametrize(
    "tree",
    [
        {"type": "string", "pattern": "^[A-Za-z0-9+/=]+$"},
        {
            "type": "string",
            "pattern": r"^[a-z0-9._%+-]+@[a-z0-9.-]+\.[a-z]{2,64}$",
            "maxLength": 254,
        },
        {"type": "array", "items": {"type": "string", "maxLength": 64}},
        {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}},
        {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        {"type": "array", "uniqueItems": True},
        {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
        {"type": "string", "pattern": "(a|b)*a(a|b){30}c"},
        {"type": "string", "format": "phone"},
        {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 20}},
    ],
    ids=str,
)
def test_common_schemas_are_accepted(tree: dict[str, Any]) -> None:
    RequestValidator(tree)


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        (
            {"type": "string", "pattern": "(a|b)*a(a|b){30}c", "maxLength": 10**6},
            "schemainput.pattern",
        ),
        (
            {"items": {"dependencies": {"a": [f"m{n}" for n in range(300)]}}},
            "schemainput.items.dependentRequired",
        ),
        ({"items": {"required": [f"m{n}" for n in range(300)]}}, "schemainput.items.required"),
        (
            {"allOf": [{"uniqueItems": True}] * 4},
            "schemainput.allOf",
        ),
        (
            {"items": {"anyOf": [{"enum": [f"v{n}"]} for n in range(300)]}},
            "schemainput.items.anyOf",
        ),
        ({"items": {"enum": [{"a": [f"v{n}"]} for n in range(300)]}}, "schemainput.items.enum"),
        ({"items": {"format": "regex", "maxLength": 9}}, "schemainput.items.format"),
        (
            {"additionalProperties": {"anyOf": [{"pattern": f"^{n}{{9}}$"} for n in range(9)]}},
            "schemainput.additionalProperties.anyOf",
        ),
    ],
    ids=str,
)
def test_too_costly_schemas_are_rejected(tree: dict[str, Any], path: str) -> None:
    with pytest.raises(DocumentError, match=r"could cost .* maxItems") as caught:
        RequestValidator(tree)
    assert str(caught.value).startswith(path)


def test_too_large_pattern_is_rejected() -> None:
    with pytest.raises(DocumentError, match="is no pattern that can be matched in linear time"):
        RequestValidator({"pattern": "(x{1000}){1000}", "maxLength": 1000})


def test_bounds_make_a_schema_affordable() -> None:
    alternatives = {"anyOf": [{"enum": [f"v{n}"]} for n in range(300)]}
    assert check_costs(schema_costs({"items": alternatives}, ()))
    assert not check_costs(schema_costs({"items": alternatives, "maxItems": 100}, ()))
    assert not check_costs(schema_costs({"pattern": "(a|b)*a(a|b){30}c", "maxLength": 64}, ()))


@pytest.mark.parametrize(("tree", "body"), worst.handmade_cases(depths=(1,)), ids=itertools.count())
def test_worst_bodies_validate_within_the_budget(tree: dict[str, Any], body: Any) -> None:
    """The budget is 100 ms of this machine's time; ten times that is no flaw of its noise."""
    validator = Validator(compile_input(tree))
    start_s = time.process_time()
    validator.violations(body)
    assert time.process_time() - start_s < 1.0


def test_max_values_falls_with_cost_per_value() -> None:
    """Down to 10,000, under which a schema does not load."""
    trees: list[dict[str, Any]] = [
        {"items": {"type": "string"}},
        {"items": {"type": "string", "maxLength": 9}},
        {"items": {"multipleOf": 2}},
        {"items": {"anyOf": [{"multipleOf": 2}, {"multipleOf": 3}]}},
        {"items": {"anyOf": [{"multipleOf": 2}, {"multipleOf": 3}], "maxItems": 9}, "maxItems": 9},
    ]
    first, second, third, *_ = limits = [
        RequestValidator({"properties": {"a": tree}}).max_values for tree in (*trees[:3], trees[4])
    ]
    assert first > second > third > MIN_BODY_VALUES
    assert limits[-1] > first, "what is bounded costs the same, however long the body"
    with pytest.raises(DocumentError, match="could cost"):
        RequestValidator(
            {"properties": {"a": {"items": {"anyOf": [{"multipleOf": n} for n in range(1, 9)]}}}}
        )


def test_transforms_add_to_the_cost() -> None:
    plain = {"properties": {"a": {"items": {"properties": {"b": {"type": "string"}}}}}}
    changed = {
        "properties": {"a": {"items": {"properties": {"b": {"type": "string", "default": "x"}}}}}
    }
    assert RequestValidator(changed).max_values < RequestValidator(plain).max_values


@pytest.mark.parametrize(
    "name", ["float", "double", "int32", "int64", "byte", "binary", "password"]
)
def test_format_that_checks_nothing_costs_nothing(name: str) -> None:
    """A schema of many numbers, as OpenAPI generators write them, loads."""
    types = {"byte": "string", "binary": "string", "password": "string"}
    member = {"type": types.get(name, "number"), "format": name}
    properties = {f"p{number}": member for number in range(30)}
    RequestValidator({"type": "object", "properties": properties})


def test_keyword_for_other_types_costs_next_to_nothing() -> None:
    for keyword, value in (("format", "email"), ("pattern", "(a+b)*"), ("maxLength", 99)):
        member = {"type": "integer", keyword: value}
        properties = {f"p{number}": member for number in range(30)}
        RequestValidator({"type": "object", "properties": properties})
