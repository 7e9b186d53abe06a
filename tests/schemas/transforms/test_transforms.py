"""One change of one object: what each kind does, and what cannot be cast."""

from typing import Any

import pytest

from schemas.transforms.transforms import CASTS, TRANSFORM_ORDER, CastError, Transform


@pytest.mark.parametrize(
    ("kind", "value", "body", "expected"),
    [
        ("default", 1, {}, {"a": 1}),
        ("default", 1, {"a": None}, {"a": None}),
        ("const", 1, {"a": 2}, {"a": 1}),
        ("rename", "b", {"a": 2}, {"b": 2}),
        ("rename", "b", {"a": 2, "b": 3}, {"b": 3}),
        ("rename", "b", {"c": 2}, {"c": 2}),
        ("cast", "string", {"a": True}, {"a": "true"}),
        ("cast", "string", {}, {}),
        ("set", "${b}", {"b": 2}, {"a": 2, "b": 2}),
        ("set", "${}", {"": 2}, {"": 2, "a": 2}),
        ("delete", None, {"a": 2}, {}),
        ("delete", None, {}, {}),
    ],
)
def test_transform_is_applied(
    kind: str, value: Any, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert kind in TRANSFORM_ORDER
    Transform(kind, "a", value).apply_in_place(body)
    assert body == expected


@pytest.mark.parametrize("kind", ["number", "integer", "bool"])
@pytest.mark.parametrize("value", ["x", [1], {}, "", "nan", "inf"])
def test_failed_cast_raises(kind: str, value: Any) -> None:
    with pytest.raises(CastError, match="must be"):
        CASTS[kind](value)


def test_unknown_kind_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Transform("turn", "a")
