"""The compiled writers against those in Python: the same bytes, the same errors."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atom import wire, wire_native

pytestmark = pytest.mark.compiled_only

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
NAMES = st.text(max_size=200)


@given(st.dictionaries(NAMES, VALUES), st.sets(NAMES), st.sampled_from([b"\x1a", b"\x92\x01"]))
def test_map_entries(members: dict[str, Any], names: set[str], tag: bytes) -> None:
    excluded = dict.fromkeys([*names, *list(members)[::3]])
    expected = wire.map_entries(tag, members, excluded)
    assert wire_native.map_entries(tag, members, excluded) == expected


@pytest.mark.parametrize(
    "number", [0, 1, -1, 9, 10, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 10**100]
)
def test_integers(number: int) -> None:
    entries = wire_native.map_entries(b"\x1a", {"a": number}, {})
    assert entries == wire.map_entries(b"\x1a", {"a": number}, {})


@pytest.mark.parametrize("size", [126, 127, 128, 1000, 1024, 16383, 16384, 3_000_000])
def test_entries_of_any_size(size: int) -> None:
    members = {"a": "x" * size, "é" * size: 1, "b": ""}
    assert wire_native.map_entries(b"\x1a", members, {}) == wire.map_entries(b"\x1a", members, {})


@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(0, 2**31))
def test_payload_head(meta: bytes, attributes: bytes, data_size: int) -> None:
    expected = wire.payload_head(b"\x2a", meta, attributes, data_size)
    assert wire_native.payload_head(b"\x2a", meta, attributes, data_size) == expected


def test_text_that_utf_8_does_not_have() -> None:
    for members in ({"a": "\ud800"}, {"\udfff": "a"}):
        for module in (wire, wire_native):
            with pytest.raises(UnicodeEncodeError):
                module.map_entries(b"\x1a", members, {})
