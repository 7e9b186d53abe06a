"""Metrics of instance selection, read from the balancer and its table at each scrape."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from lb.balancer.balancer import Balancer
from lb.endpoints.table import EndpointTable

# At most this number of instances have time series of their own; /lb/state lists all instances.
_MAX_INSTANCES = 200


class BalancerMetrics:
    """Collector of the metrics of one gateway's balancer and endpoint table.

    It registers itself in `registry`. It has no counters of its own.
    """

    def __init__(
        self, registry: CollectorRegistry, balancer: Balancer, table: EndpointTable
    ) -> None:
        self._balancer = balancer
        self._table = table
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics with their current values, for a scrape."""
        counts = self._balancer.counts
        picks = CounterMetricFamily(
            "ase_pick", "Instances picked, by what the choice stood on.", labels=("by",)
        )
        by_report, by_own_load = self._balancer.picks_by_basis()
        picks.add_metric(("report",), by_report)
        picks.add_metric(("own",), by_own_load)
        picks.add_metric(("other",), max(0, counts.picks - by_report - by_own_load))
        yield picks
        yield _summary_family(
            "ase_pick_seconds",
            "Time of a pick; one of 1,024 is timed.",
            counts.timed_picks,
            counts.timed_s,
        )
        yield CounterMetricFamily(
            "ase_pick_waits", "Requests that waited while all were full.", counts.waits
        )
        yield GaugeMetricFamily(
            "ase_pick_waiting", "Requests that wait now.", self._balancer.waiting_count()
        )
        yield CounterMetricFamily(
            "ase_pick_dropped", "Slots that were never released: internal errors.", counts.leaked
        )
        ejections = CounterMetricFamily(
            "ase_pick_ejections", "Instances ejected, by why.", labels=("reason",)
        )
        for reason, count in list(counts.ejections.items()):
            ejections.add_metric((reason,), count)
        yield ejections
        yield from self._report_metrics()
        yield from self._instance_metrics()

    def _report_metrics(self) -> Iterator[Metric]:
        report_stats = self._table.report_stats
        yield HistogramMetricFamily(
            "ase_pick_report_age_seconds",
            "Age of the reports that came by a hub in another process.",
            report_stats.ages.buckets(),
            report_stats.ages.sum,
        )
        yield _summary_family(
            "ase_pick_estimate_error",
            "Requests that an estimate was off its report.",
            report_stats.reports,
            report_stats.estimate_error_sum,
        )

    def _instance_metrics(self) -> Iterator[Metric]:
        inflight = GaugeMetricFamily(
            "ase_pick_inflight", "Own requests at an instance.", labels=("service", "loader")
        )
        for index, endpoint in enumerate(self._table):
            if index == _MAX_INSTANCES:
                break
            inflight.add_metric(
                (endpoint.instance.service, endpoint.instance.addr), endpoint.inflight
            )
        yield inflight


def _summary_family(name: str, documentation: str, count: int, total: float) -> Metric:
    return SummaryMetricFamily(name, documentation, count_value=count, sum_value=total)
