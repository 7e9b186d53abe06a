"""What callers may use: the limits of keys, applications and services. Pure."""

from collections.abc import Callable, Mapping
from heapq import nlargest
from typing import Final

from gateway.access.identity import NO_LIMITS, CallerLimits, Identity
from gateway.access.meters import NO_ADMISSION, Admission, LimitExceededError, Meter

NOTHING_USED: Final[Mapping[str, tuple[int, int]]] = {}
NO_LICENCES: Final[Mapping[str, int]] = {}
# A key that was not used for this time, in seconds, gives back its share of a limit.
_ACTIVE_S: Final = 10.0
# Keys whose limits are leased, at most; of the others each gateway may use an even share.
MAX_SHARED_KEYS: Final = 1000


class UsageLimiter:
    """Admits requests by the limits of their key, their application and their service.

    `app_limits` (of all applications that it names) and `service_limits` are those of the
    configuration. The limits of an application hold only for callers that have proved to be it; so
    do the `licences` of services: requests and sessions in progress that each application may have.
    `clock` returns seconds of a monotonic clock, `wall_clock` Unix time. `used_by_key` are the
    requests of each key in the present day and month before the start. `on_new_meter` is called
    when a key or a licence is used for the first time.

    Each of `gateways` that share the limits may use its part of them; see `shared_meters`.
    """

    def __init__(
        self,
        app_limits: Mapping[str, CallerLimits],
        service_limits: Mapping[str, CallerLimits],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        used_by_key: Mapping[str, tuple[int, int]] = NOTHING_USED,
        licences: Mapping[str, int] = NO_LICENCES,
    ) -> None:
        self._used_by_key = used_by_key
        self._licences: Mapping[str, int] = NO_LICENCES
        self._licence_meters: dict[tuple[str, str], Meter] = {}
        self._clock = clock
        self._wall_clock = wall_clock
        self._started_at = wall_clock()
        self._apps: dict[str, Meter] = {}
        self._services: dict[str, Meter] = {}
        self._keys: dict[str, Meter] = {}
        self.gateways = 1
        self.on_new_meter: Callable[[], None] | None = None
        self._app_names: frozenset[str] = frozenset()
        self.set_limits(app_limits, service_limits, licences)

    def set_limits(
        self,
        app_limits: Mapping[str, CallerLimits],
        service_limits: Mapping[str, CallerLimits],
        licences: Mapping[str, int],
    ) -> None:
        """Take the limits of a new configuration, between two requests.

        What was counted of an application or a service counts on, unless the period of its quota is
        another one.
        """
        limited_apps = {n: limits for n, limits in app_limits.items() if limits != NO_LIMITS}
        self._apps = self._renew("app", self._apps, limited_apps)
        self._services = self._renew("service", self._services, service_limits)
        self._licences = licences
        self._app_names = frozenset(app_limits)
        self._licence_meters = {
            pair: meter for pair, meter in self._licence_meters.items() if pair[1] in licences
        }
        for (_, service_id), meter in self._licence_meters.items():
            meter.limits = CallerLimits(concurrency=licences[service_id])
        for app_id in app_limits:
            for service_id in licences:
                self._licence_meter(app_id, service_id)
        if self.on_new_meter is not None and self.has_limits():
            self.on_new_meter()

    def _renew(
        self, kind: str, meters: Mapping[str, Meter], limits_by_name: Mapping[str, CallerLimits]
    ) -> dict[str, Meter]:
        """Return the meters of limits: those that there were, with the new limits, and new ones."""
        renewed: dict[str, Meter] = {}
        for name, limits in limits_by_name.items():
            meter = meters.get(name)
            if meter is None:
                meter = Meter(f"{kind} {name}", limits)
                meter.share = 1.0 / self.gateways
                meter.start_period(0, self._wall_clock())
            elif meter.limits != limits:
                meter.change_limits(limits, self._clock(), self._wall_clock())
            renewed[name] = meter
        return renewed

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

    def extend(self, admission: Admission, identity: Identity, service_id: str) -> Admission:
        """Count an admitted request for a further service, to which it is passed on.

        Raises LimitExceededError if that service's limits refuse it; then it counts for none.
        """
        meters = self._service_meters(identity, service_id)
        now = self._clock()
        try:
            for meter in meters:
                meter.check(now, self._wall_clock())
        except LimitExceededError:
            admission.release()
            raise
        for meter in meters:
            meter.count(now)
        return admission.with_meters(meters) if meters else admission

    def has_limits(self) -> bool:
        """Return whether the configuration limits an application or a service."""
        return bool(self._apps or self._services or self._licences)

    def shared_meters(self) -> list[Meter]:
        """Return the meters whose limits hold over all gateways, and are in use here.

        Those of the configuration are always in use, so that each gateway has a lease in advance.
        """
        now = self._clock()
        self._licence_meters = {
            pair: meter
            for pair, meter in self._licence_meters.items()
            if pair[0] in self._app_names or _is_active(meter, now)
        }
        keys = [meter for meter in self._keys.values() if _is_active(meter, now)]
        if len(keys) > MAX_SHARED_KEYS:
            keys = nlargest(MAX_SHARED_KEYS, keys, key=lambda meter: meter.counted_at)
        return [
            *self._apps.values(), *self._services.values(), *self._licence_meters.values(), *keys
        ]  # fmt: skip

    def _meters(self, identity: Identity, service_id: str) -> list[Meter]:
        meters: list[Meter] = []
        if identity.limits is not NO_LIMITS:
            meters.append(self._key_meter(identity))
        if self._apps and identity.method != "none" and identity.app_id in self._apps:
            meters.append(self._apps[identity.app_id])
        if self._services or self._licences:
            meters += self._service_meters(identity, service_id)
        return meters

    def _service_meters(self, identity: Identity, service_id: str) -> list[Meter]:
        meters: list[Meter] = []
        if self._services and service_id in self._services:
            meters.append(self._services[service_id])
        if self._licences and identity.method != "none" and service_id in self._licences:
            meters.append(self._licence_meter(identity.app_id, service_id))
        return meters

    def _licence_meter(self, app_id: str, service_id: str) -> Meter:
        """Return the meter of an application's licences of a service.

        Several gateways never let through more than the licences, so without a lease none is left.
        The applications of the configuration have theirs in advance.
        """
        meter = self._licence_meters.get((app_id, service_id))
        if meter is None:
            limits = CallerLimits(concurrency=self._licences[service_id])
            meter = Meter(f"app {app_id} of service {service_id}", limits)
            meter.share = 1.0 if self.gateways == 1 else 0.0
            self._licence_meters[(app_id, service_id)] = meter
            if self.on_new_meter is not None:
                self.on_new_meter()
        return meter

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


def _is_active(meter: Meter, now: float) -> bool:
    return meter.running > 0 or now - meter.counted_at < _ACTIVE_S


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
