"""Quantiles, and intervals by resampling seeds: runs are independent, requests are not. Pure."""

from collections.abc import Sequence
from random import Random

_RESAMPLES = 2000


def quantile(ordered: Sequence[float], fraction: float) -> float:
    """Return the value that `share` of an ordered sample do not exceed; 0 for an empty one."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


def mean(values: Sequence[float]) -> float:
    """Return the mean; 0 for none."""
    return sum(values) / len(values) if values else 0.0


def bootstrap_interval(values: Sequence[float], rng: Random) -> tuple[float, float]:
    """Return the 95 % interval of the mean of one value per seed, by bootstrap."""
    if len(values) < 2:
        return (values[0], values[0]) if values else (0.0, 0.0)
    means = sorted(mean(rng.choices(values, k=len(values))) for _ in range(_RESAMPLES))
    return quantile(means, 0.025), quantile(means, 0.975)


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], rng: Random
) -> tuple[float, float, float]:
    """Return the ratio of two means over the same seeds, and its 95 % interval, paired."""
    pairs = list(zip(numerators, denominators, strict=True))
    ratio = mean(numerators) / mean(denominators)
    if len(pairs) < 2:
        return ratio, ratio, ratio
    ratios = []
    for _ in range(_RESAMPLES):
        sample = rng.choices(pairs, k=len(pairs))
        ratios.append(sum(a for a, _ in sample) / sum(b for _, b in sample))
    ratios.sort()
    return ratio, quantile(ratios, 0.025), quantile(ratios, 0.975)
