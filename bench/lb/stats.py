"""Quantiles and bootstrap intervals. Pure.

Intervals resample the seeds, because runs with different seeds are independent. The requests of one
run are not.
"""

from collections.abc import Sequence
from random import Random

_RESAMPLES = 2000


def quantile(ordered: Sequence[float], fraction: float) -> float:
    """Return the quantile `fraction` (0 to 1) of an ascending sequence; 0.0 if it is empty."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean; 0.0 if there are no values."""
    return sum(values) / len(values) if values else 0.0


def bootstrap_interval(values: Sequence[float], rng: Random) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of `values`, one value per seed.

    Both ends are the value itself if there is only one, and 0.0 if there is none.
    """
    if len(values) < 2:
        return (values[0], values[0]) if values else (0.0, 0.0)
    means = sorted(mean(rng.choices(values, k=len(values))) for _ in range(_RESAMPLES))
    return quantile(means, 0.025), quantile(means, 0.975)


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], rng: Random
) -> tuple[float, float, float]:
    """Return the ratio of two means, and the ends of its 95 % bootstrap interval.

    Both sequences have one value per seed, in the same order; the pairs are resampled. With fewer
    than two pairs, the ends are the ratio itself.
    """
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
