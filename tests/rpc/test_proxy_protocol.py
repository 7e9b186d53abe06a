"""PROXY headers of version 2: examples by HAProxy's document, and bytes that are none."""

import random
import struct

import pytest

from rpc.proxy_protocol import (
    PREFIX_SIZE,
    SIGNATURE,
    ProxyHeaderError,
    remaining_size,
    source_address,
)

IPV4 = bytes([192, 0, 2, 7, 10, 0, 0, 1]) + struct.pack("!HH", 51234, 443)
IPV6 = bytes.fromhex("20010db8" + "00" * 11 + "07" + "00" * 15 + "01")
IPV6 += struct.pack("!HH", 51234, 443)


def prefix(command: int, family: int, size: int) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, size)


@pytest.mark.parametrize(
    ("command", "family", "rest", "source"),
    [
        (0x21, 0x11, IPV4, ("192.0.2.7", 51234)),
        (0x21, 0x11, IPV4 + b"\x03\0\x04\0\0\0\0", ("192.0.2.7", 51234)),  # with an extension
        (0x21, 0x21, IPV6, ("2001:db8::7", 51234)),
        (0x20, 0x00, b"", None),  # the load balancer's own health check
        (0x20, 0x11, IPV4, None),
        (0x21, 0x00, b"", None),  # a client without an address
        (0x21, 0x12, IPV4, None),  # UDP
        (0x21, 0x31, b"/" * 216, None),  # a Unix socket
    ],
)
def test_source(command: int, family: int, rest: bytes, source: tuple[str, int] | None) -> None:
    head = prefix(command, family, len(rest))
    assert remaining_size(head) == len(rest)
    assert source_address(head, rest) == source


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (b"GET / HTTP/1.1\r\n", "no PROXY header"),
        (b"PROXY TCP4 192.0", "no PROXY header"),  # version 1
        (SIGNATURE[:-1] + b"\t" + b"\x21\x11\0\x0c", "no PROXY header"),
        (prefix(0x11, 0x11, 12), "0x11"),
        (prefix(0x22, 0x11, 12), "0x22"),
        (prefix(0x21, 0x11, 4097), "4097 bytes"),
    ],
)
def test_invalid_header(head: bytes, problem: str) -> None:
    assert len(head) == PREFIX_SIZE
    with pytest.raises(ProxyHeaderError, match=problem):
        remaining_size(head)


@pytest.mark.parametrize(("family", "rest"), [(0x11, IPV4[:-1]), (0x21, IPV6[:-1]), (0x11, b"")])
def test_incomplete_addresses(family: int, rest: bytes) -> None:
    with pytest.raises(ProxyHeaderError, match="incomplete"):
        source_address(prefix(0x21, family, len(rest)), rest)


def test_random_bytes_are_an_error_or_a_header() -> None:
    rng = random.Random(1)
    for _ in range(2000):
        head = SIGNATURE + rng.randbytes(4) if rng.random() < 0.9 else rng.randbytes(PREFIX_SIZE)
        try:
            source = source_address(head, rng.randbytes(remaining_size(head)))
        except ProxyHeaderError:
            continue
        assert source is None or 0 <= source[1] < 65536
