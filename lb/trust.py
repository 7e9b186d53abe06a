"""Who may report what: tokens, addresses, bounds, rates. Pure.

Loaders are half trusted: they may lie about their load, not about who they are. Rules: reference
"reliability" 4.6.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from hmac import compare_digest
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from config.options import LbOptions, ServiceOptions
from lb.report import Report


class Refusal(Enum):
    """Why a report is not taken in; the value is the reason told in metrics."""

    UNAUTHENTICATED = "unauthenticated"
    ADDRESS = "address"
    BOUNDS = "bounds"
    SCHEMA = "schema"
    CAP = "cap"
    RATE = "rate"
    STALE = "stale"
    EARLIER_LIFE = "earlier_life"


class RefusedError(Exception):
    """A report that is not taken in; `str()` says what is wrong and what to do."""

    def __init__(self, refusal: Refusal, words: str) -> None:
        super().__init__(words)
        self.refusal = refusal


Network = IPv4Network | IPv6Network


def networks(told: list[str]) -> tuple[Network, ...]:
    """Return networks from their texts. Raises ValueError that names the one that is none."""
    return tuple(ip_network(text, strict=False) for text in told)


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator allows. `token` empty: anybody may report and watch.

    `tokens`: of single services, in the place of `token`. Peers in `allow` may report any address,
    others only their own. `most_total` caps licences, `most_instances` those known, `most_rate`
    reports a second of one instance.
    """

    token: str = ""
    tokens: Mapping[str, str] = field(default_factory=dict)
    allow: tuple[Network, ...] = ()
    most_total: int = 10_000
    most_instances: int = 10_000
    most_rate: int = 400

    @staticmethod
    def of(options: LbOptions, services: Mapping[str, ServiceOptions]) -> "Rules":
        """Return the rules that options say. Raises ValueError for a network that is none."""
        return Rules(
            token=options.token,
            tokens={name: told.token for name, told in services.items() if told.token},
            allow=networks(options.allow),
            most_total=options.max_total,
            most_instances=options.max_instances,
            most_rate=options.max_rate,
        )

    def check_token(self, metadata: Mapping[str, str], service: str = "") -> None:
        """Raise RefusedError unless the call's metadata has the token of a service."""
        wanted = self.tokens.get(service, self.token)
        given = metadata.get("authorization", "")
        if wanted and not compare_digest(given.encode(), f"Bearer {wanted}".encode()):
            words = "token missing or wrong: give loaders and gateways the hub's `lb.token`"
            raise RefusedError(Refusal.UNAUTHENTICATED, words)

    def check_admin(self, metadata: Mapping[str, str], peer: str) -> None:
        """Raise RefusedError unless a caller may take instances out: by the token, or from here."""
        if self.token:
            self.check_token(metadata)
            return
        ip = _peer_ip(peer)
        if ip is not None and not ip.is_loopback:
            words = "only callers from this machine may do that, unless `lb.token` is set"
            raise RefusedError(Refusal.UNAUTHENTICATED, words)

    def check_address(self, addr: str, peer: str) -> None:
        """Raise RefusedError unless a peer may report an address.

        `peer` is gRPC's, as in "ipv4:10.0.0.7:5123"; one that has no IP (a socket file) may.
        """
        ip = _peer_ip(peer)
        if ip is None or any(ip in network for network in self.allow):
            return
        host = addr.rpartition(":")[0].strip("[]")
        try:
            same = ip_address(host) == ip
        except ValueError:
            same = False
        if not same:
            words = f"addr: {addr} is not at {ip}, which reports it; let {ip} in by `lb.allow`"
            raise RefusedError(Refusal.ADDRESS, words)

    def capped(self, report: Report) -> Report:
        """Return a report with no more licences than an instance may have."""
        instance = report.instance
        if instance.total <= self.most_total:
            return report
        total = self.most_total
        return replace(
            report, instance=replace(instance, total=total, best=min(total, instance.best))
        )


class Rate:
    """Reports of one instance: no more than so many a second, and a few at once."""

    __slots__ = ("_left", "_most", "_then")

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = float(most)
        self._then = 0.0

    def take(self, now: float) -> bool:
        """Return whether one more may be taken in."""
        self._left = min(self._most, self._left + (now - self._then) * self._most)
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _peer_ip(peer: str) -> IPv4Address | IPv6Address | None:
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return None
    host = rest.rpartition(":")[0].replace("%5B", "[").replace("%5D", "]").strip("[]")
    found = ip_address(host.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
