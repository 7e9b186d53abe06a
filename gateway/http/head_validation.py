"""Validation of request heads: framing, Host, header names, target. Pure: no I/O, no clock.

The gateway and every proxy in front of it must interpret a request in the same way. A head that
another implementation might interpret differently is rejected (docs/architecture.md; RFC 9112). The
path is made canonical here, once; routing, checks, logs and metrics use the canonical path.
"""

import re
from collections.abc import Mapping, Sequence

from gateway.request.response import HttpError

try:
    from gateway.http.head_native import read_target
except ImportError:  # not compiled
    from gateway.http.head_parts import read_target

Headers = Sequence[tuple[bytes, bytes]]

# Header fields that may occur only once.
_SINGLETON_HEADERS = frozenset({
    b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding",
    b"authorization", b"expect", b"upgrade",
})  # fmt: skip
_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
_ABSOLUTE_TARGET = re.compile(rb"(?i:https?)://([^/?#@\\]+)(|[/?].*)", re.DOTALL)
_TARGET = re.compile(rb"(/[!$&-.0-9:=@A-Z_a-z~%/]*)(?:\?([!$&-;=?-Z_a-z~%\[\]^|{}\"`]*))?")
_BAD_PATH = re.compile(
    rb"//|/\.{1,2}(?:/|\Z)|%(?:2[fF]|5[cC]|0|25|1|7[fF]|2[eE]|3[bB]|(?![0-9A-Fa-f]{2}))"
)
_PERCENT_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")


def skip_blank_line(data: bytes, blank_bytes: int) -> tuple[bytes, int]:
    """Return the data without the blank line that may precede a request, and the bytes skipped.

    `blank_bytes` is the number of bytes of that blank line skipped in earlier reads; the returned
    number includes it. The parser accepts several blank lines; this function does not (RFC 9112,
    2.2). Raises HttpError 400.
    """
    rest = data.lstrip(b"\r\n") if data[:1] in (b"\r", b"\n") else data
    stripped = len(data) - len(rest)
    total_blank = blank_bytes + stripped  # a read may end between CR and LF
    if data[:stripped] != b"\r\n"[blank_bytes:total_blank] or (rest and total_blank not in (0, 2)):
        raise HttpError(400, "blank lines before a request")
    return rest, total_blank


def validate_headers(headers: Headers, version: str, max_headers: int = 100) -> dict[bytes, bytes]:
    """Validate header fields and return them by name; repeated ones are joined (RFC 9110, 5.3).

    `headers` have lower-case names, `max_headers` is the maximum number of fields, `version` is the
    HTTP version, for example "1.1". Raises HttpError 400, 417 or 431.
    """
    if len(headers) > max_headers:
        raise HttpError(431, f"more than {max_headers} headers")
    by_name = combine_headers(headers)
    if b"".join(by_name).find(b"_") >= 0:
        raise HttpError(400, "a header name with '_' is not accepted")
    host = by_name.get(b"host")
    if host is None:
        if version != "1.0":
            raise HttpError(400, "exactly one Host header is needed")
    elif not is_host(host):
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


def is_host(value: bytes) -> bool:
    """Return whether a field value is a host name or an address, with an optional port."""
    return _HOST.fullmatch(value) is not None


def combine_headers(headers: Headers) -> dict[bytes, bytes]:
    """Return header fields by name; repeated ones are joined with a comma.

    Raises HttpError 400 if a field that may occur only once is repeated.
    """
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
            raise HttpError(400, f"{name.decode()} occurs twice")
        else:
            combined[name] += b", " + value
    return combined


def check_upgrade(method: bytes, headers: Mapping[bytes, bytes], *, offered: bool) -> None:
    """Reject a WebSocket handshake that has a body.

    `offered`: the parser found a request to upgrade. Only GET can be a handshake; with another
    method the request is served as if it had no Upgrade header, which a proxy may add to all
    requests. Raises HttpError 400.
    """
    if not offered or method != b"GET" or headers.get(b"upgrade", b"").lower() != b"websocket":
        return
    if b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0":
        raise HttpError(400, "a WebSocket handshake has no body")


def without_upgrade(method: bytes, target: bytes, version: str, headers: Headers) -> bytes:
    """Return the bytes of a validated head without its request to upgrade.

    The Upgrade header and the `upgrade` option of the Connection header are removed.
    """
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode())]
    for name, value in headers:
        if name == b"connection":
            value = without_upgrade_option(value)
        if name != b"upgrade":
            lines.append(b"%b: %b" % (name, value))
    return b"\r\n".join([*lines, b"", b""])


def without_upgrade_option(connection: bytes) -> bytes:
    """Return the value of a Connection header without its option `upgrade`."""
    options = [option.strip() for option in connection.split(b",")]
    return b", ".join(option for option in options if option.lower() != b"upgrade")


def to_origin_form(
    method: bytes, target: bytes, headers: Headers
) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return a target in absolute form in origin form, and the headers with its Host.

    A server must accept the absolute form, and its authority replaces the Host header (RFC 9112,
    3.2.2). A target in another form is returned as it is. `headers` have lower-case names.
    """
    match = _ABSOLUTE_TARGET.fullmatch(target)
    if match is None or method == b"CONNECT":
        return target, list(headers)
    host, rest = match.groups()
    if not rest.startswith(b"/"):
        rest = b"*" if method == b"OPTIONS" and not rest else b"/" + rest
    others = [(name, value) for name, value in headers if name != b"host"]
    if len(headers) - len(others) > 1:
        return target, list(headers)  # two Host headers are rejected in any form
    return rest, [(b"host", host), *others]


def parse_target(method: bytes, target: bytes) -> tuple[str, bytes]:
    """Return the path and the query of a request target.

    The target is in origin form or, with OPTIONS, in asterisk form ("*"). Raises HttpError: 400 for
    any other form, 405 for CONNECT, which requests a tunnel (RFC 9110, 9.3.6).
    """
    if method == b"CONNECT":
        raise HttpError(405, "CONNECT is not served", headers=[(b"allow", b"GET, HEAD, POST")])
    return ("*", b"") if target == b"*" and method == b"OPTIONS" else parse_origin_form(target)


def parse_origin_form(target: bytes) -> tuple[str, bytes]:
    """Return the decoded path and the query of a target in origin form.

    Raises HttpError 400 if the target is in another form, or if a proxy might interpret the path
    differently: encoded delimiters, dot segments, empty segments, bytes that are not UTF-8.
    """
    plain = read_target(target)
    if plain is not None:
        return plain
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
