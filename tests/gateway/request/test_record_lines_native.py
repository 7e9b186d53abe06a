"""The compiled texts against those in Python."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request import record_lines, record_lines_native

pytestmark = pytest.mark.compiled_only

NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 1000)
SECONDS = st.floats(0, 1e9) | st.floats(0, 0.01) | st.integers(0, 10**6).map(lambda us: us / 1e6)
TEXTS = st.text(max_size=300) | st.just("x" * 5000)


@given(TEXTS, TEXTS, TEXTS, NUMBERS, NUMBERS, NUMBERS, SECONDS, SECONDS, SECONDS, TEXTS)
def test_log_line(prefix: str, sid: str, subject: str, *others: object) -> None:
    args = (prefix, sid, subject, *others)
    assert record_lines_native.log_line(*args) == record_lines.log_line(*args)  # type: ignore[arg-type]


@given(TEXTS, NUMBERS, TEXTS, SECONDS, SECONDS, NUMBERS, TEXTS, TEXTS | st.just(""))
def test_response_lines(content_type: str, *others: object) -> None:
    args = (content_type, *others)
    expected = record_lines.response_lines(*args)  # type: ignore[arg-type]
    assert record_lines_native.response_lines(*args) == expected  # type: ignore[arg-type]


@given(TEXTS, st.binary(max_size=3000) | st.sampled_from([b"{}", b"", b"{", b"[]", b"{ }"]))
def test_success_body(sid: str, payload: bytes) -> None:
    expected = record_lines.success_body(sid, payload)
    assert record_lines_native.success_body(sid, payload) == expected
