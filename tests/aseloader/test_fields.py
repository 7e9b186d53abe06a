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
def test_parse(field: Parameter, text: str, value: Any) -> None:
    parsed = field.parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("field", "text"), [(Integer(), "1.5"), (Integer(), "x"), (Number(), "x"), (Boolean(), "1")]
)
def test_unparsable_text_is_rejected(field: Parameter, text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        field.parse(text)


def test_unknown_data_type_error_lists_the_valid_ones() -> None:
    for field_class in (Input, Output):
        with pytest.raises(
            ValueError, match="'smell' is no kind of payload; there is: text, audio"
        ):
            field_class("smell")


def test_only_strings_may_be_empty() -> None:
    assert String().may_be_empty
    assert not Integer().may_be_empty
