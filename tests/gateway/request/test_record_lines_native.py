"""The compiled texts against those in Python."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request import record_lines, record_lines_native

pytestmark = pytest.mark.compiled_only

NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 1000)
SECONDS = st.floats() | st.floats(0, 0.01) | st.integers(0, 10**6).map(lambda us: us / 1e6)
TEXTS = st.text(max_size=300) | st.just("x" * 5000)


@given(
    st.tuples(
        TEXTS, TEXTS, TEXTS, TEXTS, NUMBERS, NUMBERS, NUMBERS, SECONDS, SECONDS, SECONDS, TEXTS
    )
)
def test_log_line(args: Any) -> None:
    assert record_lines_native.log_line(*args) == record_lines.log_line(*args)


@given(st.tuples(TEXTS, NUMBERS, TEXTS, SECONDS, SECONDS, NUMBERS, TEXTS, TEXTS | st.just("")))
def test_response_lines(args: Any) -> None:
    assert record_lines_native.response_lines(*args) == record_lines.response_lines(*args)


@given(TEXTS, st.binary(max_size=3000) | st.sampled_from([b"{}", b"", b"{", b"[]", b"{ }"]))
def test_success_body(sid: str, payload: bytes) -> None:
    expected = record_lines.success_body(sid, payload)
    assert record_lines_native.success_body(sid, payload) == expected
