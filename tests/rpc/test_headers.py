"""Header blocks: what we write any decoder reads; what is remembered stays bounded."""

import contextlib

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from rpc.frames import ErrorCode, ProtocolError
from rpc.headers import (
    TABLE_SIZE_UPDATE,
    HeaderBlockCache,
    HeaderFields,
    MalformedError,
    TooLargeError,
    encode_header_block,
    encode_literal,
)

FIELDS = st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.binary(max_size=300)))


@given(FIELDS)
def test_encoded_blocks_are_decoded_by_hpack(fields: list[tuple[bytes, bytes]]) -> None:
    decoded = Decoder(max_header_list_size=1 << 20).decode(
        TABLE_SIZE_UPDATE + encode_header_block(fields), raw=True
    )
    assert [(bytes(name), bytes(value)) for name, value in decoded] == fields


# What RFC 9113 allows in a field of a response.
NAMES = st.text("abcxyz019-_.", min_size=1, max_size=300).map(lambda name: b"x" + name.encode())
VALUES = st.binary(max_size=300).map(lambda value: value.translate(None, b"\0\r\n"))


@given(st.lists(st.tuples(NAMES, VALUES)), st.booleans())
def test_hpack_blocks_without_a_table_are_decoded(
    fields: list[tuple[bytes, bytes]], huffman: bool
) -> None:
    encoder = Encoder()
    encoder.header_table_size = 0
    block = encoder.encode(fields, huffman=huffman)
    assert list(HeaderBlockCache(lambda header_fields: header_fields).decode(block)) == fields


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_fields_malformed_or_a_compression_error(block: bytes) -> None:
    try:
        with contextlib.suppress(MalformedError):
            HeaderBlockCache(lambda header_fields: header_fields).decode(block)
    except ProtocolError as error:
        assert error.code is ErrorCode.COMPRESSION_ERROR


def test_blocks_are_parsed_once() -> None:
    parsed_fields: list[HeaderFields] = []
    cache = HeaderBlockCache(
        lambda header_fields: parsed_fields.append(header_fields) or header_fields
    )
    block = encode_literal(b"grpc-status", b"0")
    assert cache.decode(block) is cache.decode(block)
    assert len(parsed_fields) == 1


def test_cache_is_bounded() -> None:
    parsed: list[bytes] = []
    cache = HeaderBlockCache(lambda header_fields: parsed.append(header_fields[0][1]) or True)
    for number in [*range(513), *range(1, 513), 0]:
        cache.decode(encode_literal(b"x", b"%d" % number))
    assert len(parsed) == 514, "512 are kept; the first was evicted, and parsed again"
    for _ in range(2):
        cache.decode(encode_literal(b"long", b"y" * 2000))
    assert len(parsed) == 516, "a block of more than 1024 bytes is not kept"


def test_dynamic_table_references_are_errors() -> None:
    with pytest.raises(ProtocolError):
        HeaderBlockCache(lambda header_fields: header_fields).decode(b"\xbe")
    with pytest.raises(ProtocolError):
        HeaderBlockCache(lambda header_fields: header_fields).decode(
            b"\x3f\xe1\x1f"
        )  # a table of 4096, against our setting


def test_a_bomb_is_too_large() -> None:
    with pytest.raises(TooLargeError):
        HeaderBlockCache(lambda header_fields: header_fields).decode(b"\x82" * 30_000)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([(b"X-Upper", b"1")], "invalid field name"),
        ([(b"", b"1")], "invalid field name"),
        ([(b"a b", b"1")], "invalid field name"),
        ([(b"a:", b"1")], "invalid field name"),
        ([(b"x", b"a\nb")], "invalid value"),
        ([(b"upgrade", b"a")], "no field of HTTP/2"),
        ([(b"x", b"1"), (b":status", b"200")], "follows others"),
    ],
    ids=str,
)
def test_forbidden_fields(fields: list[tuple[bytes, bytes]], reason: str) -> None:
    cache: HeaderBlockCache[HeaderFields] = HeaderBlockCache(lambda header_fields: header_fields)
    for _ in range(2):
        with pytest.raises(MalformedError, match=reason):
            cache.decode(encode_header_block(fields))


def test_pseudo_headers_come_first() -> None:
    fields = [(b":status", b"200"), (b":other", b"1"), (b"x", b"1")]
    cache: HeaderBlockCache[HeaderFields] = HeaderBlockCache(lambda header_fields: header_fields)
    assert list(cache.decode(encode_header_block(fields))) == fields
