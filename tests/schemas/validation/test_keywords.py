"""Keywords of our own: as the standard has them, and linear whatever stands in the body."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.validation import keywords

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([1.0, 0.5, -2.0, 1e300])
    | st.sampled_from([2**53, 2**61, 2**61 - 1, 10**90, "1", "", "n1", "j1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)


def is_valid(keyword: Any, value: Any, instance: Any) -> bool:
    try:
        keyword(None, value, ()).validate(instance)
    except ValueError:
        return False
    return True


@given(st.lists(VALUES, max_size=5))
def test_unique_items_agrees_with_jsonschema(items: list[Any]) -> None:
    expected = jsonschema.Draft202012Validator({"uniqueItems": True}).is_valid(items)
    assert is_valid(keywords.UniqueItems, True, items) == expected


def test_colliding_integer_hashes_stay_linear() -> None:
    """Python's hash of an integer is its rest by 2^61 - 1: a set of these would be a list."""
    items = [(2**61 - 1) * number for number in range(1, 50_000)]
    assert len({hash(item) for item in items}) == 1
    assert is_valid(keywords.UniqueItems, True, items)
    assert not is_valid(keywords.UniqueItems, True, [*items, items[7]])
    assert is_valid(keywords.UniqueItems, False, [1, 1])
    assert is_valid(keywords.UniqueItems, True, "aa")


@pytest.mark.parametrize(
    ("divisor", "number", "is_multiple"),
    [
        (2, 10, True), (2, 7, False), (1.5, 4.5, True), (1.5, 35, False), (0.0001, 0.0075, True),
        (0.0001, 0.00751, False), (0.01, 4.02, True), (3, 10**99 * 3, True), (3, 10**99, False),
        (0.5, 1e308, True), (2.5, 10**90, True), (0.123456789, 1e308, True), (5, 0, True),
        (3, True, True), (3, "x", True), (2.0, 6, True), (1, 3.5, False), (0.7, 10**400, True),
    ],
)  # fmt: skip
def test_multiples(divisor: float, number: Any, is_multiple: bool) -> None:
    assert is_valid(keywords.MultipleOf, divisor, number) is is_multiple


@pytest.mark.parametrize(
    ("keyword", "limit", "text", "valid"),
    [
        (keywords.MaxBytes, 3, "abc", True), (keywords.MaxBytes, 3, "漢", True),
        (keywords.MaxBytes, 2, "漢", False), (keywords.MaxBytes, 2, "\ud800", False),
        (keywords.MaxBytes, 1, 12345, True),
        (keywords.MinBytes, 3, "漢", True), (keywords.MinBytes, 4, "漢", False),
        (keywords.MaxBase64, 3, "YWJj", True), (keywords.MaxBase64, 3, "YWJjZA==", False),
        (keywords.MinBase64, 1, "YQ==", True), (keywords.MinBase64, 2, "YQ==", False),
    ],
)  # fmt: skip
def test_limits_on_bytes(keyword: Any, limit: int, text: Any, valid: bool) -> None:
    assert is_valid(keyword, limit, text) is valid


def test_error_keyword_raises_its_message() -> None:
    with pytest.raises(ValueError, match="say vcn or voice"):
        keywords.ErrorKeyword(None, "say vcn or voice", ()).validate(json.loads("{}"))
