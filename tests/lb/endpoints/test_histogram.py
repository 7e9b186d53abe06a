"""The histogram, against a count of every value."""

from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.endpoints.histogram import Histogram

BOUNDS = (0.1, 1.0, 5.0)


@given(st.lists(st.floats(0, 10)))
def test_buckets_are_cumulative_and_their_bounds_inclusive(values: list[float]) -> None:
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)
    expected = [(str(bound), sum(value <= bound for value in values)) for bound in BOUNDS]
    assert histogram.buckets() == [*expected, ("+Inf", len(values))]
    assert histogram.sum == pytest.approx(fsum(values))
