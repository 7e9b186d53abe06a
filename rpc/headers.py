"""Header blocks: literals out, remembered blocks in. Pure.

Neither side keeps a table. We say SETTINGS_HEADER_TABLE_SIZE 0 and send literals only, so a block
means the same whenever it comes: what one means is looked up by its bytes, and `hpack` reads those
seen for the first time. Source: RFC 7541, sections 4.2 and 6.
"""

from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from hpack import Decoder, HPACKError

from rpc.frames import ErrorCode, ProtocolError

Fields = tuple[tuple[bytes, bytes], ...]
Meaning = TypeVar("Meaning")

# We keep no table: said once, at the head of the first block of a connection (RFC 7541, 4.2).
NO_TABLE: Final = b"\x20"

MAX_LIST: Final = 32 * 1024
_REMEMBERED: Final = 512
_REMEMBERED_BYTES: Final = 1024


def literal(name: bytes, value: bytes) -> bytes:
    """Return one header as a literal without indexing, not Huffman coded (RFC 7541, 6.2.2)."""
    return b"\x00" + text(name) + text(value)


def text(value: bytes) -> bytes:
    """Return a string literal, its length first (RFC 7541, 5.2)."""
    size = len(value)
    if size < 127:
        return bytes((size,)) + value
    coded, size = bytearray(b"\x7f"), size - 127
    while size > 127:
        coded.append(size & 127 | 128)
        size >>= 7
    coded.append(size)
    return bytes(coded) + value


def block(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a header block of literals."""
    return b"".join(literal(name, value) for name, value in fields)


class TooLargeError(Exception):
    """A header list is over its limit; the connection may go on, since no table was touched."""


class Blocks(Generic[Meaning]):
    """Reads header blocks into what `read` makes of their fields, and remembers them.

    Servers repeat a handful of blocks for ever. Only short blocks are kept, and only so many, so a
    peer cannot make us grow.
    """

    def __init__(self, read: Callable[[Fields], Meaning]) -> None:
        self._read = read
        self._known: dict[bytes, Meaning] = {}

    def read(self, coded: bytes) -> Meaning:
        """Return the meaning of a block.

        Raises ProtocolError (COMPRESSION_ERROR) when it is not one, and TooLargeError.
        """
        known = self._known.get(coded)
        if known is None:
            known = self._read(_decode(coded))
            if len(coded) <= _REMEMBERED_BYTES:
                if len(self._known) >= _REMEMBERED:
                    del self._known[next(iter(self._known))]
                self._known[coded] = known
        return known


def _decode(coded: bytes) -> Fields:
    # A list is at most 8/5 of its Huffman code, plus 32 for each field of a byte or more.
    decoder = Decoder(max_header_list_size=64 * len(coded) + 64)
    decoder.max_allowed_table_size = decoder.header_table_size = 0
    try:
        fields = tuple((bytes(n), bytes(v)) for n, v in decoder.decode(coded, raw=True))
    except (HPACKError, IndexError, ValueError) as error:
        said = f"header block: {error}"
        raise ProtocolError(ErrorCode.COMPRESSION_ERROR, said) from error
    if sum(len(name) + len(value) + 32 for name, value in fields) > MAX_LIST:
        raise TooLargeError
    return fields
