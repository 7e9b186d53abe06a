"""Heads that come again: known by their bytes, and by all of them but the digits of the length."""

from random import Random
from typing import Any

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http.head_cache import HeadCache, HeadLookup
from gateway.http.head_validation import parse_target, skip_blank_line, validate_headers
from gateway.request.response import HttpError


def cut(data: bytes) -> HeadLookup[int] | None:
    return HeadCache[int]().find(data)


def repeatable(key: bytes) -> bool:
    heads: HeadCache[int] = HeadCache()
    heads.add(key, 1)
    found = heads.find(key + b"12\r\n\r\n") if key.endswith(b": ") else None
    return bool(heads._values) and (found is None or found.value == 1)


def head(*lines: str, length: int = 12) -> bytes:
    told = ["POST /v1/private/a HTTP/1.1", "host: a", f"Content-Length: {length}", *lines]
    return "\r\n".join([*told, "", ""]).encode()


def test_a_head_is_cut_at_its_length_and_its_end() -> None:
    told = cut(head("x-a: 1") + b"{}")
    assert told is not None
    assert told.key == b"POST /v1/private/a HTTP/1.1\r\nhost: a\r\nContent-Length: \r\nx-a: 1"
    assert (told.body_start, told.body_size) == (len(head("x-a: 1")), 12)


@given(st.integers(1, 999_999_999), st.integers(1, 999_999_999))
def test_heads_that_differ_in_their_length_alone_have_one_key(one: int, other: int) -> None:
    first, second = cut(head(length=one)), cut(head(length=other))
    assert first is not None
    assert second is not None
    assert first.key == second.key
    assert (first.body_size, second.body_size) == (one, other)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_one_key_is_one_head_but_for_the_digits(one: bytes, other: bytes) -> None:
    """Whatever stands around: equal keys come of heads that are equal without their digits."""
    start = b"POST / HTTP/1.1\r\nlength: "
    sent = [start + b"7" + rest + b"\r\n\r\n" for rest in (one, other)]
    told = [cut(data) for data in sent]
    if told[0] is not None and told[1] is not None and told[0].key == told[1].key:
        heads = [
            data[len(start) : read.body_start]
            for data, read in zip(sent, told, strict=True)
            if read
        ]
        assert heads[0].lstrip(b"0123456789") == heads[1].lstrip(b"0123456789")


FREE = st.sampled_from(["x-request-id", "X-Request-ID", "traceparent", "X-B3-TraceId", "x-real-ip"])
TEXT = st.text("abcdef0123456789-, :", min_size=1).map(lambda text: f"-{text}-")


@given(st.lists(st.tuples(FREE, TEXT), min_size=1, max_size=4), st.randoms())
def test_lines_for_tracing_do_not_tell_heads_apart(
    lines: list[tuple[str, str]], rng: Random
) -> None:
    free = [f"{name}: {text}" for name, text in lines]
    told = {
        cut(head(*rng.sample(["accept: */*", *free], len(free) + 1), length=length)).key  # type: ignore[union-attr]
        for length in (5, 77)
    }
    other = cut(head("accept: */*", *["traceparent: 0"] * len(free)))
    assert other is not None
    assert told == {other.key}
    heads: HeadCache[int] = HeadCache()
    heads.add(other.key, 1)
    again = heads.find(head("accept: */*", *free))
    assert again is not None
    assert again.value == 1
    more = cut(head("accept: */*", *free, "x-request-id: 1"))
    assert more is not None
    assert more.key != other.key  # their number is limited too


@pytest.mark.parametrize("text", ["ength: 7", "content-length: 7", "-ength: 77777777", "ength: 0"])
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_the_length_is_content_length_s_whatever_a_free_line_holds(text: str, first: bool) -> None:
    heads: HeadCache[int] = HeadCache()
    plain = heads.find(head("x-request-id: 1"))
    assert plain is not None
    heads.add(plain.key, 1)
    data = head("x-request-id: 1", length=12)
    line = f"x-request-id: {text}\r\n".encode()
    at = data.index(b"host") if first else data.index(b"x-req")
    data = data.replace(b"x-request-id: 1\r\n", b"")
    read = heads.find(data[:at] + line + data[at:])
    assert read is None or read.value is None or read.body_size == 12
    assert first or (read is not None and read.value == 1)


def test_a_header_that_names_the_caller_is_not_free() -> None:
    told = [
        HeadCache[int]("X-Real-IP").find(head(f"x-real-ip: {caller}", f"x-request-id: {caller}"))
        for caller in ("a", "b")
    ]
    assert told[0] is not None
    assert told[1] is not None
    assert told[0].key != told[1].key


def test_a_line_that_a_parser_might_read_in_another_way_is_not_free() -> None:
    for line in (
        "x-request-id : 1",
        "x_request_id: 1",
        "x-request-id: \t1",
        "x-request-id: 1\n a",
        "x-request-id: ",
        "x-request-id: \x00",
        "x-request-ids: 1",
        " x-request-id: 1",
    ):
        told = cut(head(line))
        assert told is not None
        assert isinstance(told.key, bytes), line
        assert line.encode() in told.key


class Parsed:
    """The oracle: what the door's parser and its checks make of a read, or None."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.url = self.body = b""
        self.whole = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.whole += 1


def parsed(data: bytes) -> tuple[Any, int] | None:
    told = Parsed()
    parser = httptools.HttpRequestParser(told)
    try:
        data, _ = skip_blank_line(data, 0)
        parser.feed_data(data)
        headers = validate_headers(told.headers, parser.get_http_version())
        path = parse_target(parser.get_method(), told.url)
    except (HttpError, httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    plain = b"transfer-encoding" not in headers and b"expect" not in headers
    if told.whole != 1 or not plain or not parser.should_keep_alive():
        return None
    read = {name: value for name, value in headers.items() if name in (b"host", b"x-consumer")}
    return (parser.get_method(), path, read, len(told.headers)), len(told.body)


PIECES = [
    b"", b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b"\xff", b"0", b"9", b"_", b"\r\n ",
    b"ength: 7", b" length: 7", b"length: ", b"Content-Length: 2", b"\r\nContent-Length: 2",
    b"\r\nb3: ength: 7", b"\r\nx-request-id: q", b"\r\nb3: q", b"\r\nx-consumer: eve", b"\r\n\r\n",
    b"HTTP/1.0",
]  # fmt: skip
LINES = st.sampled_from([b"x-request-id: 1", b"B3: a  b", b"x-consumer: joe", b"accept: */*"])


@settings(max_examples=500)
@given(st.lists(LINES, max_size=4), st.data())
def test_what_is_known_is_what_the_parser_says(lines: list[bytes], data: st.DataObject) -> None:
    """A head that reads well is learnt; whatever is then done to it, it is read as it must be."""
    at = data.draw(st.integers(0, len(lines)))
    told = [b"POST /v1/private/a HTTP/1.1", b"host: a", *lines]
    told.insert(2 + at, b"Content-Length: 2")
    first = b"\r\n".join([*told, b"", b"{}"])
    heads: HeadCache[Any] = HeadCache("x-consumer")
    read, meaning = heads.find(first), parsed(first)
    assert read is not None
    assert meaning is not None
    heads.add(read.key, meaning[0])
    changed = bytearray(first)
    for _ in range(data.draw(st.integers(0, 3))):
        ends = [at for at in range(len(changed) - 2) if changed[at : at + 2] == b"\r\n"]
        anywhere = st.integers(0, len(changed) - 2)
        place = data.draw(st.one_of(st.sampled_from(ends), anywhere) if ends else anywhere)
        cut = data.draw(st.sampled_from([0, 0, 0, 1, 5, 12]))
        changed[place : place + cut] = data.draw(st.sampled_from(PIECES))
    found = heads.find(bytes(changed))
    if found is not None and found.value is not None and found.body_size < 1000:
        sent = bytes(changed[: found.body_start]) + b"{" * found.body_size
        assert parsed(sent) == (found.value, found.body_size)


def test_what_is_not_plain_is_left_to_the_parser() -> None:
    for data in (
        b"POST / HTTP/1.1\r\nContent-Length: 12\r\n",  # not whole
        b"POST / HTTP/1.1\r\nhost: a\r\n\r\n",  # no length
        head(length=0),
        b"POST / HTTP/1.1\r\nContent-Length: 012\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: +12\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1234567890\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\n\r\nContent-Length: 12\r\n",  # within the body
    ):
        assert cut(data) is None, data


def test_only_the_value_of_content_length_may_be_left_out() -> None:
    assert repeatable(b"POST / HTTP/1.1\r\ncoNTent-length: ")
    assert not repeatable(b"POST / HTTP/1.1\r\nx-content-length: ")
    assert not repeatable(b"POST / HTTP/1.1\r\nx: content-length: \r\ncontent-length: 5")
    assert not repeatable(b"POST / HTTP/1.1\r\ncontent-length: \nx: y")
    assert not repeatable(b"POST / HTTP/1.1\nx: y\r\ncontent-length: ")
    assert not repeatable(b"\r\nPOST / HTTP/1.1\r\ncontent-length: ")
    assert not repeatable(b"POST / HTTP/1.1\r\nx: %s\r\ncontent-length: " % (b"y" * 2048))


def test_only_so_many_are_kept() -> None:
    heads: HeadCache[int] = HeadCache()
    keys = [b"POST /%d HTTP/1.1\r\ncontent-length: " % number for number in range(600)]
    for number, key in enumerate(keys):
        heads.add(key, number)
    assert list(heads._values.values()) == list(range(88, 600))
