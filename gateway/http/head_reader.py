"""Reads the head of a request that is not in the cache, if it is plain. Pure: no I/O, no clock.

The parser reports each header by a call; that costs more than all the rest of a small request. So
the heads that nearly all clients send are read at once. What is unusual in any way, valid or not,
is left to the parser: it alone decides what is an error, and which.
"""

from typing import Final

from gateway.http.head_validation import is_host, parse_target, without_upgrade_option
from gateway.request.response import HttpError

try:
    from gateway.http.head_native import read_fields
except ImportError:  # not compiled
    from gateway.http.head_parts import read_fields

# Fields that change how a request is framed or answered.
_UNUSUAL_HEADERS: Final = (b"transfer-encoding", b"expect", b"proxy-connection")
# Options of a connection that stays open. Java's client asks for HTTP/2 in each request; a server
# may ignore that (RFC 9110, 7.8).
_KEEPING_OPTIONS: Final = (b"keep-alive", b"upgrade", b"http2-settings")


class PostHead:
    """A POST request that keeps its connection and has a body of known length.

    `headers` have lower-case names. `path` is canonical and decoded; `target` is as sent.
    """

    __slots__ = ("headers", "path", "target")

    def __init__(self, path: str, target: bytes, headers: dict[bytes, bytes]) -> None:
        self.path = path
        self.target = target
        self.headers = headers


def read_post_head(
    head: bytes, body_size: int, max_headers: int, max_header_bytes: int, max_target: int
) -> PostHead | None:
    """Return the head of a read, or None if the parser has to read it.

    `head` ends with its empty line. None if it is not plain, not valid, has another Content-Length
    than `body_size`, or is over one of the limits: a number of headers, and bytes.
    """
    parts = read_fields(head) if len(head) <= max_header_bytes else None
    if parts is None:
        return None
    target, headers = parts
    if len(target) > max_target or len(headers) > max_headers:
        return None
    host = headers.get(b"host")
    # So that Content-Length is a plain number too.
    if host is None or headers.get(b"content-length") != b"%d" % body_size or not is_host(host):
        return None
    for name in _UNUSUAL_HEADERS:
        if name in headers:
            return None
    if headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        for option in headers[b"connection"].split(b","):
            if option.strip().lower() not in _KEEPING_OPTIONS:
                return None
        remove_upgrade(headers)
    try:
        return PostHead(parse_target(b"POST", target)[0], target, headers)
    except HttpError:
        return None


def remove_upgrade(headers: dict[bytes, bytes]) -> None:
    """Remove the request to upgrade from header fields, if there is one, as the parser's way does.

    It is one if it names a protocol and the Connection header has the option `upgrade`.
    """
    connection = headers[b"connection"]
    remaining = without_upgrade_option(connection)
    if headers.get(b"upgrade") and remaining != connection:
        del headers[b"upgrade"]
        headers[b"connection"] = remaining
