"""The table of lives: who can go where (how events are applied: test_table.py)."""

from lb.endpoints.lifecycle import (
    EVENT_BY_SERVING_STATE,
    TRANSITIONS,
    EndpointEvent,
    EndpointState,
    StateChange,
)
from lb.endpoints.report import Instance, ServingState


def test_only_reports_lead_out_of_gone() -> None:
    events = {event for (state, event) in TRANSITIONS if state is EndpointState.GONE}
    assert events == {EndpointEvent.REPORTED_UP, EndpointEvent.REPORTED_DRAINING}


def test_every_state_has_transitions_in_and_out() -> None:
    assert {state for state, _ in TRANSITIONS} == set(EndpointState)
    assert set(TRANSITIONS.values()) == set(EndpointState)


def test_every_serving_state_has_an_event() -> None:
    assert set(EVENT_BY_SERVING_STATE) == set(ServingState)


def test_state_change_log_fields() -> None:
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
