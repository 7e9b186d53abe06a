"""Header blocks of requests: with the dynamic table, without it, and what is no request."""

import hpack
import pytest

from rpc.frames import ProtocolError
from rpc.headers import TABLE_SIZE_UPDATE, MalformedError, TooLargeError, encode_header_block
from rpc.metadata import encode_timeout_field
from rpc.request_headers import RequestHeaderDecoder, parse_request_headers, parse_timeout
from tests.rpc.raw_client import request_block

FIELDS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/t.T/Echo"),
    (":authority", "t"),
    ("content-type", "application/grpc+proto"),
    ("grpc-encoding", "gzip"),
    ("grpc-timeout", "250m"),
    ("ase-gateway", "one"),
    ("x-bin", "/w"),
]


def test_blocks_with_a_dynamic_table_are_decoded_in_order() -> None:
    encoder, decoder = hpack.Encoder(), RequestHeaderDecoder()
    for _ in range(3):
        headers, timeout = decoder.decode(encoder.encode(FIELDS))
        assert (headers.path, headers.http_error, headers.encoding) == ("/t.T/Echo", 0, b"gzip")
        assert headers.metadata == {"ase-gateway": "one", "x-bin": "\xff"}
        assert timeout == 0.25
    assert not decoder.is_stateless


def test_a_client_that_gives_up_the_table_is_decoded_without_state() -> None:
    encoder, decoder = hpack.Encoder(), RequestHeaderDecoder()
    decoder.decode(encoder.encode(FIELDS))
    encoder.header_table_size = 0  # it has read our SETTINGS
    first, _ = decoder.decode(encoder.encode(FIELDS))
    assert decoder.is_stateless
    block = encoder.encode(FIELDS)
    assert decoder.decode(block)[0] is decoder.decode(block)[0], "the same object, from the cache"
    assert decoder.decode(block)[0] == first
    with pytest.raises(ProtocolError, match="COMPRESSION_ERROR"):
        decoder.decode(b"\xbe")  # an index into the table that it gave up


def test_the_timeout_at_the_end_of_a_block_is_no_part_of_what_is_cached() -> None:
    decoder = RequestHeaderDecoder()
    decoder.decode(request_block())
    block = request_block().removeprefix(TABLE_SIZE_UPDATE)
    plain, no_timeout = decoder.decode(block)
    assert no_timeout is None
    for milliseconds in (1, 4999, 5000):
        headers, timeout = decoder.decode(block + encode_timeout_field(milliseconds))
        assert headers is plain
        assert timeout == milliseconds / 1000
    for cut in (1, 2, 3):
        with pytest.raises(ProtocolError, match="COMPRESSION_ERROR"):
            decoder.decode((block + encode_timeout_field(1))[:-cut])
    headers, timeout = decoder.decode(block + encode_header_block([(b"grpc-timeout", b"soon")]))
    assert (timeout, headers.is_timeout_valid) == (None, False)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"3S", 3.0),
        (b"4m", 0.004),
        (b"5u", 5e-6),
        (b"6n", 6e-9),
        (b"99999999S", 99999999.0),
        (b"0m", 0.0),
        (b"123456789S", None),
        (b"-1S", None),
        (b"1.5S", None),
        (b"1s", None),
        (b"S", None),
        (b"", None),
    ],
)
def test_timeouts(value: bytes, seconds: float | None) -> None:
    assert parse_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("changes", "http_error"),
    [
        ({}, 0),
        ({b"content-type": b"application/grpc-web"}, 0),
        ({b"content-type": b"application/json"}, 415),
        ({b"content-type": b""}, 415),
        ({b":method": b"GET"}, 405),
        ({b":method": b""}, 405),
    ],
)
def test_requests_that_are_no_grpc(changes: dict[bytes, bytes], http_error: int) -> None:
    fields = {name.encode(): value.encode() for name, value in FIELDS} | changes
    assert parse_request_headers(tuple(fields.items())).http_error == http_error


def test_values_of_a_repeated_field_are_joined() -> None:
    fields = tuple((name.encode(), value.encode()) for name, value in FIELDS)
    headers = parse_request_headers((*fields, (b"ase-gateway", b"two")))
    assert headers.metadata["ase-gateway"] == "one,two"


@pytest.mark.parametrize("with_table", [True, False])
@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ([(b"Upper", b"x")], MalformedError),
        ([(b"a", b"x\n")], MalformedError),
        ([(b"connection", b"close")], MalformedError),
        ([(b"a", b"x"), (b":path", b"/")], MalformedError),
    ],
)
def test_malformed_fields(
    with_table: bool, fields: list[tuple[bytes, bytes]], error: type[Exception]
) -> None:
    decoder = RequestHeaderDecoder()
    if not with_table:
        decoder.decode(request_block())
    with pytest.raises(error):
        decoder.decode(encode_header_block(fields))


def test_lists_of_fields_are_limited() -> None:
    many = encode_header_block([(b"a", b"x" * 1000)] * 33)
    with pytest.raises(ProtocolError, match="COMPRESSION_ERROR"):
        RequestHeaderDecoder().decode(many)  # the table would be out of step
    decoder = RequestHeaderDecoder()
    decoder.decode(request_block())
    with pytest.raises(TooLargeError):
        decoder.decode(many)


@pytest.mark.parametrize("with_table", [True, False])
def test_many_table_size_updates_are_an_error(with_table: bool) -> None:
    decoder = RequestHeaderDecoder()
    if not with_table:
        decoder.decode(request_block())
    with pytest.raises(ProtocolError, match="COMPRESSION_ERROR"):
        decoder.decode(TABLE_SIZE_UPDATE * 60_000)


def test_a_large_list_is_not_decoded_to_its_end() -> None:
    decoder = RequestHeaderDecoder()
    decoder.decode(request_block())
    with pytest.raises(TooLargeError):
        decoder.decode(b"\x82" * 60_000 + b"\xff\xff\xff\xff\xff")  # whose end is no HPACK


def test_references_into_the_table_do_not_multiply() -> None:
    """An entry of 4 KB, and 10,000 references of one byte (an HPACK bomb)."""
    decoder = RequestHeaderDecoder()
    entry = b"\x40\x01a" + b"\x7f\xa1\x1e" + b"x" * 4000
    decoder.decode(entry)
    with pytest.raises(ProtocolError, match="COMPRESSION_ERROR"):
        decoder.decode(b"\xbe" * 10_000)
