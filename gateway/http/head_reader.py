"""Reads the head of a request that is not in the cache, if it is plain. Pure: no I/O, no clock.

The parser reports each header by a call; that costs more than all the rest of a small request. So
the heads that nearly all clients send are read by one regular expression. What is unusual in any
way, valid or not, is left to the parser: it alone decides what is an error, and which.
"""

import re
from typing import Final

from gateway.http.head_validation import parse_target, validate_headers
from gateway.request.response import HttpError

# A method, a target and fields, each in a line that ends with CRLF (RFC 9112, 3 and 5). A field has
# a token as its name and no control character in its value (RFC 9110, 5.5), and no line is folded.
_HEAD: Final = re.compile(
    rb"POST ([!-~]+) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)+)"
    rb"\r\n"
)
_BLANKS: Final = b" \t"
# Fields that change how a request is framed or answered.
_UNUSUAL_HEADERS: Final = (b"transfer-encoding", b"expect", b"upgrade", b"proxy-connection")


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
    than `body_size`, or is near one of the limits, which are in bytes.
    """
    if len(head) > max_header_bytes or b" \r\n" in head or b"\t\r\n" in head:
        return None  # the parser takes white space at the end of a line as part of the value
    if head.count(b"\r\n") > max_headers + 2:
        return None
    match = _HEAD.fullmatch(head)
    if match is None:
        return None
    target, lines = match.groups()
    if len(target) > max_target:
        return None
    fields = []
    for line in lines[:-2].split(b"\r\n"):
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.lstrip(_BLANKS)))
    try:
        headers = validate_headers(fields, "1.1", max_headers)
        path, _ = parse_target(b"POST", target)
    except HttpError:
        return None
    for name in _UNUSUAL_HEADERS:
        if name in headers:
            return None
    if headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    if headers.get(b"content-length") != b"%d" % body_size:
        return None
    return PostHead(path, target, headers)
