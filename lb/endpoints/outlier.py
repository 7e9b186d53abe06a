"""Outlier detection: ejects an endpoint after failures and probes it later. Pure.

Rules: `docs/load-balancing.md`. An endpoint is ejected after five failures in a row, or if less
than 80 % of at least 20 responses in ten seconds were successful. The ejection lasts one second the
first time and twice as long each following time, with a jitter of 20 %. Then the endpoint must pass
a health check, and one request may probe it. A failed check costs no request, so it is repeated at
least every 30 s; after a failed request the next one comes up to 300 s later. An unreachable
endpoint is ejected at once, by the same schedule. An endpoint that joins gets no requests before
its first health check. Reports include the failures that other gateways met: five failures in the
whole fleet are enough, instead of five at each gateway. An operator may eject an endpoint for any
time.
"""

from enum import Enum
from random import Random
from typing import Final

CONSECUTIVE_FAILURES: Final = 5
_MIN_RESPONSES: Final = 20
_MIN_SUCCESS_RATE: Final = 0.8
_BUCKETS: Final = 10
_BASE_EJECTION_S: Final = 1.0
_MAX_EJECTION_S: Final = 30.0
_MAX_EJECTION_AFTER_PROBE_S: Final = 300.0
_JITTER: Final = 0.2


class EjectionState(Enum):
    """Whether an endpoint may get requests.

    UNCHECKED: it joined and has not passed a health check yet. ADMITTED: it may. EJECTED: it
    may not before `ejected_until`. CHECKING: it has to pass a health check. PROBING: it may get one
    request. Endpoints that are UNCHECKED, EJECTED or CHECKING get requests only if no other can.
    """

    UNCHECKED = "unchecked"
    ADMITTED = "in"
    EJECTED = "ejected"
    CHECKING = "checking"
    PROBING = "tried"


class EjectionCause(Enum):
    """Cause of a transition of the ejection state; the value is the reason in logs and metrics."""

    JOINED = "joined"
    RECOVERED = "recovered"
    CONSECUTIVE_FAILURES = "failed_in_row"
    LOW_SUCCESS_RATE = "failed_often"
    REPORTED_FAILURES = "reported_failures"
    UNREACHABLE = "unreachable"
    EJECTION_ELAPSED = "served_time"
    FIRST_CHECK_DUE = "check_due"
    CHECK_PASSED = "check_passed"
    CHECK_FAILED = "check_failed"
    PROBE_FAILED = "failed_again"
    OPERATOR = "operator"


_UNCHECKED: Final = EjectionState.UNCHECKED
_ADMITTED: Final = EjectionState.ADMITTED
_EJECTED: Final = EjectionState.EJECTED
_CHECKING: Final = EjectionState.CHECKING
_PROBING: Final = EjectionState.PROBING

TRANSITIONS: Final[dict[tuple[EjectionState, EjectionCause], EjectionState]] = {
    (_UNCHECKED, EjectionCause.CHECK_PASSED): _ADMITTED,
    (_UNCHECKED, EjectionCause.RECOVERED): _ADMITTED,
    (_UNCHECKED, EjectionCause.CHECK_FAILED): _EJECTED,
    (_UNCHECKED, EjectionCause.UNREACHABLE): _EJECTED,
    (_UNCHECKED, EjectionCause.CONSECUTIVE_FAILURES): _EJECTED,
    (_UNCHECKED, EjectionCause.LOW_SUCCESS_RATE): _EJECTED,
    (_UNCHECKED, EjectionCause.REPORTED_FAILURES): _EJECTED,
    (_ADMITTED, EjectionCause.CONSECUTIVE_FAILURES): _EJECTED,
    (_ADMITTED, EjectionCause.LOW_SUCCESS_RATE): _EJECTED,
    (_ADMITTED, EjectionCause.REPORTED_FAILURES): _EJECTED,
    (_ADMITTED, EjectionCause.UNREACHABLE): _EJECTED,
    (_EJECTED, EjectionCause.EJECTION_ELAPSED): _CHECKING,
    (_EJECTED, EjectionCause.FIRST_CHECK_DUE): _UNCHECKED,
    (_CHECKING, EjectionCause.CHECK_PASSED): _PROBING,
    (_CHECKING, EjectionCause.CHECK_FAILED): _EJECTED,
    (_CHECKING, EjectionCause.UNREACHABLE): _EJECTED,
    (_PROBING, EjectionCause.RECOVERED): _ADMITTED,
    (_PROBING, EjectionCause.PROBE_FAILED): _EJECTED,
    (_PROBING, EjectionCause.UNREACHABLE): _EJECTED,
    **{(state, EjectionCause.OPERATOR): _EJECTED for state in EjectionState},
}
# An endpoint that was ejected for one of these reasons is not likely to answer at all.
_SILENT_CAUSES: Final = (EjectionCause.UNREACHABLE, EjectionCause.CHECK_FAILED)


class OutlierDetector:
    """Ejection state of one endpoint, by the responses this gateway got and by the reports.

    `cause` and `since` are the cause and the time of the last transition. While the endpoint is
    ejected, `ejected_until` is when it may be checked. Times are in seconds. `_successes` and
    `_failures` are rings of one bucket per second for the last 10 s; `_current_second` is the
    newest. `_ejection_count` counts ejections since the endpoint was last admitted and sets the
    duration of the next. `_is_new`: it joined and was not admitted yet. `_reported_*` are for
    failures in reports: the totals of the last report, -1 before the first, and the failures in a
    row.
    """

    __slots__ = (
        "_consecutive_failures", "_current_second", "_ejection_count", "_failures", "_is_new",
        "_reported_consecutive_failures", "_reported_errors", "_reported_served", "_successes",
        "cause", "ejected_until", "since", "state",
    )  # fmt: skip

    def __init__(self) -> None:
        self.state = _ADMITTED
        self.cause = EjectionCause.RECOVERED
        self.since = 0.0
        self.ejected_until = 0.0
        self._is_new = False
        self._consecutive_failures = 0
        self._ejection_count = 0
        self._current_second = 0
        self._reported_served = self._reported_errors = -1  # no report yet
        self._reported_consecutive_failures = 0
        self._successes = [0] * _BUCKETS
        self._failures = [0] * _BUCKETS

    def require_check(self, now: float) -> None:
        """Admit the endpoint, which has just joined, only after a health check."""
        self.state, self.cause, self.since = _UNCHECKED, EjectionCause.JOINED, now
        self._is_new = True

    def is_answering(self) -> bool:
        """Return whether the endpoint is known to answer, be it with failures."""
        return (
            self.state not in (_UNCHECKED, _CHECKING)
            and not (self.state is _EJECTED and self.cause in _SILENT_CAUSES)
        )  # fmt: skip

    def record_success(self, now: float) -> bool:
        """Record a success; return whether the state changed."""
        self._consecutive_failures = 0
        self._successes[self._advance_to_bucket(now)] += 1
        if self.state is _ADMITTED:
            return False
        return self._transition(EjectionCause.RECOVERED, now, None)

    def record_failure(self, now: float, rng: Random) -> bool:
        """Record a failure; return whether the state changed."""
        self._consecutive_failures += 1
        self._failures[self._advance_to_bucket(now)] += 1
        if self.state is _PROBING:
            return self._transition(EjectionCause.PROBE_FAILED, now, rng)
        if self._consecutive_failures >= CONSECUTIVE_FAILURES:
            return self._transition(EjectionCause.CONSECUTIVE_FAILURES, now, rng)
        failures, successes = sum(self._failures), sum(self._successes)
        if failures + successes >= _MIN_RESPONSES and successes < _MIN_SUCCESS_RATE * (
            failures + successes
        ):
            return self._transition(EjectionCause.LOW_SUCCESS_RATE, now, rng)
        return False

    def record_report(self, served: int, errors: int, now: float, rng: Random) -> bool:
        """Record the totals of a report; return whether the endpoint was ejected by it.

        Failures count as consecutive if every response since the last report was a failure.
        """
        responses, failures = served - self._reported_served, errors - self._reported_errors
        is_first = self._reported_served < 0
        self._reported_served, self._reported_errors = served, errors
        if is_first or responses <= 0:
            return False
        self._reported_consecutive_failures = (
            self._reported_consecutive_failures + failures if failures >= responses else 0
        )
        return self._reported_consecutive_failures >= CONSECUTIVE_FAILURES and self._transition(
            EjectionCause.REPORTED_FAILURES, now, rng
        )

    def record_unreachable(self, now: float, rng: Random) -> bool:
        """Record that the endpoint was unreachable; return whether the state changed."""
        return self._transition(EjectionCause.UNREACHABLE, now, rng)

    def record_check(self, now: float, rng: Random, *, passed: bool) -> bool:
        """Record the result of a health check; return whether the state changed."""
        cause = EjectionCause.CHECK_PASSED if passed else EjectionCause.CHECK_FAILED
        return self._transition(cause, now, rng)

    def eject(self, now: float, seconds: float) -> None:
        """Eject the endpoint for `seconds`, whatever its state: an operator says so."""
        ejection_count = self._ejection_count
        self._transition(EjectionCause.OPERATOR, now, None)
        self._ejection_count = ejection_count  # of its failures
        self.ejected_until = now + seconds

    def end_ejection(self, now: float) -> bool:
        """Let the endpoint be checked now; return whether it was ejected."""
        if self.state is not _EJECTED:
            return False
        self.ejected_until = now
        return True

    def try_start_checking(self, now: float) -> bool:
        """Let an ejected endpoint be checked if its ejection has elapsed; return whether it has."""
        is_first = self._is_new and self.cause in _SILENT_CAUSES
        cause = EjectionCause.FIRST_CHECK_DUE if is_first else EjectionCause.EJECTION_ELAPSED
        return now >= self.ejected_until and self._transition(cause, now, None)

    def _transition(self, cause: EjectionCause, now: float, rng: Random | None) -> bool:
        after = TRANSITIONS.get((self.state, cause))
        if after is None:
            return False
        self.state, self.cause, self.since = after, cause, now
        if after is _ADMITTED:
            self._is_new = False
            self._ejection_count = self._consecutive_failures = (
                self._reported_consecutive_failures
            ) = 0
            self._successes, self._failures = [0] * _BUCKETS, [0] * _BUCKETS
        elif after is _EJECTED:
            is_probe_failed = cause is EjectionCause.PROBE_FAILED
            longest_s = _MAX_EJECTION_AFTER_PROBE_S if is_probe_failed else _MAX_EJECTION_S
            ejection_s = min(longest_s, _BASE_EJECTION_S * 2.0 ** min(self._ejection_count, 10))
            self._ejection_count += 1
            if rng is not None:
                ejection_s *= rng.uniform(1 - _JITTER, 1 + _JITTER)
            self.ejected_until = now + ejection_s
        return True

    def _advance_to_bucket(self, now: float) -> int:
        """Return the bucket of the current second, after clearing the buckets that have expired."""
        second = int(now)
        elapsed = second - self._current_second
        if elapsed > 0:
            for step in range(min(elapsed, _BUCKETS)):
                index = (second - step) % _BUCKETS
                self._successes[index] = self._failures[index] = 0
            self._current_second = second
        return second % _BUCKETS
