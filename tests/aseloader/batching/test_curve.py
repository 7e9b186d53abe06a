"""The line through batch times, and the callers that return after a batch."""

import random

import pytest

from aseloader.batching.curve import BatchCurve, ReturnPattern


def learn(*batches: tuple[int, float]) -> BatchCurve:
    curve = BatchCurve()
    for size, ms in batches:
        curve.record(size, ms)
    return curve


def test_nothing_is_known_at_first() -> None:
    curve = BatchCurve()
    assert (curve.is_known, curve.time_ms(8)) == (False, 0.0)


@pytest.mark.parametrize(("base_ms", "item_ms"), [(10.0, 1.0), (0.0, 3.0), (50.0, 0.0)])
def test_learns_the_line_of_batches_of_mixed_sizes(base_ms: float, item_ms: float) -> None:
    rng = random.Random(5)
    sizes = [rng.randint(1, 32) for _ in range(300)]
    curve = learn(*((size, (base_ms + item_ms * size) * rng.gauss(1, 0.05)) for size in sizes))
    assert curve.is_known
    for size in (1, 16, 32):
        expected_ms = base_ms + item_ms * size
        assert curve.time_ms(size) == pytest.approx(expected_ms, rel=0.1, abs=1.0)


def test_half_of_the_time_is_fixed_while_all_sizes_are_equal() -> None:
    curve = learn(*[(4, 20.0)] * 20)
    assert (curve.base_ms, curve.item_ms) == pytest.approx((10.0, 2.5))


def test_figures_are_never_negative() -> None:
    falling = learn(*((size, 50.0 - size) for size in range(1, 33)))
    assert falling.item_ms == 0.0
    assert falling.base_ms > 0
    convex = learn(*((size, float(size**3)) for size in range(1, 33)))
    assert convex.base_ms >= 0.0


def test_follows_a_model_that_became_slower_but_not_one_stall() -> None:
    curve = learn(*((1 + n % 8, 10.0 + n % 8) for n in range(100)))
    before_ms = curve.time_ms(4)
    curve.record(4, 60_000.0)
    assert curve.time_ms(4) < 1.5 * before_ms
    for n in range(400):
        curve.record(1 + n % 8, 3 * (10.0 + n % 8))
    assert curve.time_ms(4) == pytest.approx(3 * before_ms, rel=0.15)


def return_pattern(*windows: list[float]) -> ReturnPattern:
    """Return what is learned from batches that end each second, and arrivals after each end."""
    pattern = ReturnPattern()
    for n, arrivals in enumerate(windows):
        pattern.record_batch_end(float(n), 0.1)
        for after_s in arrivals:
            pattern.record_arrival(n + after_s)
    return pattern


def test_callers_that_return_are_expected_to_return() -> None:
    pattern = return_pattern(*[[0.001, 0.002, 0.004, 0.5]] * 60)
    pattern.record_batch_end(60.0, 0.1)
    assert pattern.count == pytest.approx(3.0, rel=0.01), "the fourth came later"
    assert pattern.missing() == pytest.approx(3.0, rel=0.01)
    assert pattern.expected_until() == pytest.approx(60.0 + 1.5 * 0.004, abs=0.0001)
    pattern.record_arrival(60.001)
    assert pattern.missing() == pytest.approx(2.0, rel=0.01)


def test_pattern_follows_callers_that_left() -> None:
    pattern = return_pattern(*[[0.001, 0.002]] * 60, *[[]] * 20)
    assert pattern.count < 0.2


def test_nothing_is_expected_at_first() -> None:
    pattern = return_pattern([])
    assert (pattern.count, pattern.missing(), pattern.expected_until()) == (0.0, 0.0, 0.0)


def test_a_batch_that_ends_within_the_window_begins_another() -> None:
    pattern = ReturnPattern()
    for n in range(100):
        pattern.record_batch_end(n * 0.01, 0.1)
        pattern.record_arrival(n * 0.01 + 0.002)
    assert pattern.count == pytest.approx(1.0, rel=0.01)


def test_the_first_batches_warm_up_the_model() -> None:
    curve = learn((1, 5000.0), (4, 900.0), *((1 + n % 4, 10.0 + n % 4) for n in range(8)))
    assert curve.is_known
    assert curve.time_ms(4) < 15
