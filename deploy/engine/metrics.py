"""The metrics of the deployer, counted when they are scraped."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deploy.engine.autoscaler import Autoscaler
from deploy.engine.engine import DeploymentEngine
from deploy.engine.events import EventBus
from deploy.engine.leadership import Leadership
from deploy.engine.repository import DeploymentRepository
from deploy.workloads.phases import DeploymentPhase
from deploy.workloads.traffic import traffic_shares


class DeployMetrics(Collector):
    """A collector of the deployments, the engine and its events."""

    def __init__(
        self,
        repository: DeploymentRepository,
        engine: DeploymentEngine,
        bus: EventBus,
        leadership: Leadership,
        autoscaler: Autoscaler,
    ) -> None:
        self._repository = repository
        self._engine = engine
        self._bus = bus
        self._leadership = leadership
        self._autoscaler = autoscaler

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        entries = [self._repository.get(each) for each in self._repository.ids()]
        by_phase = Counter(entry.status.phase for entry in entries)
        deployments = GaugeMetricFamily(
            "ase_deploy_deployments", "deployments by phase", labels=["phase"]
        )
        for phase in DeploymentPhase:
            deployments.add_metric([phase.value], by_phase[phase])
        yield deployments
        wanted = sum(e.wanted.spec.replicas for e in entries if e.wanted is not None)
        yield GaugeMetricFamily("ase_deploy_replicas", "replicas that are wanted", value=wanted)
        is_leader = int(self._leadership.is_leader)
        yield GaugeMetricFamily("ase_deploy_leader", "1 if this deployer leads", value=is_leader)
        is_up = int(not self._repository.problem)
        yield GaugeMetricFamily("ase_deploy_store_up", "1 while the store can be read", value=is_up)
        yield GaugeMetricFamily(
            "ase_deploy_queue", "deployments that wait for work", value=len(self._engine.queue)
        )
        illegal = CounterMetricFamily(
            "ase_deploy_illegal_transitions", "changes of phase against the table",
            labels=["before", "after"],
        )  # fmt: skip
        for (before, after), count in self._engine.illegal.items():
            illegal.add_metric([before, after], count)
        yield illegal
        usage = GaugeMetricFamily(
            "ase_deploy_usage", "share of its slots that a deployment with autoscale uses",
            labels=["deployment"],
        )  # fmt: skip
        for name, share in self._autoscaler.usages().items():
            usage.add_metric([name], share)
        yield usage
        shares = GaugeMetricFamily(
            "ase_deploy_traffic_share", "share of the requests of a revision that is limited",
            labels=["revision"],
        )  # fmt: skip
        for revision, share in traffic_shares(entries).items():
            shares.add_metric([revision], share)
        yield shares
        events = CounterMetricFamily("ase_deploy_events", "events by topic", labels=["topic"])
        for topic, count in self._bus.counts.items():
            events.add_metric([topic], count)
        yield events
        yield CounterMetricFamily(
            "ase_deploy_dropped_events", "events that a slow watcher lost", value=self._bus.dropped
        )
