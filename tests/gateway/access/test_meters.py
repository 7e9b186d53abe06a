"""Rates, requests at a time and quotas: how much passes, when the next one does, what is left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.identity import CallerLimits
from gateway.access.meters import NO_ADMISSION, Admission, LimitExceededError, Meter, period_end
from schemas.model.errors import CONCURRENCY_LIMITED, QUOTA_USED, RATE_LIMITED

# 2026-11-30 12:00 UTC
WALL = 1_796_040_000.0


def passes(meter: Meter, now: float, wall_now: float = WALL) -> bool:
    """Count a request if it passes; return whether it does. It ends at once."""
    try:
        meter.check(now, wall_now)
    except LimitExceededError:
        return False
    meter.count(now)
    Admission([meter], "").release()
    return True


def refusal(meter: Meter, now: float, wall_now: float = WALL) -> LimitExceededError:
    with pytest.raises(LimitExceededError) as caught:
        meter.check(now, wall_now)
    return caught.value


def test_burst_passes_at_once_then_the_rate() -> None:
    meter = Meter("key k1", CallerLimits(rate=10.0, burst=3))
    assert [passes(meter, 0.0) for _ in range(4)] == [True, True, True, False]
    assert [passes(meter, 0.1) for _ in range(2)] == [True, False]
    assert [passes(meter, 100.0) for _ in range(4)] == [True, True, True, False]


def test_burst_is_that_of_a_second_if_there_is_none() -> None:
    for rate, burst in ((5.0, 5), (0.5, 1), (2.5, 3)):
        meter = Meter("key k1", CallerLimits(rate=rate))
        assert sum(passes(meter, 0.0) for _ in range(20)) == burst


def test_refusal_says_when_the_next_one_passes() -> None:
    meter = Meter("key k1", CallerLimits(rate=0.1))
    assert passes(meter, 0.0)
    error = refusal(meter, 2.5)
    assert (error.spec, error.retry_after) == (RATE_LIMITED, 8)
    assert str(error) == "key k1 may send 0.1 requests a second"
    assert not passes(meter, 9.9)
    assert passes(meter, 10.0)


def test_refused_requests_cost_nothing() -> None:
    meter = Meter("key k1", CallerLimits(rate=1.0))
    assert passes(meter, 0.0)
    assert not any(passes(meter, 0.5) for _ in range(1000))
    assert passes(meter, 1.0)


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 0.5), min_size=1, max_size=200),
)
def test_no_window_has_more_than_burst_and_rate(rate: float, burst: int, gaps: list[float]) -> None:
    meter, now, passed = Meter("m", CallerLimits(rate=rate, burst=burst)), 0.0, []
    for gap in gaps:
        now += gap
        if passes(meter, now):
            passed.append(now)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            allowed = burst + (passed[last] - passed[first]) * rate
            assert last - first + 1 <= allowed + 1e-6


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 0.5), max_size=30),
)
def test_remaining_requests_pass_and_one_more_does_not(
    rate: float, burst: int, gaps: list[float]
) -> None:
    meter, now = Meter("m", CallerLimits(rate=rate, burst=burst)), 0.0
    for gap in gaps:
        now += gap
        passes(meter, now)
    remaining = meter.remaining(now)
    assert [passes(meter, now) for _ in range(remaining + 1)] == [True] * remaining + [False]


def test_concurrency_counts_what_runs() -> None:
    meter = Meter("app shop", CallerLimits(concurrency=2))
    admissions = []
    for _ in range(2):
        meter.check(0.0, WALL)
        meter.count(0.0)
        admissions.append(Admission([meter], ""))
    error = refusal(meter, 0.0)
    assert error.spec is CONCURRENCY_LIMITED
    assert str(error) == "app shop has 2 requests in progress, its limit"
    admissions[0].release()
    admissions[0].release()  # ends once
    assert meter.running == 1
    assert passes(meter, 0.0)


def test_quota_of_a_day_begins_anew_at_midnight() -> None:
    meter = Meter("key k1", CallerLimits(quota=2))
    assert [passes(meter, 0.0) for _ in range(3)] == [True, True, False]
    error = refusal(meter, 0.0)
    assert (error.spec, error.retry_after) == (QUOTA_USED, 43_200)
    assert str(error) == "key k1 has used its 2 requests of this day"
    assert not passes(meter, 0.0, WALL + 43_199)
    assert passes(meter, 0.0, WALL + 43_200)
    assert meter.used == 1


def test_quota_of_a_month() -> None:
    meter = Meter("key k1", CallerLimits(quota=1, quota_days=30))
    assert passes(meter, 0.0)
    assert "of this month" in str(refusal(meter, 0.0))
    assert passes(meter, 0.0, WALL + 43_200)  # the 1st of December


@pytest.mark.parametrize(
    ("wall_now", "days", "end"),
    [
        (WALL, 1, WALL + 43_200),
        (WALL + 43_200, 1, WALL + 43_200 + 86_400),
        (WALL, 30, WALL + 43_200),
        (WALL + 43_200, 30, WALL + 43_200 + 31 * 86_400),
        (1_709_164_800.0, 30, 1_709_251_200.0),  # 29 February 2024
        (1_767_225_599.5, 30, 1_767_225_600.0),  # the end of 2025
    ],
)
def test_end_of_a_period(wall_now: float, days: int, end: float) -> None:
    assert period_end(wall_now, days) == end


def test_meter_without_limits_lets_everything_pass() -> None:
    meter = Meter("m", CallerLimits())
    assert all(passes(meter, 0.0) for _ in range(1000))
    NO_ADMISSION.release()
    assert NO_ADMISSION.header_line == ""
