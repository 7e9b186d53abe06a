"""Heads as a table: what is served, what is refused, and the one canonical path."""

import pytest

from gateway.http.head_validation import (
    check_upgrade,
    combine_headers,
    parse_origin_form,
    skip_blank_line,
    to_origin_form,
    validate_headers,
)
from gateway.request.response import HttpError

HOST = (b"host", b"a.example:80")


@pytest.mark.parametrize(
    "headers",
    [
        [HOST],
        [(b"host", b"127.0.0.1")],
        [(b"host", b"[::1]:8200")],
        [HOST, (b"content-length", b"0")],
        [HOST, (b"content-length", b"16777216")],
        [HOST, (b"transfer-encoding", b"Chunked")],
        [HOST, (b"expect", b"100-Continue")],
        [HOST, (b"x-a", b"1"), (b"x-a", b"2")],
    ],
    ids=str,
)
def test_a_good_head(headers: list[tuple[bytes, bytes]]) -> None:
    assert validate_headers(headers, "1.1") == combine_headers(headers)


@pytest.mark.parametrize(
    ("headers", "version", "status"),
    [
        ([], "1.1", 400),
        ([HOST, HOST], "1.1", 400),
        ([(b"host", b"")], "1.1", 400),
        ([(b"host", b"a@b/c d")], "1.1", 400),
        ([(b"host", b"a,b")], "1.1", 400),
        ([(b"host", b"a:b")], "1.1", 400),
        ([HOST], "2.0", 400),
        ([HOST], "0.9", 400),
        ([HOST, (b"content-length", b"010")], "1.1", 400),
        ([HOST, (b"content-length", b"1, 1")], "1.1", 400),
        ([HOST, (b"content-length", b"1"), (b"content-length", b"1")], "1.1", 400),
        ([HOST, (b"content-length", b"9" * 19)], "1.1", 400),
        ([HOST, (b"transfer-encoding", b"cow")], "1.1", 400),
        ([HOST, (b"transfer-encoding", b"gzip, chunked")], "1.1", 400),
        ([HOST, (b"transfer-encoding", b"cow"), (b"transfer-encoding", b"chunked")], "1.1", 400),
        ([HOST, (b"transfer-encoding", b"chunked")], "1.0", 400),
        ([HOST, (b"x_y", b"1")], "1.1", 400),
        ([HOST, (b"expect", b"y")], "1.1", 417),
        ([HOST, (b"expect", b"y 100-continue")], "1.1", 417),
        ([HOST, (b"content-type", b"a"), (b"content-type", b"b")], "1.1", 400),
        ([HOST, (b"authorization", b"a"), (b"authorization", b"a")], "1.1", 400),
    ],
    ids=str,
)
def test_a_bad_head(headers: list[tuple[bytes, bytes]], version: str, status: int) -> None:
    with pytest.raises(HttpError) as caught:
        validate_headers(headers, version)
    assert caught.value.status == status


def test_http_1_0_needs_no_host() -> None:
    assert validate_headers([], "1.0") == {}


def test_repeated_headers_are_joined() -> None:
    assert combine_headers([(b"x", b"1"), (b"y", b"2"), (b"x", b"3")]) == {
        b"x": b"1, 3",
        b"y": b"2",
    }


@pytest.mark.parametrize(
    ("method", "target", "expected", "host"),
    [
        (b"GET", b"http://b/livez?x=http://c/", b"/livez?x=http://c/", b"b"),
        (b"POST", b"HTTPS://b:8443/v1", b"/v1", b"b:8443"),
        (b"GET", b"http://b", b"/", b"b"),
        (b"GET", b"http://b?q", b"/?q", b"b"),
        (b"OPTIONS", b"http://b", b"*", b"b"),
        (b"GET", b"http://[::1]:80/", b"/", b"[::1]:80"),
        (b"GET", b"/livez", b"/livez", b"a"),
        (b"GET", b"*", b"*", b"a"),
        (b"GET", b"ftp://b/", b"ftp://b/", b"a"),
        (b"GET", b"http:///livez", b"http:///livez", b"a"),
        (b"GET", b"http://user@b/", b"http://user@b/", b"a"),
        (b"CONNECT", b"http://b/", b"http://b/", b"a"),
    ],
)
def test_absolute_target_replaces_host(
    method: bytes, target: bytes, expected: bytes, host: bytes
) -> None:
    headers = [(b"accept", b"*/*"), (b"host", b"a"), (b"x", b"1")]
    new_target, new_headers = to_origin_form(method, target, headers)
    assert new_target == expected
    assert sorted(new_headers) == sorted([(b"host", host), (b"accept", b"*/*"), (b"x", b"1")])


def test_absolute_target_does_not_hide_a_second_host() -> None:
    headers = [(b"host", b"a"), (b"host", b"a")]
    assert to_origin_form(b"GET", b"http://a/", headers) == (b"http://a/", headers)


@pytest.mark.parametrize("length", [b"3", b"00"])
def test_upgrade_with_a_body_is_rejected(length: bytes) -> None:
    headers = {b"upgrade": b"WebSocket", b"content-length": length}
    with pytest.raises(HttpError):
        check_upgrade(b"GET", headers, offered=True)
    check_upgrade(b"GET", headers, offered=False)
    check_upgrade(b"POST", headers, offered=True)
    check_upgrade(b"GET", {b"upgrade": b"h2c", b"content-length": length}, offered=True)
    check_upgrade(b"GET", {b"upgrade": b"websocket", b"content-length": b"0"}, offered=True)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", b""),
        (b"/v1/private/ocr", "/v1/private/ocr", b""),
        (b"/v1/private/ocr?a=b&c=%2f", "/v1/private/ocr", b"a=b&c=%2f"),
        (b"/v1/%70rivate/o-c_r.2~", "/v1/private/o-c_r.2~", b""),
        (b"/a/", "/a/", b""),
        (b"/%E4%B8%AD", "/中", b""),
        (b"/a%20b", "/a b", b""),
        (b"/a..b/...", "/a..b/...", b""),
    ],
)
def test_canonical_target(target: bytes, path: str, query: bytes) -> None:
    assert parse_origin_form(target) == (path, query)


@pytest.mark.parametrize(
    "target",
    [
        b"", b"a", b"*", b"a:80", b"http://evil/x", b"/a#b", b"//a", b"/a//b", b"/..", b"/../a",
        b"/a/../b", b"/a/..", b"/./a", b"/a/.", b"/%2e%2e/a", b"/.%2E/a", b"/a%2fb", b"/a%2Fb",
        b"/a%5cb", b"/a\\b", b"/a;b", b"/a%3bb", b"/a%00", b"/a%0d%0aX", b"/a%25", b"/a%2525",
        b"/a%", b"/a%4", b"/a%zz", b"/\xe4\xb8\xad", b"/%ff", b"/%c0%af", b"/%ed%a0%80", b"/a b",
        b"/a\x7f", b"/a%7f", b"/%1f", b"/a\tb",
    ],
)  # fmt: skip
def test_ambiguous_target_is_rejected(target: bytes) -> None:
    with pytest.raises(HttpError) as caught:
        parse_origin_form(target)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "reads",
    [
        [b"GET / HTTP/1.1\r\n"], [b"\r\nGET / HTTP/1.1\r\n"], [b"\r\n", b"GET"],
        [b"\r", b"\n", b"GET"], [b"\r", b"\nGET"],
    ],
)  # fmt: skip
def test_one_leading_blank_line_is_skipped(reads: list[bytes]) -> None:
    remainder, blank_line_state = b"", 0
    for data in reads:
        remainder, blank_line_state = skip_blank_line(data, blank_line_state)
    assert remainder.startswith(b"GET")


@pytest.mark.parametrize(
    "reads",
    [
        [b"\n"], [b"\r\r"], [b"\rGET"], [b"\r", b"GET"], [b"\r", b"\r"], [b"\r\n\r\n"],
        [b"\r\n", b"\r\n"], [b"\r\n", b"\r"], [b"\r", b"\n", b"\r"], [b"\r\n\rGET"],
    ],
)  # fmt: skip
def test_more_blank_lines_are_rejected(reads: list[bytes]) -> None:
    blank_line_state = 0
    with pytest.raises(HttpError, match="blank lines"):
        for data in reads:
            _, blank_line_state = skip_blank_line(data, blank_line_state)
