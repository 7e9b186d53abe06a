"""A histogram with fixed bounds, read at a scrape of metrics. Pure."""

from bisect import bisect_left
from itertools import accumulate


class Histogram:
    """Counts values by buckets.

    `bounds` are inclusive upper bounds in ascending order. `counts` has one count per bucket, and a
    last one for values above all bounds. The counts are not cumulative. `sum` is that of the
    values.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return the upper bounds and the cumulative counts, as Prometheus expects them."""
        upper_bounds = [*map(str, self.bounds), "+Inf"]
        return list(zip(upper_bounds, map(float, accumulate(self.counts)), strict=True))
