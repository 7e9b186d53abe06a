"""Parameters: their rules in the schema, and their values read from a frame's texts."""

from typing import Any

import pytest

from aseloader.fields import Boolean, Choice, Input, Integer, Number, Output, Parameter, String
from schemas.validation.compile import compile_input
from schemas.validation.validate import Validator


@pytest.mark.parametrize(
    ("field", "rules"),
    [
        (Integer(1, 9, default=3, doc="d"), {"type": "integer", "minimum": 1, "maximum": 9,
                                             "default": 3, "description": "d"}),
        (Integer(), {"type": "integer"}),
        (Number(-1.5), {"type": "number", "minimum": -1.5}),
        (Boolean(default=False), {"type": "boolean", "default": False}),
        (Choice("a", "b"), {"type": "string", "enum": ["a", "b"]}),
        (String(max_length=3, pattern="^a"), {"type": "string", "minLength": 0, "maxLength": 3,
                                              "pattern": "^a"}),
    ],
)  # fmt: skip
def test_rules(field: Parameter, rules: dict[str, Any]) -> None:
    assert field.rules() == rules
    Validator(compile_input(rules))


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        (Integer(), "200", 200),
        (Integer(), "200.0", 200),
        (Integer(), "-1", -1),
        (Number(), "0.5", 0.5),
        (Boolean(), "true", True),
        (Boolean(), "false", False),
        (Choice("a"), "a", "a"),
        (String(), "x y", "x y"),
    ],
)
def test_read(field: Parameter, text: str, value: Any) -> None:
    read = field.parse(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("field", "text"), [(Integer(), "1.5"), (Integer(), "x"), (Number(), "x"), (Boolean(), "1")]
)
def test_what_is_no_value(field: Parameter, text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        field.parse(text)


def test_an_unknown_kind_of_payload_is_told_with_those_there_are() -> None:
    for declared in (Input, Output):
        with pytest.raises(
            ValueError, match="'smell' is no kind of payload; there is: text, audio"
        ):
            declared("smell")


def test_an_empty_text_is_a_value_and_an_empty_number_is_none() -> None:
    assert String().may_be_empty
    assert not Integer().may_be_empty
