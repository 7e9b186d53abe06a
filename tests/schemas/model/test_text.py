"""Strings of a frame: each JSON type, and where the original's were wrong."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.model.text import as_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", ""),
        ("a;b", "a;b"),
        (True, "true"),
        (False, "false"),
        (None, ""),
        (0, "0"),
        (-3, "-3"),
        (12345678901234567890, "12345678901234567890"),
        (1.0, "1"),
        (0.5, "0.5"),
        (-0.25, "-0.25"),
        (1e21, "1000000000000000000000"),
        (1e-7, "0.0000001"),
        ([], ""),
        ([1, "a", True, None, 1.5], "1;a;true;;1.5"),
        ([[1, 2], {"a": 1}], '[1,2];{"a":1}'),
        ({}, "{}"),
        ({"b": [1, {"c": "é"}], "a": None}, '{"b":[1,{"c":"é"}],"a":null}'),
    ],
)
def test_as_text(value: Any, text: str) -> None:
    assert as_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_and_has_no_exponent(number: float) -> None:
    text = as_text(number)
    assert float(text) == number
    assert "e" not in text.lower()
