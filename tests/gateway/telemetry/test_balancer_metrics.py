"""Metrics of instance selection: the counters of the balancer and its table, at each scrape."""

from random import Random

import pytest
from prometheus_client import CollectorRegistry

from gateway.simulation.virtual_time import VirtualTimeLoop
from gateway.telemetry.balancer_metrics import BalancerMetrics
from lb.balancer.balancer import Balancer, Lease
from lb.balancer.least_expected_delay import LeastExpectedDelay
from lb.balancer.policies import RoundRobin
from lb.balancer.policy import Policy
from lb.endpoints.outlier import CONSECUTIVE_FAILURES
from lb.endpoints.report import Instance, Load, Report, ServingState
from lb.endpoints.table import EndpointTable
from schemas.model.errors import UNREACHABLE, WRAPPER_RAISED, ErrorSpec


class MetricsFixture:
    """A balancer over a table without instances, and the registry with its metrics."""

    def __init__(self, *, is_default_policy: bool = True) -> None:
        self.loop = VirtualTimeLoop()
        self.table = EndpointTable("g", silence_timeout=None)
        self._rng = Random(1)
        self._is_default_policy = is_default_policy
        self.balancer = Balancer(
            self.table,
            self._new_policy,
            clock=self.loop.clock,
            rng=self._rng,
            call_later=self.loop.call_later,
        )
        self._registry = CollectorRegistry()
        BalancerMetrics(self._registry, self.balancer, self.table)

    def _new_policy(self) -> Policy:
        policy = LeastExpectedDelay if self._is_default_policy else RoundRobin
        return policy(self._rng)

    def add_static(self, *addrs: str) -> None:
        for addr in addrs:
            self.table.add_static(Instance("ase", "ocr", addr), 0.0)

    def report(self, addr: str, seq: int = 1, running: int = 0) -> None:
        """Apply a report of an instance with one slot; `running` requests are other clients'.

        It has served requests before, so that no pick is a trial.
        """
        load = Load(seq, ServingState.UP, running=running, served=99, requests_by_gateway={})
        self.table.apply(Report(Instance("ase", "ocr", addr, 7), load), 0.0)

    def acquire(self) -> Lease:
        return self.balancer.acquire("ocr", "")

    def value(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(name, labels)

    def instances_with_series(self) -> list[str]:
        return [
            sample.labels["loader"]
            for family in self._registry.collect()
            for sample in family.samples
            if sample.name == "ase_pick_inflight"
        ]


@pytest.mark.parametrize(
    ("is_default_policy", "is_static", "by"),
    [(True, False, "report"), (True, True, "own"), (False, False, "other"), (False, True, "other")],
)
def test_picks_are_counted_by_their_basis(
    is_default_policy: bool, is_static: bool, by: str
) -> None:
    fixture = MetricsFixture(is_default_policy=is_default_policy)
    for addr in ("a:1", "b:1"):
        fixture.add_static(addr) if is_static else fixture.report(addr)
    for _ in range(3):
        fixture.acquire().release()
    values = {
        basis: fixture.value("ase_pick_total", by=basis) for basis in ("report", "own", "other")
    }
    assert values == {"report": 0, "own": 0, "other": 0} | {by: 3}


def test_timed_picks_are_a_count_and_a_sum_of_seconds() -> None:
    fixture = MetricsFixture()
    fixture.balancer.counts.timed_picks = 4
    fixture.balancer.counts.timed_s = 0.5
    assert fixture.value("ase_pick_seconds_count") == 4
    assert fixture.value("ase_pick_seconds_sum") == 0.5


def test_waits_are_a_counter_and_waiting_requests_a_gauge() -> None:
    fixture = MetricsFixture()
    fixture.report("a:1")
    lease = fixture.acquire()
    waiting = [
        fixture.balancer.wait(
            "ocr", "", "", "", 1.0, False, lambda request: request.outcome().release()
        )
        for _ in range(2)
    ]

    def values() -> tuple[float | None, float | None]:
        return fixture.value("ase_pick_waits_total"), fixture.value("ase_pick_waiting")

    assert values() == (2, 2)
    waiting[0].cancel()
    assert values() == (2, 1)
    lease.release()
    fixture.loop.run(lambda: fixture.balancer.waiting_count() > 0)
    assert values() == (2, 0)


def test_lease_that_is_never_released_counts_as_dropped() -> None:
    fixture = MetricsFixture()
    fixture.report("a:1")
    fixture.acquire().release()
    assert fixture.value("ase_pick_dropped_total") == 0
    lease = fixture.acquire()
    del lease
    assert fixture.value("ase_pick_dropped_total") == 1


@pytest.mark.parametrize(
    ("error_spec", "failures", "reason"),
    [(WRAPPER_RAISED, CONSECUTIVE_FAILURES, "failed_in_row"), (UNREACHABLE, 1, "unreachable")],
)
def test_ejections_are_counted_by_reason(error_spec: ErrorSpec, failures: int, reason: str) -> None:
    fixture = MetricsFixture()
    fixture.report("a:1")
    for _ in range(failures):
        assert fixture.value("ase_pick_ejections_total", reason=reason) is None
        fixture.acquire().release(error_spec)
    assert fixture.value("ase_pick_ejections_total", reason=reason) == 1


def test_estimate_error_is_summed_in_requests() -> None:
    """The first report of an instance has no estimate before it."""
    fixture = MetricsFixture()
    for seq, running in ((1, 5), (2, 3), (3, 6)):
        fixture.report("a:1", seq, running)
    assert fixture.value("ase_pick_estimate_error_count") == 2
    assert fixture.value("ase_pick_estimate_error_sum") == 2 + 3


def test_report_ages_are_summed_in_seconds() -> None:
    fixture = MetricsFixture()
    fixture.table.report_stats.reports = 2
    for age_s in (0.05, 0.2):
        fixture.table.report_stats.ages.observe(age_s)
    assert fixture.value("ase_pick_report_age_seconds_count") == 2
    assert fixture.value("ase_pick_report_age_seconds_sum") == 0.25


def test_own_requests_are_a_gauge_per_instance() -> None:
    fixture = MetricsFixture()
    fixture.report("a:1", running=9)
    fixture.report("b:1")

    def inflight(addr: str) -> float | None:
        return fixture.value("ase_pick_inflight", service="ocr", loader=addr)

    lease = fixture.acquire()
    assert (inflight("a:1"), inflight("b:1")) == (0, 1), "requests of others do not count"
    lease.release()
    assert (inflight("a:1"), inflight("b:1")) == (0, 0)


def test_only_the_first_200_instances_have_series() -> None:
    fixture = MetricsFixture()
    addrs = [f"a:{number}" for number in range(1, 203)]
    fixture.add_static(*addrs)
    assert fixture.instances_with_series() == addrs[:200]


def test_balancer_without_requests_has_its_series() -> None:
    """So that a rate over the first request is not lost."""
    fixture = MetricsFixture()
    for name in ("ase_pick_waits_total", "ase_pick_waiting", "ase_pick_dropped_total"):
        assert fixture.value(name) == 0
    assert fixture.value("ase_pick_total", by="report") == 0
