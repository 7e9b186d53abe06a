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
from lb.endpoints.report import Report


class RejectReason(Enum):
    """Why a report is not taken in; the value is the reason told in metrics."""

    UNAUTHENTICATED = "unauthenticated"
    ADDRESS = "address"
    BOUNDS = "bounds"
    SCHEMA = "schema"
    CAP = "cap"
    RATE = "rate"
    STALE = "stale"
    PAST_EPOCH = "earlier_life"


class ReportRejectedError(Exception):
    """A report that is not taken in; `str()` says what is wrong and what to do."""

    def __init__(self, reason: RejectReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


IpNetwork = IPv4Network | IPv6Network


def parse_networks(texts: list[str]) -> tuple[IpNetwork, ...]:
    """Return networks from their texts. Raises ValueError that names the one that is none."""
    return tuple(ip_network(text, strict=False) for text in texts)


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """What an operator allows. `token` empty: anybody may report and watch.

    `tokens`: of single services, in the place of `token`. Peers in `allow` may report any address,
    others only their own. `most_total` caps licences, `most_instances` those known, `most_rate`
    reports a second of one instance.
    """

    token: str = ""
    service_tokens: Mapping[str, str] = field(default_factory=dict)
    allowed_networks: tuple[IpNetwork, ...] = ()
    max_requests: int = 10_000
    max_instances: int = 10_000
    max_rate: int = 400

    @staticmethod
    def from_options(
        options: LbOptions, services: Mapping[str, ServiceOptions]
    ) -> "AdmissionPolicy":
        """Return the rules that options say. Raises ValueError for a network that is none."""
        return AdmissionPolicy(
            token=options.token,
            service_tokens={
                name: service_options.token
                for name, service_options in services.items()
                if service_options.token
            },
            allowed_networks=parse_networks(options.allow),
            max_requests=options.max_total,
            max_instances=options.max_instances,
            max_rate=options.max_rate,
        )

    def check_token(self, metadata: Mapping[str, str], service: str = "") -> None:
        """Raise RefusedError unless the call's metadata has the token of a service."""
        expected_token = self.service_tokens.get(service, self.token)
        authorization = metadata.get("authorization", "")
        if expected_token and not compare_digest(
            authorization.encode(), f"Bearer {expected_token}".encode()
        ):
            message = "token missing or wrong: give loaders and gateways the hub's `lb.token`"
            raise ReportRejectedError(RejectReason.UNAUTHENTICATED, message)

    def check_admin(self, metadata: Mapping[str, str], peer: str) -> None:
        """Raise RefusedError unless a caller may take instances out: by the token, or from here."""
        if self.token:
            self.check_token(metadata)
            return
        ip = _peer_ip(peer)
        if ip is not None and not ip.is_loopback:
            message = "only callers from this machine may do that, unless `lb.token` is set"
            raise ReportRejectedError(RejectReason.UNAUTHENTICATED, message)

    def check_address(self, addr: str, peer: str) -> None:
        """Raise RefusedError unless a peer may report an address.

        `peer` is gRPC's, as in "ipv4:10.0.0.7:5123"; one that has no IP (a socket file) may.
        """
        ip = _peer_ip(peer)
        if ip is None or any(ip in network for network in self.allowed_networks):
            return
        host = addr.rpartition(":")[0].strip("[]")
        try:
            is_same_host = ip_address(host) == ip
        except ValueError:
            is_same_host = False
        if not is_same_host:
            message = f"addr: {addr} is not at {ip}, which reports it; let {ip} in by `lb.allow`"
            raise ReportRejectedError(RejectReason.ADDRESS, message)

    def with_capped_requests(self, report: Report) -> Report:
        """Return a report with no more licences than an instance may have."""
        instance = report.instance
        if instance.total <= self.max_requests:
            return report
        total = self.max_requests
        return replace(
            report, instance=replace(instance, total=total, best=min(total, instance.best))
        )


class RateLimiter:
    """Reports of one instance: no more than so many a second, and a few at once."""

    __slots__ = ("_max_per_second", "_tokens", "_updated_at")

    def __init__(self, max_per_second: int) -> None:
        self._max_per_second = max_per_second
        self._tokens = float(max_per_second)
        self._updated_at = 0.0

    def try_acquire(self, now: float) -> bool:
        """Return whether one more may be taken in."""
        self._tokens = min(
            self._max_per_second, self._tokens + (now - self._updated_at) * self._max_per_second
        )
        self._updated_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _peer_ip(peer: str) -> IPv4Address | IPv6Address | None:
    scheme, _, address = peer.partition(":")
    if scheme not in ("ipv4", "ipv6"):
        return None
    host = address.rpartition(":")[0].replace("%5B", "[").replace("%5D", "]").strip("[]")
    ip = ip_address(host.partition("%")[0])
    ipv4 = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return ipv4 or ip
