"""Ejection and return: each row of the table, the counts that lead there, the times between."""

from random import Random

import pytest

from lb.endpoints.outlier import TRANSITIONS, EjectionCause, EjectionState, OutlierDetector

RNG = Random(1)


def record_failures(detector: OutlierDetector, times: int, now: float = 0.0) -> list[bool]:
    return [detector.record_failure(now, RNG) for _ in range(times)]


def test_five_consecutive_failures_eject() -> None:
    detector = OutlierDetector()
    assert record_failures(detector, 4) == [False] * 4
    assert detector.record_success(0.0) is False
    assert record_failures(detector, 5) == [False] * 4 + [True]
    assert (detector.state, detector.cause) == (
        EjectionState.EJECTED,
        EjectionCause.CONSECUTIVE_FAILURES,
    )
    assert 0.8 <= detector.ejected_until <= 1.2


def test_low_success_rate_ejects() -> None:
    detector = OutlierDetector()
    transitions = [
        detector.record_failure(1.0, RNG) if number % 4 == 3 else detector.record_success(1.0)
        for number in range(40)
    ]
    assert transitions.index(True) == 19, "not before there are twenty"
    assert detector.cause is EjectionCause.LOW_SUCCESS_RATE


def test_responses_older_than_ten_seconds_do_not_count() -> None:
    detector = OutlierDetector()
    for second in range(40):
        for number in range(10):
            assert not (
                detector.record_failure(second, RNG)
                if number == 5
                else detector.record_success(second)
            )
    for _ in range(3):
        assert not detector.record_failure(100.0, RNG), "of three answers nobody is judged"


def wait_for_probe(detector: OutlierDetector) -> float:
    """Let the ejection elapse and the health check pass; return the time."""
    assert not detector.try_start_checking(detector.ejected_until - 0.001)
    now = detector.ejected_until
    assert detector.try_start_checking(now)
    assert detector.state is EjectionState.CHECKING
    assert detector.record_check(now, RNG, passed=True)
    assert detector.state is EjectionState.PROBING
    return now


def assert_pauses(pauses: list[float], expected: tuple[int, ...]) -> None:
    for pause_s, expected_s in zip(pauses, expected, strict=True):
        assert 0.8 * expected_s <= pause_s <= 1.2 * expected_s


def test_probe_follows_a_passed_check_and_backs_off() -> None:
    detector, now = OutlierDetector(), 0.0
    record_failures(detector, 5, now)
    pauses = []
    for _ in range(11):
        pauses.append(detector.ejected_until - now)
        now = wait_for_probe(detector)
        assert detector.record_failure(now, RNG), "one failure is enough"
        assert detector.cause is EjectionCause.PROBE_FAILED
    assert_pauses(pauses, (1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300))
    now = wait_for_probe(detector)
    assert detector.record_success(now)
    assert detector.state is EjectionState.ADMITTED
    record_failures(detector, 5, now)
    assert detector.ejected_until - now <= 1.2, "who recovered begins anew"


def test_failed_checks_back_off_less() -> None:
    detector, now = OutlierDetector(), 0.0
    detector.record_unreachable(now, RNG)
    pauses = []
    for _ in range(7):
        pauses.append(detector.ejected_until - now)
        now = detector.ejected_until
        assert detector.try_start_checking(now)
        assert detector.record_check(now, RNG, passed=False)
        assert not detector.is_answering()
    assert_pauses(pauses, (1, 2, 4, 8, 16, 30, 30))


@pytest.mark.parametrize("passed", [True, False])
def test_an_endpoint_that_joins_is_admitted_by_its_check(passed: bool) -> None:
    detector = OutlierDetector()
    detector.require_check(3.0)
    assert not detector.is_answering()
    assert detector.record_check(3.1, RNG, passed=passed)
    assert detector.state is (EjectionState.ADMITTED if passed else EjectionState.EJECTED)
    assert detector.is_answering() is passed
    assert not detector.record_check(3.2, RNG, passed=True), "it comes too late"


def test_endpoint_whose_first_check_failed_is_admitted_by_a_later_one() -> None:
    """It has failed no request, so none has to probe it."""
    detector, now = OutlierDetector(), 3.0
    detector.require_check(now)
    for _ in range(2):
        assert detector.record_check(now, RNG, passed=False)
        now = detector.ejected_until
        assert detector.try_start_checking(now)
        assert not detector.is_answering()
    assert detector.record_check(now, RNG, passed=True)
    assert detector.state is EjectionState.ADMITTED
    detector.record_unreachable(now, RNG)
    now = detector.ejected_until
    assert detector.try_start_checking(now)
    assert detector.record_check(now, RNG, passed=True)
    assert detector.state is EjectionState.PROBING, "the next time it is probed"


def test_new_endpoint_that_failed_requests_is_probed() -> None:
    detector, now = OutlierDetector(), 3.0
    detector.require_check(now)
    record_failures(detector, 5, now)
    now = detector.ejected_until
    assert detector.try_start_checking(now)
    assert detector.record_check(now, RNG, passed=True)
    assert detector.state is EjectionState.PROBING


def test_a_success_admits_an_unchecked_endpoint() -> None:
    detector = OutlierDetector()
    detector.require_check(3.0)
    assert detector.record_success(3.1)
    assert detector.state is EjectionState.ADMITTED


def test_unreachable_endpoint_is_ejected_at_once() -> None:
    detector = OutlierDetector()
    assert detector.record_unreachable(5.0, RNG)
    assert (detector.state, detector.cause) == (EjectionState.EJECTED, EjectionCause.UNREACHABLE)
    assert not detector.record_unreachable(5.0, RNG), "it is out already"


@pytest.mark.parametrize("state", list(EjectionState), ids=lambda s: s.value)
@pytest.mark.parametrize("cause", list(EjectionCause), ids=lambda s: s.value)
def test_every_transition_is_in_the_table_or_ignored(
    state: EjectionState, cause: EjectionCause
) -> None:
    detector = OutlierDetector()
    detector.state = state
    after = TRANSITIONS.get((state, cause))
    assert detector._transition(cause, 1.0, RNG) is (after is not None)
    assert detector.state is (after or state)


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
def test_reported_consecutive_failures_eject(reports: list[tuple[int, int]], ejected: bool) -> None:
    detector = OutlierDetector()
    assert [detector.record_report(*counts, 0.0, RNG) for counts in reports] == [False] * (
        len(reports) - 1
    ) + [ejected]
    assert (detector.cause is EjectionCause.REPORTED_FAILURES) is ejected


def test_recovery_resets_reported_failures() -> None:
    detector = OutlierDetector()
    detector.record_report(0, 0, 0.0, RNG)
    assert detector.record_report(5, 5, 0.0, RNG)
    assert not detector.record_report(9, 9, 0.0, RNG), "it is out already"
    detector.record_success(wait_for_probe(detector))
    assert not detector.record_report(13, 13, 9.0, RNG)
    assert detector.record_report(14, 14, 9.0, RNG)


@pytest.mark.parametrize("state", list(EjectionState), ids=lambda s: s.value)
def test_operator_ejects_from_any_state_for_any_time(state: EjectionState) -> None:
    detector = OutlierDetector()
    detector.state = state
    detector.eject(10.0, 600.0)
    assert (detector.state, detector.cause) == (EjectionState.EJECTED, EjectionCause.OPERATOR)
    assert not detector.record_success(11.0), "no answer of a running request ends it"
    assert not detector.try_start_checking(609.9)
    assert detector.try_start_checking(610.0)
    assert detector.state is EjectionState.CHECKING


def test_ejection_can_be_ended_and_counts_for_no_failure() -> None:
    detector = OutlierDetector()
    assert not detector.end_ejection(1.0), "it is not ejected"
    detector.eject(10.0, 600.0)
    assert detector.end_ejection(11.0)
    assert detector.try_start_checking(11.0)
    detector.record_check(11.0, RNG, passed=True)
    assert detector.record_success(11.0)
    detector.record_unreachable(20.0, RNG)
    assert detector.ejected_until - 20.0 <= 1.2, "the first ejection for a failure"
