"""What a gateway knows of one instance: the queue, the slot time, the share of a newcomer."""

from math import log

import pytest

from lb.entry import Entry, Usual
from lb.life import State
from lb.report import Feed, Instance, Load

ONE = Instance("ase", "ocr", "a:1", 7, total=8, best=4)


def entry(load: Load = Load(1), instance: Instance = ONE) -> Entry:  # noqa: B008 (frozen)
    return Entry(instance, load, State.UP, 0.0)


def usual(slot_ms: float, excess: float = 0.0) -> Usual:
    told = Usual()
    told.slot_ms, told.slots, told.excess = slot_ms, 4, excess
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
    told.inflight, told.ghosts = inflight, ghosts
    told.take_in(ONE, Load(2, running=min(4, used), queued=max(0, used - 4)), held, 1.0)
    assert told.queue() == queue


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
    told.take_in(ONE, Load(2, service_ms=slot, served=served), 0, 1.0)
    told.judge(usual(20.0), 10.0, now)
    assert told.slot_ms == believed


def test_a_fleet_of_microseconds_is_all_alike() -> None:
    told = entry()
    told.take_in(ONE, Load(2, service_ms=0.09, served=99), 0, 1.0)
    told.judge(usual(0.01), 10.0, 1.0)
    assert told.slot_ms == 0.01


@pytest.mark.parametrize(("queue", "rounds"), [(0, 1.0), (3, 1.0), (4, 1.25), (7, 2.0), (11, 3.0)])
def test_the_delay_is_a_slot_time_and_the_rounds_to_wait(queue: int, rounds: float) -> None:
    told = entry()
    told.slot_ms = 20.0
    told.foreign = queue
    assert told.expected_ms() == pytest.approx(20.0 * rounds, rel=0.005)


def test_what_was_reported_long_ago_does_not_make_full_for_ever() -> None:
    told = entry()
    told.foreign, told.inflight = 8, 0
    assert not told.has_room(0.0)
    slow = entry(instance=Instance("ase", "ocr", "a:1", 7, total=8, best=4, feed=Feed.AT_TIMES))
    slow.foreign, slow.slot_ms = 8, 50.0
    assert slow.has_room(0.0)
    slow.refused(1.0)
    assert not slow.has_room(1.049)
    assert slow.has_room(1.051)
    slow.inflight = 8
    assert not slow.has_room(2.0)


def test_who_refused_and_reports_is_full_until_it_does() -> None:
    told = entry()
    told.inflight = 1
    told.refused(0.0)
    assert (told.queue(), told.has_room(9.0)) == (8, False)
    told.take_in(ONE, Load(2, running=1), 1, 9.0)
    assert told.has_room(9.0)


def test_without_a_queue_the_less_occupied_is_better_by_a_little() -> None:
    one, two = entry(), entry()
    one.slot_ms = two.slot_ms = 20.0
    two.foreign = 1
    assert one.expected_ms() < two.expected_ms() < one.expected_ms() * 1.001


@pytest.mark.parametrize(
    ("age", "slots"), [(0.0, 1), (2.0, 1), (5.0, 2), (8.0, 3), (9.9, 3), (10.0, 4), (99.0, 4)]
)
def test_a_newcomer_gets_more_and_more_of_its_licences(age: float, slots: int) -> None:
    told = entry()
    told.judge(usual(20.0), 10.0, age)
    assert told.slots == slots
    assert told.limit == 8


def test_who_worked_before_we_met_is_no_newcomer() -> None:
    told = entry(Load(1, served=5))
    told.judge(usual(20.0), 10.0, 0.0)
    assert told.slots == 4


@pytest.mark.parametrize(
    ("slot", "slots", "step"),
    [(20.0, 4, 8), (40.0, 4, 16), (10.0, 4, 4), (20.0, 8, 4), (20.0, 1, 32), (9999.0, 1, 64)],
)
def test_own_load_weighs_by_the_pace(slot: float, slots: int, step: int) -> None:
    instance = Instance("ase", "ocr", "a:1", 7, total=8, best=slots)
    told = entry(Load(1, served=50), instance)
    told.take_in(instance, Load(2, service_ms=slot, served=99), 0, 1.0)
    told.judge(usual(20.0), 0.0, 1.0)
    assert told.step == step
    told.inflight = 3
    told.settle()
    assert told.level == 3 * step
    told.inflight = 9999
    told.settle()
    assert told.level == 4095


def test_who_does_not_report_is_learnt_from_answers() -> None:
    silent = entry(instance=Instance("ase", "ocr", "s:1", feed=Feed.NONE))
    silent.learn(0.02, 1.0)
    assert silent.load.service_ms == pytest.approx(20.0)
    for _ in range(100):
        silent.learn(0.04, 2.0)
    assert silent.load.service_ms == pytest.approx(40.0, rel=0.01)
    assert (silent.load.served, silent.worked) == (101, 2.0)


def test_untried_is_who_nobody_asked() -> None:
    assert entry().is_untried()
    assert not entry(Load(1, served=1)).is_untried()
    assert not entry(instance=Instance("ase", "ocr", "s:1", feed=Feed.NONE)).is_untried()
    for name in ("asked", "foreign", "inflight"):
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
    told.take_in(ONE, Load(2, service_ms=10.0, served=99), 0, 1.0)
    for _ in range(answers):
        told.compare(took_ms, 10.0, 1.0)
    told.judge(usual(20.0, elsewhere), 10.0, 1.0)
    assert told.doubt == pytest.approx(doubt, rel=0.01)
    assert told.slot_ms == pytest.approx(10.0 * doubt, rel=0.01)


def test_below_a_millisecond_it_is_the_way_and_nothing_is_doubted() -> None:
    told = entry()
    told.take_in(ONE, Load(2, service_ms=0.1, served=99), 0, 1.0)
    for _ in range(99):
        told.compare(1.5, 0.1, 1.0)
    told.judge(usual(20.0), 10.0, 1.0)
    assert told.doubt == 1.0


def test_one_hiccup_makes_no_doubt() -> None:
    """An equal that was late once would not be asked any more, and could not prove itself."""
    told = entry()
    told.compare(500.0, 1.0, 1.0)
    told.judge(usual(20.0), 10.0, 1.0)
    assert told.doubt == 1.0
    told.compare(1.0, 1.0, 1.0)
    assert told.excess == pytest.approx(1.0)


def test_a_doubt_does_not_outlive_its_answers() -> None:
    told = entry()
    for _ in range(99):
        told.compare(500.0, 1.0, 1.0)
    told.judge(usual(20.0), 10.0, 5.9)
    assert told.doubt > 1.0
    told.judge(usual(20.0), 10.0, 6.1)
    assert told.doubt == 1.0
    told.compare(500.0, 1.0, 6.2)
    told.judge(usual(20.0), 10.0, 6.2)
    assert told.doubt > 1.0, "one more answer, and it is what it was"


def test_a_doubt_stays_as_long_as_what_is_reported() -> None:
    """What is expected grows with the doubt; the reports are no truer for that."""
    told = entry()
    for _ in range(200):
        told.compare(40.0, told.expected_ms() or 1.0, 1.0)
        told.take_in(ONE, Load(2, service_ms=1.0, served=99), 0, 1.0)
        told.judge(usual(20.0), 10.0, 1.0)
    assert told.slot_ms == pytest.approx(40.0, rel=0.01)
    for _ in range(200):
        told.compare(1.0, told.expected_ms(), 1.0)
        told.judge(usual(20.0), 10.0, 1.0)
    assert (told.doubt, told.slot_ms) == (1.0, 1.0)
