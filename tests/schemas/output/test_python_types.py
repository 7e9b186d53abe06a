"""Python annotations of JSON Schemas."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.output.python_types import IdentifierAllocator, PythonTypes


def annotation(schema: Any) -> tuple[str, list[str]]:
    types = PythonTypes(IdentifierAllocator(["Any"]))
    return types.annotation(schema, "the value"), types.definitions


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, "str"),
        ({"type": "integer"}, "int"),
        ({"type": "number"}, "float"),
        ({"type": "boolean"}, "bool"),
        ({"type": ["integer", "null"]}, "int | None"),
        ({"type": "array"}, "list[Any]"),
        ({"type": "array", "items": {"type": "string"}}, "list[str]"),
        ({"type": "object"}, "dict[str, Any]"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "dict[str, int]"),
        ({"type": "object", "additionalProperties": False}, "dict[str, Any]"),
        ({"enum": ["a", 1, True, None]}, "Literal['a', 1, True, None]"),
        ({"enum": [1.5, "a"]}, "Any"),
        ({"enum": []}, "Any"),
        ({"const": "a"}, "Literal['a']"),
        ({"anyOf": [{"type": "string"}, {"type": "string"}, {"type": "null"}]}, "str | None"),
        ({"oneOf": [{"type": "string"}, {}]}, "Any"),
        ({}, "Any"),
        (True, "Any"),
        ({"type": 5}, "Any"),
    ],
)
def test_annotations(schema: Any, expected: str) -> None:
    assert annotation(schema) == (expected, [])


def test_objects_become_classes() -> None:
    box = {
        "type": "object",
        "properties": {"x": {"type": "integer"}, "label": {"type": ["string", "null"]}},
        "required": ["x"],
    }
    schema = {"type": "object", "properties": {"boxes": {"type": "array", "items": box}}}
    assert annotation(schema) == (
        "TheValue",
        [
            "class TheValueBoxesItem(TypedDict):\n    x: int\n    label: NotRequired[str | None]",
            "class TheValue(TypedDict):\n    boxes: NotRequired[list[TheValueBoxesItem]]",
        ],
    )


@pytest.mark.parametrize("name", ["a-b", "class", "__x", "7", ""])
def test_names_that_no_class_can_have(name: str) -> None:
    schema = {"type": "object", "properties": {name: {"type": "integer"}}, "required": [name]}
    _, (definition,) = annotation(schema)
    assert definition == f"TheValue = TypedDict('TheValue', {{{name!r}: int}})"


def test_identifiers_are_unique() -> None:
    names = IdentifierAllocator(["self"])
    assert [names.allocate(name) for name in ("a-b", "a_b", "7", "class", "self", "", "é")] == [
        "a_b", "a_b_", "_7", "class_", "self_", "_", "é",
    ]  # fmt: skip


SCHEMAS = st.recursive(
    st.sampled_from(
        [{}, {"type": "string"}, {"type": ["integer", "null"]}, True, {"enum": ["\n'"]}]
    ),
    lambda schemas: st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": schemas}),
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(st.text(max_size=4), schemas, max_size=3),
            }
        ),
        st.fixed_dictionaries({"anyOf": st.lists(schemas, max_size=3)}),
    ),
    max_leaves=8,
)


@given(SCHEMAS)
def test_any_schema_gives_definitions_that_run(schema: Any) -> None:
    text, definitions = annotation(schema)
    module = "from typing import Any, Literal, NotRequired, TypedDict\n"
    exec(module + "\n\n".join([*definitions, f"value: {text}"]), {})  # noqa: S102
