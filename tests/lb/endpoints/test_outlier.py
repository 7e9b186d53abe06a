"""Ejection and return: each row of the table, the counts that lead there, the times between."""

from random import Random

import pytest

from lb.endpoints.outlier import TRANSITIONS, EjectionCause, EjectionState, OutlierDetector

RNG = Random(1)


def fail(health: OutlierDetector, times: int, now: float = 0.0) -> list[bool]:
    return [health.record_failure(now, RNG) for _ in range(times)]


def test_five_in_a_row_eject() -> None:
    health = OutlierDetector()
    assert fail(health, 4) == [False] * 4
    assert health.record_success(0.0) is False
    assert fail(health, 5) == [False] * 4 + [True]
    assert (health.state, health.cause) == (
        EjectionState.EJECTED,
        EjectionCause.CONSECUTIVE_FAILURES,
    )
    assert 0.8 <= health.ejected_until <= 1.2


def test_a_fifth_of_the_answers_of_ten_seconds_eject() -> None:
    health = OutlierDetector()
    changed = [
        health.record_failure(1.0, RNG) if number % 4 == 3 else health.record_success(1.0)
        for number in range(40)
    ]
    assert changed.index(True) == 19, "not before there are twenty"
    assert health.cause is EjectionCause.LOW_SUCCESS_RATE


def test_what_is_ten_seconds_past_does_not_count() -> None:
    health = OutlierDetector()
    for second in range(40):
        for number in range(10):
            assert not (
                health.record_failure(second, RNG) if number == 5 else health.record_success(second)
            )
    for _ in range(3):
        assert not health.record_failure(100.0, RNG), "of three answers nobody is judged"


def test_it_is_tried_when_its_time_is_over_and_longer_each_time() -> None:
    health, now = OutlierDetector(), 0.0
    fail(health, 5, now)
    pauses = []
    for _ in range(7):
        pauses.append(health.ejected_until - now)
        assert not health.try_start_probing(health.ejected_until - 0.001)
        now = health.ejected_until
        assert health.try_start_probing(now)
        assert health.state is EjectionState.PROBING
        assert health.record_failure(now, RNG), "one failure is enough"
        assert health.cause is EjectionCause.PROBE_FAILED
    for pause, middle in zip(pauses, (1, 2, 4, 8, 16, 30, 30), strict=True):
        assert 0.8 * middle <= pause <= 1.2 * middle
    now = health.ejected_until
    health.try_start_probing(now)
    assert health.record_success(now)
    assert health.state is EjectionState.ADMITTED
    fail(health, 5, now)
    assert health.ejected_until - now <= 1.2, "who recovered begins anew"


def test_who_cannot_be_reached_is_out_at_once() -> None:
    health = OutlierDetector()
    assert health.record_unreachable(5.0, RNG)
    assert (health.state, health.cause) == (EjectionState.EJECTED, EjectionCause.UNREACHABLE)
    assert not health.record_unreachable(5.0, RNG), "it is out already"


@pytest.mark.parametrize("standing", list(EjectionState), ids=lambda s: s.value)
@pytest.mark.parametrize("sign", list(EjectionCause), ids=lambda s: s.value)
def test_every_move_is_in_the_table_or_is_none(
    standing: EjectionState, sign: EjectionCause
) -> None:
    health = OutlierDetector()
    health.state = standing
    after = TRANSITIONS.get((standing, sign))
    assert health._transition(sign, 1.0, RNG) is (after is not None)
    assert health.state is (after or standing)


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
    health = OutlierDetector()
    assert [health.record_report(*told, 0.0, RNG) for told in reports] == [False] * (
        len(reports) - 1
    ) + [ejected]
    assert (health.cause is EjectionCause.REPORTED_FAILURES) is ejected


def test_who_came_back_begins_anew_for_others_failures_too() -> None:
    health = OutlierDetector()
    health.record_report(0, 0, 0.0, RNG)
    assert health.record_report(5, 5, 0.0, RNG)
    assert not health.record_report(9, 9, 0.0, RNG), "it is out already"
    health.try_start_probing(health.ejected_until)
    health.record_success(health.ejected_until)
    assert not health.record_report(13, 13, 9.0, RNG)
    assert health.record_report(14, 14, 9.0, RNG)
