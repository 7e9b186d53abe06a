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

FRAMES = {SessionEvent.BEGIN, SessionEvent.CONTINUE, SessionEvent.END, SessionEvent.ONCE}
# What may befall a session whenever it is open.
ANY_TIME = {
    SessionEvent.FAILED,
    SessionEvent.LIFETIME_EXPIRED,
    SessionEvent.CLIENT_GONE,
    SessionEvent.DRAIN,
    SessionEvent.DRAIN_TIMEOUT,
}
OPEN = [state for state in SessionState if state is not SessionState.CLOSED]


def test_over_is_over() -> None:
    assert not [key for key in TRANSITIONS if key[0] is SessionState.CLOSED]
    for state, effects in TRANSITIONS.values():
        assert (state is SessionState.CLOSED) == (SessionAction.CLOSE in effects)
        assert effects.count(SessionAction.CLOSE) <= 1
        assert not effects or SessionAction.CLOSE not in effects[:-1]


@pytest.mark.parametrize("state", OPEN)
def test_whatever_befalls_an_open_session_is_in_the_table(state: SessionState) -> None:
    assert {event for event in SessionEvent if (state, event) in TRANSITIONS} >= ANY_TIME
    assert all(refusal_reason(each) for each in SessionState)


def test_a_loader_is_asked_once_and_given_up_when_it_may_still_work() -> None:
    for (state, event), (_, effects) in TRANSITIONS.items():
        assert (SessionAction.OPEN_LOADER in effects) == (
            state is SessionState.NEW and event in FRAMES
        )
        if SessionAction.CLOSE in effects and state is not SessionState.NEW:
            ended = event is SessionEvent.LAST_RESULT and state is SessionState.HALF_CLOSED
            assert (SessionAction.CANCEL_LOADER in effects) != ended


def test_the_client_is_waited_for_only_while_it_may_send() -> None:
    assert (SessionState.HALF_CLOSED, SessionEvent.READ_TIMEOUT) not in TRANSITIONS
    assert not [
        state for state in (SessionState.HALF_CLOSED,) for e in FRAMES if (state, e) in TRANSITIONS
    ]


@given(st.lists(st.sampled_from(list(SessionEvent)), max_size=20))
def test_every_walk_closes_once_at_most_and_sends_after_it_opened(
    events: list[SessionEvent],
) -> None:
    state, done = SessionState.NEW, []
    for event in events:
        step = TRANSITIONS.get((state, event))
        if step is None:
            continue
        state, effects = step
        done += effects
    assert done.count(SessionAction.CLOSE) == (state is SessionState.CLOSED)
    assert done.count(SessionAction.OPEN_LOADER) <= 1
    assert done.count(SessionAction.HALF_CLOSE) <= 1
    if SessionAction.SEND_FRAME in done or SessionAction.SEND_RESULT in done:
        opened = (
            done.index(SessionAction.OPEN_LOADER)
            if SessionAction.OPEN_LOADER in done
            else len(done)
        )
        assert (
            SessionAction.SEND_RESULT not in done[:opened] or SessionAction.OPEN_LOADER not in done
        )
        assert SessionAction.SEND_FRAME not in done[:opened]


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
def test_what_a_status_means(status: object, first: bool, event: SessionEvent | None) -> None:
    assert frame_event(status, first=first) is event


def test_numbers_of_a_client() -> None:
    sequence = SequenceChecker()
    assert [sequence.check_and_advance("a", n) for n in (3, 4, 5)] == ["", "", ""]
    assert sequence.check_and_advance("a", 5) == "$.payload.a.seq: 6 is next, after 5"
    assert sequence.check_and_advance("a", 7) == "$.payload.a.seq: 6 is next, after 5"
    assert sequence.check_and_advance("a", None) == "$.payload.a.seq: 6 is next, after 5"
    assert [sequence.check_and_advance("b", n) for n in (None, 4, 4, "x")] == ["", "", "", ""]


def test_frames_that_were_overtaken_wait_and_late_ones_are_dropped() -> None:
    order = ReorderBuffer(1)
    assert order.push(2, "b") == []
    assert order.push(1, "a") == ["a", "b"]
    assert order.push(1, "again") == []
    assert order.push(4, "d") == []
    assert order
    assert order.skip_missing() == ["d"]
    assert order.push(3, "c") == []
    assert not order


def test_only_so_many_wait() -> None:
    order = ReorderBuffer(1, max_buffered=2)
    assert [order.push(n, n) for n in (3, 4)] == [[], []]
    assert order.push(5, 5) == [3, 4, 5]


@given(st.permutations(range(1, 9)))
def test_any_order_is_put_right(numbers: list[int]) -> None:
    order = ReorderBuffer(1)
    assert [f for n in numbers for f in order.push(n, n)] == list(range(1, 9))
