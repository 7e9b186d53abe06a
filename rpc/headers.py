"""Header blocks: encoded as literals, decoded through a cache. Pure.

Neither side keeps a dynamic table: this side sends SETTINGS_HEADER_TABLE_SIZE 0 and encodes
literals only. A header block therefore has the same meaning every time, and its parsed form is
looked up by its bytes. `hpack` decodes the blocks that are not in the cache. Source: RFC 7541,
sections 4.2 and 6.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from hpack import Decoder, HPACKError, OversizedHeaderListError

from rpc.bounded_cache import BoundedCache
from rpc.frames import ErrorCode, ProtocolError

HeaderFields = tuple[tuple[bytes, bytes], ...]
Parsed = TypeVar("Parsed")

# Dynamic table size update to 0, sent once at the start of the first header block of a connection
# (RFC 7541, 4.2).
TABLE_SIZE_UPDATE: Final = b"\x20"

_SIZE_UPDATES: Final = bytes(range(0x20, 0x3F))
_MAX_SIZE_UPDATES: Final = 2

MAX_HEADER_LIST_SIZE: Final = 32 * 1024
_MAX_CACHED_BLOCKS: Final = 512
_MAX_CACHED_BLOCK_SIZE: Final = 1024

_FIELD_NAME: Final = re.compile(rb":?[!#$%&'*+.^_`|~0-9a-z-]+")
# Spaces around a value are forbidden too, but gRPC servers send them in messages of errors.
_BAD_VALUE: Final = re.compile(rb"[\0\r\n]")
_CONNECTION_FIELDS: Final = frozenset({
    b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade",
})  # fmt: skip


def encode_literal(name: bytes, value: bytes) -> bytes:
    """Return a header field as a literal without indexing, not Huffman-coded (RFC 7541, 6.2.2)."""
    return b"\x00" + encode_string(name) + encode_string(value)


def encode_string(value: bytes) -> bytes:
    """Return a string literal, not Huffman-coded, after its length (RFC 7541, 5.2)."""
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
    """Return a header block that encodes each field as a literal."""
    return b"".join(encode_literal(name, value) for name, value in fields)


class TooLargeError(Exception):
    """A decoded header list exceeds MAX_HEADER_LIST_SIZE.

    Only the stream fails. The connection stays usable, since there is no table to go out of step.
    """


class MalformedError(Exception):
    """A header list has a field that HTTP/2 forbids (RFC 9113, 8.2): only its stream fails."""


class HeaderBlockCache(Generic[Parsed]):
    """Decodes header blocks, parses their fields with `parse` and caches the results.

    A server repeats a handful of blocks, so nearly every block is found in the cache. The cache
    keeps at most 512 blocks of at most 1024 bytes each, so that a peer cannot exhaust memory.
    """

    def __init__(self, parse: Callable[[HeaderFields], Parsed]) -> None:
        self._parse = parse
        self._cache: BoundedCache[bytes, Parsed] = BoundedCache(_MAX_CACHED_BLOCKS)

    def decode(self, header_block: bytes) -> Parsed:
        """Return the parsed form of a header block.

        Raises ProtocolError (COMPRESSION_ERROR) if the block is invalid, TooLargeError if its
        header list exceeds MAX_HEADER_LIST_SIZE, and MalformedError.
        """
        parsed = self._cache.entries.get(header_block)
        if parsed is None:
            parsed = self._parse(_decode(header_block))
            if len(header_block) <= _MAX_CACHED_BLOCK_SIZE:
                self._cache.add(header_block, parsed)
        return parsed


def _decode(header_block: bytes) -> HeaderFields:
    check_size_updates(header_block)
    decoder = Decoder(max_header_list_size=MAX_HEADER_LIST_SIZE)
    decoder.max_allowed_table_size = decoder.header_table_size = 0
    try:
        fields = tuple((bytes(n), bytes(v)) for n, v in decoder.decode(header_block, raw=True))
    except OversizedHeaderListError as size_error:
        raise TooLargeError from size_error
    except (HPACKError, IndexError, ValueError) as error:
        reason = f"header block: {error}"
        raise ProtocolError(ErrorCode.COMPRESSION_ERROR, reason) from error
    check_fields(fields)
    return fields


def check_size_updates(header_block: bytes) -> None:
    """Raise ProtocolError for more table size updates than a block can need (RFC 7541, 4.2)."""
    if len(header_block) - len(header_block.lstrip(_SIZE_UPDATES)) > _MAX_SIZE_UPDATES:
        raise ProtocolError(ErrorCode.COMPRESSION_ERROR, "too many table size updates in a block")


def check_fields(fields: HeaderFields) -> None:
    """Raise MalformedError for a field that RFC 9113 calls malformed (8.2.1, 8.2.2, 8.3)."""
    is_pseudo_section = True
    for name, value in fields:
        is_pseudo_header = name[:1] == b":"
        if not _FIELD_NAME.fullmatch(name):
            raise MalformedError(f"invalid field name {name[:64]!r}")
        if _BAD_VALUE.search(value):
            raise MalformedError(f"invalid value of the field {name[:64].decode()}")
        if name in _CONNECTION_FIELDS:
            raise MalformedError(f"{name.decode()} is no field of HTTP/2")
        if is_pseudo_header and not is_pseudo_section:
            raise MalformedError(f"the field {name[:64].decode()} follows others")
        is_pseudo_section = is_pseudo_header
