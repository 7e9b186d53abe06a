"""What callers may use: the limits of keys, applications and services. Pure."""

from collections.abc import Callable, Mapping
from heapq import nlargest
from typing import Final

from gateway.access.identity import NO_LIMITS, CallerLimits, Identity
from gateway.access.meters import NO_ADMISSION, Admission, LimitExceededError, Meter

NOTHING_USED: Final[Mapping[str, tuple[int, int]]] = {}
# A key that was not used for this time, in seconds, gives back its share of a limit.
_ACTIVE_S: Final = 10.0
# Keys whose limits are leased, at most; of the others each gateway may use an even share.
MAX_SHARED_KEYS: Final = 1000


class UsageLimiter:
    """Admits requests by the limits of their key, their application and their service.

    `app_limits` and `service_limits` are those of the configuration. The limits of an application
    hold only for callers that have proved to be it. `clock` returns seconds of a monotonic clock,
    `wall_clock` Unix time. `used_by_key` are the requests of each key in the present day and month
    before the start. `on_new_meter` is called when a key is used for the first time.

    Each of `gateways` that share the limits may use its part of them; see `shared_meters`.
    """

    def __init__(
        self,
        app_limits: Mapping[str, CallerLimits],
        service_limits: Mapping[str, CallerLimits],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        used_by_key: Mapping[str, tuple[int, int]] = NOTHING_USED,
    ) -> None:
        self._used_by_key = used_by_key
        self._clock = clock
        self._wall_clock = wall_clock
        self._started_at = wall_clock()
        self._apps = {name: Meter(f"app {name}", limits) for name, limits in app_limits.items()}
        self._services = {
            name: Meter(f"service {name}", limits) for name, limits in service_limits.items()
        }
        for meter in (*self._apps.values(), *self._services.values()):
            meter.start_period(0, self._started_at)
        self._keys: dict[str, Meter] = {}
        self.gateways = 1
        self.on_new_meter: Callable[[], None] | None = None

    def admit(self, identity: Identity, service_id: str) -> Admission:
        """Count a request of a caller. Raises LimitExceededError if it exceeds a limit.

        A request that one limit refuses counts for none.
        """
        meters = self._meters(identity, service_id)
        if not meters:
            return NO_ADMISSION
        now, wall_now = self._clock(), self._wall_clock()
        for meter in meters:
            meter.check(now, wall_now)
        for meter in meters:
            meter.count(now)
        return Admission(meters, _header_line(meters, now))

    def extend(self, admission: Admission, service_id: str) -> Admission:
        """Count an admitted request for a further service, to which it is passed on.

        Raises LimitExceededError if that service's limits refuse it; then it counts for none.
        """
        meter = self._services.get(service_id)
        if meter is None:
            return admission
        now = self._clock()
        try:
            meter.check(now, self._wall_clock())
        except LimitExceededError:
            admission.release()
            raise
        meter.count(now)
        return admission.with_meter(meter)

    def shared_meters(self) -> list[Meter]:
        """Return the meters whose limits hold over all gateways, and are in use here.

        Those of the configuration are always in use, so that each gateway has a share in advance.
        """
        now = self._clock()
        keys = [
            meter
            for meter in self._keys.values()
            if meter.running or now - meter.counted_at < _ACTIVE_S
        ]
        if len(keys) > MAX_SHARED_KEYS:
            keys = nlargest(MAX_SHARED_KEYS, keys, key=lambda meter: meter.counted_at)
        return [*self._apps.values(), *self._services.values(), *keys]

    def _meters(self, identity: Identity, service_id: str) -> list[Meter]:
        meters: list[Meter] = []
        if identity.limits is not NO_LIMITS:
            meters.append(self._key_meter(identity))
        if self._apps and identity.method != "none" and identity.app_id in self._apps:
            meters.append(self._apps[identity.app_id])
        if self._services and service_id in self._services:
            meters.append(self._services[service_id])
        return meters

    def _key_meter(self, identity: Identity) -> Meter:
        """Return the meter of a key; there are as many as there are keys with limits."""
        meter = self._keys.get(identity.key_id)
        if meter is None:
            meter = self._keys[identity.key_id] = Meter(f"key {identity.key_id}", identity.limits)
            meter.share = 1.0 / self.gateways
            of_day, of_month = self._used_by_key.get(identity.key_id, (0, 0))
            meter.start_period(
                of_day if identity.limits.quota_days == 1 else of_month, self._started_at
            )
            if self.on_new_meter is not None:
                self.on_new_meter()
        meter.limits = identity.limits
        return meter


def _header_line(meters: list[Meter], now: float) -> str:
    """Return the line for the rate that is nearest to its limit; "" without one."""
    tightest: Meter | None = None
    left = 0
    for meter in meters:
        if meter.limits.rate:
            remaining = meter.remaining(now)
            if tightest is None or remaining < left:
                tightest, left = meter, remaining
    return tightest.rate_line(left, now) if tightest is not None else ""
