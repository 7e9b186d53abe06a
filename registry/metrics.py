"""The metrics of the registry, counted when they are scraped."""

from collections import Counter as CountBy
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from registry.providers import Present
from registry.service import Registry
from registry.subscribers import Subscribers


class RegistryMetrics(Collector):
    """A collector of the registry's state."""

    def __init__(self, registry: Registry, subscribers: Subscribers, present: Present) -> None:
        self._registry = registry
        self._subscribers = subscribers
        self._present = present

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        state = self._registry.state
        yield _gauge("ase_registry_revision", "revision of the records", state.revision)
        yield _gauge(
            "ase_registry_store_up",
            "1 while the store can be read",
            0 if self._registry.store_problem else 1,
        )
        yield _gauge(
            "ase_registry_connected_subscribers", "subscribers of this process",
            len(self._subscribers),
        )  # fmt: skip
        yield _gauge("ase_registry_versions", "versions of services", len(state.versions()))
        gray = sum(publication.gray is not None for _, publication in state.publications())
        yield _gauge("ase_registry_gray_releases", "gray releases", gray)
        outcomes = CountBy(c.outcome.value for c in self._present.consumers())
        consumers = GaugeMetricFamily(
            "ase_registry_consumers", "instances by their last answer", labels=["outcome"]
        )
        for outcome in ("waiting", "applied", "refused", "failed"):
            consumers.add_metric([outcome], outcomes[outcome])
        yield consumers
        yield _gauge("ase_registry_providers", "registered providers", len(self._present.providers))


def _gauge(name: str, text: str, value: float) -> Metric:
    gauge = GaugeMetricFamily(name, text)
    gauge.add_metric([], value)
    return gauge
