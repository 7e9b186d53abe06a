"""The JSON-Schema-Test-Suite on every keyword that is supported, and `jsonschema` as an oracle.

`tests/golden/json-schema` has the suite's files for draft 2020-12, as the source distribution of
`jsonschema` 4.26 carries them. What is left out stands in OTHERWISE, with the reason.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from schemas.model.document import DocumentError
from schemas.validation.compile import compile_input
from schemas.validation.validate import Validator

SUITE = Path(__file__).parent.parent / "golden/json-schema"

# A schema that is true or false, and keywords that the dialect has not: `prefixItems`, `$ref`.
UNSUPPORTED = ("true", "false", "boolean", "prefixItems", "$ref", "$defs", "patternProperties")
DEVIATIONS = {
    "two graphemes is long enough": "lengths are bytes",
    "one grapheme is not long enough": "lengths are bytes",
    "always invalid, but naive implementations may raise an overflow error":
        "a float that large has no rest that could be told",
}  # fmt: skip


def cases() -> Iterator[Any]:
    for path in sorted(SUITE.rglob("*.json")):
        for group in json.loads(path.read_text(encoding="utf-8")):
            if is_supported(group["schema"]):
                for test in group["tests"]:
                    name = f"{path.stem}: {group['description']}: {test['description']}"
                    yield pytest.param(group["schema"], test, id=name)


def is_supported(schema: Any, *, is_members: bool = False) -> bool:
    """Return whether a schema is one that the compiler could have made."""
    if isinstance(schema, list):
        return all(map(is_supported, schema))
    if not isinstance(schema, dict):
        return False
    if is_members:
        return all(map(is_supported, schema.values()))
    keywords_supported = not any(keyword in schema for keyword in UNSUPPORTED)
    subschema_keywords = ("items", "not", "if", "then", "else", "allOf", "anyOf")
    subschemas_supported = all(
        is_supported(schema[subschema_keyword])
        for subschema_keyword in subschema_keywords
        if subschema_keyword in schema
    )
    return (
        keywords_supported
        and subschemas_supported
        and is_supported(schema.get("properties", {}), is_members=True)
    )


CASES = list(cases())


@pytest.mark.parametrize(("schema", "test"), CASES)
def test_the_suite(schema: Any, test: Any) -> None:
    expected = test["valid"] is not (test["description"] in DEVIATIONS)
    assert (Validator(schema).violations(test["data"]) == ()) is expected


def test_every_suite_file_has_supported_cases() -> None:
    tested_files = {case.id.split(":")[0] for case in CASES if case.id}
    assert tested_files == {path.stem for path in SUITE.rglob("*.json")}, (
        "every file has cases of ours"
    )
    assert len(CASES) > 800
    all_tests = json.dumps([case.values[1] for case in CASES])
    assert all(description in all_tests for description in DEVIATIONS)


KINDS = ["string", "integer", "number", "bool", "object", "array", "string|integer"]
NAMES = st.sampled_from("abc")
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.sampled_from(["", "a", "ab", "3", "x", 1.5, 2.0, -0.5, 2**53 + 1, 1e60])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
BOUNDS = st.integers(-5, 5) | st.sampled_from([1.5, 2.0, -0.5, 2**53 + 1])
LEAF = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(KINDS),
        "enum": st.lists(SCALARS.filter(lambda v: v is not None), min_size=1, max_size=3),
        "const": SCALARS.filter(lambda v: v is not None),
        "minimum": BOUNDS,
        "maximum": BOUNDS,
        "exclusiveMinimum": BOUNDS,
        "exclusiveMaximum": BOUNDS,
        "minLength": st.integers(0, 2),
        "maxLength": st.integers(0, 2),
        "maxItems": st.integers(0, 2),
        "uniqueItems": st.booleans(),
        "multipleOf": st.integers(1, 3),
        "pattern": st.sampled_from(["^a", "b$", "[0-9]"]),
        "dependencies": st.dictionaries(NAMES, st.lists(NAMES, max_size=2), max_size=1),
        "keyMatch": st.dictionaries(NAMES, SCALARS, max_size=1),
        "minProperties": st.integers(0, 2),
    },
)


def compound_schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    schema_lists = st.lists(inner, min_size=1, max_size=2)
    structural_keywords = st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(NAMES, inner, max_size=2),
            "children": st.dictionaries(NAMES, inner, max_size=2),
            "additionalProperties": st.booleans() | inner,
            "items": inner,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "allOf": schema_lists,
            "anyOf": schema_lists,
            "oneOf": schema_lists,
        },
    )
    switch = st.fixed_dictionaries(
        {"switch": NAMES, "case": st.dictionaries(st.sampled_from(["a", "3", "true"]), inner)},
        optional={"default": inner},
    )
    return st.builds(lambda one, two: {**one, **two}, LEAF, structural_keywords | switch)


TREES = st.recursive(LEAF, compound_schemas, max_leaves=6)


def multiple_of(_: Any, divisor: Any, value: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    """Integers are exact; else the quotient is that of floats, as docs/schemas.md has it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    is_exact = isinstance(value, int) and isinstance(divisor, int)
    if value % divisor if is_exact else (value / divisor) % 1:
        yield jsonschema.ValidationError(f"{value} is no multiple of {divisor}")


Oracle = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"multipleOf": multiple_of})


@pytest.mark.unmeasured
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(TREES, VALUES)
@example({"multipleOf": 3}, 1e60)
@example({"multipleOf": 3}, 10**60)
def test_validator_agrees_with_jsonschema(tree: Any, value: Any) -> None:
    try:
        schema = compile_input(tree)
    except DocumentError:
        return
    validator = Validator(schema)
    expected = Oracle(schema).is_valid(value)
    assert (validator.violations(value) == ()) is expected
    assert (validator.violations(value, True) == ()) is expected
