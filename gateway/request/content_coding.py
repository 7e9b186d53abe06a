"""Decoding of request bodies that are compressed: gzip, within a limit. Pure.

Sources: RFC 9110, 8.4; RFC 1952. A small body can inflate a thousandfold, and inflating takes the
event loop's time: the limit is that of the decompressed size.
"""

import zlib
from typing import Final

from gateway.request.response import HttpError

_GZIP: Final = zlib.MAX_WBITS | 16
_GZIP_NAMES: Final = (b"gzip", b"x-gzip")  # equivalent by RFC 9110, 8.4.1.3
_IDENTITY_NAMES: Final = (b"identity", b"")
_MAX_MEMBERS: Final = 16  # what follows a member is copied once for each


def is_gzip(coding: bytes) -> bool:
    """Return whether a Content-Encoding is gzip."""
    return coding.strip().lower() in _GZIP_NAMES


def check_coding(coding: bytes) -> None:
    """Raise HttpError 415 for a Content-Encoding that is neither gzip nor none."""
    if is_gzip(coding) or coding.strip().lower() in _IDENTITY_NAMES:
        return
    # RFC 9110, 15.5.16: the response names the codings that are accepted.
    headers = [(b"accept-encoding", b"gzip")]
    raise HttpError(415, "content-encoding must be gzip or identity", headers=headers)


def gunzip(data: bytes | bytearray, max_size: int) -> bytes:
    """Return the content of a gzip body, of one or several members.

    Raises HttpError 413 if it has more than `max_size` bytes, compressed or not, and 400 if it is
    not gzip or has more than 16 members.
    """
    if len(data) > max_size:
        raise HttpError(413, f"the body is larger than {max_size} bytes, compressed already")
    pieces: list[bytes] = []
    remaining: bytes | bytearray = data
    size = 0
    while remaining or not pieces:
        if len(pieces) == _MAX_MEMBERS:
            raise HttpError(400, f"the gzip body has more than {_MAX_MEMBERS} members")
        member = zlib.decompressobj(wbits=_GZIP)
        try:
            piece = member.decompress(remaining, max_size - size + 1)
        except zlib.error:
            raise HttpError(400, "the body is not gzip, though content-encoding says so") from None
        size += len(piece)
        if size > max_size:
            raise HttpError(413, f"the body is larger than {max_size} bytes, decompressed")
        if not member.eof:
            raise HttpError(400, "the gzip body ends too early")
        pieces.append(piece)
        remaining = member.unused_data
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
