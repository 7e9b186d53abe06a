"""Values that are the same as a string, and those that only look so."""

from typing import Any

import pytest

from schemas.model.string_equality import with_string_equivalents


@pytest.mark.parametrize(
    ("value", "equivalents"),
    [
        ("a", ["a"]), ("3", ["3", 3]), (3, [3, "3"]), ("1.5", ["1.5", 1.5]), (1.5, [1.5, "1.5"]),
        ("007", ["007"]), ("-0", ["-0"]), ("1e3", ["1e3"]), ("1_0", ["1_0"]), (" 3", [" 3"]),
        (True, [True, "true"]), ("false", ["false", False]), (16777216.0, [16777216.0, "16777216"]),
        (1000000.5, [1000000.5, "1000000.5"]), ("nan", ["nan"]), ("1" * 101, ["1" * 101]),
        ([1], [[1]]), ({"a": 1}, [{"a": 1}]), (str(10**20), [str(10**20), 10**20]),
    ],
)  # fmt: skip
def test_string_equivalents(value: Any, equivalents: list[Any]) -> None:
    assert [repr(item) for item in with_string_equivalents([value])] == [
        repr(item) for item in equivalents
    ]


def test_equivalents_are_unique() -> None:
    assert with_string_equivalents(["3", 3, "a", "a"]) == ["3", 3, "a"]
