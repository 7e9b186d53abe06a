"""Heads that come again: what one said is remembered by its bytes. Pure.

A client that keeps its connection sends one head over and over, and only the length of its bodies
changes. What the parser made of such a head, and every check it passed, holds for the same bytes
whenever they come; so it is read once.
"""

from typing import Final, Generic, TypeVar

_MOST: Final = 512
_LONGEST: Final = 2048
_DIGITS: Final = 9

Meaning = TypeVar("Meaning")


class Cut:
    """A read that begins with a whole head: its key, where its body begins, and the body's size.

    The key is the head without the digits of its length. Two heads with one key differ in those
    alone: they stand behind its first "ength: ", the same place in both.
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
    at = data.find(b"ength: ", 0, end) + 7
    if at < 7:
        return None
    stop = data.find(b"\r", at, end + 1)
    digits = data[at:stop]
    if not digits.isdigit() or len(digits) > _DIGITS or digits[0] == 48:
        return None
    return Cut(data[:at] + data[stop:end], end + 4, int(digits))


def repeatable(key: bytes) -> bool:
    """Return whether the digits that a key leaves out were the value of Content-Length.

    So it is when they stand in a line of that name, and every line ends as a line must.
    """
    line = key[: key.find(b"ength: ") + 7].rpartition(b"\n")[2]
    ends = key.count(b"\r\n")
    plain = key.count(b"\r") == key.count(b"\n") == ends and key[:1] != b"\r"
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
