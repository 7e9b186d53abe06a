"""Heads that come again: what one said is remembered by its bytes. Pure.

A client that keeps its connection sends one head over and over. Only the length of its bodies
changes, and what it, or a proxy before us, adds for tracing. What the parser made of such a head,
and every check it passed, holds for the same bytes whenever they come; so it is read once.
"""

import re
from typing import Final, Generic, TypeVar

_MOST: Final = 512  # heads that are remembered
_LONGEST: Final = 2048  # bytes of one
_DIGITS: Final = 9  # of a length

# Lines that mean nothing to us, wherever they stand: names of tracing, and texts that any parser
# takes. Whoever begins to read one of these headers takes it out.
_FREE_NAMES: Final = (
    "x-request-id", "x-correlation-id", "x-kong-request-id", "kong-request-id", "traceparent",
    "tracestate", "baggage", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid",
    "x-b3-sampled", "uber-trace-id", "sentry-trace", "x-datadog-trace-id", "x-datadog-parent-id",
    "x-amzn-trace-id", "x-cloud-trace-context", "x-request-start", "x-forwarded-for", "x-real-ip",
)  # fmt: skip

Meaning = TypeVar("Meaning")


# A head without the digits of its length; or without its free lines too, and how many they were.
Key = bytes | tuple[bytes, int]


class Read(Generic[Meaning]):
    """A read that begins with a whole head: its key, where its body begins, and the body's size.

    Two heads with one key differ in digits and in free lines alone: the digits stand behind the
    first "ength: ", which is the same place in both. `meaning` is None where it is not known.
    """

    __slots__ = ("begin", "key", "meaning", "size")

    def __init__(self, key: Key, begin: int, size: int, meaning: Meaning | None) -> None:
        self.key = key
        self.begin = begin
        self.size = size
        self.meaning = meaning


class Heads(Generic[Meaning]):
    """What heads meant, by their keys: the latest few hundred, each of at most 2 KiB.

    `kept` names a header that means something here, whatever its name is elsewhere.
    """

    def __init__(self, kept: str = "") -> None:
        self._known: dict[Key, Meaning] = {}
        names = "|".join(name for name in _FREE_NAMES if name != kept.lower())
        line = rf"\r\n(?:{names}): [!-~](?:[ -~]{{0,1022}}[!-~])?(?=\r\n|\Z)"
        self._free = re.compile(line.encode(), re.IGNORECASE)

    def find(self, data: bytes) -> Read[Meaning] | None:
        """Return what a read begins with; None where no head with a plain length is whole."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = data[:end]
        told = _cut(head)
        if told is None:
            return None
        key: Key = told[0]
        meaning = self._known.get(key)
        if meaning is None:
            rest, free = self._free.subn(b"", head)
            plain = _cut(rest) if free else None
            if plain is not None:
                told, key = plain, (plain[0], free)
                meaning = self._known.get(key)
        return Read(key, end + 4, told[1], meaning)  # key and size of one cut

    def learn(self, key: Key, meaning: Meaning) -> None:
        """Remember a head that was read, and served as one with a plain Content-Length."""
        if not _repeats(key if isinstance(key, bytes) else key[0]):
            return
        if len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        self._known[key] = meaning


def _cut(head: bytes) -> tuple[bytes, int] | None:
    """Return a head without the digits of its length, and the length; None for no plain one."""
    at = head.find(b"ength: ") + 7
    if at < 7:
        return None
    stop = head.find(b"\r", at)
    if stop < 0:
        stop = len(head)
    digits = head[at:stop]
    if not digits.isdigit() or len(digits) > _DIGITS or digits[0] == 48:
        return None
    return head[:at] + head[stop:], int(digits)


def _repeats(head: bytes) -> bool:
    """Return whether the digits that were left out were the value of Content-Length.

    So it is when they stood in a line of that name, and every line ends as a line must.
    """
    line = head[: head.find(b"ength: ") + 7].rpartition(b"\n")[2]
    ends = head.count(b"\r\n")
    plain = head.count(b"\r") == head.count(b"\n") == ends and head[:1] != b"\r"
    return plain and line.lower() == b"content-length: " and len(head) <= _LONGEST
