"""The table of instances: each move, stale reports, epochs, expiry, and the exact correction."""

import pytest

from lb.report import Instance, Live, Load, Report
from lb.table import TRANSITIONS, Change, Event, State, Table

ONE = Instance("ase", "ocr", "a:1", 7, total=4)


def told(seq: int, live: Live = Live.UP, instance: Instance = ONE, running: int = 0) -> Report:
    return Report(instance, Load(seq, live, running=running))


def moves(changes: list[Change]) -> list[tuple[str, str, str]]:
    return [(c.before.value, c.after.value, c.reason.value) for c in changes]


def state(table: Table) -> str:
    entry = table.get(ONE.key)
    return entry.state.value if entry else "none"


def test_a_life() -> None:
    table = Table(silence=1.5, ttl=3.0)
    assert moves(table.apply(told(1), 0.0)) == [("gone", "up", "reported")]
    assert table.apply(told(2), 1.0) == []
    assert table.expire(2.4) == []
    assert moves(table.expire(2.6)) == [("up", "suspect", "silent")]
    assert moves(table.apply(told(3), 2.7)) == [("suspect", "up", "reported")]
    assert moves(table.apply(told(4, Live.DRAINING), 3.0)) == [("up", "draining", "draining")]
    assert moves(table.apply(told(5, Live.DOWN), 3.1)) == [("draining", "gone", "left")]
    assert len(table) == 0
    assert table.service("ocr") == []


def test_a_broken_stream_is_suspect_at_once_and_gone_after_ttl() -> None:
    table = Table(silence=1.5, ttl=3.0)
    table.apply(told(1), 0.0)
    assert moves(table.lose(ONE.key, 7, Event.STREAM_LOST, 1.0)) == [
        ("up", "suspect", "stream_lost")
    ]
    assert table.expire(3.9) == []
    assert moves(table.expire(4.1)) == [("suspect", "gone", "expired")]


def test_a_draining_one_that_is_lost_is_gone() -> None:
    table = Table()
    table.apply(told(1, Live.DRAINING), 0.0)
    changes = table.lose(ONE.key, 7, Event.STREAM_LOST, 1.0)
    assert moves(changes) == [("draining", "gone", "stream_lost")]


def test_down_as_the_first_word_adds_nothing() -> None:
    """The original resurrected a node by its farewell."""
    table = Table()
    assert table.apply(told(1, Live.DOWN), 0.0) == []
    assert len(table) == 0


def test_a_stale_report_changes_nothing() -> None:
    table = Table()
    table.apply(told(5, running=3), 0.0)
    assert table.apply(told(5, Live.DOWN), 1.0) == []
    assert table.apply(told(4, running=1), 1.0) == []
    entry = table.get(ONE.key)
    assert entry is not None
    assert (entry.load.running, entry.seen) == (3, 0.0)


def test_a_new_epoch_is_a_new_process() -> None:
    table = Table()
    table.apply(told(9), 0.0)
    entry = table.get(ONE.key)
    assert entry is not None
    entry.sent = entry.inflight = 5
    reborn = Instance("ase", "ocr", "a:1", 8, total=4)
    assert moves(table.apply(told(1, instance=reborn), 1.0)) == [
        ("up", "gone", "replaced"),
        ("gone", "up", "reported"),
    ]
    fresh = table.get(ONE.key)
    assert fresh is not None
    assert (fresh.sent, fresh.inflight) == (0, 0)
    assert table.lose(ONE.key, 7, Event.STREAM_LOST, 2.0) == [], "the old stream's end is old news"


def test_a_static_instance_never_expires() -> None:
    table = Table(silence=1.0, ttl=1.0)
    table.place(Instance("ase", "ocr", "s:1"), 0.0)
    assert table.expire(1e6) == []
    assert len(table.service("ocr")) == 1


def test_a_gateway_that_follows_a_hub_is_never_silent_by_itself() -> None:
    table = Table(silence=None, ttl=3.0)
    table.apply(told(1), 0.0)
    assert table.expire(1e6) == []
    table.lose(ONE.key, 7, Event.HUB_FORGOT, 1e6)
    assert table.expire(1e6 + 2.9) == [], "the ttl runs from the suspicion, not the last report"
    assert moves(table.expire(1e6 + 3.1)) == [("suspect", "gone", "expired")]


@pytest.mark.parametrize("before", [State.UP, State.DRAINING, State.SUSPECT], ids=lambda s: s.value)
@pytest.mark.parametrize("event", list(Event), ids=lambda e: e.value)
def test_every_move_is_in_the_table_or_is_none(before: State, event: Event) -> None:
    table = Table()
    table.apply(told(1), 0.0)
    entry = table.get(ONE.key)
    assert entry is not None
    entry.state = before
    after = TRANSITIONS.get((before, event), before)
    changes = table.lose(ONE.key, 7, event, 1.0)
    assert state(table) == ("none" if after is State.GONE else after.value)
    assert len(changes) == (after is not before)


@pytest.mark.parametrize(
    ("running", "acc", "sent", "inflight", "queue"),
    [
        (3, 0, 0, 0, 3),  # nothing of ours
        (3, 10, 12, 2, 5),  # two are on their way
        (3, 12, 12, 2, 3),  # the report has them
        (0, 10, 12, 0, 0),  # both were lost: not counted for ever
        (0, 10, 15, 2, 2),  # some were lost, two are unanswered
        (3, 20, 12, 1, 3),  # it counts more than we sent: another life of ours
    ],
)
def test_the_queue_is_the_report_and_what_it_cannot_know(
    running: int, acc: int, sent: int, inflight: int, queue: int
) -> None:
    table = Table("g")
    table.apply(Report(ONE, Load(1, running=running, acc={"g": acc, "other": 99})), 0.0)
    entry = table.get(ONE.key)
    assert entry is not None
    entry.sent, entry.inflight = sent, inflight
    assert entry.queue() == queue


def test_when_it_last_worked_is_when_it_last_told_of_more_served() -> None:
    table = Table()
    for seq, served, now, worked in (
        (1, 5, 1.0, 0.0),
        (2, 5, 2.0, 0.0),
        (3, 6, 3.0, 3.0),
        (4, 6, 4.0, 3.0),
    ):
        table.apply(Report(ONE, Load(seq, served=served)), now)
        entry = table.get(ONE.key)
        assert entry is not None
        assert entry.worked == worked


def test_what_was_lost_on_the_way_is_forgotten_when_nothing_is_unanswered() -> None:
    """Five were sent and never arrived; without this, the next five would count twice."""
    table = Table("g")
    table.apply(told(1), 0.0)
    entry = table.get(ONE.key)
    assert entry is not None
    entry.sent = 5
    table.apply(told(2), 1.0)
    assert entry.sent == 0
    entry.sent = entry.inflight = 5
    table.apply(Report(ONE, Load(3, running=5, acc={"g": 5})), 2.0)
    assert entry.queue() == 5


def test_an_instance_that_comes_back_in_the_same_epoch_keeps_its_count() -> None:
    table = Table("g", silence=1.0, ttl=1.0)
    table.apply(Report(ONE, Load(1, acc={"g": 50})), 0.0)
    table.expire(2.0)
    assert [change.reason for change in table.expire(4.0)] == [Event.EXPIRED]
    table.apply(Report(ONE, Load(2, acc={"g": 50})), 5.0)
    entry = table.get(ONE.key)
    assert entry is not None
    entry.sent += 10
    entry.inflight += 10
    assert entry.queue() == 10


def test_a_report_does_not_move_what_the_operator_placed() -> None:
    table = Table()
    table.place(Instance("ase", "ocr", "a:1"), 0.0)
    assert table.apply(told(1), 1.0) == []
    assert table.apply(told(2, Live.DOWN), 2.0) == []
    assert len(table) == 1
