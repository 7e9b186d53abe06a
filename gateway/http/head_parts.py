"""The parts of a request head, by its bytes alone. Pure: no I/O, no clock.

`gateway/http/head_native.pyx` has the same functions compiled; the heads of nearly all requests
pass through them.
"""

import re
from typing import Final

_MAX_LENGTH_DIGITS: Final = 9  # of Content-Length
# A method, a target and fields, each in a line that ends with CRLF (RFC 9112, 3 and 5). A field has
# a token as its name and no control character in its value (RFC 9110, 5.5), and no line is folded.
_POST_HEAD: Final = re.compile(
    rb"POST ([!-~]+) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)+)"
    rb"\r\n"
)
_BLANKS: Final = b" \t"
# A path of unreserved characters whose segments are not empty and do not begin with a dot, and a
# query of those that RFC 3986 lets stand there.
_TARGET: Final = re.compile(
    rb"((?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+)(?:\?([A-Za-z0-9._~!$&'()*+,;=:@/?%-]*))?"
)
# The line of a field, from its name on: a value of printable ASCII is accepted by every parser.
_LINE: Final = re.compile(rb"([!#$%&'*+.^`|~0-9A-Za-z-]{1,32}): ([!-~](?:[ -~]{0,1022}[!-~])?)")


def split_head(data: bytes) -> tuple[bytes, int, int] | None:
    """Return the head of a read without the digits of its Content-Length, and two numbers.

    The head ends before the empty line. The numbers are the offset at which the body starts, and
    the Content-Length in bytes. Returns None if the head is incomplete or has no plain length: 1 to
    9 digits without a leading zero.

    The length is taken from the first "ength: ", which may belong to another header: the head cache
    makes sure that it does not before it keeps a head.
    """
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    start = data.find(b"ength: ", 0, head_end) + 7
    if start < 7:
        return None
    end = data.find(b"\r", start)
    digits = data[start:end]
    if not digits.isdigit() or len(digits) > _MAX_LENGTH_DIGITS or digits[0] == 48:
        return None
    return data[:start] + data[end:head_end], head_end + 4, int(digits)


def strip_lines(head: bytes, names: frozenset[bytes]) -> tuple[bytes, int]:
    """Return a head without the lines of the fields `names`, and how many they were.

    `names` are in lower case, of at most 32 characters. Lines end with CRLF, and the first is the
    request line. A line stays unless its value is 1 to 1,024 characters of printable ASCII, after
    one blank and without blanks at its ends.
    """
    first, *lines = head.split(b"\r\n")
    kept = [first]
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None or match[1].lower() not in names:
            kept.append(line)
    return b"\r\n".join(kept), 1 + len(lines) - len(kept)


def read_target(target: bytes) -> tuple[str, bytes] | None:
    """Return the path and the query of a target, if it is plain: one that no one reads otherwise.

    None says nothing of whether it is valid.
    """
    match = _TARGET.fullmatch(target)
    return None if match is None else (match[1].decode("ascii"), match[2] or b"")


def read_fields(head: bytes) -> tuple[bytes, dict[bytes, bytes]] | None:
    """Return the target and the fields of the head of a POST request, if it is plain.

    `head` ends with its empty line. Names are in lower case. Returns None if the head is not valid,
    or unusual: a name occurs twice or has a "_", which is refused, or a value has white space at
    its end, which the parser keeps.
    """
    if b" \r\n" in head or b"\t\r\n" in head:
        return None
    match = _POST_HEAD.fullmatch(head)
    if match is None:
        return None
    target, lines = match.groups()
    fields: dict[bytes, bytes] = {}
    for line in lines[:-2].split(b"\r\n"):
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in fields:
            return None
        fields[name] = value.lstrip(_BLANKS)
    return target, fields
