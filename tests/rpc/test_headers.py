"""Header blocks: what we write any decoder reads; what is remembered stays bounded."""

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from rpc.frames import ErrorCode, ProtocolError
from rpc.headers import (
    TABLE_SIZE_UPDATE,
    HeaderBlockCache,
    HeaderFields,
    TooLargeError,
    encode_header_block,
    encode_literal,
)

FIELDS = st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.binary(max_size=300)))


@given(FIELDS)
def test_what_we_write_is_read_by_hpack(fields: list[tuple[bytes, bytes]]) -> None:
    read = Decoder(max_header_list_size=1 << 20).decode(
        TABLE_SIZE_UPDATE + encode_header_block(fields), raw=True
    )
    assert [(bytes(name), bytes(value)) for name, value in read] == fields


@given(FIELDS, st.booleans())
def test_what_hpack_writes_without_a_table_is_read(
    fields: list[tuple[bytes, bytes]], huffman: bool
) -> None:
    encoder = Encoder()
    encoder.header_table_size = 0
    coded = encoder.encode(fields, huffman=huffman)
    assert list(HeaderBlockCache(lambda told: told).decode(coded)) == fields


@given(st.binary(max_size=200))
def test_any_bytes_are_fields_or_a_compression_error(coded: bytes) -> None:
    try:
        HeaderBlockCache(lambda told: told).decode(coded)
    except ProtocolError as error:
        assert error.code is ErrorCode.COMPRESSION_ERROR


def test_a_block_is_read_once() -> None:
    seen: list[HeaderFields] = []
    blocks = HeaderBlockCache(lambda told: seen.append(told) or told)
    coded = encode_literal(b"grpc-status", b"0")
    assert blocks.decode(coded) is blocks.decode(coded)
    assert len(seen) == 1


def test_what_is_remembered_is_bounded() -> None:
    blocks = HeaderBlockCache(lambda told: told)
    for number in range(2000):
        blocks.decode(encode_literal(b"x", b"%d" % number))
    blocks.decode(encode_literal(b"long", b"y" * 2000))
    assert len(blocks._cache) == 512
    assert all(len(coded) < 1024 for coded in blocks._cache)


def test_an_index_into_a_table_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ProtocolError):
        HeaderBlockCache(lambda told: told).decode(b"\xbe")
    with pytest.raises(ProtocolError):
        HeaderBlockCache(lambda told: told).decode(
            b"\x3f\xe1\x1f"
        )  # a table of 4096, against our setting


def test_a_bomb_is_too_large() -> None:
    with pytest.raises(TooLargeError):
        HeaderBlockCache(lambda told: told).decode(b"\x82" * 30_000)
