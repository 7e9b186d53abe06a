"""Ejection and return: each row of the table, the counts that lead there, the times between."""

from random import Random

import pytest

from lb.health import TRANSITIONS, Health, Sign, Standing

RNG = Random(1)


def fail(health: Health, times: int, now: float = 0.0) -> list[bool]:
    return [health.bad(now, RNG) for _ in range(times)]


def test_five_in_a_row_eject() -> None:
    health = Health()
    assert fail(health, 4) == [False] * 4
    assert health.good(0.0) is False
    assert fail(health, 5) == [False] * 4 + [True]
    assert (health.standing, health.reason) == (Standing.EJECTED, Sign.FAILED_IN_ROW)
    assert 0.8 <= health.until <= 1.2


def test_a_fifth_of_the_answers_of_ten_seconds_eject() -> None:
    health = Health()
    changed = [
        health.bad(1.0, RNG) if number % 4 == 3 else health.good(1.0) for number in range(40)
    ]
    assert changed.index(True) == 19, "not before there are twenty"
    assert health.reason is Sign.FAILED_OFTEN


def test_what_is_ten_seconds_past_does_not_count() -> None:
    health = Health()
    for second in range(40):
        for number in range(10):
            assert not (health.bad(second, RNG) if number == 5 else health.good(second))
    for _ in range(3):
        assert not health.bad(100.0, RNG), "of three answers nobody is judged"


def test_it_is_tried_when_its_time_is_over_and_longer_each_time() -> None:
    health, now = Health(), 0.0
    fail(health, 5, now)
    pauses = []
    for _ in range(7):
        pauses.append(health.until - now)
        assert not health.wait_over(health.until - 0.001)
        now = health.until
        assert health.wait_over(now)
        assert health.standing is Standing.TRIED
        assert health.bad(now, RNG), "one failure is enough"
        assert health.reason is Sign.FAILED_AGAIN
    for pause, middle in zip(pauses, (1, 2, 4, 8, 16, 30, 30), strict=True):
        assert 0.8 * middle <= pause <= 1.2 * middle
    now = health.until
    health.wait_over(now)
    assert health.good(now)
    assert health.standing is Standing.IN
    fail(health, 5, now)
    assert health.until - now <= 1.2, "who recovered begins anew"


def test_who_cannot_be_reached_is_out_at_once() -> None:
    health = Health()
    assert health.unreachable(5.0, RNG)
    assert (health.standing, health.reason) == (Standing.EJECTED, Sign.UNREACHABLE)
    assert not health.unreachable(5.0, RNG), "it is out already"


@pytest.mark.parametrize("standing", list(Standing), ids=lambda s: s.value)
@pytest.mark.parametrize("sign", list(Sign), ids=lambda s: s.value)
def test_every_move_is_in_the_table_or_is_none(standing: Standing, sign: Sign) -> None:
    health = Health()
    health.standing = standing
    after = TRANSITIONS.get((standing, sign))
    assert health._take(sign, 1.0, RNG) is (after is not None)
    assert health.standing is (after or standing)


@pytest.mark.parametrize(
    ("reports", "ejected"),
    [
        ([(0, 0), (5, 5)], True),
        ([(0, 0), (4, 4)], False),
        ([(0, 0), (2, 2), (3, 3), (5, 5)], True),
        ([(0, 0), (3, 3), (4, 3), (8, 7)], False),  # one was good between
        ([(0, 0), (6, 5)], False),
        ([(0, 0), (3, 3), (3, 3), (5, 5)], True),  # nothing new says nothing
        ([(99, 99)], False),  # that was before we knew it
        ([(99, 99), (104, 104)], True),
    ],
)
def test_what_others_met_is_in_the_reports(reports: list[tuple[int, int]], ejected: bool) -> None:
    health = Health()
    assert [health.told(*told, 0.0, RNG) for told in reports] == [False] * (len(reports) - 1) + [
        ejected
    ]
    assert (health.reason is Sign.REPORTED_FAILURES) is ejected


def test_who_came_back_begins_anew_for_others_failures_too() -> None:
    health = Health()
    health.told(0, 0, 0.0, RNG)
    assert health.told(5, 5, 0.0, RNG)
    assert not health.told(9, 9, 0.0, RNG), "it is out already"
    health.wait_over(health.until)
    health.good(health.until)
    assert not health.told(13, 13, 9.0, RNG)
    assert health.told(14, 14, 9.0, RNG)
