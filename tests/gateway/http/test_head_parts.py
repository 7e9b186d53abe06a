"""The parts of a head by its bytes, in Python; `test_head_native.py` compares the compiled form."""

import pytest

from gateway.http.head_parts import read_fields, split_head

HEAD = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nX-A: b"


def test_a_head_is_split_at_its_length() -> None:
    without_digits = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: \r\nX-A: b"
    assert split_head(HEAD + b"\r\n\r\n{}") == (without_digits, len(HEAD) + 4, 12)


@pytest.mark.parametrize(
    "length", [b"", b"0", b"01", b"+1", b" 1", b"1 ", b"1,1", b"1234567890", b"\xb2", b"1\n"]
)
def test_a_length_that_is_not_plain(length: bytes) -> None:
    assert split_head(b"POST / HTTP/1.1\r\nContent-Length: " + length + b"\r\n\r\n") is None


def test_a_head_that_is_incomplete_or_has_no_length() -> None:
    assert split_head(HEAD + b"\r\n\r") is None
    assert split_head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nContent-Length: 12\r\n\r\n") is None


def test_the_fields_of_a_plain_head() -> None:
    fields = {b"host": b"a", b"content-length": b"12", b"x-a": b"b"}
    assert read_fields(HEAD + b"\r\n\r\n") == (b"/a", fields)


@pytest.mark.parametrize("line", [b"x-a: c", b"x: a ", b"x: \t", b"x y: z", b": z", b" x: z", b"x"])
def test_fields_that_are_left_to_the_parser(line: bytes) -> None:
    assert read_fields(HEAD + b"\r\n" + line + b"\r\n\r\n") is None
