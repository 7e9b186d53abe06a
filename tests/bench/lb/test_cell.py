"""Cells, and the schedule of requests: the same for every policy, as told in the mean."""

from itertools import islice
from random import Random

import pytest

from bench.lb.cell import SCENARIOS, Cell, iter_arrivals, make_cell, service_time_sampler
from bench.lb.stats import mean


def test_a_schedule_is_the_same_for_every_policy_of_a_seed() -> None:
    one = islice(iter_arrivals(make_cell("half_2x", "ours", 16), 3), 100)
    two = islice(iter_arrivals(make_cell("half_2x", "prequal", 16), 3), 100)
    other = islice(iter_arrivals(make_cell("half_2x", "ours", 16), 4), 100)
    first = list(one)
    assert first == list(two) != list(other)
    assert {door for _, _, door in first} <= set(range(16))


@pytest.mark.parametrize("service", ["exp", "const", "cv4", "bimodal"])
def test_services_have_the_mean_they_say(service: str) -> None:
    work = service_time_sampler(service, 0.02, Random(5))
    assert mean([work() for _ in range(200_000)]) == pytest.approx(0.02, rel=0.06)


def test_an_unknown_service_is_told() -> None:
    with pytest.raises(ValueError, match="must be exp"):
        service_time_sampler("cauchy", 1.0, Random(1))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_rate_is_the_load_by_the_capacity(scenario: str) -> None:
    made = make_cell(scenario, "poll", 4)
    times = [time for time, _, _ in islice(iter_arrivals(made, 1), 20_000)]
    assert 20_000 / times[-1] == pytest.approx(made.rate(), rel=0.03)


def test_ours_comes_with_the_loaders_of_the_product() -> None:
    assert make_cell("homogeneous", "ours", 16).limit == 8
    assert make_cell("homogeneous", "ours_unbounded", 16).limit == Cell().limit == 10_000
    assert make_cell("public_grid", "ours", 16).limit == 17
