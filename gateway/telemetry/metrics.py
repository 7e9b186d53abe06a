"""Metrics of requests, reloads and instances.

Label values come from closed sets, so that the number of time series is bounded. Request metrics
are plain numbers that are read at a scrape, so that counting a request costs next to nothing.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from gateway.request.record import RequestRecord
from gateway.services.catalog import MAX_SERVICES, ContractChange
from lb.endpoints.histogram import Histogram
from lb.endpoints.lifecycle import EndpointState, StateChange
from lb.endpoints.table import EndpointTable
from lb.hub.counters import HubCounts
from schemas.model.errors import KNOWN_CODES

# A quarter of a millisecond to the longest deadline that is usual.
_REQUEST_BUCKETS_S = (
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0,
)  # fmt: skip
# In steps of 10 us where a compiled gateway is, wider where it has a reason to be slow.
_OVERHEAD_BUCKETS_S = (
    0.00001, 0.00002, 0.00003, 0.00004, 0.00005, 0.00006, 0.00007, 0.00008, 0.00009, 0.0001,
    0.00015, 0.0002, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0,
)  # fmt: skip
_LOOP_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
_WAIT_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class _ServiceMetrics:
    """The metrics of one service.

    `responses` counts by ASE code and HTTP status; the code -1 stands for codes that are not in the
    error table.
    """

    __slots__ = ("durations", "overhead", "responses", "waits")

    def __init__(self) -> None:
        self.responses: dict[tuple[int, int], int] = {}
        self.durations = Histogram(_REQUEST_BUCKETS_S)
        self.overhead = Histogram(_OVERHEAD_BUCKETS_S)
        self.waits = Histogram(_WAIT_BUCKETS_S)


class Metrics:
    """Collector of one gateway process for requests, retries, contract changes and reloads.

    It registers itself in `registry`. `inflight` is the number of unary requests in progress; the
    request handling updates it.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.inflight = 0
        self._services: dict[str, _ServiceMetrics] = {}
        self._closed_loops: dict[str, Histogram] = {}
        self._retries: dict[str, int] = {}
        self._config_changes: dict[str, int] = {}
        self._reloads: dict[str, int] = {"done": 0, "same": 0, "refused": 0}
        registry.register(self)

    def count_request(self, record: RequestRecord) -> None:
        """Count a request that was answered; its record must be finished.

        Requests without a known service count as the service "other".
        """
        service = record.service or "other"
        service_metrics = self._services.get(service)
        if service_metrics is None:
            service_metrics = self._services[service] = _ServiceMetrics()
        code_and_status = (record.code if record.code in KNOWN_CODES else -1, record.status)
        service_metrics.responses[code_and_status] = (
            service_metrics.responses.get(code_and_status, 0) + 1
        )
        service_metrics.durations.observe(record.answered_at - record.accepted_at)
        service_metrics.overhead.observe(record.overhead_s)
        if record.waited_s:
            service_metrics.waits.observe(record.waited_s)
        for reason in record.retry_reasons:
            self._retries[reason] = self._retries.get(reason, 0) + 1

    def count_closed_loop(self, service: str, seconds: float) -> None:
        """Count the time that a client took from its data to what it did with the answer."""
        self._closed_loops.setdefault(service, Histogram(_LOOP_BUCKETS_S)).observe(seconds)

    def count_contract_change(self, change: ContractChange) -> None:
        """Count a change of a service's active contract."""
        self._config_changes[change.service] = self._config_changes.get(change.service, 0) + 1

    def count_reload(self, outcome: str) -> None:
        """Count a reload of config and schemas: `outcome` is "done", "same" or "refused"."""
        self._reloads[outcome] = self._reloads.get(outcome, 0) + 1

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics with their current values, for a scrape."""
        yield _counter_family(
            "ase_reloads", "Reloads of config and schemas, by outcome.", "outcome", self._reloads
        )
        requests = CounterMetricFamily(
            "ase_requests",
            "Responses, by service, ASE code and HTTP status.",
            labels=("service", "code", "status"),
        )
        durations = HistogramMetricFamily(
            "ase_request_seconds",
            "Time from the acceptance of a request to its response.",
            labels=("service",),
        )
        overhead = HistogramMetricFamily(
            "ase_overhead_seconds", "Time that the gateway itself needed.", labels=("service",)
        )
        waits = HistogramMetricFamily(
            "ase_wait_seconds",
            "Time that requests waited while all instances were full, of those that did.",
            labels=("service",),
        )
        for service, service_metrics in list(self._services.items()):
            for (code, status), count in list(service_metrics.responses.items()):
                labels = (service, "other" if code < 0 else str(code), str(status))
                requests.add_metric(labels, count)
            durations.add_metric(
                (service,), service_metrics.durations.buckets(), service_metrics.durations.sum
            )
            overhead.add_metric(
                (service,), service_metrics.overhead.buckets(), service_metrics.overhead.sum
            )
            waits.add_metric((service,), service_metrics.waits.buckets(), service_metrics.waits.sum)
        yield from (requests, durations, overhead, waits)
        yield self._closed_loop_family()
        yield GaugeMetricFamily("ase_inflight", "Requests in progress.", self.inflight)
        yield _counter_family(
            "ase_retries", "Retries, by the error of the previous attempt.", "reason", self._retries
        )
        yield _counter_family(
            "ase_contract_switches",
            "Changes of the active contract, by service.",
            "service",
            self._config_changes,
        )

    def _closed_loop_family(self) -> Metric:
        family = HistogramMetricFamily(
            "ase_closed_loop_seconds",
            "Time from a client's data to what it did with the answer, as clients report it.",
            labels=("service",),
        )
        for service, loops in list(self._closed_loops.items()):
            family.add_metric((service,), loops.buckets(), loops.sum)
        return family


def _counter_family(name: str, documentation: str, label: str, counts: dict[str, int]) -> Metric:
    """Return a counter with one sample for each key of `counts`, as the value of `label`."""
    family = CounterMetricFamily(name, documentation, labels=(label,))
    for value, count in list(counts.items()):
        family.add_metric((value,), count)
    return family


class UpstreamMetrics:
    """Metrics of the known instances, at a gateway or at a hub in a process of its own.

    `hub_counts` are the counters of the hub in this process, None if there is none. Loaders choose
    the names of services: the first MAX_SERVICES have time series of their own, all others share
    "other". The gauge of "other" is not a sum: it has the value of the service that changed last.
    """

    def __init__(self, registry: CollectorRegistry, hub_counts: HubCounts | None = None) -> None:
        self._services: set[str] = set()
        self._hub_counts = hub_counts
        if hub_counts is not None:
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
        """Yield the metrics of the hub in this process, for a scrape."""
        hub_counts = self._hub_counts
        if hub_counts is not None:
            yield CounterMetricFamily("ase_lb_reports", "Reports accepted.", hub_counts.reports)
            count_by_reason = {
                reason.value: count for reason, count in hub_counts.rejections.items()
            }
            yield _counter_family(
                "ase_lb_reports_refused", "Reports rejected, by reason.", "reason", count_by_reason
            )
            yield CounterMetricFamily(
                "ase_lb_frames", "Frames sent to gateways.", hub_counts.frames
            )
            yield GaugeMetricFamily(
                "ase_lb_strain",
                "How often the hub halved the rate of its frames; 0 if it is not overloaded.",
                hub_counts.overload_level,
            )

    def count_state_change(self, change: StateChange, table: EndpointTable) -> None:
        """Count a state change of an instance, and update the number of instances by state."""
        service = self._service_label(change.instance.service)
        self._changes.labels(service, change.after.value, change.reason.value).inc()
        states = [endpoint.state for endpoint in table.endpoints_of(change.instance.service)]
        for state in (EndpointState.UP, EndpointState.DRAINING, EndpointState.SUSPECT):
            self._instances.labels(service, state.value).set(states.count(state))

    def _service_label(self, service: str) -> str:
        if len(self._services) < MAX_SERVICES:
            self._services.add(service)
        return service if service in self._services else "other"
