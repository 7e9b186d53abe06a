"""Strain: up while beats come late, down when they come in time again, neither by one hiccup."""

import pytest

from lb.hub.overload import MAX_LEVEL, OverloadLevel


def beats(strain: OverloadLevel, late: float, seconds: float, now: float) -> float:
    """Let beats come, each so late, for so many seconds; return the time after."""
    end = now + seconds
    while now < end:
        gap = strain.scale_interval(0.01)
        now += gap + late
        strain.tick(late, gap, now)
    return now


def test_beats_in_time_are_no_strain() -> None:
    strain = OverloadLevel()
    beats(strain, 0.001, 10.0, 1.0)
    assert strain.level == 0
    assert strain.scale_interval(0.01) == 0.01


def test_one_that_is_late_is_no_strain() -> None:
    strain = OverloadLevel()
    now = beats(strain, 0.0, 1.0, 1.0)
    strain.tick(0.06, 0.01, now)
    assert strain.level == 0


@pytest.mark.parametrize(("late", "level"), [(0.007, 1), (0.015, 2), (0.07, 4), (99.0, MAX_LEVEL)])
def test_the_level_rises_until_lateness_is_little_beside_the_gap(late: float, level: int) -> None:
    strain = OverloadLevel()
    beats(strain, late, 999.0, 1.0)
    assert strain.level == level
    assert strain.scale_interval(0.01) == 0.01 * 2**level


def test_it_rises_by_one_in_a_fifth_of_a_second() -> None:
    strain = OverloadLevel()
    now = beats(strain, 0.5, 0.4, 1.0)
    assert strain.level == 1
    beats(strain, 0.5, 0.5, now)
    assert strain.level == 2


def test_it_goes_back_slowly() -> None:
    strain = OverloadLevel()
    now = beats(strain, 0.07, 5.0, 1.0)
    assert strain.level == 4
    now = beats(strain, 0.0, 1.0, now)
    assert strain.level == 4
    now = beats(strain, 0.0, 3.0, now)
    assert strain.level == 3
    beats(strain, 0.0, 10.0, now)
    assert strain.level == 0
