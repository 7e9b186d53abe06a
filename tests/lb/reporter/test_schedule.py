"""When a loader reports: a table of changes, and the times they make."""

from collections.abc import Callable

import pytest

from lb.endpoints.report import ServingState
from lb.reporter.limiter import ConcurrencyLimiter
from lb.reporter.schedule import ReportSchedule
from schemas.wire import ReportControl


def take(times: int) -> Callable[[ConcurrencyLimiter], None]:
    def change(meter: ConcurrencyLimiter) -> None:
        for _ in range(times):
            meter.try_acquire("g")

    return change


def free(
    times: int, *, good: bool = True, ms: float = 10.0
) -> Callable[[ConcurrencyLimiter], None]:
    def change(meter: ConcurrencyLimiter) -> None:
        for _ in range(times):
            meter.release("g", ms, succeeded=good, failed=not good)

    return change


def again(
    times: int, *, good: bool = True, ms: float = 10.0
) -> Callable[[ConcurrencyLimiter], None]:
    def change(meter: ConcurrencyLimiter) -> None:
        for _ in range(times):
            take(1)(meter)
            free(1, good=good, ms=ms)(meter)

    return change


@pytest.mark.parametrize(
    ("best", "held", "change", "matters"),
    [
        (4, 0, take(1), False),
        (4, 0, take(2), True),
        (4, 3, free(2), True),
        (4, 4, free(1), True),  # a free licence where there was none
        (4, 6, free(1), False),
        (4, 1000, free(1), True),  # room where there was none
        (4, 3, take(1), False),  # none free any more: what comes then tells soon enough
        (1, 1, free(1), True),
        (1, 0, take(1), False),
        (8, 0, take(3), False),
        (8, 0, take(4), True),
        (64, 0, take(3), False),
        (64, 0, take(4), True),  # four is the most that is kept back
        (4, 0, again(2, good=False), False),
        (4, 0, again(3, good=False), True),  # errors
        (4, 0, again(99, ms=11.0), False),
        (4, 0, again(99, ms=20.0), True),  # it got slower
        (4, 0, lambda meter: meter.set_serving_state(ServingState.DRAINING), True),
    ],
    ids=range(18),
)
def test_what_matters(
    best: int, held: int, change: Callable[[ConcurrencyLimiter], None], matters: bool
) -> None:
    meter = ConcurrencyLimiter(1000, lambda: None, best=best)
    again(20)(meter)
    take(held)(meter)
    trigger = ReportSchedule()
    trigger.mark_sent(meter, 0.0)
    assert not trigger.should_report(meter)
    change(meter)
    assert trigger.should_report(meter) is matters
    trigger.mark_sent(meter, 1.0)
    assert not trigger.should_report(meter), "it was told"


def test_the_first_report_is_due_at_once() -> None:
    assert ReportSchedule().should_report(ConcurrencyLimiter(1, lambda: None))


def test_after_the_gap_when_it_matters_else_to_show_that_it_lives() -> None:
    meter = ConcurrencyLimiter(4, lambda: None)
    trigger = ReportSchedule(gap=0.005, keepalive=0.05)
    trigger.mark_sent(meter, 10.0)
    assert trigger.next_report_at(meter) == pytest.approx(10.05)
    take(2)(meter)
    assert trigger.next_report_at(meter) == pytest.approx(10.005)


@pytest.mark.parametrize(("ms", "gap"), [(100.0, 0.005), (12.0, 0.003), (1.0, 0.001)])
def test_who_works_fast_reports_sooner(ms: float, gap: float) -> None:
    meter = ConcurrencyLimiter(4, lambda: None)
    again(1, ms=ms)(meter)
    trigger = ReportSchedule()
    trigger.mark_sent(meter, 0.0)
    take(2)(meter)
    assert trigger.next_report_at(meter) == pytest.approx(gap)
    trigger.configure(ReportControl(gap_ms=8))
    assert trigger.next_report_at(meter) == pytest.approx(0.008), "the hub's wish stands above it"


def test_a_hub_tunes_it() -> None:
    meter = ConcurrencyLimiter(100, lambda: None)
    trigger = ReportSchedule()
    trigger.mark_sent(meter, 0.0)
    trigger.configure(ReportControl(gap_ms=20, keepalive_ms=500, threshold=10))
    take(9)(meter)
    assert trigger.next_report_at(meter) == pytest.approx(0.5)
    take(1)(meter)
    assert trigger.next_report_at(meter) == pytest.approx(0.02)
    trigger.configure(ReportControl(pause=True))
    assert trigger.next_report_at(meter) == pytest.approx(0.5), (
        "zero: as it was; and only keep-alives go"
    )
    meter.set_serving_state(ServingState.DOWN)
    assert trigger.next_report_at(meter) == pytest.approx(0.02), "but a farewell is always told"
    trigger.configure(ReportControl())
    assert not trigger.is_paused
