"""Every metric of the gateway, declared once. Labels come from closed sets, so series stay few.

Those of requests are plain numbers, read out when they are scraped: counting one costs nothing.
"""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from gateway.contracts import MAX_SERVICES, Switch
from gateway.record import Record
from lb.counts import HubCounts
from lb.life import Change, State
from lb.table import Table
from schemas.errors import ERRORS_BY_CODE

_SECONDS: tuple[float, ...] = (
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
    5.0,
    10.0,
    30.0,
)
_OWN: tuple[float, ...] = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)
_CODES: Final = {0, *(code for _, code in ERRORS_BY_CODE)}


class _Durations:
    """A histogram of seconds."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Return (upper bound, how many up to it), as Prometheus has them."""
        names = [*map(str, self.bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))


class _OfService:
    """What is measured of one service."""

    __slots__ = ("answers", "overhead", "seconds")

    def __init__(self) -> None:
        self.answers: dict[tuple[int, int], int] = {}
        self.seconds = _Durations(_SECONDS)
        self.overhead = _Durations(_OWN)


class Metrics:
    """The measurements of one gateway process, in a registry that is handed in.

    `inflight` is how many once-requests are under way.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.inflight = 0
        self._services: dict[str, _OfService] = {}
        self._retries: dict[str, int] = {}
        self._switches: dict[str, int] = {}
        self._reloads: dict[str, int] = {"done": 0, "same": 0, "refused": 0}
        registry.register(self)

    def answered(self, record: Record) -> None:
        """Count a request that was answered."""
        service = record.service or "other"
        told = self._services.get(service)
        if told is None:
            told = self._services[service] = _OfService()
        kind = (record.code if record.code in _CODES else -1, record.status)
        told.answers[kind] = told.answers.get(kind, 0) + 1
        told.seconds.observe(record.answered - record.accepted)
        told.overhead.observe(record.overhead)
        for reason in record.retried:
            self._retries[reason] = self._retries.get(reason, 0) + 1

    def switched(self, switch: Switch) -> None:
        """Count a service's change of contract."""
        self._switches[switch.service] = self._switches.get(switch.service, 0) + 1

    def reloaded(self, outcome: str) -> None:
        """Count a reading of config and schemas: done, same or refused."""
        self._reloads[outcome] = self._reloads.get(outcome, 0) + 1

    def collect(self) -> Iterator[Metric]:
        """Return the figures of now, for a registry."""
        yield _counts(
            "ase_reloads", "Readings of config and schemas, by outcome.", "outcome", self._reloads
        )
        requests = CounterMetricFamily(
            "ase_requests",
            "Requests answered, by service, ASE code and HTTP status.",
            labels=("service", "code", "status"),
        )
        seconds = HistogramMetricFamily(
            "ase_request_seconds", "Time from acceptance to answer.", labels=("service",)
        )
        overhead = HistogramMetricFamily(
            "ase_overhead_seconds", "Time the gateway itself took.", labels=("service",)
        )
        for service, told in list(self._services.items()):
            for (code, status), count in list(told.answers.items()):
                labels = (service, "other" if code < 0 else str(code), str(status))
                requests.add_metric(labels, count)
            seconds.add_metric((service,), told.seconds.buckets(), told.seconds.sum)
            overhead.add_metric((service,), told.overhead.buckets(), told.overhead.sum)
        yield from (requests, seconds, overhead)
        yield GaugeMetricFamily("ase_inflight", "Requests under way.", self.inflight)
        yield _counts(
            "ase_retries", "Second attempts, by what befell the first.", "reason", self._retries
        )
        yield _counts(
            "ase_contract_switches",
            "Services that got another contract.",
            "service",
            self._switches,
        )


def _counts(name: str, words: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, words, labels=(label,))
    for value, count in list(counts.items()):
        family.add_metric((value,), count)
    return family


class FleetMetrics:
    """The measurements of a view of loaders, at a gateway or at a hub of its own.

    `counts`: those of the hub in this process. Service names come from loaders: the first
    MAX_SERVICES have series, the others share one.
    """

    def __init__(self, registry: CollectorRegistry, counts: HubCounts | None = None) -> None:
        self._services: set[str] = set()
        self._counts = counts
        if counts is not None:
            registry.register(self)
        self._changes = Counter(
            "ase_lb_instance_changes",
            "Instances that changed state, by the new state and the reason.",
            ("service", "state", "reason"),
            registry=registry,
        )
        self._instances = Gauge(
            "ase_lb_instances",
            "Instances known, by state.",
            ("service", "state"),
            registry=registry,
        )

    def collect(self) -> Iterator[Metric]:
        """Return the figures of the hub that is in this process, for a registry."""
        counts = self._counts
        if counts is not None:
            yield CounterMetricFamily("ase_lb_reports", "Reports taken in.", counts.reports)
            refusals = {refusal.value: count for refusal, count in counts.refusals.items()}
            yield _counts(
                "ase_lb_reports_refused", "Reports not taken in, by why.", "reason", refusals
            )
            yield CounterMetricFamily("ase_lb_frames", "Frames sent to gateways.", counts.frames)
            yield GaugeMetricFamily(
                "ase_lb_strain", "0, or how often the hub halved what it tells.", counts.strain
            )

    def changed(self, change: Change, table: Table) -> None:
        """Count a change of an instance's state."""
        service = self._label(change.instance.service)
        self._changes.labels(service, change.after.value, change.reason.value).inc()
        states = [entry.state for entry in table.service(change.instance.service)]
        for state in (State.UP, State.DRAINING, State.SUSPECT):
            self._instances.labels(service, state.value).set(states.count(state))

    def _label(self, service: str) -> str:
        if len(self._services) < MAX_SERVICES:
            self._services.add(service)
        return service if service in self._services else "other"
