"""The PROXY protocol, version 2: a load balancer says which client a connection is from. Pure.

Before the first byte of the client it writes a header: a signature, a command, an address family
and a size, then the addresses and extensions of that size. Source: HAProxy, "The PROXY protocol",
2.2.
"""

import ipaddress
import struct
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
PREFIX_SIZE: Final = 16
_MAX_SIZE: Final = 4096  # of the addresses and extensions
_VERSION: Final = 2
_LOCAL, _PROXY = 0, 1  # the commands
# The families and protocols with an address of ours: TCP over IPv4 and over IPv6.
_ADDRESS_SIZES: Final = {0x11: 4, 0x21: 16}


class ProxyHeaderError(Exception):
    """A connection that does not begin with a valid header; `str()` says why."""


def remaining_size(prefix: bytes) -> int:
    """Return the number of bytes that follow the first `PREFIX_SIZE` ones of a header.

    Raises ProxyHeaderError.
    """
    if not prefix.startswith(SIGNATURE):
        raise ProxyHeaderError("it begins with no PROXY header of version 2")
    version_and_command, _, size = struct.unpack_from("!BBH", prefix, len(SIGNATURE))
    if version_and_command >> 4 != _VERSION or version_and_command & 15 not in (_LOCAL, _PROXY):
        raise ProxyHeaderError(f"version and command 0x{version_and_command:02x} are not known")
    if size > _MAX_SIZE:
        raise ProxyHeaderError(f"the header has {size} bytes; at most {_MAX_SIZE} are read")
    return int(size)


def source_address(prefix: bytes, rest: bytes) -> tuple[str, int] | None:
    """Return the IP address and the port of the client; None if the header names none.

    It names none if the load balancer connects for itself, such as for a health check, or if the
    client has no address of TCP. Raises ProxyHeaderError if the addresses are incomplete.
    """
    command, family = prefix[len(SIGNATURE)] & 15, prefix[len(SIGNATURE) + 1]
    size = _ADDRESS_SIZES.get(family)
    if command == _LOCAL or size is None:
        return None
    if len(rest) < 2 * size + 4:
        raise ProxyHeaderError("the addresses are incomplete")
    (port,) = struct.unpack_from("!H", rest, 2 * size)
    return str(ipaddress.ip_address(rest[:size])), port
