"""The reader of plain heads against the parser: what it reads, the parser reads in the same way."""

import random
from typing import Any

import httptools
import pytest

from gateway.http.head_reader import PostHead, read_post_head
from gateway.http.head_validation import (
    parse_target,
    skip_blank_line,
    validate_headers,
    without_upgrade,
)
from gateway.http.raw_input import RawInput
from gateway.request.response import HttpError
from tests.gateway.http.parsed_request import ParsedRequest

BODY = b'{"a": 1}'
BROWSER = [
    b"Host: ase.example.com:8200", b"Connection: keep-alive", b"Content-Length: 8",
    b'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"', b"sec-ch-ua-mobile: ?0",
    b"Authorization: Bearer ase_0123456789", b"User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
    b"Content-Type: application/json", b"Accept: application/json", b"Origin: http://localhost",
    b"Cookie: a=b; c=d", b"Accept-Encoding: gzip, deflate, br",
]  # fmt: skip
CURL = [b"Host: 127.0.0.1:8200", b"User-Agent: curl/7.88.1", b"Accept: */*",
        b"Content-Type: application/json", b"Content-Length: 8"]  # fmt: skip
ODD = [b"content-length: 8", b"host: a", b"x-empty:", b"x-latin: \xe9t\xe9", b"x-tab: a\tb"]
# java.net.http.HttpClient 17 asks for HTTP/2 in each request.
JAVA = [b"Connection: Upgrade, HTTP2-Settings", b"Content-Length: 8", b"Host: 127.0.0.1:8200",
        b"HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA", b"Upgrade: h2c",
        b"User-Agent: Java-http-client/17.0.15", b"Content-Type: application/json"]  # fmt: skip
LINES = {"browser": BROWSER, "curl": CURL, "odd": ODD, "java": JAVA}


def head_of(lines: list[bytes], first: bytes = b"POST /v1/private/a?x=1 HTTP/1.1") -> bytes:
    return b"\r\n".join([first, *lines, b"", b""])


def read(head: bytes, size: int = 8, **limits: int) -> PostHead | None:
    values = {"max_headers": 100, "max_header_bytes": 32768, "max_target": 8192} | limits
    return read_post_head(head, size, **values)


def parse(data: bytes) -> Any:
    """Return path, target and headers of a request as a connection reads it by the parser."""
    request, raw_input = ParsedRequest(), RawInput()
    parser = httptools.HttpRequestParser(request)
    try:
        data, _ = skip_blank_line(data, 0)
        raw_input.append(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:  # the connection parses it again without it
            method, version = parser.get_method(), parser.get_http_version()
            head = without_upgrade(method, request.url, version, request.headers)
            if method != b"POST":
                return None
            data = head + data[upgrade.args[0] :]
            request, raw_input = ParsedRequest(), RawInput()
            raw_input.append(data)
            parser = httptools.HttpRequestParser(request)
            parser.feed_data(data)
        version, method = parser.get_http_version(), parser.get_method()
        if not raw_input.has_request_line(method, request.url, version):
            return None
        headers = validate_headers(request.headers, version)
        path, _ = parse_target(method, request.url)
    except (HttpError, httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    is_plain = method == b"POST" and version == "1.1" and parser.should_keep_alive()
    if request.complete_messages != 1 or request.body != BODY or not is_plain:
        return None
    if parser.should_upgrade() or {b"expect", b"transfer-encoding"} & headers.keys():
        return None
    return path, request.url, headers


@pytest.mark.parametrize("name", LINES)
def test_plain_heads_are_read(name: str) -> None:
    plain = read(head_of(LINES[name]))
    assert plain is not None
    assert (plain.path, plain.target, plain.headers) == parse(head_of(LINES[name]) + BODY)
    assert (plain.path, plain.target) == ("/v1/private/a", b"/v1/private/a?x=1")
    lower_names = {line.partition(b":")[0].lower() for line in LINES[name]}
    assert plain.headers.keys() == lower_names - {b"upgrade"}


@pytest.mark.parametrize(
    "line",
    [
        b"Transfer-Encoding: chunked", b"Expect: 100-continue",
        b"Connection: close", b"Connection: keep-alive, x", b"Proxy-Connection: close",
        b"Content-Length: 8", b"Host: b",
        b"Content-Length: 9", b"bad name: x", b"x_y: 1", b": x", b"x", b" folded: x", b"x: a\x00b",
        b"x: a\rb", b"x: a\nb", b"x: \x7f",
    ],
)  # fmt: skip
def test_unusual_heads_are_left_to_the_parser(line: bytes) -> None:
    for position in (0, 2, len(CURL)):
        assert read(head_of([*CURL[:position], line, *CURL[position:]])) is None


@pytest.mark.parametrize(
    "first",
    [
        b"GET /v1/private/a HTTP/1.1", b"POST /a HTTP/1.0", b"POST  /a HTTP/1.1",
        b"POST /a  HTTP/1.1", b"post /a HTTP/1.1", b"POST /a HTTP/1.1 ", b"POST a HTTP/1.1",
        b"POST * HTTP/1.1",
        b"POST http://h/a HTTP/1.1", b"POST //a HTTP/1.1", b"POST /%2e/a HTTP/1.1",
        b"POST /a RTSP/1.0", b"\r\nPOST /a HTTP/1.1", b"POST /\xe9 HTTP/1.1",
    ],
)  # fmt: skip
def test_unusual_request_lines_are_left_to_the_parser(first: bytes) -> None:
    assert read(head_of(CURL, first)) is None


@pytest.mark.parametrize(
    "limits", [{"max_headers": 4}, {"max_header_bytes": 100}, {"max_target": 10}, {"size": 7}]
)
def test_limits_are_left_to_the_parser(limits: dict[str, int]) -> None:
    assert read(head_of(CURL)) is not None
    assert read(head_of(CURL), **limits) is None


BYTES = [
    b"", b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b"\x80", b"\xff", b"0", b"8", b"_",
    b"\r\n ", b"\r\n\r\n", b"Host", b"close", b"Content-Length: 8\r\n", b"HTTP/1.0", b"%", b"//",
    b"Connection: close\r\n", b"\x7f", b",", b"chunked", b"\r\nexpect: 100-continue", b" \r\n",
]  # fmt: skip


@pytest.mark.unmeasured
@pytest.mark.parametrize("seed", range(4))
def test_what_is_read_is_read_as_by_the_parser(seed: int) -> None:
    rng = random.Random(seed)
    plain_count = 0
    for _ in range(6000):
        mutated = bytearray(head_of(rng.choice(list(LINES.values()))))
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(mutated))
            replacement = rng.choice(BYTES) if rng.random() < 0.8 else rng.randbytes(1)
            mutated[at : at + rng.choice([0, 0, 1, 4])] = replacement
        end = mutated.find(b"\r\n\r\n") + 4
        head = bytes(mutated[:end])
        plain = read(head)
        if plain is not None:
            plain_count += 1
            assert (plain.path, plain.target, plain.headers) == parse(head + BODY), head
    assert plain_count > 1500


@pytest.mark.parametrize(
    "line", [b"x:" + b" " * 4_000_000, b"x: a" + b" \t" * 2_000_000, b"x: " + b"a" * 4_000_000,
             b"\r\n".join([b"a:"] * 1_000_000), b"x" * 4_000_000],
    ids=["blanks", "blanks at the end", "letters", "many", "name"],
)  # fmt: skip
def test_reading_takes_linear_time(line: bytes) -> None:
    """Going back at each byte of such a line would take hours."""
    plain = read(head_of([*CURL, line]), max_header_bytes=1 << 30)
    assert (plain is not None) == line.endswith(b"aaa")


def test_many_lines_are_left_to_the_parser() -> None:
    lines = [b"a%d:" % number for number in range(96)]
    assert read(head_of([*CURL, *lines[:95]])) is not None
    assert read(head_of([*CURL, *lines])) is None
