"""Proxies in front of the gateway: which are trusted, and whom they name. Pure.

`X-Forwarded-For` is a list to which each proxy adds the address that it was called from.
"""

import re
from ipaddress import ip_address, ip_network

from rpc.bounded_cache import BoundedCache

_MAX_ADDRESSES = 4096
_MAX_HOPS = 32
FORWARDED_FOR = b"x-forwarded-for"
_FORWARDED_FOR = re.compile(rb"\r\nx-forwarded-for: ?([^\r\n]*)", re.IGNORECASE)


class TrustedProxies:
    """Networks whose peers may name the caller and the client's address."""

    def __init__(self, networks: list[str]) -> None:
        """Create it from networks in CIDR notation. Raises ValueError for an invalid one."""
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

    def client_address(self, peer_ip: str, forwarded_for: bytes) -> str:
        """Return the address of the client: the last one that no trusted proxy has.

        `forwarded_for` is the value of X-Forwarded-For, empty without one.
        Each proxy adds, at the end, the address that called it. So the addresses are read from the
        end, as long as trusted proxies gave them; what a stranger wrote before them counts for
        nothing.
        """
        if not forwarded_for or not self.is_trusted(peer_ip):
            return peer_ip
        address = peer_ip
        hops = forwarded_for.decode("latin-1").split(",")
        for hop in reversed(hops[-_MAX_HOPS:]):
            candidate = _without_port(hop.strip())
            try:
                address = str(ip_address(candidate))
            except ValueError:
                break
            if not self.is_trusted(address):
                break
        return address


def forwarded_for_of(head: bytes) -> bytes:
    """Return the value of X-Forwarded-For of a head of which all lines are well-formed."""
    return b", ".join(_FORWARDED_FOR.findall(head))


def _without_port(hop: str) -> str:
    """Return the address of a hop such as 10.0.0.7:5123 or [::1]:5123."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
