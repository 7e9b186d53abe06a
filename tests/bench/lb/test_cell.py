"""Cells, and the schedule of requests: the same for every policy, as told in the mean."""

from itertools import islice
from random import Random

import pytest

from bench.lb.cell import SCENARIOS, Cell, iter_arrivals, make_cell, service_time_sampler
from bench.lb.stats import mean


def test_arrivals_are_the_same_for_every_policy_of_a_seed() -> None:
    ours_arrivals = islice(iter_arrivals(make_cell("half_2x", "ours", 16), 3), 100)
    prequal_arrivals = islice(iter_arrivals(make_cell("half_2x", "prequal", 16), 3), 100)
    other_seed_arrivals = islice(iter_arrivals(make_cell("half_2x", "ours", 16), 4), 100)
    expected = list(ours_arrivals)
    assert expected == list(prequal_arrivals) != list(other_seed_arrivals)
    assert {gateway for _, _, gateway in expected} <= set(range(16))


@pytest.mark.parametrize("service", ["exp", "const", "cv4", "bimodal"])
def test_service_times_have_the_given_mean(service: str) -> None:
    sample = service_time_sampler(service, 0.02, Random(5))
    assert mean([sample() for _ in range(200_000)]) == pytest.approx(0.02, rel=0.06)


def test_unknown_service_is_an_error() -> None:
    with pytest.raises(ValueError, match="must be exp"):
        service_time_sampler("cauchy", 1.0, Random(1))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_arrival_rate_is_load_times_capacity(scenario: str) -> None:
    cell = make_cell(scenario, "poll", 4)
    times = [time for time, _, _ in islice(iter_arrivals(cell, 1), 20_000)]
    assert 20_000 / times[-1] == pytest.approx(cell.rate(), rel=0.03)


def test_ours_uses_the_product_limits() -> None:
    assert make_cell("homogeneous", "ours", 16).limit == 8
    assert make_cell("homogeneous", "ours_unbounded", 16).limit == Cell().limit == 10_000
    assert make_cell("public_grid", "ours", 16).limit == 17
