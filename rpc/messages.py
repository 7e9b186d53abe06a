"""gRPC message framing: compressed flag, 32-bit length, message. Pure.

Source: gRPC over HTTP/2, "Length-Prefixed-Message".
"""

import zlib
from struct import Struct
from typing import Final

from rpc.status import MessageTooLargeError, RpcError, Status

_PREFIX: Final = Struct(">BL")
PREFIX_SIZE: Final = 5
MAX_MESSAGE_SIZE: Final = 16 * 1024 * 1024  # the default of clients and servers, in bytes


def length_prefix(size: int) -> bytes:
    """Return the 5-byte prefix of an uncompressed message of `size` bytes."""
    return _PREFIX.pack(0, size)


class MessageDeframer:
    """Splits the data of a stream into messages of at most `max_message_size` bytes each.

    A compressed message may have `max_decompressed_size` bytes, by default as many: decompressing
    costs the receiver far more than the sender.
    `encoding` is the peer's `grpc-encoding`; it applies to messages with the compressed flag.
    `_chunks` holds the `_buffered_size` bytes of the incomplete message. They are joined only when
    `_needed_size` bytes are there, so a large message is copied once and not once per DATA frame.
    """

    __slots__ = (
        "_buffered_size", "_chunks", "_max_decompressed_size", "_max_message_size", "_needed_size",
        "encoding",
    )  # fmt: skip

    def __init__(self, max_message_size: int, max_decompressed_size: int = 0) -> None:
        self.encoding = b"identity"
        self._max_message_size = max_message_size
        self._max_decompressed_size = max_decompressed_size or max_message_size
        self._chunks: list[bytes] = []
        self._buffered_size = 0
        self._needed_size = PREFIX_SIZE

    @property
    def buffered_size(self) -> int:
        """Return the number of buffered bytes of an incomplete message."""
        return self._buffered_size

    def feed(self, data: bytes) -> list[bytes]:
        """Add data and return the messages that it completes.

        Raises MessageTooLargeError if a message, or its decompressed form, exceeds the limit, and
        RpcError INTERNAL for an unknown flag, for invalid gzip, and for a compressed message whose
        encoding was not announced or is none that a client accepts (gRPC, Compression).
        """
        self._buffered_size += len(data)
        self._chunks.append(data)
        if self._buffered_size < self._needed_size:
            return []
        data = data if len(self._chunks) == 1 else b"".join(self._chunks)
        messages, offset, end = [], 0, len(data)
        self._needed_size = PREFIX_SIZE
        while end - offset >= PREFIX_SIZE:
            flag, size = _PREFIX.unpack_from(data, offset)
            if size > self._max_message_size:
                raise MessageTooLargeError(f"{size} bytes", self._max_message_size)
            if end - offset < PREFIX_SIZE + size:
                self._needed_size = PREFIX_SIZE + size
                break
            offset += PREFIX_SIZE + size
            message = data[offset - size : offset]
            messages.append(self._decode(flag, message) if flag else message)
        self._buffered_size = end - offset
        self._chunks = [data[offset:] if offset else data] if self._buffered_size else []
        return messages

    def _decode(self, flag: int, message: bytes) -> bytes:
        if flag != 1:
            raise RpcError(Status.INTERNAL, f"a message with the unknown flag {flag}")
        if self.encoding in (b"identity", b""):
            raise RpcError(Status.INTERNAL, "a compressed message without grpc-encoding")
        if self.encoding != b"gzip":
            encoding = self.encoding.decode("ascii", "replace")
            raise RpcError(Status.INTERNAL, f"message encoding {encoding!r} was not accepted")
        decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            decompressed = decompressor.decompress(message, self._max_decompressed_size + 1)
        except zlib.error as error:
            raise RpcError(Status.INTERNAL, f"message is not gzip: {error}") from error
        if len(decompressed) > self._max_decompressed_size:
            details = f"more than {self._max_decompressed_size} bytes, decompressed"
            raise MessageTooLargeError(details, self._max_decompressed_size)
        if not decompressor.eof:
            raise RpcError(Status.INTERNAL, "a gzip message ends too early")
        return decompressed
