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
from tests.lb.balancer.test_policy import filled, fleet


def test_round_robin_goes_round() -> None:
    entries = fleet(3)
    policy, pool = RoundRobin(Random(1)), filled(entries)
    chosen = [policy.choose(pool, 0.0, ()) for _ in range(9)]
    assert len(set(chosen[:3])) == 3
    assert chosen == chosen[:3] * 3


def test_least_request_sees_own_requests_of_all() -> None:
    entries = fleet(5)
    for number, entry in enumerate(entries):
        entry.inflight = 5 - number
        entry.remote_load = number * 10
    assert LeastRequest(Random(1)).choose(filled(entries), 0.0, ()) is entries[4]


def test_two_choices_never_takes_the_worst_of_two() -> None:
    entries = fleet(2)
    entries[0].inflight = 9
    policy, pool = PowerOfTwoChoices(Random(1)), filled(entries)
    chosen = [policy.choose(pool, 0.0, ()) for _ in range(400)]
    assert 60 < chosen.count(entries[0]) < 140, "only when both draws are it"


def test_a_peak_counts_at_once_and_fades_in_ten_seconds() -> None:
    entries = fleet(2)
    policy, pool = PeakEwma(Random(1)), filled(entries)
    policy.record_result(entries[0], 1.0, 0.0, True)
    chosen = [policy.choose(pool, 0.0, ()) for _ in range(400)]
    assert chosen.count(entries[0]) < 140
    policy.record_result(entries[0], 0.001, 100.0, True)
    chosen = [policy.choose(pool, 100.0, ()) for _ in range(400)]
    assert chosen.count(entries[0]) > 250


def test_weights_are_rate_by_utilisation_after_the_blackout() -> None:
    entries = fleet(2)
    policy, pool = OrcaWeightedRoundRobin(Random(1)), filled(entries)

    def second(now: float) -> list[Endpoint | None]:
        for entry, rate, running in ((entries[0], 30, 1), (entries[1], 10, 1)):
            load = Load(entry.load.seq + 1, running=running, served=entry.load.served + rate)
            entry.apply_report(entry.instance, load, 0, now)
            policy.record_result(entry, 0.01, now, True)
        return [policy.choose(pool, now, ()) for _ in range(400)]

    even = [second(float(now)).count(entries[0]) for now in range(1, 10)]
    assert even == [200] * 9, "plain round robin at first"
    second(10.0)
    second(11.0)
    assert 290 < second(12.0).count(entries[0]) < 310, "three times the rate, the same utilisation"


def test_the_original_takes_the_most_idle_and_counts_down_until_it_reports() -> None:
    entries = fleet(3)
    policy, pool = MostIdle(), filled(entries)
    entries[0].apply_report(entries[0].instance, Load(2, running=1, served=1), 0, 0.0)
    entries[2].apply_report(entries[2].instance, Load(2, running=3, served=1), 0, 0.0)
    chosen = [policy.choose(pool, 0.0, ()) for _ in range(8)]
    assert chosen == [entries[n] for n in (1, 0, 1, 0, 1, 0, 1, 2)][: len(chosen)]
    entries[2].apply_report(entries[2].instance, Load(3, served=1), 0, 0.0)
    assert policy.choose(pool, 0.0, ()) is entries[2], "a report overwrites the count"


class Asked:
    """Probes, held until they are answered."""

    def __init__(self) -> None:
        self.sent: list[tuple[Endpoint, Callable[[int, float], None]]] = []

    def __call__(self, entry: Endpoint, answer: Callable[[int, float], None]) -> None:
        self.sent.append((entry, answer))

    def answer(self, rif: Callable[[Endpoint], int], latency: Callable[[Endpoint], float]) -> None:
        for entry, answer in self.sent:
            answer(rif(entry), latency(entry))
        self.sent = []


def test_prequal_probes_thrice_and_takes_the_fastest_of_the_cold() -> None:
    entries = fleet(20)
    rank = {entry: number for number, entry in enumerate(entries)}
    for seed in range(20):
        asked = Asked()
        policy, pool = Prequal(Random(seed), asked), filled(entries)
        policy.choose(pool, 0.0, ())
        assert len({id(entry) for entry, _ in asked.sent}) == 3, "three, none of them twice"
        asked.answer(lambda _: 1, lambda entry: 0.01 * (1 + rank[entry]))
        probed = [told.endpoint for told in policy._results]
        assert policy.choose(pool, 0.0, ()) is min(probed, key=rank.__getitem__)


@pytest.mark.parametrize(("age", "used"), [(0.9, True), (1.1, False)])
def test_prequal_forgets_what_is_a_second_old(age: float, used: bool) -> None:
    entries = fleet(20)
    asked = Asked()
    policy, pool = Prequal(Random(1), asked), filled(entries)
    policy.choose(pool, 0.0, ())
    asked.answer(lambda _: 0, lambda _: 0.01)
    probed = {told.endpoint for told in policy._results}
    policy.choose(pool, age, ())
    assert bool(probed & {told.endpoint for told in policy._results}) is used


def test_prequal_takes_the_least_loaded_when_all_are_hot() -> None:
    entries = fleet(20)
    asked = Asked()
    policy, pool = Prequal(Random(1), asked), filled(entries)
    policy._rif_samples = [0] * 50
    policy.choose(pool, 0.0, ())
    loads = {entry: 10 + number for number, entry in enumerate(entries)}
    asked.answer(loads.__getitem__, lambda _: 0.01)
    policy._rif_samples = [0] * 50
    probed = [told.endpoint for told in policy._results]
    assert policy.choose(pool, 0.0, ()) is min(probed, key=loads.__getitem__)
