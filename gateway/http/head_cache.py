"""Heads that come again: what one said is remembered by its bytes. Pure.

A client that keeps its connection sends one head over and over. Only the length of its bodies
changes, and what it, or a proxy before us, adds for tracing. What the parser made of such a head,
and every check it passed, holds for the same bytes whenever they come; so it is read once.
"""

import re
from typing import Final, Generic, TypeVar

_MAX_HEADS: Final = 512  # heads that are remembered
_MAX_HEAD_BYTES: Final = 2048  # bytes of one
_MAX_LENGTH_DIGITS: Final = 9  # of a length

# Lines that mean nothing to us, wherever they stand: names of tracing, and texts that any parser
# takes. Whoever begins to read one of these headers takes it out.
_IGNORED_HEADERS: Final = (
    "x-request-id", "x-correlation-id", "x-kong-request-id", "kong-request-id", "traceparent",
    "tracestate", "baggage", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid",
    "x-b3-sampled", "uber-trace-id", "sentry-trace", "x-datadog-trace-id", "x-datadog-parent-id",
    "x-amzn-trace-id", "x-cloud-trace-context", "x-request-start", "x-forwarded-for", "x-real-ip",
)  # fmt: skip

Value = TypeVar("Value")


# A head without the digits of its length; or without its free lines too, and how many they were.
HeadKey = bytes | tuple[bytes, int]


class HeadLookup(Generic[Value]):
    """A read that begins with a whole head: its key, where its body begins, and the body's size.

    Two heads with one key differ in digits and in free lines alone: the digits stand behind the
    first "ength: ", which is the same place in both. `meaning` is None where it is not known.
    """

    __slots__ = ("body_size", "body_start", "key", "value")

    def __init__(self, key: HeadKey, body_start: int, body_size: int, value: Value | None) -> None:
        self.key = key
        self.body_start = body_start
        self.body_size = body_size
        self.value = value


class HeadCache(Generic[Value]):
    """What heads meant, by their keys: the latest few hundred, each of at most 2 KiB.

    `kept` names a header that means something here, whatever its name is elsewhere.
    """

    def __init__(self, significant_header: str = "") -> None:
        self._values: dict[HeadKey, Value] = {}
        names = "|".join(name for name in _IGNORED_HEADERS if name != significant_header.lower())
        line = rf"\r\n(?:{names}): [!-~](?:[ -~]{{0,1022}}[!-~])?(?=\r\n|\Z)"
        self._ignored_lines = re.compile(line.encode(), re.IGNORECASE)

    def find(self, data: bytes) -> HeadLookup[Value] | None:
        """Return what a read begins with; None where no head with a plain length is whole."""
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            return None
        head = data[:head_end]
        split = _split_content_length(head)
        if split is None:
            return None
        key: HeadKey = split[0]
        value = self._values.get(key)
        if value is None:
            stripped_head, ignored_count = self._ignored_lines.subn(b"", head)
            stripped_split = _split_content_length(stripped_head) if ignored_count else None
            if stripped_split is not None:
                split, key = stripped_split, (stripped_split[0], ignored_count)
                value = self._values.get(key)
        return HeadLookup(key, head_end + 4, split[1], value)  # key and size of one cut

    def add(self, key: HeadKey, value: Value) -> None:
        """Remember a head that was read, and served as one with a plain Content-Length."""
        if not _is_cacheable(key if isinstance(key, bytes) else key[0]):
            return
        if len(self._values) >= _MAX_HEADS:
            del self._values[next(iter(self._values))]
        self._values[key] = value


def _split_content_length(head: bytes) -> tuple[bytes, int] | None:
    """Return a head without the digits of its length, and the length; None for no plain one."""
    start = head.find(b"ength: ") + 7
    if start < 7:
        return None
    end = head.find(b"\r", start)
    if end < 0:
        end = len(head)
    digits = head[start:end]
    if not digits.isdigit() or len(digits) > _MAX_LENGTH_DIGITS or digits[0] == 48:
        return None
    return head[:start] + head[end:], int(digits)


def _is_cacheable(head: bytes) -> bool:
    """Return whether the digits that were left out were the value of Content-Length.

    So it is when they stood in a line of that name, and every line ends as a line must.
    """
    line = head[: head.find(b"ength: ") + 7].rpartition(b"\n")[2]
    line_ends = head.count(b"\r\n")
    is_well_formed = head.count(b"\r") == head.count(b"\n") == line_ends and head[:1] != b"\r"
    return is_well_formed and line.lower() == b"content-length: " and len(head) <= _MAX_HEAD_BYTES
