"""What the parser does not report of the bytes of a request. Pure: no I/O, no clock.

httptools accepts the request lines of RTSP and ICE and several spaces in a line, and reports
neither; nor does it report the size of a chunk before all of its data has arrived.
"""

import re

_CHUNK_HEAD = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;[^\r\n]*)?\r\n")


class RawInput:
    """The bytes of one connection from the place on that still matters.

    In a head that is all from the read on in which the message began; in a body, the end of what
    was parsed, with the head of a chunk that is not complete. `_line_end` is the end of the latest
    request line that was found.
    """

    __slots__ = ("_data", "_line_end")

    def __init__(self) -> None:
        self._data = b""
        self._line_end = 0

    def append(self, data: bytes) -> None:
        """Add the bytes of a read, before they are parsed."""
        self._data = self._data + data if self._data else data

    def replace(self, data: bytes) -> None:
        """Take other bytes, which are parsed instead."""
        self._data = data
        self._line_end = 0

    def keep(self, size: int) -> None:
        """Drop all bytes but the last `size`."""
        self._data = self._data[len(self._data) - size :] if size else b""
        self._line_end = 0

    def has_request_line(self, method: bytes, target: bytes, version: str) -> bool:
        """Return whether the next request line is exactly that of HTTP (RFC 9112, 3)."""
        line = b"%b %b HTTP/%b\r\n" % (method, target, version.encode())
        start = self._data.find(line, self._line_end)
        if start < 0:
            return False
        self._line_end = start + len(line)
        return True

    def chunk_size(self, data_size: int) -> int:
        """Return the size that the last chunk says it has, in bytes; 0 if it is not known.

        `data_size` is the number of bytes of its data so far; they are the last bytes received.
        """
        head_end = len(self._data) - data_size
        line_start = self._data.rfind(b"\n", 0, max(0, head_end - 2)) + 1
        line = _CHUNK_HEAD.fullmatch(self._data, line_start, head_end) if line_start else None
        return int(line[1], 16) if line is not None else 0
