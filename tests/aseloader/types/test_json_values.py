"""JSON of declared types: schemas without references, errors with a place, any value as JSON."""

import datetime
import enum
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Optional, TypedDict

import jsonschema
import numpy as np
import pydantic
import pytest

from aseloader.types.json_values import JsonType, to_json


@dataclass
class Box:
    left: int
    top: int = 0
    tags: list[str] = field(default_factory=list)


@dataclass
class Tree:
    name: str
    children: "list[Tree]" = field(default_factory=list)
    parent: Optional["Tree"] = None


class Person(TypedDict, total=False):
    name: str
    age: int


class Point(NamedTuple):
    x: float
    y: float


class Colour(enum.Enum):
    RED = "red"


class Order(pydantic.BaseModel):
    id: int
    boxes: list[Box] = []


@pytest.mark.parametrize(
    ("declared_type", "text", "value"),
    [
        (Any, b'[1,"a",null]', [1, "a", None]),
        (int, b"3", 3),
        (dict[str, float], b'{"a":1.5}', {"a": 1.5}),
        (Literal["a", 1], b'"a"', "a"),
        (Box, b'{"left":3}', Box(3)),
        (list[Box], b'[{"left":3,"top":1}]', [Box(3, 1)]),
        (Person, b'{"age":3}', {"age": 3}),
        (Point, b"[1,2]", Point(1.0, 2.0)),
        (Colour, b'"red"', Colour.RED),
        (datetime.date, b'"2026-01-02"', datetime.date(2026, 1, 2)),
        (uuid.UUID, b'"12345678123456781234567812345678"', uuid.UUID("12345678" * 4)),
        (Tree, b'{"name":"a","children":[{"name":"b"}]}', Tree("a", [Tree("b")])),
        (Order, b'{"id":1,"boxes":[{"left":2}]}', Order(id=1, boxes=[Box(2)])),
        (list[Order], b'[{"id":1}]', [Order(id=1)]),
        (int | None, b"null", None),
    ],
    ids=str,
)
def test_value_of_a_type(declared_type: Any, text: bytes, value: Any) -> None:
    json_type = JsonType(declared_type)
    assert json_type.load(text) == value
    assert json_type.load(to_json(value)) == value
    jsonschema.Draft202012Validator.check_schema(json_type.schema)
    assert "$ref" not in str(json_type.schema)
    assert "$defs" not in str(json_type.schema)


def test_schema_is_that_of_the_type() -> None:
    assert JsonType(dict[str, int]).schema == {
        "type": "object",
        "additionalProperties": {"type": "integer"},
    }
    tree = JsonType(Tree).schema
    assert tree["properties"]["children"] == {"type": "array", "items": {}, "default": []}, (
        "a type within itself is any value"
    )


@pytest.mark.parametrize(
    ("declared_type", "text", "message"),
    [
        (Box, b'{"left":"3"}', r"is not of its type: Expected `int`, got `str` - at `\$.left`"),
        (Box, b"{}", "missing required field `left`"),
        (Order, b'{"id":1,"boxes":[{}]}', r"Field required - at `\$.boxes.0.left`"),
        (Any, b"{", "is not of its type: Input data was truncated"),
        (Any, b"", "is not of its type"),
        (Any, b"[" * 100_000, "is not of its type"),
        (Any, b'"\xff"', "is not of its type"),
        (np.ndarray, b"{}", "is not of its type: Expected `array`"),
    ],
    ids=range(8),
)
def test_invalid_text_is_an_error_with_its_place(
    declared_type: Any, text: bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        JsonType(declared_type).load(text)


def test_array_is_read_and_written() -> None:
    array = JsonType(np.ndarray).load(b"[[1,2],[3,4.5]]")
    assert array.shape == (2, 2)
    assert to_json(array) == b"[[1.0,2.0],[3.0,4.5]]"


def test_type_without_a_json_form_is_an_error() -> None:
    with pytest.raises(TypeError, match="is not supported"):
        JsonType(type("Odd", (), {"__slots__": ()}))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            {"a": np.int64(3), "b": np.float32(0.5), "c": np.bool_(True)},
            b'{"a":3,"b":0.5,"c":true}',
        ),
        ([np.arange(3), Box(1)], b'[[0,1,2],{"left":1,"top":0,"tags":[]}]'),
        (Order(id=1, boxes=[Box(2)]), b'{"id":1,"boxes":[{"left":2,"top":0,"tags":[]}]}'),
        (
            {"deep": [Box(1, tags=["\u00e9"])]},
            '{"deep":[{"left":1,"top":0,"tags":["é"]}]}'.encode(),
        ),
        ({1}, b"[1]"),
        (datetime.date(2026, 1, 2), b'"2026-01-02"'),
    ],
    ids=range(6),
)
def test_values_as_json(value: Any, text: bytes) -> None:
    assert to_json(value) == text


@pytest.mark.parametrize(
    "value",
    [float("nan"), np.float64("inf"), object(), {"a": {object()}}, {(1, 2): 3}, "\ud800"],
    ids=range(6),
)
def test_what_has_no_json_form_is_an_error(value: Any) -> None:
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        to_json(value)


class Aliased(pydantic.BaseModel):
    max_tokens: int = pydantic.Field(alias="maxTokens")


def test_aliases_of_pydantic_are_written() -> None:
    value = JsonType(Aliased).load(b'{"maxTokens":3}')
    assert to_json([value]) == b'[{"maxTokens":3}]'


def test_types_that_contain_each_other_too_often_are_an_error() -> None:
    names = [f"Node{n}" for n in range(7)]
    namespace: dict[str, Any] = {}
    fields = "".join(f"    f{n}: list['{name}']\n" for n, name in enumerate(names))
    source = "".join(f"@dataclass\nclass {name}:\n{fields}" for name in names)
    namespace["dataclass"] = dataclass
    namespace["__name__"] = __name__
    exec(source, namespace)  # noqa: S102 (classes of a pattern)
    for name in names:
        globals()[name] = namespace[name]
    with pytest.raises(TypeError, match="its JSON Schema has more than 10000 values"):
        JsonType(namespace["Node0"])


def test_endless_value_is_an_error() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        to_json(endless)
