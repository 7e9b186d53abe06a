"""Each policy of others does what its source says."""

from collections.abc import Callable
from random import Random

import pytest

from lb.balancer.policies import (
    LeastRequest,
    MostIdle,
    OrcaWeightedRoundRobin,
    PeakEwma,
    PowerOfTwoChoices,
    Prequal,
    RoundRobin,
)
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.report import Load
from tests.lb.balancer.test_policy import make_endpoints, make_pool


def test_round_robin_cycles() -> None:
    endpoints = make_endpoints(3)
    policy, pool = RoundRobin(Random(1)), make_pool(endpoints)
    chosen = [policy.choose(pool, 0.0, ()) for _ in range(9)]
    assert len(set(chosen[:3])) == 3
    assert chosen == chosen[:3] * 3


def test_least_request_compares_own_inflight() -> None:
    endpoints = make_endpoints(5)
    for index, endpoint in enumerate(endpoints):
        endpoint.inflight = 5 - index
        endpoint.remote_load = index * 10
    assert LeastRequest(Random(1)).choose(make_pool(endpoints), 0.0, ()) is endpoints[4]


def test_two_choices_never_takes_the_worst_of_two() -> None:
    endpoints = make_endpoints(2)
    endpoints[0].inflight = 9
    policy, pool = PowerOfTwoChoices(Random(1)), make_pool(endpoints)
    chosen = [policy.choose(pool, 0.0, ()) for _ in range(400)]
    assert 60 < chosen.count(endpoints[0]) < 140, "only when both draws are it"


def test_peak_latency_counts_at_once_and_decays() -> None:
    endpoints = make_endpoints(2)
    policy, pool = PeakEwma(Random(1)), make_pool(endpoints)
    policy.record_result(endpoints[0], 1.0, 0.0, True)
    chosen = [policy.choose(pool, 0.0, ()) for _ in range(400)]
    assert chosen.count(endpoints[0]) < 140
    policy.record_result(endpoints[0], 0.001, 100.0, True)
    chosen = [policy.choose(pool, 100.0, ()) for _ in range(400)]
    assert chosen.count(endpoints[0]) > 250


def test_weights_are_rate_by_utilization_after_the_blackout() -> None:
    endpoints = make_endpoints(2)
    policy, pool = OrcaWeightedRoundRobin(Random(1)), make_pool(endpoints)

    def run_second(now: float) -> list[Endpoint | None]:
        for endpoint, rate, running in ((endpoints[0], 30, 1), (endpoints[1], 10, 1)):
            load = Load(endpoint.load.seq + 1, running=running, served=endpoint.load.served + rate)
            endpoint.apply_report(endpoint.instance, load, 0, now)
            policy.record_result(endpoint, 0.01, now, True)
        return [policy.choose(pool, now, ()) for _ in range(400)]

    first_endpoint_counts = [run_second(float(now)).count(endpoints[0]) for now in range(1, 10)]
    assert first_endpoint_counts == [200] * 9, "plain round robin at first"
    run_second(10.0)
    run_second(11.0)
    assert 290 < run_second(12.0).count(endpoints[0]) < 310, (
        "three times the rate, the same utilisation"
    )


def test_most_idle_counts_down_until_next_report() -> None:
    endpoints = make_endpoints(3)
    policy, pool = MostIdle(), make_pool(endpoints)
    endpoints[0].apply_report(endpoints[0].instance, Load(2, running=1, served=1), 0, 0.0)
    endpoints[2].apply_report(endpoints[2].instance, Load(2, running=3, served=1), 0, 0.0)
    chosen = [policy.choose(pool, 0.0, ()) for _ in range(8)]
    assert chosen == [endpoints[n] for n in (1, 0, 1, 0, 1, 0, 1, 2)][: len(chosen)]
    endpoints[2].apply_report(endpoints[2].instance, Load(3, served=1), 0, 0.0)
    assert policy.choose(pool, 0.0, ()) is endpoints[2], "a report overwrites the count"


class FakeProber:
    """Probes, held until they are answered."""

    def __init__(self) -> None:
        self.pending: list[tuple[Endpoint, Callable[[int, float], None]]] = []

    def __call__(self, endpoint: Endpoint, callback: Callable[[int, float], None]) -> None:
        self.pending.append((endpoint, callback))

    def reply_to_all(
        self, rif_of: Callable[[Endpoint], int], latency_of: Callable[[Endpoint], float]
    ) -> None:
        for endpoint, callback in self.pending:
            callback(rif_of(endpoint), latency_of(endpoint))
        self.pending = []


def test_prequal_probes_three_and_picks_the_fastest_cold() -> None:
    endpoints = make_endpoints(20)
    index_by_endpoint = {endpoint: index for index, endpoint in enumerate(endpoints)}
    for seed in range(20):
        prober = FakeProber()
        policy, pool = Prequal(Random(seed), prober), make_pool(endpoints)
        policy.choose(pool, 0.0, ())
        assert len({id(endpoint) for endpoint, _ in prober.pending}) == 3, (
            "three, none of them twice"
        )
        prober.reply_to_all(lambda _: 1, lambda endpoint: 0.01 * (1 + index_by_endpoint[endpoint]))
        probed = [result.endpoint for result in policy._results]
        assert policy.choose(pool, 0.0, ()) is min(probed, key=index_by_endpoint.__getitem__)


@pytest.mark.parametrize(("now", "is_used"), [(0.9, True), (1.1, False)])
def test_prequal_drops_results_older_than_a_second(now: float, is_used: bool) -> None:
    endpoints = make_endpoints(20)
    prober = FakeProber()
    policy, pool = Prequal(Random(1), prober), make_pool(endpoints)
    policy.choose(pool, 0.0, ())
    prober.reply_to_all(lambda _: 0, lambda _: 0.01)
    probed = {result.endpoint for result in policy._results}
    policy.choose(pool, now, ())
    assert bool(probed & {result.endpoint for result in policy._results}) is is_used


def test_prequal_picks_least_loaded_when_all_are_hot() -> None:
    endpoints = make_endpoints(20)
    prober = FakeProber()
    policy, pool = Prequal(Random(1), prober), make_pool(endpoints)
    policy._rif_samples = [0] * 50
    policy.choose(pool, 0.0, ())
    rif_by_endpoint = {endpoint: 10 + index for index, endpoint in enumerate(endpoints)}
    prober.reply_to_all(rif_by_endpoint.__getitem__, lambda _: 0.01)
    policy._rif_samples = [0] * 50
    probed = [result.endpoint for result in policy._results]
    assert policy.choose(pool, 0.0, ()) is min(probed, key=rif_by_endpoint.__getitem__)
