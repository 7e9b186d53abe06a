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


def test_interval_coverage() -> None:
    rng, covered = Random(1), 0
    for _ in range(200):
        values = [rng.gauss(10, 1) for _ in range(10)]
        low, high = bootstrap_interval(values, rng)
        covered += low <= 10 <= high
    assert 165 <= covered <= 199


def test_one_seed_has_no_spread() -> None:
    assert bootstrap_interval([5.0], Random(1)) == (5.0, 5.0)
    assert bootstrap_interval([], Random(1)) == (0.0, 0.0)
    assert mean([]) == 0.0


def test_ratio_interval_pairs_values_by_seed() -> None:
    """What is common to both of a seed does not widen the interval of their ratio."""
    rng = Random(2)
    baseline = [rng.uniform(50, 150) for _ in range(10)]
    ratio, low, high = ratio_interval([value * 1.1 for value in baseline], baseline, rng)
    assert (ratio, low, high) == pytest.approx((1.1, 1.1, 1.1))
