"""The share of this gateway in limits that hold over all gateways of a hub. Pure."""

from collections.abc import Callable
from math import inf
from typing import Final

from gateway.access.limits import UsageLimiter
from gateway.access.meters import Meter, MeterLease
from lb.hub.leases import GATEWAY_TTL_S
from schemas.wire import LeaseReply, LeaseRequest, LimitUse

# Seconds between two exchanges: while gateways share limits that are in use, while they share more
# than `_MANY` of them, and otherwise.
SHARING_INTERVAL_S: Final = 0.1
MANY_INTERVAL_S: Final = 0.25
ALONE_INTERVAL_S: Final = 1.0
_MANY: Final = 200
_MAX_UINT32: Final = 2**32 - 1


class LimitShares:
    """Says to the hub what this gateway has used, and applies the leases of its replies.

    A gateway without others counts by itself. It believes a hub that it is alone after
    `GATEWAY_TTL_S`: a hub that has just started does not know the others yet. `_alone_since` is
    when it heard so first. `_leased` are the meters of the last request.
    """

    def __init__(
        self,
        limiter: UsageLimiter,
        gateway_name: str,
        clock: Callable[[], float],
    ) -> None:
        self._limiter = limiter
        self._gateway_name = gateway_name
        self._clock = clock
        self._leased: list[Meter] = []
        self._alone_since = inf

    @property
    def gateways(self) -> int:
        """Return how many gateways share the limits, this one included."""
        return self._limiter.gateways

    def interval(self) -> float:
        """Return the seconds until the next exchange."""
        if self.gateways == 1 or not self._leased:
            return ALONE_INTERVAL_S
        return SHARING_INTERVAL_S if len(self._leased) <= _MANY else MANY_INTERVAL_S

    def request(self) -> LeaseRequest:
        """Return what this gateway has used; meters that are no longer in use lose their lease."""
        now = self._clock()
        meters = self._limiter.shared_meters()
        kept = set(meters)
        for meter in self._leased:
            if meter not in kept:
                meter.lease, meter.share = None, 1.0 / self.gateways
        self._leased = meters
        uses = [_use(meter, now) for meter in meters]
        return LeaseRequest(gateway=self._gateway_name, uses=uses)

    def apply(self, reply: LeaseReply) -> None:
        """Apply the leases of the meters of the last request."""
        now = self._clock()
        if reply.gateways > 1:
            self._limiter.gateways, self._alone_since = reply.gateways, inf
        else:
            self._alone_since = min(self._alone_since, now)
            if now - self._alone_since >= GATEWAY_TTL_S:
                self._limiter.gateways = 1
        for meter, lease in zip(self._leased, reply.leases, strict=False):
            if self.gateways == 1:
                meter.lease, meter.share = None, 1.0
            else:
                meter.lease = MeterLease(lease.admitted, lease.slots, lease.used, lease.used_up)
                meter.share = lease.share

    def expire(self) -> None:
        """Go on with the last shares: the hub is away."""
        for meter in self._leased:
            if meter.lease is not None:
                meter.lease.is_current = False


def _use(meter: Meter, now: float) -> LimitUse:
    limits = meter.limits
    # A quota of another period is another limit: the end of the old one says nothing of it.
    name = meter.name if limits.quota_days == 1 else f"{meter.name}, monthly"
    return LimitUse(
        name=name.encode("utf-8", "replace").decode(),  # an app id may have lone surrogates
        rate=limits.rate,
        burst=min(meter.burst, _MAX_UINT32),
        concurrency=min(limits.concurrency, _MAX_UINT32),
        quota=limits.quota,
        period_end=round(meter.period_end) if limits.quota else 0,
        admitted=meter.admitted,
        refused=meter.refused,
        running=meter.running,
        slots=meter.lease.running if meter.lease is not None else 0,
        used=meter.used,
        used_before=meter.used_before,
        ahead=meter.ahead(now) if meter.lease is None and limits.rate else 0.0,
    )
