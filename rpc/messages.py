"""gRPC messages in a stream of bytes: a flag, a length, the message. Pure.

Source: gRPC over HTTP/2, "Length-Prefixed-Message".
"""

import zlib
from struct import Struct
from typing import Final

from rpc.status import RpcError, Status

_PREFIX: Final = Struct(">BL")
PREFIX: Final = 5


def prefix(size: int) -> bytes:
    """Return what goes before a message of that size, not compressed."""
    return _PREFIX.pack(0, size)


class Messages:
    """Cuts the data of a stream into messages, each at most `limit` bytes.

    `encoding` is what the peer's `grpc-encoding` said of compressed ones.
    """

    __slots__ = ("_held", "_limit", "_need", "_pieces", "encoding")

    def __init__(self, limit: int) -> None:
        self.encoding = b"identity"
        self._limit = limit
        self._pieces: list[bytes] = []
        self._held = 0
        self._need = PREFIX

    @property
    def held(self) -> int:
        """Return how many bytes are here of a message whose rest is not."""
        return self._held

    def feed(self, data: bytes) -> list[bytes]:
        """Take in data, return the messages that are whole now.

        Raises RpcError: RESOURCE_EXHAUSTED above the limit, INTERNAL or UNIMPLEMENTED for a message
        that cannot be read.
        """
        self._held += len(data)
        self._pieces.append(data)
        if self._held < self._need:
            return []
        data = data if len(self._pieces) == 1 else b"".join(self._pieces)
        found, at, end = [], 0, len(data)
        self._need = PREFIX
        while end - at >= PREFIX:
            flag, size = _PREFIX.unpack_from(data, at)
            if size > self._limit:
                words = f"a message of {size} bytes is larger than {self._limit}"
                raise RpcError(Status.RESOURCE_EXHAUSTED, words)
            if end - at < PREFIX + size:
                self._need = PREFIX + size
                break
            at += PREFIX + size
            message = data[at - size : at]
            found.append(self._plain(message) if flag else message)
        self._held = end - at
        self._pieces = [data[at:] if at else data] if self._held else []
        return found

    def _plain(self, message: bytes) -> bytes:
        if self.encoding != b"gzip":
            said = self.encoding.decode("ascii", "replace")
            raise RpcError(Status.UNIMPLEMENTED, f"message encoding {said!r} is not known")
        unzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            plain = unzip.decompress(message, self._limit + 1)
        except zlib.error as error:
            raise RpcError(Status.INTERNAL, f"message is not gzip: {error}") from error
        if len(plain) > self._limit:
            words = f"a message inflates to more than {self._limit} bytes"
            raise RpcError(Status.RESOURCE_EXHAUSTED, words)
        if not unzip.eof:
            raise RpcError(Status.INTERNAL, "a gzip message ends too early")
        return plain
