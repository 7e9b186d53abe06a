"""The request line and the chunk size, found in the bytes that the parser reports nothing of."""

import pytest

from gateway.http.raw_input import RawInput


def raw_input(*reads: bytes) -> RawInput:
    raw = RawInput()
    for read in reads:
        raw.append(read)
    return raw


@pytest.mark.parametrize(
    "line",
    [
        b"GET /a RTSP/1.1\r\n",
        b"GET  /a HTTP/1.1\r\n",
        b"GET /a  HTTP/1.1\r\n",
        b"GET /a HTTP/1.1 \r\n",
        b"GET /a HTTP/1.1\n",
        b"GET /ab HTTP/1.1\r\n",
        b"get /a HTTP/1.1\r\n",
    ],
)
def test_other_request_lines(line: bytes) -> None:
    assert not raw_input(line).has_request_line(b"GET", b"/a", "1.1")


def test_request_line_in_parts() -> None:
    assert raw_input(b"GE", b"T /a HT", b"TP/1.1\r\n").has_request_line(b"GET", b"/a", "1.1")


def test_earlier_request_line_is_not_that_of_the_next_request() -> None:
    line = b"GET /a HTTP/1.1\r\n"
    raw = raw_input(line + b"\r\n" + line)
    found = [raw.has_request_line(b"GET", b"/a", "1.1") for _ in range(3)]
    assert found == [True, True, False]


def test_other_bytes_are_searched_after_a_replacement() -> None:
    raw = raw_input(b"GET /a HTTP/1.1\r\n")
    assert raw.has_request_line(b"GET", b"/a", "1.1")
    raw.replace(b"GET /a HTTP/1.1\r\n")
    assert raw.has_request_line(b"GET", b"/a", "1.1")


@pytest.mark.parametrize(
    ("reads", "data_size", "size"),
    [
        ([b"head\r\n\r\n1f\r\n"], 0, 31),
        ([b"\nff\r\nabc"], 3, 255),
        ([b"2\r\nab\r\nFFFFFFFFFFFFFFFF;a=b\r\nabc"], 3, 2**64 - 1),
        ([b"\r\nFF", b"FF\r", b"\n"], 0, 65535),
        ([b"\n" + b"a" * 20, b"\r\n"], 0, int("a" * 20, 16)),
        ([b"\n10 ; a\r\n"], 0, 16),
        # What is no head of a chunk, or not all of it.
        ([b"FF\r\n"], 0, 0),
        ([b"0\r\nFFFFFFFFFFFFFFFFFFFF"], 0, 0),
        ([b"0\r\nFFFFFFFFFFFFFFFFFFFF: a\r\n"], 0, 0),
    ],
)
def test_size_of_a_chunk_that_has_begun(reads: list[bytes], data_size: int, size: int) -> None:
    assert raw_input(*reads).chunk_size(data_size) == size


def test_bytes_before_those_kept_are_dropped() -> None:
    raw = raw_input(b"data\r\n1")
    raw.keep(1)
    raw.append(b"0\r\n")
    assert raw.chunk_size(0) == 0
    raw = raw_input(b"data\r\n1")
    raw.keep(2)
    raw.append(b"0\r\n")
    assert raw.chunk_size(0) == 16
    raw.keep(0)
    assert raw.chunk_size(0) == 0
