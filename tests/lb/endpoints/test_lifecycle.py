"""The table of lives: who can go where (how events are applied: test_table.py)."""

from lb.endpoints.lifecycle import (
    EVENT_BY_SERVING_STATE,
    TRANSITIONS,
    EndpointEvent,
    EndpointState,
    StateChange,
)
from lb.endpoints.report import Instance, ServingState


def test_from_gone_only_a_report_leads_back() -> None:
    ways = {event for (state, event) in TRANSITIONS if state is EndpointState.GONE}
    assert ways == {EndpointEvent.REPORTED_UP, EndpointEvent.REPORTED_DRAINING}


def test_every_state_can_be_left_and_reached() -> None:
    assert {state for state, _ in TRANSITIONS} == set(EndpointState)
    assert set(TRANSITIONS.values()) == set(EndpointState)


def test_every_word_of_a_loader_is_an_event() -> None:
    assert set(EVENT_BY_SERVING_STATE) == set(ServingState)


def test_a_change_tells_its_facts() -> None:
    change = StateChange(
        Instance("ase", "ocr", "a:1"), EndpointState.UP, EndpointState.GONE, EndpointEvent.EXPIRED
    )
    assert change.log_fields() == {
        "service": "ocr",
        "instance": "a:1",
        "before": "up",
        "after": "gone",
        "reason": "expired",
    }
