"""The table of lives: who can go where (how events are applied: test_table.py)."""

from lb.life import BY_LIVE, TRANSITIONS, Change, Event, State
from lb.report import Instance, Live


def test_from_gone_only_a_report_leads_back() -> None:
    ways = {event for (state, event) in TRANSITIONS if state is State.GONE}
    assert ways == {Event.REPORTED_UP, Event.REPORTED_DRAINING}


def test_every_state_can_be_left_and_reached() -> None:
    assert {state for state, _ in TRANSITIONS} == set(State)
    assert set(TRANSITIONS.values()) == set(State)


def test_every_word_of_a_loader_is_an_event() -> None:
    assert set(BY_LIVE) == set(Live)


def test_a_change_tells_its_facts() -> None:
    change = Change(Instance("ase", "ocr", "a:1"), State.UP, State.GONE, Event.EXPIRED)
    assert change.facts() == {
        "service": "ocr",
        "instance": "a:1",
        "before": "up",
        "after": "gone",
        "reason": "expired",
    }
