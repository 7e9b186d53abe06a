"""The table of a session: every state and event, and the two orders of frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.model.session import (
    TRANSITIONS,
    ReorderBuffer,
    SequenceChecker,
    SessionAction,
    SessionEvent,
    SessionState,
    frame_event,
    refusal_reason,
)

FRAME_EVENTS = {SessionEvent.BEGIN, SessionEvent.CONTINUE, SessionEvent.END, SessionEvent.ONCE}
# What may befall a session whenever it is open.
ALWAYS_HANDLED = {
    SessionEvent.FAILED,
    SessionEvent.LIFETIME_EXPIRED,
    SessionEvent.CLIENT_GONE,
    SessionEvent.DRAIN,
    SessionEvent.DRAIN_TIMEOUT,
}
OPEN_STATES = [state for state in SessionState if state is not SessionState.CLOSED]


def test_closed_is_final() -> None:
    assert not [key for key in TRANSITIONS if key[0] is SessionState.CLOSED]
    for state, actions in TRANSITIONS.values():
        assert (state is SessionState.CLOSED) == (SessionAction.CLOSE in actions)
        assert actions.count(SessionAction.CLOSE) <= 1
        assert not actions or SessionAction.CLOSE not in actions[:-1]


@pytest.mark.parametrize("state", OPEN_STATES)
def test_open_states_handle_every_asynchronous_event(state: SessionState) -> None:
    assert {event for event in SessionEvent if (state, event) in TRANSITIONS} >= ALWAYS_HANDLED
    assert all(refusal_reason(other) for other in SessionState)


def test_loader_is_opened_once_and_cancelled_if_it_may_still_run() -> None:
    for (state, event), (_, actions) in TRANSITIONS.items():
        assert (SessionAction.OPEN_LOADER in actions) == (
            state is SessionState.NEW and event in FRAME_EVENTS
        )
        if SessionAction.CLOSE in actions and state is not SessionState.NEW:
            loader_finished = (
                event is SessionEvent.LAST_RESULT and state is SessionState.HALF_CLOSED
            )
            assert (SessionAction.CANCEL_LOADER in actions) != loader_finished


def test_read_timeout_only_applies_while_the_client_may_send() -> None:
    assert (SessionState.HALF_CLOSED, SessionEvent.READ_TIMEOUT) not in TRANSITIONS
    assert not [
        state
        for state in (SessionState.HALF_CLOSED,)
        for event in FRAME_EVENTS
        if (state, event) in TRANSITIONS
    ]


@given(st.lists(st.sampled_from(list(SessionEvent)), max_size=20))
def test_any_event_sequence_closes_at_most_once_and_sends_only_after_open(
    events: list[SessionEvent],
) -> None:
    state, performed = SessionState.NEW, []
    for event in events:
        transition = TRANSITIONS.get((state, event))
        if transition is None:
            continue
        state, actions = transition
        performed += actions
    assert performed.count(SessionAction.CLOSE) == (state is SessionState.CLOSED)
    assert performed.count(SessionAction.OPEN_LOADER) <= 1
    assert performed.count(SessionAction.HALF_CLOSE) <= 1
    if SessionAction.SEND_FRAME in performed or SessionAction.SEND_RESULT in performed:
        open_index = (
            performed.index(SessionAction.OPEN_LOADER)
            if SessionAction.OPEN_LOADER in performed
            else len(performed)
        )
        assert (
            SessionAction.SEND_RESULT not in performed[:open_index]
            or SessionAction.OPEN_LOADER not in performed
        )
        assert SessionAction.SEND_FRAME not in performed[:open_index]


@pytest.mark.parametrize(
    ("status", "first", "event"),
    [
        (0, True, SessionEvent.BEGIN), (3, True, SessionEvent.ONCE),
        (1, False, SessionEvent.CONTINUE), (2, False, SessionEvent.END),
        (None, False, SessionEvent.CONTINUE), (None, True, None), (4, False, None),
        (-1, True, None), ("0", True, None), (True, True, None), (3.0, True, SessionEvent.ONCE),
        (1.5, True, None), (float("inf"), True, None),
    ],
)  # fmt: skip
def test_frame_event_of_status(status: object, first: bool, event: SessionEvent | None) -> None:
    assert frame_event(status, first=first) is event


def test_sequence_numbers_of_a_client() -> None:
    checker = SequenceChecker()
    assert [checker.check_and_advance("a", n) for n in (3, 4, 5)] == ["", "", ""]
    assert checker.check_and_advance("a", 5) == "$.payload.a.seq: 6 is next, after 5"
    assert checker.check_and_advance("a", 7) == "$.payload.a.seq: 6 is next, after 5"
    assert checker.check_and_advance("a", None) == "$.payload.a.seq: 6 is next, after 5"
    assert [checker.check_and_advance("b", n) for n in (None, 4, 4, "x")] == ["", "", "", ""]


def test_out_of_order_frames_are_buffered_and_late_ones_dropped() -> None:
    buffer = ReorderBuffer(1)
    assert buffer.push(2, "b") == []
    assert buffer.push(1, "a") == ["a", "b"]
    assert buffer.push(1, "again") == []
    assert buffer.push(4, "d") == []
    assert buffer
    assert buffer.skip_missing() == ["d"]
    assert buffer.push(3, "c") == []
    assert not buffer


def test_buffer_is_bounded() -> None:
    buffer = ReorderBuffer(1, max_buffered=2)
    assert [buffer.push(n, n) for n in (3, 4)] == [[], []]
    assert buffer.push(5, 5) == [3, 4, 5]


@given(st.permutations(range(1, 9)))
def test_any_order_is_restored(numbers: list[int]) -> None:
    buffer = ReorderBuffer(1)
    assert [frame for number in numbers for frame in buffer.push(number, number)] == list(
        range(1, 9)
    )
