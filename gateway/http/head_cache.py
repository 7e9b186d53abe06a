"""A cache of parsed request heads, keyed by their bytes. Pure: no I/O, no clock.

A client with a persistent connection sends the same head again and again. Only Content-Length
changes, and the tracing headers that the client or a proxy adds. The result of parsing and
validating a head depends on its bytes alone, so a head that recurs is parsed only until it is
cached.
"""

from typing import Any, Final, Generic, TypeVar

from rpc.bounded_cache import BoundedCache

try:
    from gateway.http.head_native import split_head, strip_lines
except ImportError:  # not compiled
    from gateway.http.head_parts import split_head, strip_lines

_MAX_HEADS: Final = 512  # in the cache
_MAX_HEAD_BYTES: Final = 2048  # of one cached head

# Headers that do not decide how a request is served, mostly for tracing. A line of one is ignored
# only if its value is printable ASCII, which every parser accepts. A header that the gateway begins
# to read must be removed from this set; those of `gateway/request/tracing.py` and of
# `gateway/access/proxies.py` are read from each head.
_IGNORED_HEADERS: Final = frozenset({
    b"x-request-id", b"x-correlation-id", b"x-kong-request-id", b"kong-request-id", b"traceparent",
    b"tracestate", b"baggage", b"b3", b"x-b3-traceid", b"x-b3-spanid", b"x-b3-parentspanid",
    b"x-b3-sampled", b"uber-trace-id", b"sentry-trace", b"x-datadog-trace-id",
    b"x-datadog-parent-id", b"x-amzn-trace-id", b"x-cloud-trace-context", b"x-request-start",
    b"x-forwarded-for", b"x-real-ip", b"forwarded",
})  # fmt: skip

Value = TypeVar("Value")


# A head without the digits of its Content-Length; or such a head without its ignored lines too, and
# the number of those lines.
HeadKey = bytes | tuple[bytes, int]


class HeadLookup(Generic[Value]):
    """The lookup of a complete head at the start of a read.

    `key` is the key of the head in the cache, `value` the cached value or None. The body starts at
    the offset `body_start` of the read and has `body_size` bytes. Two heads with the same key
    differ only in the digits of Content-Length and in ignored lines: the digits follow the first
    "ength: ", which is at the same position in both.
    """

    __slots__ = ("body_size", "body_start", "key", "value")

    def __init__(self, key: HeadKey, body_start: int, body_size: int, value: Value | None) -> None:
        self.key = key
        self.body_start = body_start
        self.body_size = body_size
        self.value = value

    @property
    def has_ignored_lines(self) -> bool:
        """Return whether the head has lines that are not part of its key."""
        return not isinstance(self.key, bytes)


class HeadCache(Generic[Value]):
    """Values of parsed heads by key: at most 512 heads, each of at most 2 KiB.

    `significant_header` is the name of a header that the gateway reads by configuration: its lines
    are never ignored.
    """

    def __init__(self, significant_header: str = "") -> None:
        self._values: BoundedCache[HeadKey, Value] = BoundedCache(_MAX_HEADS)
        self._ignored_names = _IGNORED_HEADERS - {significant_header.lower().encode()}

    def find(self, data: bytes) -> HeadLookup[Value] | None:
        """Look up the head at the start of a read.

        Returns None if the head is incomplete or has no plain Content-Length: 1 to 9 digits without
        a leading zero.
        """
        split = split_head(data)
        if split is None:
            return None
        head, body_start, body_size = split
        value = self._values.entries.get(head)
        if value is not None:
            return HeadLookup(head, body_start, body_size, value)
        stripped, ignored_count = strip_lines(data[: body_start - 2], self._ignored_names)
        stripped_split = split_head(stripped + b"\r\n") if ignored_count else None
        if stripped_split is None:
            return HeadLookup(head, body_start, body_size, None)
        head, _, body_size = stripped_split  # key and size are of one split
        key = (head, ignored_count)
        return HeadLookup(key, body_start, body_size, self._values.entries.get(key))

    def add(self, key: HeadKey, value: Value) -> None:
        """Cache the value of a head that was parsed and accepted with a plain Content-Length."""
        if _is_cacheable(key if isinstance(key, bytes) else key[0]):
            self._values.add(key, value)


def split_only(data: bytes) -> HeadLookup[Any] | None:
    """Return the lookup of the head at the start of a read where no heads are cached."""
    split = split_head(data)
    return None if split is None else HeadLookup(split[0], split[1], split[2], None)


def _is_cacheable(head: bytes) -> bool:
    """Return whether the digits removed from a head were the value of Content-Length.

    They were if they followed that name at the start of a line and every line ends with CRLF.
    """
    line = head[: head.find(b"ength: ") + 7].rpartition(b"\n")[2]
    line_ends = head.count(b"\r\n")
    is_well_formed = head.count(b"\r") == head.count(b"\n") == line_ends and head[:1] != b"\r"
    return is_well_formed and line.lower() == b"content-length: " and len(head) <= _MAX_HEAD_BYTES
