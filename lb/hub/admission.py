"""Admission of reports: tokens, addresses, bounds and rates. Pure.

Loaders are partly trusted: the hub accepts false load figures, but not a false identity. Rules:
`docs/architecture.md`.
"""

from collections.abc import Iterable, Mapping
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
    """Why a report is rejected; the value is the reason in logs and metrics."""

    UNAUTHENTICATED = "unauthenticated"
    ADDRESS = "address"
    BOUNDS = "bounds"
    SCHEMA = "schema"
    CAP = "cap"
    RATE = "rate"
    STALE = "stale"
    PAST_EPOCH = "earlier_life"


class ReportRejectedError(Exception):
    """A rejected report; `str()` says what is wrong and how to correct it."""

    def __init__(self, reason: RejectReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


IpNetwork = IPv4Network | IPv6Network


def parse_networks(texts: list[str]) -> tuple[IpNetwork, ...]:
    """Return the networks of CIDR texts. Raises ValueError that names an invalid text."""
    return tuple(ip_network(text, strict=False) for text in texts)


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """What the operator allows loaders and gateways to do.

    If `token` is empty, any client may report and watch. `service_tokens` replace `token` for
    single services. Peers in `allowed_networks` may report any address, other peers only their own.
    `max_requests` caps `total` of one instance, `max_instances` the number of known instances,
    `max_instances_per_peer` those that one host reports, and `max_rate` the reports per second of
    one instance. `own_ports` are the ports of this process on
    this machine; no loader is there.
    """

    token: str = ""
    service_tokens: Mapping[str, str] = field(default_factory=dict)
    allowed_networks: tuple[IpNetwork, ...] = ()
    max_requests: int = 10_000
    max_instances: int = 10_000
    max_instances_per_peer: int = 256
    max_rate: int = 400
    own_ports: frozenset[int] = frozenset()

    @staticmethod
    def from_options(
        options: LbOptions, services: Mapping[str, ServiceOptions], own_ports: Iterable[int] = ()
    ) -> "AdmissionPolicy":
        """Return the policy of `options`. Raises ValueError for an invalid network."""
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
            max_instances_per_peer=options.max_instances_per_peer,
            max_rate=options.max_rate,
            own_ports=frozenset(own_ports),
        )

    def check_token(self, metadata: Mapping[str, str], service: str = "") -> None:
        """Raise ReportRejectedError unless the call metadata has the token of `service`."""
        expected_token = self.service_tokens.get(service, self.token)
        authorization = metadata.get("authorization", "")
        if expected_token and not compare_digest(
            authorization.encode(), f"Bearer {expected_token}".encode()
        ):
            message = "token missing or wrong: give loaders and gateways the hub's `lb.token`"
            raise ReportRejectedError(RejectReason.UNAUTHENTICATED, message)

    def check_admin(self, metadata: Mapping[str, str], peer: str) -> None:
        """Raise ReportRejectedError unless the caller may force instances offline.

        If `token` is set, the caller must have it. Otherwise the caller must be local: a loopback
        address or a Unix socket.
        """
        if self.token:
            self.check_token(metadata)
            return
        ip = _peer_ip(peer)
        if ip is not None and not ip.is_loopback:
            message = "only callers from this machine may do that, unless `lb.token` is set"
            raise ReportRejectedError(RejectReason.UNAUTHENTICATED, message)

    def check_address(self, addr: str, peer: str) -> None:
        """Raise ReportRejectedError unless `peer` may report `addr`.

        `peer` is in gRPC's form, as in "ipv4:10.0.0.7:5123". A peer without an IP address (a Unix
        socket) may report any address. But nobody may report one that no loader has: of a link,
        where clouds have their metadata, of a group, or unspecified; or one of our own ports.
        """
        self._check_loader_address(addr)
        ip = _peer_ip(peer)
        if ip is None or any(ip in network for network in self.allowed_networks):
            return
        if _host_ip(addr) != ip:
            message = f"addr: {addr} is not at {ip}, which reports it; let {ip} in by `lb.allow`"
            raise ReportRejectedError(RejectReason.ADDRESS, message)

    def _check_loader_address(self, addr: str) -> None:
        """Raise ReportRejectedError for an address at which no loader can be."""
        host, _, port = addr.rpartition(":")
        ip = _host_ip(addr)
        is_reserved = isinstance(ip, IPv4Address) and ip.is_reserved  # 240.0.0.0/4
        if ip is not None and (
            ip.is_link_local or ip.is_multicast or ip.is_unspecified or is_reserved
        ):
            message = f"addr: {addr} is no address of a loader: give one that gateways can reach"
            raise ReportRejectedError(RejectReason.ADDRESS, message)
        is_local = host.lower() == "localhost" or (ip is not None and ip.is_loopback)
        if is_local and int(port) in self.own_ports:
            message = f"addr: {addr} is a port of the gateway or hub itself"
            raise ReportRejectedError(RejectReason.ADDRESS, message)

    def with_capped_requests(self, report: Report) -> Report:
        """Return the report with `total` and `best` capped at `max_requests`."""
        instance = report.instance
        if instance.total <= self.max_requests:
            return report
        total = self.max_requests
        return replace(
            report, instance=replace(instance, total=total, best=min(total, instance.best))
        )


class RateLimiter:
    """Token bucket for the reports of one instance.

    It allows `max_per_second` reports per second on average, and as many at once.
    """

    __slots__ = ("_max_per_second", "_tokens", "_updated_at")

    def __init__(self, max_per_second: int) -> None:
        self._max_per_second = max_per_second
        self._tokens = float(max_per_second)
        self._updated_at = 0.0

    def try_acquire(self, now: float) -> bool:
        """Return whether one more report is allowed at `now` seconds, and count it."""
        self._tokens = min(
            self._max_per_second, self._tokens + (now - self._updated_at) * self._max_per_second
        )
        self._updated_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _host_ip(addr: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address in host:port; None if the host is a name."""
    host = addr.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        return _unmapped(ip_address(host))
    except ValueError:
        return None


def _unmapped(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip


def _peer_ip(peer: str) -> IPv4Address | IPv6Address | None:
    scheme, _, address = peer.partition(":")
    if scheme not in ("ipv4", "ipv6"):
        return None
    host = address.rpartition(":")[0].replace("%5B", "[").replace("%5D", "]").strip("[]")
    return _unmapped(ip_address(host.partition("%")[0]))
