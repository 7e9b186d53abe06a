"""The parts of a head by its bytes, in Python; `test_head_native.py` compares the compiled form."""

import pytest

from gateway.http.head_parts import read_fields, read_target, split_head, strip_lines

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


@pytest.mark.parametrize(
    "line", [b"x-a: c", b"x: a ", b"x: \t", b"x y: z", b": z", b" x: z", b"x", b"x_y: z"]
)
def test_fields_that_are_left_to_the_parser(line: bytes) -> None:
    assert read_fields(HEAD + b"\r\n" + line + b"\r\n\r\n") is None


IGNORED = frozenset({b"traceparent", b"b3"})


def test_lines_are_stripped_by_their_names() -> None:
    head = b"POST / HTTP/1.1\r\nTraceParent: 0-1\r\nHost: a\r\nb3: 1 2\r\nb3: 3\r\n"
    assert strip_lines(head, IGNORED) == (b"POST / HTTP/1.1\r\nHost: a\r\n", 3)


@pytest.mark.parametrize(
    "line",
    [b"b3:1", b"b3:  1", b"b3: 1 ", b"b3: ", b"b3 : 1", b"b3: \xe9", b"b3: a\tb", b"b3: a\rb",
     b"b3: " + b"a" * 1025, b"b33: 1", b"x: b3: 1", b" b3: 1"],
)  # fmt: skip
def test_lines_that_stay(line: bytes) -> None:
    head = b"POST / HTTP/1.1\r\n" + line + b"\r\n"
    assert strip_lines(head, IGNORED) == (head, 0)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/v1/private/a", ("/v1/private/a", b"")), (b"/a?b=%20&c", ("/a", b"b=%20&c")),
        (b"/a.b~c-d_e", ("/a.b~c-d_e", b"")), (b"/a?", ("/a", b"")), (b"/a?b?c", ("/a", b"b?c")),
        (b"", None), (b"/", None), (b"a", None), (b"/a/", None), (b"//a", None), (b"/.a", None),
        (b"/a/../b", None), (b"/%61", None), (b"/a;b", None), (b"/a?\xe9", None), (b"/a#b", None),
        (b"*", None), (b"http://a/b", None),
    ],
)  # fmt: skip
def test_plain_targets(target: bytes, expected: tuple[str, bytes] | None) -> None:
    assert read_target(target) == expected
