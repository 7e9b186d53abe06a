"""The table of instances: each move, stale reports, epochs, expiry, and the exact correction."""

import pytest

from lb.endpoints.lifecycle import TRANSITIONS, EndpointEvent, EndpointState, StateChange
from lb.endpoints.report import Instance, Load, Report, ReportMode, ServingState
from lb.endpoints.table import EndpointTable

ONE = Instance("ase", "ocr", "a:1", 7, total=4)


def told(
    seq: int, live: ServingState = ServingState.UP, instance: Instance = ONE, running: int = 0
) -> Report:
    return Report(instance, Load(seq, live, running=running))


def moves(changes: list[StateChange]) -> list[tuple[str, str, str]]:
    return [(c.before.value, c.after.value, c.reason.value) for c in changes]


def state(table: EndpointTable) -> str:
    entry = table.get(ONE.key)
    return entry.state.value if entry else "none"


def test_a_life() -> None:
    table = EndpointTable(silence_timeout=1.5, ttl=3.0)
    assert moves(table.apply(told(1), 0.0)) == [("gone", "up", "reported")]
    assert table.apply(told(2), 1.0) == []
    assert table.expire(2.4) == []
    assert moves(table.expire(2.6)) == [("up", "suspect", "silent")]
    assert moves(table.apply(told(3), 2.7)) == [("suspect", "up", "reported")]
    assert moves(table.apply(told(4, ServingState.DRAINING), 3.0)) == [
        ("up", "draining", "draining")
    ]
    assert moves(table.apply(told(5, ServingState.DOWN), 3.1)) == [("draining", "gone", "left")]
    assert len(table) == 0
    assert table.endpoints_of("ocr") == []


def test_a_broken_stream_is_suspect_at_once_and_gone_after_ttl() -> None:
    table = EndpointTable(silence_timeout=1.5, ttl=3.0)
    table.apply(told(1), 0.0)
    assert moves(table.mark_lost(ONE.key, 7, EndpointEvent.STREAM_LOST, 1.0)) == [
        ("up", "suspect", "stream_lost")
    ]
    assert table.expire(3.9) == []
    assert moves(table.expire(4.1)) == [("suspect", "gone", "expired")]


def test_a_draining_one_that_is_lost_is_gone() -> None:
    table = EndpointTable()
    table.apply(told(1, ServingState.DRAINING), 0.0)
    changes = table.mark_lost(ONE.key, 7, EndpointEvent.STREAM_LOST, 1.0)
    assert moves(changes) == [("draining", "gone", "stream_lost")]


def test_down_as_the_first_word_adds_nothing() -> None:
    """The original resurrected a node by its farewell."""
    table = EndpointTable()
    assert table.apply(told(1, ServingState.DOWN), 0.0) == []
    assert len(table) == 0


def test_a_stale_report_changes_nothing() -> None:
    table = EndpointTable()
    table.apply(told(5, running=3), 0.0)
    assert table.apply(told(5, ServingState.DOWN), 1.0) == []
    assert table.apply(told(4, running=1), 1.0) == []
    entry = table.get(ONE.key)
    assert entry is not None
    assert (entry.load.running, entry.last_report_at) == (3, 0.0)


def test_a_new_epoch_is_a_new_process() -> None:
    table = EndpointTable()
    table.apply(told(9), 0.0)
    entry = table.get(ONE.key)
    assert entry is not None
    entry.inflight = 5
    reborn = Instance("ase", "ocr", "a:1", 8, total=4)
    assert moves(table.apply(told(1, instance=reborn), 1.0)) == [
        ("up", "gone", "replaced"),
        ("gone", "up", "reported"),
    ]
    fresh = table.get(ONE.key)
    assert fresh is not None
    assert (fresh.picks, fresh.inflight) == (0, 0)
    assert table.mark_lost(ONE.key, 7, EndpointEvent.STREAM_LOST, 2.0) == [], (
        "the old stream's end is old news"
    )


def test_a_static_instance_never_expires() -> None:
    table = EndpointTable(silence_timeout=1.0, ttl=1.0)
    table.add_static(Instance("ase", "ocr", "s:1"), 0.0)
    assert table.expire(1e6) == []
    assert len(table.endpoints_of("ocr")) == 1


def test_a_gateway_that_follows_a_hub_is_never_silent_by_itself() -> None:
    table = EndpointTable(silence_timeout=None, ttl=3.0)
    table.apply(told(1), 0.0)
    assert table.expire(1e6) == []
    table.mark_lost(ONE.key, 7, EndpointEvent.HUB_FORGOT, 1e6)
    assert table.expire(1e6 + 2.9) == [], "the ttl runs from the suspicion, not the last report"
    assert moves(table.expire(1e6 + 3.1)) == [("suspect", "gone", "expired")]


@pytest.mark.parametrize(
    "before",
    [EndpointState.UP, EndpointState.DRAINING, EndpointState.SUSPECT],
    ids=lambda s: s.value,
)
@pytest.mark.parametrize("event", list(EndpointEvent), ids=lambda e: e.value)
def test_every_move_is_in_the_table_or_is_none(before: EndpointState, event: EndpointEvent) -> None:
    table = EndpointTable()
    table.apply(told(1), 0.0)
    entry = table.get(ONE.key)
    assert entry is not None
    entry.state = before
    after = TRANSITIONS.get((before, event), before)
    changes = table.mark_lost(ONE.key, 7, event, 1.0)
    assert state(table) == ("none" if after is EndpointState.GONE else after.value)
    assert len(changes) == (after is not before)


def test_when_it_last_worked_is_when_it_last_told_of_more_served() -> None:
    table = EndpointTable()
    for seq, served, now, worked in (
        (1, 5, 1.0, 0.0),
        (2, 5, 2.0, 0.0),
        (3, 6, 3.0, 3.0),
        (4, 6, 4.0, 3.0),
    ):
        table.apply(Report(ONE, Load(seq, served=served)), now)
        entry = table.get(ONE.key)
        assert entry is not None
        assert entry.last_served_at == worked


def test_one_that_comes_back_in_the_same_epoch_still_has_what_was_sent_to_it() -> None:
    table = EndpointTable("g", silence_timeout=1.0, ttl=1.0)
    table.apply(told(1), 0.0)
    table.expire(2.0)
    assert state(table) == "suspect", "not gone in one go, however late we look"
    table.expire(2.1)
    assert state(table) == "none"
    table.apply(Report(ONE, Load(2, running=3, requests_by_gateway={"g": 2, "other": 1})), 5.0)
    entry = table.get(ONE.key)
    assert entry is not None
    assert (entry.remote_load, entry.abandoned, entry.outstanding()) == (1, 2, 3)
    table.apply(Report(ONE, Load(3, running=1, requests_by_gateway={"other": 1})), 6.0)
    assert entry.outstanding() == 1


def test_a_report_does_not_move_what_the_operator_placed() -> None:
    table = EndpointTable()
    table.add_static(Instance("ase", "ocr", "a:1"), 0.0)
    assert table.apply(told(1), 1.0) == []
    assert table.apply(told(2, ServingState.DOWN), 2.0) == []
    assert len(table) == 1


def test_who_reports_at_times_is_silent_after_half_the_ttl() -> None:
    table = EndpointTable(silence_timeout=0.15, ttl=3.0)
    slow = Instance("ase", "ocr", "a:1", 7, total=4, report_mode=ReportMode.PERIODIC)
    table.apply(told(1, instance=slow), 0.0)
    assert table.expire(1.4) == []
    assert moves(table.expire(1.6)) == [("up", "suspect", "silent")]
    assert table.expire(2.9) == []
    assert moves(table.expire(3.1)) == [("suspect", "gone", "expired")], "3 s after its last word"


def test_the_silent_are_thought_no_better_than_most() -> None:
    table = EndpointTable(silence_timeout=1.0, ttl=9.0)
    for number, running in enumerate((0, 3, 5), 1):
        instance = Instance("ase", "ocr", f"a:{number}", 7, total=4)
        table.apply(told(1, instance=instance, running=running), 0.0 if running == 0 else 5.0)
    table.expire(5.0)
    entry = table.get(ONE.key)
    assert entry is not None
    assert (entry.state, entry.remote_load) == (EndpointState.SUSPECT, 3)


def test_a_pool_is_made_anew_when_somebody_comes_goes_or_changes() -> None:
    table = EndpointTable(silence_timeout=1.0, ttl=9.0)
    two = Instance("ase", "ocr", "a:2", 7, total=4)
    table.apply(told(1), 0.0)
    first = table.pool("ocr", "", 0.0)
    assert table.pool("ocr", "", 0.0) is first
    table.apply(told(2, running=3), 0.1)
    assert table.pool("ocr", "", 0.1) is first, "a report alone changes nobody's place"
    table.apply(told(1, instance=two), 0.2)
    second = table.pool("ocr", "", 0.2)
    assert [entry.instance.addr for entry in second.members] == ["a:1", "a:2"]
    table.apply(told(2, ServingState.DRAINING, instance=two), 0.3)
    assert len(table.pool("ocr", "", 0.3).members) == 1
    table.apply(told(3, ServingState.DOWN, instance=two), 0.4)
    table.apply(told(3, ServingState.DOWN), 0.5)
    assert table.pool("ocr", "", 0.5).members == []
    assert first.members == second.members == [], "an old pool holds nobody"


def test_what_is_usual_is_found_anew_as_time_passes() -> None:
    table = EndpointTable(silence_timeout=None)
    for number in range(1, 4):
        instance = Instance("ase", "ocr", f"a:{number}", 7, total=4)
        table.apply(Report(instance, Load(1)), 0.0)
        table.apply(Report(instance, Load(2, service_ms=10.0 * number, served=50)), 0.1)
    table.expire(1.0)
    assert [round(entry.service_ms) for entry in table] == [10, 20, 30]
    late = Instance("ase", "ocr", "a:9", 7, total=4)
    table.apply(Report(late, Load(1)), 1.0)
    entry = table.get(late.key)
    assert entry is not None
    assert entry.service_ms == 20.0, "of a newcomer the fleet's is thought"


def test_who_was_placed_may_be_told_of_by_other_means() -> None:
    table = EndpointTable()
    instance = Instance("ase", "ocr", "s:1", total=4, best=4)
    table.add_static(instance, 0.0)
    (entry,) = table
    table.apply_static_load(instance, Load(1, running=3), 1.0)
    assert (entry.outstanding(), entry.report_mode, entry.instance.report_mode) == (
        3,
        ReportMode.PERIODIC,
        ReportMode.NONE,
    )
    table.apply_static_load(instance, Load(1, running=0), 2.0)
    assert entry.outstanding() == 3, "a stale one"
    table.discard_reported_load(instance.key)
    assert (entry.outstanding(), entry.report_mode) == (0, ReportMode.NONE)
    assert table.expire(1e6) == [], "it stays"


def test_when_the_hub_is_away_only_own_counts_are_left() -> None:
    table = EndpointTable("g", silence_timeout=None)
    table.apply(Report(ONE, Load(1)), 0.0)
    entry = table.get(ONE.key)
    assert entry is not None
    entry.inflight, entry.abandoned = 1, 1
    table.apply(Report(ONE, Load(2, running=5, requests_by_gateway={"g": 2})), 0.0)
    assert entry.outstanding() == 5
    table.discard_reported_load(ONE.key)
    assert (entry.outstanding(), entry.report_mode) == (1, ReportMode.NONE)
    table.apply(Report(ONE, Load(3, running=4, requests_by_gateway={"g": 1})), 1.0)
    assert (entry.outstanding(), entry.report_mode) == (4, ReportMode.ON_CHANGE)


def test_of_two_lives_the_one_that_followed_stays() -> None:
    """A hub that lags still tells of the life before: it must not come back over the living one."""
    table = EndpointTable(silence_timeout=None)
    reborn = Instance("ase", "ocr", "a:1", 8, total=4)
    table.apply(told(5), 0.0)
    table.apply(told(1, instance=reborn), 1.0)
    assert table.apply(told(6), 2.0) == []
    entry = table.get(ONE.key)
    assert entry is not None
    assert entry.instance.epoch == 8
    table.mark_lost(ONE.key, 8, EndpointEvent.STREAM_LOST, 3.0)
    assert table.apply(told(7), 4.0), "where nobody knows better, it may come back"


def test_who_stood_still_itself_blames_nobody() -> None:
    table = EndpointTable(silence_timeout=1.0, ttl=3.0)
    table.apply(told(1), 0.0)
    table.compensate_stall(10.0)
    assert table.expire(10.5) == []
    table.compensate_stall(0.3)
    assert moves(table.expire(11.2)) == [("up", "suspect", "silent")]


def test_seldom_signs_of_life_make_patient() -> None:
    table = EndpointTable(silence_timeout=0.15, ttl=3.0)
    table.raise_timeouts(1.0)
    table.apply(told(1), 0.0)
    assert table.expire(2.9) == []
    assert moves(table.expire(3.1)) == [("up", "suspect", "silent")]
    assert table.expire(5.9) == []
    assert moves(table.expire(6.1)) == [("suspect", "gone", "expired")]


def test_nonsense_of_one_breaks_nothing_of_others() -> None:
    table = EndpointTable()
    for number, ms in ((1, 5e-324), (2, 20.0)):
        instance = Instance("ase", "ocr", f"a:{number}", 7, total=4)
        table.apply(Report(instance, Load(1)), 0.0)
        table.apply(Report(instance, Load(2, service_ms=ms, served=99)), 0.1)
    table.expire(0.5)
    assert all(1 <= entry.load_weight <= 64 for entry in table)


def test_the_first_slot_time_told_is_the_usual_one_at_once() -> None:
    """Measured by a default, equals whose times differ by a breath would not be equals."""
    table = EndpointTable()
    names = ("a:1", "b:1")
    for addr in names:
        table.apply(Report(Instance("ase", "ocr", addr, 7, total=4, best=4), Load(1)), 0.0)
    for addr, ms in zip(names, (0.08, 0.06), strict=True):
        instance = Instance("ase", "ocr", addr, 7, total=4, best=4)
        table.apply(Report(instance, Load(2, service_ms=ms, served=40)), 0.01)
    assert {entry.service_ms for entry in table} == {0.06}


def test_one_slow_request_is_no_measure_for_long() -> None:
    table = EndpointTable()
    instances = [Instance("ase", "ocr", addr, 7, total=4, best=4) for addr in ("a:1", "b:1")]
    for instance in instances:
        table.apply(Report(instance, Load(1)), 0.0)
    table.apply(Report(instances[0], Load(2, service_ms=0.9, served=1)), 0.01)
    for seq in range(3, 6):
        for instance, ms in zip(instances, (0.12, 0.08), strict=True):
            load = Load(seq, service_ms=ms, served=10 * seq)
            table.apply(Report(instance, load), 0.02)
    assert {entry.service_ms for entry in table} == {0.08}
