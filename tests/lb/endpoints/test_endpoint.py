"""What a gateway knows of one instance: the queue, the slot time, the share of a newcomer."""

from math import log

import pytest

from lb.endpoints.endpoint import Endpoint, FleetMedians
from lb.endpoints.lifecycle import EndpointState
from lb.endpoints.report import Instance, Load, ReportMode

ONE = Instance("ase", "ocr", "a:1", 7, total=8, best=4)


def entry(load: Load = Load(1), instance: Instance = ONE) -> Endpoint:  # noqa: B008 (frozen)
    return Endpoint(instance, load, EndpointState.UP, 0.0)


def usual(slot_ms: float, excess: float = 0.0) -> FleetMedians:
    told = FleetMedians()
    told.service_ms, told.slots, told.latency_log_ratio = slot_ms, 4, excess
    return told


@pytest.mark.parametrize(
    ("used", "held", "inflight", "ghosts", "queue"),
    [
        (3, 0, 0, 0, 3),  # nothing of ours
        (3, 0, 2, 0, 5),  # two are on their way
        (5, 2, 2, 0, 5),  # the report has them
        (5, 2, 0, 0, 3),  # they ended since
        (5, 2, 4, 0, 7),  # and two more were sent
        (5, 3, 2, 1, 5),  # one of ours was given up, and still runs there
        (2, 2, 2, 1, 2),  # it does not run any more
        (1, 3, 0, 0, 0),  # it tells nonsense: never less than nothing
        (5, -1, 2, 0, 5),  # it does not tell whose they are: ours are among them
        (5, -1, 2, 3, 5),
    ],
)
def test_the_queue_is_what_others_have_there_and_what_we_have(
    used: int, held: int, inflight: int, ghosts: int, queue: int
) -> None:
    told = entry()
    told.inflight, told.abandoned = inflight, ghosts
    told.apply_report(ONE, Load(2, running=min(4, used), queued=max(0, used - 4)), held, 1.0)
    assert told.outstanding() == queue


@pytest.mark.parametrize(
    ("slot", "served", "now", "believed"),
    [
        (90.0, 1000, 6.0, 90.0),  # told by many, of late
        (90.0, 19, 6.0, 20.0),  # a cold start: told by few
        (90.0, 1000, 6.1, 20.0),  # a bad moment, long past
        (23.0, 1000, 6.0, 20.0),  # near enough: the same
        (23.2, 1000, 6.0, 23.2),
        (17.0, 1000, 6.0, 20.0),
        (16.8, 1000, 6.0, 16.8),
        (0.0, 1000, 6.0, 20.0),  # nothing told
    ],
)
def test_a_slot_time_is_believed_or_is_the_fleet_s(
    slot: float, served: int, now: float, believed: float
) -> None:
    told = entry()
    told.apply_report(ONE, Load(2, service_ms=slot, served=served), 0, 1.0)
    told.update_estimates(usual(20.0), 10.0, now)
    assert told.service_ms == believed


def test_a_fleet_of_microseconds_is_all_alike() -> None:
    told = entry()
    told.apply_report(ONE, Load(2, service_ms=0.09, served=99), 0, 1.0)
    told.update_estimates(usual(0.01), 10.0, 1.0)
    assert told.service_ms == 0.01


@pytest.mark.parametrize(("queue", "rounds"), [(0, 1.0), (3, 1.0), (4, 1.25), (7, 2.0), (11, 3.0)])
def test_the_delay_is_a_slot_time_and_the_rounds_to_wait(queue: int, rounds: float) -> None:
    told = entry()
    told.service_ms = 20.0
    told.remote_load = queue
    assert told.expected_ms() == pytest.approx(20.0 * rounds, rel=0.005)


def test_what_was_reported_long_ago_does_not_make_full_for_ever() -> None:
    told = entry()
    told.remote_load, told.inflight = 8, 0
    assert not told.has_capacity(0.0)
    slow = entry(
        instance=Instance("ase", "ocr", "a:1", 7, total=8, best=4, report_mode=ReportMode.PERIODIC)
    )
    slow.remote_load, slow.service_ms = 8, 50.0
    assert slow.has_capacity(0.0)
    slow.mark_full(1.0)
    assert not slow.has_capacity(1.049)
    assert slow.has_capacity(1.051)
    slow.inflight = 8
    assert not slow.has_capacity(2.0)


def test_who_refused_and_reports_is_full_until_it_does() -> None:
    told = entry()
    told.inflight = 1
    told.mark_full(0.0)
    assert (told.outstanding(), told.has_capacity(9.0)) == (8, False)
    told.apply_report(ONE, Load(2, running=1), 1, 9.0)
    assert told.has_capacity(9.0)


def test_without_a_queue_the_less_occupied_is_better_by_a_little() -> None:
    one, two = entry(), entry()
    one.service_ms = two.service_ms = 20.0
    two.remote_load = 1
    assert one.expected_ms() < two.expected_ms() < one.expected_ms() * 1.001


@pytest.mark.parametrize(
    ("age", "slots"), [(0.0, 1), (2.0, 1), (5.0, 2), (8.0, 3), (9.9, 3), (10.0, 4), (99.0, 4)]
)
def test_a_newcomer_gets_more_and_more_of_its_licences(age: float, slots: int) -> None:
    told = entry()
    told.update_estimates(usual(20.0), 10.0, age)
    assert told.usable_slots == slots
    assert told.limit == 8


def test_who_worked_before_we_met_is_no_newcomer() -> None:
    told = entry(Load(1, served=5))
    told.update_estimates(usual(20.0), 10.0, 0.0)
    assert told.usable_slots == 4


@pytest.mark.parametrize(
    ("slot", "slots", "step"),
    [(20.0, 4, 8), (40.0, 4, 16), (10.0, 4, 4), (20.0, 8, 4), (20.0, 1, 32), (9999.0, 1, 64)],
)
def test_own_load_weighs_by_the_pace(slot: float, slots: int, step: int) -> None:
    instance = Instance("ase", "ocr", "a:1", 7, total=8, best=slots)
    told = entry(Load(1, served=50), instance)
    told.apply_report(instance, Load(2, service_ms=slot, served=99), 0, 1.0)
    told.update_estimates(usual(20.0), 0.0, 1.0)
    assert told.load_weight == step
    told.inflight = 3
    told.update_load_level()
    assert told.load_level == 3 * step
    told.inflight = 9999
    told.update_load_level()
    assert told.load_level == 4095


def test_who_does_not_report_is_learnt_from_answers() -> None:
    silent = entry(instance=Instance("ase", "ocr", "s:1", report_mode=ReportMode.NONE))
    silent.learn_service_time(0.02, 1.0)
    assert silent.load.service_ms == pytest.approx(20.0)
    for _ in range(100):
        silent.learn_service_time(0.04, 2.0)
    assert silent.load.service_ms == pytest.approx(40.0, rel=0.01)
    assert (silent.load.served, silent.last_served_at) == (101, 2.0)


def test_untried_is_who_nobody_asked() -> None:
    assert entry().is_untried()
    assert not entry(Load(1, served=1)).is_untried()
    assert not entry(
        instance=Instance("ase", "ocr", "s:1", report_mode=ReportMode.NONE)
    ).is_untried()
    for name in ("picks", "remote_load", "inflight"):
        told = entry()
        setattr(told, name, 1)
        assert not told.is_untried()


@pytest.mark.parametrize(
    ("answers", "took_ms", "elsewhere", "doubt"),
    [
        (0, 0.0, 0.0, 1.0),
        (1, 200.0, 0.0, 1.0),  # twenty times as long, and once: it may be chance
        (1, 400.0, 0.0, 1.0),
        (99, 400.0, 0.0, 40.0),
        (32, 20.0, 0.0, 1.0),
        (32, 30.0, 0.0, 1.0),
        (32, 40.0, 0.0, 4.0),  # no chance any more
        (8, 40.0, 0.0, 1.0),
        (99, 1.0, 0.0, 1.0),  # faster than expected is no lie that does harm
        (99, 90.0, log(9), 1.0),  # everybody's answers are late: the network, or the machine
    ],
)
def test_reports_are_doubted_where_answers_take_longer_than_they_make_expect(
    answers: int, took_ms: float, elsewhere: float, doubt: float
) -> None:
    told = entry()
    told.apply_report(ONE, Load(2, service_ms=10.0, served=99), 0, 1.0)
    for _ in range(answers):
        told.record_latency(took_ms, 10.0, 1.0)
    told.update_estimates(usual(20.0, elsewhere), 10.0, 1.0)
    assert told.slowdown_factor == pytest.approx(doubt, rel=0.01)
    assert told.service_ms == pytest.approx(10.0 * doubt, rel=0.01)


def test_below_a_millisecond_it_is_the_way_and_nothing_is_doubted() -> None:
    told = entry()
    told.apply_report(ONE, Load(2, service_ms=0.1, served=99), 0, 1.0)
    for _ in range(99):
        told.record_latency(1.5, 0.1, 1.0)
    told.update_estimates(usual(20.0), 10.0, 1.0)
    assert told.slowdown_factor == 1.0


def test_one_hiccup_makes_no_doubt() -> None:
    """An equal that was late once would not be asked any more, and could not prove itself."""
    told = entry()
    told.record_latency(500.0, 1.0, 1.0)
    told.update_estimates(usual(20.0), 10.0, 1.0)
    assert told.slowdown_factor == 1.0
    told.record_latency(1.0, 1.0, 1.0)
    assert told.latency_log_ratio == pytest.approx(1.0)


def test_a_doubt_does_not_outlive_its_answers() -> None:
    told = entry()
    for _ in range(99):
        told.record_latency(500.0, 1.0, 1.0)
    told.update_estimates(usual(20.0), 10.0, 5.9)
    assert told.slowdown_factor > 1.0
    told.update_estimates(usual(20.0), 10.0, 6.1)
    assert told.slowdown_factor == 1.0
    told.record_latency(500.0, 1.0, 6.2)
    told.update_estimates(usual(20.0), 10.0, 6.2)
    assert told.slowdown_factor > 1.0, "one more answer, and it is what it was"


def test_a_doubt_stays_as_long_as_what_is_reported() -> None:
    """What is expected grows with the doubt; the reports are no truer for that."""
    told = entry()
    for _ in range(200):
        told.record_latency(40.0, told.expected_ms() or 1.0, 1.0)
        told.apply_report(ONE, Load(2, service_ms=1.0, served=99), 0, 1.0)
        told.update_estimates(usual(20.0), 10.0, 1.0)
    assert told.service_ms == pytest.approx(40.0, rel=0.01)
    for _ in range(200):
        told.record_latency(1.0, told.expected_ms(), 1.0)
        told.update_estimates(usual(20.0), 10.0, 1.0)
    assert (told.slowdown_factor, told.service_ms) == (1.0, 1.0)
