"""Which heads of requests are served: framing, host, names, target. Pure.

One request must read the same to us and to every proxy before us, so what another might read
differently is refused (reference "reliability" 4.1 and 4.4). The path is made canonical here, once;
routing, checks, logs and metrics use that one.
"""

import re
from collections.abc import Mapping, Sequence

from gateway.request.response import HttpError

Headers = Sequence[tuple[bytes, bytes]]

# What a second one of must not stand beside the first.
_SINGLETON_HEADERS = frozenset({
    b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding",
    b"authorization", b"expect", b"upgrade",
})  # fmt: skip
_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
_TARGET = re.compile(rb"(/[!$&-.0-9:=@A-Z_a-z~%/]*)(?:\?([!$&-;=?-Z_a-z~%\[\]^|{}\"`]*))?")
_BAD_PATH = re.compile(
    rb"//|/\.{1,2}(?:/|\Z)|%(?:2[fF]|5[cC]|0|25|1|7[fF]|2[eE]|3[bB]|(?![0-9A-Fa-f]{2}))"
)
_PERCENT_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")


def skip_blank_line(data: bytes, blank_bytes: int) -> tuple[bytes, int]:
    """Return the data that begins a request, without a blank line before it.

    `blank` counts what was passed over before; it is returned anew. The parser would pass over
    more than one blank line, and over more than one space. Raises HttpError.
    """
    rest = data.lstrip(b"\r\n") if data[:1] in (b"\r", b"\n") else data
    stripped = len(data) - len(rest)
    total_blank = blank_bytes + stripped  # a read may have half of it
    if data[:stripped] != b"\r\n"[blank_bytes:total_blank] or (rest and total_blank not in (0, 2)):
        raise HttpError(400, "blank lines before a request")
    line_end = rest.find(b"\r\n")
    if line_end >= 0 and rest.find(b"  ", 0, line_end) >= 0:
        raise HttpError(400, "one space, and one only, must part a request line")
    return rest, total_blank


def validate_headers(headers: Headers, version: str, max_headers: int = 100) -> dict[bytes, bytes]:
    """Return the headers by name; what stands there twice is one list (RFC 9110, 5.3).

    `headers` have lower-case names, `most` is how many there may be, `version` the one of HTTP, for
    example "1.1". Raises HttpError.
    """
    if len(headers) > max_headers:
        raise HttpError(431, f"more than {max_headers} headers")
    by_name = combine_headers(headers)
    for name in by_name:
        if b"_" in name:
            raise HttpError(400, "a header name with '_' is not accepted")
    host = by_name.get(b"host")
    if host is None:
        if version != "1.0":
            raise HttpError(400, "exactly one Host header is needed")
    elif not _HOST.fullmatch(host):
        raise HttpError(400, "Host is not a host name with an optional port")
    if version not in ("1.1", "1.0"):
        raise HttpError(400, "the version must be HTTP/1.1 or HTTP/1.0")
    length = by_name.get(b"content-length")
    if length is not None and not _LENGTH.fullmatch(length):
        raise HttpError(400, "Content-Length is not one plain number")
    transfer_coding = by_name.get(b"transfer-encoding")
    if transfer_coding is not None and (transfer_coding.lower() != b"chunked" or version == "1.0"):
        raise HttpError(400, "Transfer-Encoding must be chunked, in HTTP/1.1")
    expected = by_name.get(b"expect")
    if expected is not None and expected.lower() != b"100-continue":
        raise HttpError(417, "Expect must be 100-continue")
    return by_name


def combine_headers(headers: Headers) -> dict[bytes, bytes]:
    """Return the headers by name; raises HttpError for two where there may be one."""
    combined = dict(headers)
    if len(combined) == len(headers):
        return combined
    combined = {}
    for name, value in headers:
        if name not in combined:
            combined[name] = value
        elif name == b"host":
            raise HttpError(400, "exactly one Host header is needed")
        elif name in _SINGLETON_HEADERS:
            raise HttpError(400, f"{name.decode()} stands there twice")
        else:
            combined[name] += b", " + value
    return combined


def check_upgrade(headers: Mapping[bytes, bytes], *, offered: bool) -> None:
    """Refuse a WebSocket handshake that has a body. Raises HttpError."""
    if not offered or headers.get(b"upgrade", b"").lower() != b"websocket":
        return
    if b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0":
        raise HttpError(400, "a WebSocket handshake has no body")


def without_upgrade(method: bytes, target: bytes, version: str, headers: Headers) -> bytes:
    """Return the bytes of a head that was checked, without its offer of another protocol."""
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode())]
    for name, value in headers:
        if name == b"connection":
            tokens = [token.strip() for token in value.split(b",")]
            value = b", ".join(token for token in tokens if token.lower() != b"upgrade")
        if name != b"upgrade":
            lines.append(b"%b: %b" % (name, value))
    return b"\r\n".join([*lines, b"", b""])


def parse_target(method: bytes, target: bytes) -> tuple[str, bytes]:
    """Return path and query of what is asked for: a path, or with OPTIONS the server, "*".

    Raises HttpError: 400 for a target that is neither, 405 for CONNECT, which asks for a tunnel
    (RFC 9110, 9.3.6).
    """
    if method == b"CONNECT":
        raise HttpError(405, "CONNECT is not served", headers=[(b"allow", b"GET, HEAD, POST")])
    return ("*", b"") if target == b"*" and method == b"OPTIONS" else parse_origin_form(target)


def parse_origin_form(target: bytes) -> tuple[str, bytes]:
    """Return path and query of a request's target; the path is decoded, and reads in one way only.

    Raises HttpError for what is not in origin form, and for a path in which a proxy might see
    another: encoded delimiters, dot segments, empty segments, what is not UTF-8.
    """
    match = _TARGET.fullmatch(target)
    if match is None:
        raise HttpError(400, "the target must be a plain path, with '%' for other characters")
    path, query = match.groups(default=b"")
    if _BAD_PATH.search(path):
        raise HttpError(400, "the path is not in its canonical form")
    if b"%" in path:
        path = _PERCENT_ENCODED.sub(lambda quoted: bytes.fromhex(quoted[1].decode()), path)
    try:
        return path.decode("utf-8"), query
    except UnicodeDecodeError:
        raise HttpError(400, "the path is not UTF-8") from None
