"""Quantiles and intervals."""

from random import Random

import pytest

from bench.lb.stats import bootstrap_interval, mean, quantile, ratio_interval


def test_a_quantile_is_a_value_of_the_sample() -> None:
    ordered = list(range(1000))
    assert [quantile(ordered, share) for share in (0.0, 0.5, 0.99, 0.999, 1.0)] == [
        0,
        500,
        990,
        999,
        999,
    ]
    assert quantile([], 0.5) == 0.0


def test_an_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng, held = Random(1), 0
    for _ in range(200):
        values = [rng.gauss(10, 1) for _ in range(10)]
        low, high = bootstrap_interval(values, rng)
        held += low <= 10 <= high
    assert 165 <= held <= 199


def test_one_seed_has_no_spread() -> None:
    assert bootstrap_interval([5.0], Random(1)) == (5.0, 5.0)
    assert bootstrap_interval([], Random(1)) == (0.0, 0.0)
    assert mean([]) == 0.0


def test_pairs_of_one_seed_belong_together() -> None:
    """What is common to both of a seed does not widen the interval of their ratio."""
    rng = Random(2)
    below = [rng.uniform(50, 150) for _ in range(10)]
    ratio, low, high = ratio_interval([value * 1.1 for value in below], below, rng)
    assert (ratio, low, high) == pytest.approx((1.1, 1.1, 1.1))
