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
from tests.gateway.http.parsed_request import ParsedRequest


def find_head(data: bytes) -> HeadLookup[int] | None:
    return HeadCache[int]().find(data)


def is_cacheable(key: bytes) -> bool:
    cache: HeadCache[int] = HeadCache()
    cache.add(key, 1)
    lookup = cache.find(key + b"12\r\n\r\n")
    return lookup is not None and lookup.value == 1


def encode_head(*lines: str, length: int = 12) -> bytes:
    header_lines = ["POST /v1/private/a HTTP/1.1", "host: a", f"Content-Length: {length}", *lines]
    return "\r\n".join([*header_lines, "", ""]).encode()


def test_head_key_and_body_position() -> None:
    lookup = find_head(encode_head("x-a: 1") + b"{}")
    assert lookup is not None
    assert lookup.key == b"POST /v1/private/a HTTP/1.1\r\nhost: a\r\nContent-Length: \r\nx-a: 1"
    assert (lookup.body_start, lookup.body_size) == (len(encode_head("x-a: 1")), 12)


@given(st.integers(1, 999_999_999), st.integers(1, 999_999_999))
def test_content_length_is_not_part_of_the_key(first_length: int, second_length: int) -> None:
    first, second = (
        find_head(encode_head(length=first_length)),
        find_head(encode_head(length=second_length)),
    )
    assert first is not None
    assert second is not None
    assert first.key == second.key
    assert (first.body_size, second.body_size) == (first_length, second_length)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_equal_keys_mean_equal_heads_except_the_length(
    first_rest: bytes, second_rest: bytes
) -> None:
    """Whatever stands around: equal keys come of heads that are equal without their digits."""
    start = b"POST / HTTP/1.1\r\nlength: "
    requests = [start + b"7" + rest + b"\r\n\r\n" for rest in (first_rest, second_rest)]
    lookups = [find_head(data) for data in requests]
    if lookups[0] is not None and lookups[1] is not None and lookups[0].key == lookups[1].key:
        heads = [
            data[len(start) : lookup.body_start]
            for data, lookup in zip(requests, lookups, strict=True)
            if lookup
        ]
        assert heads[0].lstrip(b"0123456789") == heads[1].lstrip(b"0123456789")


TRACING_HEADERS = st.sampled_from(
    ["x-request-id", "X-Request-ID", "traceparent", "X-B3-TraceId", "x-real-ip"]
)
TRACING_VALUES = st.text("abcdef0123456789-, :", min_size=1).map(lambda text: f"-{text}-")


@given(st.lists(st.tuples(TRACING_HEADERS, TRACING_VALUES), min_size=1, max_size=4), st.randoms())
def test_tracing_headers_are_not_part_of_the_key(lines: list[tuple[str, str]], rng: Random) -> None:
    tracing_lines = [f"{name}: {text}" for name, text in lines]
    keys = {
        find_head(
            encode_head(
                *rng.sample(["accept: */*", *tracing_lines], len(tracing_lines) + 1), length=length
            )
        ).key  # type: ignore[union-attr]
        for length in (5, 77)
    }
    other = find_head(encode_head("accept: */*", *["traceparent: 0"] * len(tracing_lines)))
    assert other is not None
    assert keys == {other.key}
    cache: HeadCache[int] = HeadCache()
    cache.add(other.key, 1)
    hit = cache.find(encode_head("accept: */*", *tracing_lines))
    assert hit is not None
    assert hit.value == 1
    with_extra_line = find_head(encode_head("accept: */*", *tracing_lines, "x-request-id: 1"))
    assert with_extra_line is not None
    assert with_extra_line.key != other.key  # their number is limited too


@pytest.mark.parametrize("text", ["ength: 7", "content-length: 7", "-ength: 77777777", "ength: 0"])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_content_length_is_not_read_from_tracing_headers(text: str, before: bool) -> None:
    cache: HeadCache[int] = HeadCache()
    miss = cache.find(encode_head("x-request-id: 1"))
    assert miss is not None
    cache.add(miss.key, 1)
    data = encode_head("x-request-id: 1", length=12)
    line = f"x-request-id: {text}\r\n".encode()
    position = data.index(b"host") if before else data.index(b"x-req")
    data = data.replace(b"x-request-id: 1\r\n", b"")
    lookup = cache.find(data[:position] + line + data[position:])
    assert lookup is None or lookup.value is None or lookup.body_size == 12
    assert before or (lookup is not None and lookup.value == 1)


def test_caller_header_is_part_of_the_key() -> None:
    lookups = [
        HeadCache[int]("X-Real-IP").find(
            encode_head(f"x-real-ip: {caller}", f"x-request-id: {caller}")
        )
        for caller in ("a", "b")
    ]
    assert lookups[0] is not None
    assert lookups[1] is not None
    assert lookups[0].key != lookups[1].key


def test_ambiguous_tracing_headers_are_part_of_the_key() -> None:
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
        lookup = find_head(encode_head(line))
        assert lookup is not None
        assert isinstance(lookup.key, bytes), line
        assert line.encode() in lookup.key


def parse_request(data: bytes) -> tuple[Any, int] | None:
    request = ParsedRequest()
    parser = httptools.HttpRequestParser(request)
    try:
        data, _ = skip_blank_line(data, 0)
        parser.feed_data(data)
        headers = validate_headers(request.headers, parser.get_http_version())
        path = parse_target(parser.get_method(), request.url)
    except (HttpError, httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    has_plain_body = b"transfer-encoding" not in headers and b"expect" not in headers
    if request.complete_messages != 1 or not has_plain_body or not parser.should_keep_alive():
        return None
    relevant_headers = {
        name: value for name, value in headers.items() if name in (b"host", b"x-consumer")
    }
    return (parser.get_method(), path, relevant_headers, len(request.headers)), len(request.body)


MUTATIONS = [
    b"", b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b"\xff", b"0", b"9", b"_", b"\r\n ",
    b"ength: 7", b" length: 7", b"length: ", b"Content-Length: 2", b"\r\nContent-Length: 2",
    b"\r\nb3: ength: 7", b"\r\nx-request-id: q", b"\r\nb3: q", b"\r\nx-consumer: eve", b"\r\n\r\n",
    b"HTTP/1.0",
]  # fmt: skip
HEADER_LINES = st.sampled_from(
    [b"x-request-id: 1", b"B3: a  b", b"x-consumer: joe", b"accept: */*"]
)


@pytest.mark.unmeasured
@settings(max_examples=500)
@given(st.lists(HEADER_LINES, max_size=4), st.data())
def test_cached_heads_match_the_parser(lines: list[bytes], data: st.DataObject) -> None:
    """A head that reads well is learnt; whatever is then done to it, it is read as it must be."""
    position = data.draw(st.integers(0, len(lines)))
    request_lines = [b"POST /v1/private/a HTTP/1.1", b"host: a", *lines]
    request_lines.insert(2 + position, b"Content-Length: 2")
    original = b"\r\n".join([*request_lines, b"", b"{}"])
    cache: HeadCache[Any] = HeadCache("x-consumer")
    lookup, expected = cache.find(original), parse_request(original)
    assert lookup is not None
    assert expected is not None
    cache.add(lookup.key, expected[0])
    mutated = bytearray(original)
    for _ in range(data.draw(st.integers(0, 3))):
        line_ends = [
            position
            for position in range(len(mutated) - 2)
            if mutated[position : position + 2] == b"\r\n"
        ]
        any_position = st.integers(0, len(mutated) - 2)
        mutation_start = data.draw(
            st.one_of(st.sampled_from(line_ends), any_position) if line_ends else any_position
        )
        removed_size = data.draw(st.sampled_from([0, 0, 0, 1, 5, 12]))
        mutated[mutation_start : mutation_start + removed_size] = data.draw(
            st.sampled_from(MUTATIONS)
        )
    hit = cache.find(bytes(mutated))
    if hit is not None and hit.value is not None and hit.body_size < 1000:
        request = bytes(mutated[: hit.body_start]) + b"{" * hit.body_size
        assert parse_request(request) == (hit.value, hit.body_size)


def test_unusual_heads_are_not_looked_up() -> None:
    for data in (
        b"POST / HTTP/1.1\r\nContent-Length: 12\r\n",  # not whole
        b"POST / HTTP/1.1\r\nhost: a\r\n\r\n",  # no length
        encode_head(length=0),
        b"POST / HTTP/1.1\r\nContent-Length: 012\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: +12\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1234567890\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\n\r\nContent-Length: 12\r\n",  # within the body
    ):
        assert find_head(data) is None, data


def test_only_keys_with_the_content_length_cut_out_are_cacheable() -> None:
    assert is_cacheable(b"POST / HTTP/1.1\r\ncoNTent-length: ")
    assert not is_cacheable(b"POST / HTTP/1.1\r\nx-content-length: ")
    assert not is_cacheable(b"POST / HTTP/1.1\r\nx: content-length: \r\ncontent-length: 5")
    assert not is_cacheable(b"POST / HTTP/1.1\r\ncontent-length: \nx: y")
    assert not is_cacheable(b"POST / HTTP/1.1\nx: y\r\ncontent-length: ")
    assert not is_cacheable(b"\r\nPOST / HTTP/1.1\r\ncontent-length: ")
    assert not is_cacheable(b"POST / HTTP/1.1\r\nx: %s\r\ncontent-length: " % (b"y" * 2048))


def test_cache_size_is_limited() -> None:
    cache: HeadCache[int] = HeadCache()
    keys = [b"POST /%d HTTP/1.1\r\ncontent-length: " % number for number in range(600)]
    for number, key in enumerate(keys):
        cache.add(key, number)
    lookups = [cache.find(key + b"1\r\n\r\n") for key in keys]
    assert [lookup.value for lookup in lookups if lookup] == [None] * 88 + list(range(88, 600))
