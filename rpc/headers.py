"""Header blocks: literals out, remembered blocks in. Pure.

Neither side keeps a table. We say SETTINGS_HEADER_TABLE_SIZE 0 and send literals only, so a block
means the same whenever it comes: what one means is looked up by its bytes, and `hpack` reads those
seen for the first time. Source: RFC 7541, sections 4.2 and 6.
"""

from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from hpack import Decoder, HPACKError

from rpc.frames import ErrorCode, ProtocolError

HeaderFields = tuple[tuple[bytes, bytes], ...]
Parsed = TypeVar("Parsed")

# We keep no table: said once, at the head of the first block of a connection (RFC 7541, 4.2).
TABLE_SIZE_UPDATE: Final = b"\x20"

MAX_HEADER_LIST_SIZE: Final = 32 * 1024
_MAX_CACHED_BLOCKS: Final = 512
_MAX_CACHED_BLOCK_SIZE: Final = 1024


def encode_literal(name: bytes, value: bytes) -> bytes:
    """Return one header as a literal without indexing, not Huffman coded (RFC 7541, 6.2.2)."""
    return b"\x00" + encode_string(name) + encode_string(value)


def encode_string(value: bytes) -> bytes:
    """Return a string literal, its length first (RFC 7541, 5.2)."""
    size = len(value)
    if size < 127:
        return bytes((size,)) + value
    encoded, size = bytearray(b"\x7f"), size - 127
    while size > 127:
        encoded.append(size & 127 | 128)
        size >>= 7
    encoded.append(size)
    return bytes(encoded) + value


def encode_header_block(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a header block of literals."""
    return b"".join(encode_literal(name, value) for name, value in fields)


class TooLargeError(Exception):
    """A header list is over its limit; the connection may go on, since no table was touched."""


class HeaderBlockCache(Generic[Parsed]):
    """Reads header blocks into what `read` makes of their fields, and remembers them.

    Servers repeat a handful of blocks for ever. Only short blocks are kept, and only so many, so a
    peer cannot make us grow.
    """

    def __init__(self, parse: Callable[[HeaderFields], Parsed]) -> None:
        self._parse = parse
        self._cache: dict[bytes, Parsed] = {}

    def decode(self, header_block: bytes) -> Parsed:
        """Return the meaning of a block.

        Raises ProtocolError (COMPRESSION_ERROR) when it is not one, and TooLargeError.
        """
        parsed = self._cache.get(header_block)
        if parsed is None:
            parsed = self._parse(_decode(header_block))
            if len(header_block) <= _MAX_CACHED_BLOCK_SIZE:
                if len(self._cache) >= _MAX_CACHED_BLOCKS:
                    del self._cache[next(iter(self._cache))]
                self._cache[header_block] = parsed
        return parsed


def _decode(header_block: bytes) -> HeaderFields:
    # A list is at most 8/5 of its Huffman code, plus 32 for each field of a byte or more.
    decoder = Decoder(max_header_list_size=64 * len(header_block) + 64)
    decoder.max_allowed_table_size = decoder.header_table_size = 0
    try:
        fields = tuple((bytes(n), bytes(v)) for n, v in decoder.decode(header_block, raw=True))
    except (HPACKError, IndexError, ValueError) as error:
        reason = f"header block: {error}"
        raise ProtocolError(ErrorCode.COMPRESSION_ERROR, reason) from error
    if sum(len(name) + len(value) + 32 for name, value in fields) > MAX_HEADER_LIST_SIZE:
        raise TooLargeError
    return fields
