"""What is measured of picking, read out of the balancer and its table when it is scraped."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from lb.balancer import Balancer
from lb.table import Table

# Of so many instances each has series of its own; a larger fleet is told by /lb/state.
_MOST = 200


class PickMetrics:
    """The measurements of one gateway's picker, in a registry that is handed in."""

    def __init__(self, registry: CollectorRegistry, balancer: Balancer, table: Table) -> None:
        self._balancer = balancer
        self._table = table
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Return the figures of now, for a registry."""
        counts = self._balancer.counts
        picks = CounterMetricFamily(
            "ase_pick", "Instances picked, by what the choice stood on.", labels=("by",)
        )
        by_report, by_own = self._balancer.stood_on()
        picks.add_metric(("report",), by_report)
        picks.add_metric(("own",), by_own)
        picks.add_metric(("other",), max(0, counts.picks - by_report - by_own))
        yield picks
        yield _summary(
            "ase_pick_seconds",
            "Time of a pick; one of 1,024 is timed.",
            counts.timed,
            counts.timed_s,
        )
        yield CounterMetricFamily(
            "ase_pick_waits", "Requests that waited while all were full.", counts.waits
        )
        yield GaugeMetricFamily(
            "ase_pick_waiting", "Requests that wait now.", self._balancer.waiting()
        )
        yield CounterMetricFamily(
            "ase_pick_dropped", "Places that nobody gave back: faults of ours.", counts.dropped
        )
        ejections = CounterMetricFamily(
            "ase_pick_ejections", "Instances ejected, by why.", labels=("reason",)
        )
        for reason, count in list(counts.ejections.items()):
            ejections.add_metric((reason,), count)
        yield ejections
        yield from self._of_reports()
        yield from self._of_instances()

    def _of_reports(self) -> Iterator[Metric]:
        told = self._table.told
        yield _summary(
            "ase_pick_report_age_seconds",
            "Age of reports when they arrived.",
            told.reports,
            told.age_s,
        )
        yield _summary(
            "ase_pick_estimate_error",
            "Requests that an estimate was off its report.",
            told.reports,
            told.error,
        )

    def _of_instances(self) -> Iterator[Metric]:
        inflight = GaugeMetricFamily(
            "ase_pick_inflight", "Own requests at an instance.", labels=("service", "instance")
        )
        for number, entry in enumerate(self._table):
            if number == _MOST:
                break
            inflight.add_metric((entry.instance.service, entry.instance.addr), entry.inflight)
        yield inflight


def _summary(name: str, words: str, count: int, total: float) -> Metric:
    return SummaryMetricFamily(name, words, count_value=count, sum_value=total)
