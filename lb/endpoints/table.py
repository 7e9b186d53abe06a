"""Table of all known endpoints: reports in, state changes out. Pure; `now` is a parameter."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from math import inf
from statistics import median_low
from typing import Final

from lb.endpoints.candidates import Pool
from lb.endpoints.endpoint import Endpoint, FleetMedians
from lb.endpoints.epochs import EpochHistory
from lb.endpoints.histogram import Histogram
from lb.endpoints.lifecycle import (
    EVENT_BY_SERVING_STATE,
    TRANSITIONS,
    EndpointEvent,
    EndpointState,
    StateChange,
)
from lb.endpoints.report import Instance, InstanceKey, Load, Report, ReportMode
from lb.endpoints.traffic import TrafficRules, TrafficTable, split_by_traffic

# Interval in seconds at which medians are recomputed. In a service of at most _SMALL_SERVICE
# instances they are also recomputed when an instance joins.
_MEDIANS_INTERVAL_S: Final = 0.25
_SMALL_SERVICE: Final = 16
# And with each report, until the instances have served this many requests each on average: a
# service time measured by one request is no reference for the others.
_MIN_SERVED_EACH: Final = 100
# Ages of reports in seconds: a hub sends them within milliseconds, less often if it is overloaded.
_AGE_BUCKETS_S: tuple[float, ...] = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
)
# If a sweep runs later than this, in seconds, this process was stalled.
_MIN_STALL_S: Final = 0.1


class _ServiceEndpoints:
    """The endpoints of one service, their medians and their pool.

    `pool` is None before the first pick. It is replaced after an endpoint joins, leaves or changes
    its state, if a pick has another schema digest, and if traffic rules change.
    """

    __slots__ = ("endpoints", "has_stable_medians", "medians", "pool")

    def __init__(self) -> None:
        self.endpoints: dict[InstanceKey, Endpoint] = {}
        self.has_stable_medians = False  # whether the medians rest on enough requests
        self.medians = FleetMedians()
        self.pool: Pool | None = None

    def update_medians(self) -> None:
        """Recompute the medians."""
        endpoints, medians = self.endpoints.values(), self.medians
        reported_ms = [e.load.service_ms for e in endpoints if e.load.service_ms]
        medians.has_service_time = bool(reported_ms)
        medians.service_ms = median_low(reported_ms or [1.0])
        served = sum([endpoint.load.served for endpoint in endpoints])
        self.has_stable_medians = len(
            endpoints
        ) > _SMALL_SERVICE or served >= _MIN_SERVED_EACH * len(endpoints)
        medians.slots = median_low([endpoint.instance.best for endpoint in endpoints] or [1])
        medians.latency_log_ratio = median_low(
            [endpoint.latency_log_ratio for endpoint in endpoints if endpoint.latency_samples]
            or [0.0]
        )


class ReportStats:
    """What is counted of reports, for the metrics.

    `reports` is their number, `ages` counts those that came by a hub by their ages in seconds, and
    `estimate_error_sum` is the sum of the differences between the estimated and the reported load,
    in requests.
    """

    __slots__ = ("ages", "estimate_error_sum", "reports")

    def __init__(self) -> None:
        self.reports = 0
        self.ages = Histogram(_AGE_BUCKETS_S)
        self.estimate_error_sum = 0.0


class EndpointTable:
    """All known endpoints, by service. Methods return the state changes they cause, in order.

    `gateway` is the name under which loaders count this gateway's requests. All times are in
    seconds. An endpoint becomes suspect after `silence_timeout` without a report, or later if its
    reports are irregular (`Endpoint.silence_limit`); a PERIODIC one after half of `ttl`. A suspect
    endpoint is removed after `ttl`. A new endpoint gets its full share after `ramp`. A table that
    follows a hub does not detect silence itself; its `silence_timeout` is None. `report_stats` is
    for the metrics.
    `traffic` has the shares of versions.

    Every endpoint is in `_endpoints` and in `_services[service].endpoints`, under the same key. A
    service without endpoints has no entry.
    """

    def __init__(
        self,
        gateway: str = "",
        *,
        silence_timeout: float | None = 1.5,
        ttl: float = 3.0,
        ramp: float = 10.0,
    ) -> None:
        self._gateway = gateway
        self._silence_timeout = silence_timeout
        self._ttl = ttl
        self._ramp = ramp
        self._endpoints: dict[InstanceKey, Endpoint] = {}
        self._services: dict[str, _ServiceEndpoints] = {}
        self._medians_updated_at = 0.0
        self.report_stats = ReportStats()
        self._epoch_history = EpochHistory()
        self._on_join: Callable[[Endpoint], None] | None = None
        self._on_report: Callable[[Endpoint], None] | None = None
        self._on_traffic: Callable[[], None] | None = None
        self.traffic = TrafficTable()

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(list(self._endpoints.values()))

    def __len__(self) -> int:
        return len(self._endpoints)

    def raise_timeouts(self, keepalive: float) -> None:
        """Raise the silence timeout to at least three times `keepalive` seconds, and the ttl.

        The timeouts never shrink. They grow before any loader is asked for the longer interval, and
        some loaders may still use it after the hub asks for a shorter one.
        """
        if self._silence_timeout is not None:
            self._silence_timeout = max(self._silence_timeout, 3 * keepalive)
            self._ttl = max(self._ttl, 2 * self._silence_timeout)

    def is_past_epoch(self, key: InstanceKey, epoch: int) -> bool:
        """Return whether the instance is UP and a later epoch has replaced `epoch`.

        If the instance is unknown or not UP, the past epoch may come back, because there is no
        better information.
        """
        endpoint = self._endpoints.get(key)
        return (
            endpoint is not None
            and endpoint.state is EndpointState.UP
            and self._epoch_history.contains(key, epoch)
        )

    def compensate_stall(self, stall_s: float, now: float) -> None:
        """Compensate for an event-loop stall of `stall_s` seconds, if it is longer than 0.1 s.

        No endpoint may be declared silent because this process was blocked. A report that arrived
        at the end of the stall is not moved past `now`.
        """
        if stall_s > _MIN_STALL_S:
            for endpoint in self._endpoints.values():
                endpoint.last_report_at = min(endpoint.last_report_at + stall_s, now)

    def set_listeners(
        self,
        on_join: Callable[[Endpoint], None],
        on_report: Callable[[Endpoint], None],
    ) -> None:
        """Call `on_join` with each endpoint that a report adds, `on_report` after each report."""
        self._on_join, self._on_report = on_join, on_report

    def set_traffic(self, rules: TrafficRules) -> bool:
        """Take the traffic rules of an owner; return whether they are news.

        Raises InvalidTrafficError.
        """
        if not self.traffic.apply(rules):
            return False
        self._publish_traffic()
        return True

    def update_traffic(
        self, source: object, rules: Iterable[TrafficRules], now: float, *, is_all: bool
    ) -> None:
        """Take the traffic rules of a hub, `is_all` of them or those that have changed."""
        if self.traffic.update_source(source, rules, now, is_all=is_all):
            self._publish_traffic()

    def forget_traffic(self, source: object, now: float) -> None:
        """Forget the traffic rules of a hub that is not followed any more."""
        if self.traffic.forget_source(source, now):
            self._publish_traffic()

    def _publish_traffic(self) -> None:
        for service_id in self._services:
            self.invalidate_pool(service_id)
        if self._on_traffic is not None:
            self._on_traffic()

    def on_traffic(self, callback: Callable[[], None]) -> None:
        """Have `callback` called after traffic rules have changed."""
        self._on_traffic = callback

    def admitted(self, service_id: str, may_serve: Callable[[Endpoint], bool]) -> list[Endpoint]:
        """Return the endpoints of a service that get requests by the shares of their versions.

        Of those that `may_serve` alone: a version that is held back serves if no other one does.
        """
        candidates = [each for each in self.endpoints_of(service_id) if may_serve(each)]
        return split_by_traffic(candidates, self.traffic.shares).admitted()

    def get(self, key: InstanceKey) -> Endpoint | None:
        """Return the endpoint of an instance, or None."""
        return self._endpoints.get(key)

    def endpoints_of(self, service_id: str) -> list[Endpoint]:
        """Return the endpoints of one service, in the order they joined."""
        service = self._services.get(service_id)
        return list(service.endpoints.values()) if service is not None else []

    def pool(self, service_id: str, digest: str) -> Pool:
        """Return the pool of a service: the endpoints to pick from that have the schema `digest`.

        An instance without a digest counts as having any schema. The pool stays the same until an
        endpoint joins, leaves or changes its state or ejection state.
        """
        service = self._services.get(service_id)
        if service is None:
            return Pool(digest)
        pool = service.pool
        if pool is None or pool.is_outdated or pool.digest != digest:
            if pool is not None:
                pool.clear()
            service.pool = pool = Pool(digest)
            pool.fill_by_traffic(split_by_traffic(service.endpoints.values(), self.traffic.shares))
        return pool

    def invalidate_pool(self, service_id: str) -> None:
        """Rebuild the pool of a service at the next pick, because an endpoint changed."""
        service = self._services.get(service_id)
        if service is not None and service.pool is not None:
            service.pool.is_outdated = True

    def add_static(self, instance: Instance, now: float) -> None:
        """Add an instance that does not report; it never expires."""
        self._add(
            Endpoint(replace(instance, report_mode=ReportMode.NONE), Load(), EndpointState.UP, now),
            now,
        )

    def apply_static_load(self, instance: Instance, load: Load, now: float) -> None:
        """Apply the load of a static instance, received at intervals by other means (ORCA)."""
        endpoint = self._endpoints.get(instance.key)
        if endpoint is not None and load.seq > endpoint.load.seq:
            endpoint.apply_report(endpoint.instance, load, -1, now)
            endpoint.report_mode = ReportMode.PERIODIC
            service = self._services[instance.service]
            endpoint.update_estimates(service.medians, self._ramp, now)
            if self._on_report is not None:
                self._on_report(endpoint)

    def apply(self, report: Report, now: float) -> list[StateChange]:
        """Apply a report and return the state changes.

        A stale report (same epoch, `seq` not higher), a report from a past epoch and a report of a
        static instance are dropped. A new epoch is a new process: the old endpoint is removed, and
        the new one starts with fresh counts.
        """
        instance, load = report.instance, report.load
        key = instance.key
        endpoint = self._endpoints.get(key)
        event = EVENT_BY_SERVING_STATE[load.serving_state]
        own_requests = (
            load.requests_by_gateway.get(self._gateway, 0)
            if load.requests_by_gateway is not None
            else -1
        )
        if endpoint is not None and endpoint.instance.report_mode is ReportMode.NONE:
            return []  # static: the operator configured it
        if endpoint is not None and endpoint.instance.epoch == instance.epoch:
            if load.seq <= endpoint.load.seq:
                return []
            before = endpoint.instance
            expected = endpoint.outstanding()
            endpoint.apply_report(instance, load, own_requests, now)
            self.report_stats.reports += 1
            self.report_stats.estimate_error_sum += abs(endpoint.outstanding() - expected)
            service = self._services[instance.service]
            if not service.has_stable_medians:
                self._update_medians(service, now)
            endpoint.update_estimates(service.medians, self._ramp, now)
            if (before.digest, before.version) != (instance.digest, instance.version):
                self.invalidate_pool(instance.service)
            state_changes = self._transition(endpoint, event, now)
            if self._on_report is not None:
                self._on_report(endpoint)
            return state_changes
        new_state = TRANSITIONS.get((EndpointState.GONE, event))
        if new_state is None or self.is_past_epoch(key, instance.epoch):
            return []
        changes: list[StateChange] = []
        if endpoint is not None:
            self._epoch_history.add(key, endpoint.instance.epoch)
            changes = self._remove(endpoint, EndpointEvent.REPLACED)
        new_endpoint = Endpoint(instance, load, new_state, now)
        new_endpoint.reason = event
        new_endpoint.abandoned = max(
            0, own_requests
        )  # if it was known before, this gateway's requests there still run
        new_endpoint.apply_report(instance, load, own_requests, now)
        self._add(new_endpoint, now)
        if self._on_join is not None:
            self._on_join(new_endpoint)
        if self._on_report is not None:
            self._on_report(new_endpoint)
        return [*changes, StateChange(instance, EndpointState.GONE, new_state, event)]

    def mark_lost(
        self, key: InstanceKey, epoch: int, event: EndpointEvent, now: float
    ) -> list[StateChange]:
        """Apply `event` to an instance whose reports stopped; ignored for another epoch."""
        endpoint = self._endpoints.get(key)
        if endpoint is None or endpoint.instance.epoch != epoch:
            return []
        return self._transition(endpoint, event, now)

    def discard_reported_load(self, key: InstanceKey) -> None:
        """Ignore the reported load of an instance that no hub reports any more: it is stale."""
        endpoint = self._endpoints.get(key)
        if endpoint is not None:
            endpoint.discard_reported_load()

    def remove(self, key: InstanceKey, epoch: int, reason: EndpointEvent) -> list[StateChange]:
        """Remove an instance, whatever its state here; ignored for another epoch."""
        endpoint = self._endpoints.get(key)
        if endpoint is None or endpoint.instance.epoch != epoch:
            return []
        return self._remove(endpoint, reason)

    def next_expiry(self) -> float:
        """Return when `expire` next changes a state if no report comes; infinity if never."""
        return min([self._expires_at(endpoint) for endpoint in self], default=inf)

    def _expires_at(self, endpoint: Endpoint) -> float:
        """Return when an endpoint becomes suspect, or expires, if no report comes."""
        report_mode = endpoint.instance.report_mode
        if report_mode is ReportMode.NONE:
            return inf
        if endpoint.state is EndpointState.SUSPECT:
            is_silent = endpoint.reason is EndpointEvent.SILENT
            return self._ttl + (endpoint.last_report_at if is_silent else endpoint.state_since)
        if self._silence_timeout is None:
            return inf
        return endpoint.last_report_at + self._silence_limit(endpoint, self._silence_timeout)

    def _silence_limit(self, endpoint: Endpoint, least: float) -> float:
        """Return how long an endpoint may be silent, in seconds."""
        if endpoint.instance.report_mode is ReportMode.ON_CHANGE:
            return endpoint.silence_limit(least)
        return self._ttl / 2

    def expire(self, now: float) -> list[StateChange]:
        """Apply the passing of time and return the state changes.

        Silent endpoints become suspect, suspect ones expire, and the estimates of all endpoints are
        updated at intervals, which lets new ones ramp up.
        """
        changes = []
        if self.traffic.expire(now):
            self._publish_traffic()
        for endpoint in self:
            report_mode = endpoint.instance.report_mode
            if report_mode is ReportMode.NONE:
                continue
            age = now - endpoint.last_report_at
            if self._silence_timeout is not None:
                silence_limit = self._silence_limit(endpoint, self._silence_timeout)
                if age > silence_limit and endpoint.state is not EndpointState.SUSPECT:
                    changes += self._transition(endpoint, EndpointEvent.SILENT, now)
                    continue
            is_silent = endpoint.reason is EndpointEvent.SILENT
            if (age if is_silent else now - endpoint.state_since) > self._ttl:
                changes += self._transition(endpoint, EndpointEvent.EXPIRED, now)
        if now - self._medians_updated_at >= _MEDIANS_INTERVAL_S:
            self._medians_updated_at = now
            for service in self._services.values():
                self._update_medians(service, now)
        return changes

    def _update_medians(self, service: _ServiceEndpoints, now: float) -> None:
        """Recompute the medians and update all endpoints by them, so that equal ones stay equal."""
        service.update_medians()
        for endpoint in service.endpoints.values():
            endpoint.update_estimates(service.medians, self._ramp, now)

    def _add(self, endpoint: Endpoint, now: float) -> None:
        instance = endpoint.instance
        self._endpoints[instance.key] = endpoint
        service = self._services.get(instance.service)
        if service is None:
            service = self._services[instance.service] = _ServiceEndpoints()
        service.endpoints[instance.key] = endpoint
        if len(service.endpoints) <= _SMALL_SERVICE:
            service.update_medians()
        endpoint.update_estimates(service.medians, self._ramp, now)
        self.invalidate_pool(instance.service)

    def _transition(
        self, endpoint: Endpoint, event: EndpointEvent, now: float
    ) -> list[StateChange]:
        before, after = endpoint.state, TRANSITIONS.get((endpoint.state, event))
        if after is None or after is before:
            return []
        if after is EndpointState.GONE:
            return self._remove(endpoint, event)
        endpoint.state, endpoint.state_since, endpoint.reason = after, now, event
        if event is EndpointEvent.HUB_FORGOT:
            endpoint.discard_reported_load()
        if event is EndpointEvent.SILENT:
            # Its load is not known any more: assume at least the median.
            peers = self._services[endpoint.instance.service].endpoints.values()
            median_load = median_low([peer.remote_load for peer in peers])
            endpoint.remote_load = max(endpoint.remote_load, median_load)
        self.invalidate_pool(endpoint.instance.service)
        return [StateChange(endpoint.instance, before, after, event)]

    def _remove(self, endpoint: Endpoint, reason: EndpointEvent) -> list[StateChange]:
        instance, before = endpoint.instance, endpoint.state
        endpoint.state, endpoint.reason = EndpointState.GONE, reason
        del self._endpoints[instance.key]
        service = self._services[instance.service]
        del service.endpoints[instance.key]
        if not service.endpoints:
            if service.pool is not None:
                service.pool.clear()
            del self._services[instance.service]
        else:
            self.invalidate_pool(instance.service)
        return [StateChange(instance, before, EndpointState.GONE, reason)]
