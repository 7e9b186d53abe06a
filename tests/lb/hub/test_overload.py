"""Strain: up while beats come late, down when they come in time again, neither by one hiccup."""

import pytest

from lb.hub.overload import MAX_LEVEL, OverloadLevel


def run_ticks(overload: OverloadLevel, lateness_s: float, seconds: float, now: float) -> float:
    """Let beats come, each so late, for so many seconds; return the time after."""
    end_at = now + seconds
    while now < end_at:
        interval = overload.scale_interval(0.01)
        now += interval + lateness_s
        overload.tick(lateness_s, interval, now)
    return now


def test_punctual_ticks_cause_no_overload() -> None:
    overload = OverloadLevel()
    run_ticks(overload, 0.001, 10.0, 1.0)
    assert overload.level == 0
    assert overload.scale_interval(0.01) == 0.01


def test_single_late_tick_causes_no_overload() -> None:
    overload = OverloadLevel()
    now = run_ticks(overload, 0.0, 1.0, 1.0)
    overload.tick(0.06, 0.01, now)
    assert overload.level == 0


@pytest.mark.parametrize(
    ("lateness_s", "level"), [(0.007, 1), (0.015, 2), (0.07, 4), (99.0, MAX_LEVEL)]
)
def test_level_rises_until_lateness_is_small_against_the_interval(
    lateness_s: float, level: int
) -> None:
    overload = OverloadLevel()
    run_ticks(overload, lateness_s, 999.0, 1.0)
    assert overload.level == level
    assert overload.scale_interval(0.01) == 0.01 * 2**level


def test_level_rises_at_most_once_per_fifth_of_a_second() -> None:
    overload = OverloadLevel()
    now = run_ticks(overload, 0.5, 0.4, 1.0)
    assert overload.level == 1
    run_ticks(overload, 0.5, 0.5, now)
    assert overload.level == 2


def test_level_falls_slowly() -> None:
    overload = OverloadLevel()
    now = run_ticks(overload, 0.07, 5.0, 1.0)
    assert overload.level == 4
    now = run_ticks(overload, 0.0, 1.0, now)
    assert overload.level == 4
    now = run_ticks(overload, 0.0, 3.0, now)
    assert overload.level == 3
    run_ticks(overload, 0.0, 10.0, now)
    assert overload.level == 0
