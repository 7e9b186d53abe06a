"""Proxies in front of the gateway: which are trusted, and whom they name. Pure.

A header, `X-Forwarded-For` or `Forwarded` (RFC 7239), is a list to which each proxy adds the
address that it was called from. One of the two counts: a proxy that adds to the one passes on what
a client wrote into the other.
"""

import re
from ipaddress import ip_address, ip_network
from typing import Final

from rpc.bounded_cache import BoundedCache

_MAX_ADDRESSES = 4096
_MAX_HOPS = 32
_FORWARDED: Final = b"forwarded"
CLIENT_HEADERS: Final = (b"x-forwarded-for", _FORWARDED)
# The node that an element of Forwarded names: a token, or quoted if it has colons.
_FORWARDED_NODE = re.compile(r'(?:^|;)\s*for=(?:"([^"]*)"|([^\s;"]*))', re.IGNORECASE)


class TrustedProxies:
    """Networks whose peers may name the caller and the client's address.

    `client_header` is the header with the client's address, in lower case.
    """

    def __init__(self, networks: list[str], client_header: str = "x-forwarded-for") -> None:
        """Create it from networks in CIDR notation. Raises ValueError for an invalid one."""
        self.client_header = client_header.encode()
        self._header_line = re.compile(
            rb"\r\n" + self.client_header + rb": ?([^\r\n]*)", re.IGNORECASE
        )
        self._networks = tuple(ip_network(text, strict=False) for text in networks)
        self._trusted_by_address: BoundedCache[str, bool] = BoundedCache(_MAX_ADDRESSES)

    def is_trusted(self, address: str) -> bool:
        """Return whether an IP address is in the networks; a text that is no address is not."""
        trusted = self._trusted_by_address.entries.get(address)
        if trusted is None:
            trusted = self._contains(address)
            self._trusted_by_address.add(address, trusted)
        return trusted

    def _contains(self, address: str) -> bool:
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None)
        return any((mapped or parsed) in network for network in self._networks)

    def hops_of(self, head: bytes) -> bytes:
        """Return the value of the header in a head of which all lines are well-formed."""
        return b", ".join(self._header_line.findall(head))

    def client_address(self, peer_ip: str, hops: bytes) -> str:
        """Return the address of the client: the last one that no trusted proxy has.

        `hops` is the value of the header, empty without one. Each proxy adds, at the end, the
        address that called it. So the addresses are read from the end, as long as trusted proxies
        gave them; what a stranger wrote before them counts for nothing.
        """
        if not hops or not self.is_trusted(peer_ip):
            return peer_ip
        address = peer_ip
        for hop in reversed(hops.decode("latin-1").split(",")[-_MAX_HOPS:]):
            node = _forwarded_node(hop) if self.client_header == _FORWARDED else hop
            candidate = _without_port(node.strip())
            try:
                address = str(ip_address(candidate))
            except ValueError:
                break
            if not self.is_trusted(address):
                break
        return address


def _forwarded_node(element: str) -> str:
    """Return the node of an element of Forwarded, such as `for="[2001:db8::1]:47"`, or ""."""
    match = _FORWARDED_NODE.search(element)
    return (match[1] or match[2] or "") if match else ""


def _without_port(hop: str) -> str:
    """Return the address of a hop such as 10.0.0.7:5123 or [::1]:5123."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
