"""Every metric of the gateway, declared once. Labels come from closed sets, so series stay few."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.contracts import MAX_SERVICES, Switch
from gateway.record import Record
from lb.table import Change, State, Table
from schemas.errors import TABLE

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_OWN = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)
_CODES = {0, *(code for _, code in TABLE)}


class Metrics:
    """The measurements of one gateway process, in a registry that is handed in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "ase_requests",
            "Requests answered, by service, ASE code and HTTP status.",
            ("service", "code", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "ase_request_seconds",
            "Time from acceptance to answer.",
            ("service",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._overhead = Histogram(
            "ase_overhead_seconds",
            "Time the gateway itself took.",
            ("service",),
            buckets=_OWN,
            registry=registry,
        )
        self._retries = Counter(
            "ase_retries", "Second attempts, by what befell the first.", ("reason",),
            registry=registry,
        )  # fmt: skip
        self.inflight = Gauge("ase_inflight", "Requests under way.", registry=registry)
        self._switches = Counter(
            "ase_contract_switches", "Services that got another contract.", ("service",),
            registry=registry,
        )  # fmt: skip

    def answered(self, record: Record) -> None:
        """Count a request that was answered."""
        service = record.service or "other"
        code = str(record.code) if record.code in _CODES else "other"
        self._requests.labels(service, code, str(record.status)).inc()
        self._seconds.labels(service).observe(record.answered - record.accepted)
        self._overhead.labels(service).observe(record.overhead)
        for reason in record.retried:
            self._retries.labels(reason).inc()

    def switched(self, switch: Switch) -> None:
        """Count a service's change of contract."""
        self._switches.labels(switch.service).inc()


class FleetMetrics:
    """The measurements of a view of loaders, at a gateway or at a hub of its own.

    Service names come from loaders: the first MAX_SERVICES have series, the others share one.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._services: set[str] = set()
        self._changes = Counter(
            "ase_lb_instance_changes",
            "Instances that changed state, by the new state and the reason.",
            ("service", "state", "reason"),
            registry=registry,
        )
        self._instances = Gauge(
            "ase_lb_instances", "Instances known, by state.", ("service", "state"),
            registry=registry,
        )  # fmt: skip

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
