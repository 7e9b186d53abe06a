"""When a loader reports: a table of changes, and the times they make."""

from collections.abc import Callable

import pytest

from lb.endpoints.report import ServingState
from lb.reporter.limiter import ConcurrencyLimiter
from lb.reporter.schedule import ReportSchedule
from schemas.wire import ReportControl


def acquire(times: int) -> Callable[[ConcurrencyLimiter], None]:
    def change(limiter: ConcurrencyLimiter) -> None:
        for _ in range(times):
            limiter.try_acquire("g")

    return change


def release(
    times: int, *, succeeded: bool = True, service_ms: float = 10.0
) -> Callable[[ConcurrencyLimiter], None]:
    def change(limiter: ConcurrencyLimiter) -> None:
        for _ in range(times):
            limiter.release("g", service_ms, succeeded=succeeded, failed=not succeeded)

    return change


def serve(
    times: int, *, succeeded: bool = True, service_ms: float = 10.0
) -> Callable[[ConcurrencyLimiter], None]:
    def change(limiter: ConcurrencyLimiter) -> None:
        for _ in range(times):
            acquire(1)(limiter)
            release(1, succeeded=succeeded, service_ms=service_ms)(limiter)

    return change


@pytest.mark.parametrize(
    ("best", "acquired", "change", "expected"),
    [
        (4, 0, acquire(1), False),
        (4, 0, acquire(2), True),
        (4, 3, release(2), True),
        (4, 4, release(1), True),  # a free licence where there was none
        (4, 6, release(1), False),
        (4, 1000, release(1), True),  # room where there was none
        (4, 3, acquire(1), False),  # none free any more: what comes then tells soon enough
        (1, 1, release(1), True),
        (1, 0, acquire(1), False),
        (8, 0, acquire(3), False),
        (8, 0, acquire(4), True),
        (64, 0, acquire(3), False),
        (64, 0, acquire(4), True),  # four is the most that is kept back
        (4, 0, serve(2, succeeded=False), False),
        (4, 0, serve(3, succeeded=False), True),  # errors
        (4, 0, serve(99, service_ms=11.0), False),
        (4, 0, serve(99, service_ms=20.0), True),  # it got slower
        (4, 0, lambda limiter: limiter.set_serving_state(ServingState.DRAINING), True),
    ],
    ids=range(18),
)
def test_changes_that_trigger_a_report(
    best: int, acquired: int, change: Callable[[ConcurrencyLimiter], None], expected: bool
) -> None:
    limiter = ConcurrencyLimiter(1000, lambda: None, best=best)
    serve(20)(limiter)
    acquire(acquired)(limiter)
    schedule = ReportSchedule()
    schedule.mark_sent(limiter, 0.0)
    assert not schedule.should_report(limiter)
    change(limiter)
    assert schedule.should_report(limiter) is expected
    schedule.mark_sent(limiter, 1.0)
    assert not schedule.should_report(limiter), "it was told"


def test_the_first_report_is_due_at_once() -> None:
    assert ReportSchedule().should_report(ConcurrencyLimiter(1, lambda: None))


def test_next_report_is_after_gap_or_keepalive() -> None:
    limiter = ConcurrencyLimiter(4, lambda: None)
    schedule = ReportSchedule(gap=0.005, keepalive=0.05)
    schedule.mark_sent(limiter, 10.0)
    assert schedule.next_report_at(limiter) == pytest.approx(10.05)
    acquire(2)(limiter)
    assert schedule.next_report_at(limiter) == pytest.approx(10.005)


def test_loader_without_requests_reports_less_often_if_its_hub_says_so() -> None:
    limiter = ConcurrencyLimiter(4, lambda: None)
    serve(20)(limiter)
    schedule = ReportSchedule()
    schedule.mark_sent(limiter, 10.0)
    assert schedule.next_report_at(limiter) == pytest.approx(10.05), "an older hub does not"
    schedule.configure(ReportControl(keepalive_ms=50, idle_keepalive_ms=200))
    assert schedule.next_report_at(limiter) == pytest.approx(10.2)
    assert not schedule.ends_idleness(limiter)
    acquire(1)(limiter)
    assert not schedule.should_report(limiter)
    assert schedule.ends_idleness(limiter)
    assert schedule.next_report_at(limiter) == pytest.approx(10.05)
    schedule.mark_sent(limiter, 10.05)
    assert not schedule.ends_idleness(limiter)
    release(1)(limiter)
    assert schedule.next_report_at(limiter) == pytest.approx(10.1), "its hub expects it as before"
    schedule.mark_sent(limiter, 10.1)
    assert schedule.next_report_at(limiter) == pytest.approx(10.3)
    schedule.configure(ReportControl(keepalive_ms=500, idle_keepalive_ms=200))
    assert schedule.next_report_at(limiter) == pytest.approx(10.6)


@pytest.mark.parametrize(("service_ms", "gap"), [(100.0, 0.005), (12.0, 0.003), (1.0, 0.001)])
def test_gap_shrinks_with_service_time(service_ms: float, gap: float) -> None:
    limiter = ConcurrencyLimiter(4, lambda: None)
    serve(1, service_ms=service_ms)(limiter)
    schedule = ReportSchedule()
    schedule.mark_sent(limiter, 0.0)
    acquire(2)(limiter)
    assert schedule.next_report_at(limiter) == pytest.approx(gap)
    schedule.configure(ReportControl(gap_ms=8))
    assert schedule.next_report_at(limiter) == pytest.approx(0.008), (
        "the hub's wish stands above it"
    )


def test_hub_configures_the_schedule() -> None:
    limiter = ConcurrencyLimiter(100, lambda: None)
    schedule = ReportSchedule()
    schedule.mark_sent(limiter, 0.0)
    schedule.configure(ReportControl(gap_ms=20, keepalive_ms=500, threshold=10))
    acquire(9)(limiter)
    assert schedule.next_report_at(limiter) == pytest.approx(0.5)
    acquire(1)(limiter)
    assert schedule.next_report_at(limiter) == pytest.approx(0.02)
    schedule.configure(ReportControl(pause=True))
    assert schedule.next_report_at(limiter) == pytest.approx(0.5), (
        "zero: as it was; and only keep-alives go"
    )
    limiter.set_serving_state(ServingState.DOWN)
    assert schedule.next_report_at(limiter) == pytest.approx(0.02), "but a farewell is always told"
    schedule.configure(ReportControl())
    assert not schedule.is_paused
