"""Heads that come again: what one said is remembered by its bytes. Pure.

A client that keeps its connection sends one head over and over. Only the length of its bodies
changes, and what it, or a proxy before us, adds for tracing. What the parser made of such a head,
and every check it passed, holds for the same bytes whenever they come; so it is read once.
"""

import re
from typing import Final, Generic, TypeVar

_MOST: Final = 512
_LONGEST: Final = 2048
_DIGITS: Final = 9

# Lines that mean nothing to us, wherever they stand: the names and texts that any parser takes.
_FREE: Final = re.compile(
    rb"\r\n(?:x-request-id|x-correlation-id|traceparent|tracestate|x-b3-[a-z]{1,16}|b3"
    rb"|uber-trace-id|x-amzn-trace-id|x-cloud-trace-context|x-real-ip|x-forwarded-for)"
    rb": [!-~](?:[ -~]{0,1022}[!-~])?(?=\r\n|\Z)",
    re.IGNORECASE,
)
_NUMBER: Final = re.compile(rb"(?<!\r)\n[0-9]+\Z")  # of free lines, behind a key

Meaning = TypeVar("Meaning")


class Cut:
    """A read that begins with a whole head: its key, where its body begins, and the body's size.

    The key is the head without the digits of its length and without free lines, but for their
    number. Two heads with one key differ in those alone: the digits stand behind the first
    "ength: ", the same place in both.
    """

    __slots__ = ("begin", "key", "size")

    def __init__(self, key: bytes, begin: int, size: int) -> None:
        self.key = key
        self.begin = begin
        self.size = size


def cut(data: bytes) -> Cut | None:
    """Return what a read begins with; None where no head with a plain length is whole."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head, free = _FREE.subn(b"", data[:end])
    at = head.find(b"ength: ") + 7
    if at < 7:
        return None
    stop = head.find(b"\r", at)
    if stop < 0:
        stop = len(head)
    digits = head[at:stop]
    if not digits.isdigit() or len(digits) > _DIGITS or digits[0] == 48:
        return None
    key = head[:at] + head[stop:]
    return Cut(b"%b\n%d" % (key, free) if free else key, end + 4, int(digits))


def repeatable(key: bytes) -> bool:
    """Return whether the digits that a key leaves out were the value of Content-Length.

    So it is when they stand in a line of that name, and every line ends as a line must.
    """
    line = key[: key.find(b"ength: ") + 7].rpartition(b"\n")[2]
    head = _NUMBER.sub(b"", key)
    ends = head.count(b"\r\n")
    plain = head.count(b"\r") == head.count(b"\n") == ends and head[:1] != b"\r"
    return plain and line.lower() == b"content-length: " and len(key) <= _LONGEST


class Heads(Generic[Meaning]):
    """What heads meant, by their keys: the latest few hundred, each of at most 2 KiB."""

    def __init__(self) -> None:
        self._known: dict[bytes, Meaning] = {}

    def get(self, key: bytes) -> Meaning | None:
        """Return what a head means; None when it is not known."""
        return self._known.get(key)

    def learn(self, key: bytes, meaning: Meaning) -> None:
        """Remember a head that was read, and served as one with a plain Content-Length."""
        if not repeatable(key):
            return
        if len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        self._known[key] = meaning
