"""The table of a session: every state and event, and the two orders of frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.session import (
    TABLE,
    Effect,
    Event,
    Reorder,
    Sequence,
    State,
    frame_event,
    refusal,
)

FRAMES = {Event.BEGIN, Event.CONTINUE, Event.END, Event.ONCE}
# What may befall a session whenever it is open.
ANY_TIME = {Event.FAILED, Event.LATE, Event.GONE, Event.DRAIN, Event.CUT}
OPEN = [state for state in State if state is not State.OVER]


def test_over_is_over() -> None:
    assert not [key for key in TABLE if key[0] is State.OVER]
    for state, effects in TABLE.values():
        assert (state is State.OVER) == (Effect.CLOSE in effects)
        assert effects.count(Effect.CLOSE) <= 1
        assert not effects or Effect.CLOSE not in effects[:-1]


@pytest.mark.parametrize("state", OPEN)
def test_whatever_befalls_an_open_session_is_in_the_table(state: State) -> None:
    assert {event for event in Event if (state, event) in TABLE} >= ANY_TIME
    assert all(refusal(each) for each in State)


def test_a_loader_is_asked_once_and_given_up_when_it_may_still_work() -> None:
    for (state, event), (_, effects) in TABLE.items():
        assert (Effect.OPEN in effects) == (state is State.NEW and event in FRAMES)
        if Effect.CLOSE in effects and state is not State.NEW:
            ended = event is Event.LAST and state is State.HEARING
            assert (Effect.ABORT in effects) != ended


def test_the_client_is_waited_for_only_while_it_may_send() -> None:
    assert (State.HEARING, Event.SILENT) not in TABLE
    assert not [state for state in (State.HEARING,) for e in FRAMES if (state, e) in TABLE]


@given(st.lists(st.sampled_from(list(Event)), max_size=20))
def test_every_walk_closes_once_at_most_and_sends_after_it_opened(events: list[Event]) -> None:
    state, done = State.NEW, []
    for event in events:
        step = TABLE.get((state, event))
        if step is None:
            continue
        state, effects = step
        done += effects
    assert done.count(Effect.CLOSE) == (state is State.OVER)
    assert done.count(Effect.OPEN) <= 1
    assert done.count(Effect.FINISH) <= 1
    if Effect.SEND in done or Effect.TELL in done:
        opened = done.index(Effect.OPEN) if Effect.OPEN in done else len(done)
        assert Effect.TELL not in done[:opened] or Effect.OPEN not in done
        assert Effect.SEND not in done[:opened]


@pytest.mark.parametrize(
    ("status", "first", "event"),
    [
        (0, True, Event.BEGIN), (3, True, Event.ONCE), (1, False, Event.CONTINUE),
        (2, False, Event.END), (None, False, Event.CONTINUE), (None, True, None),
        (4, False, None), (-1, True, None), ("0", True, None), (True, True, None),
        (3.0, True, Event.ONCE), (1.5, True, None), (float("inf"), True, None),
    ],
)  # fmt: skip
def test_what_a_status_means(status: object, first: bool, event: Event | None) -> None:
    assert frame_event(status, first=first) is event


def test_numbers_of_a_client() -> None:
    sequence = Sequence()
    assert [sequence.broken("a", n) for n in (3, 4, 5)] == ["", "", ""]
    assert sequence.broken("a", 5) == "$.payload.a.seq: 6 is next, after 5"
    assert sequence.broken("a", 7) == "$.payload.a.seq: 6 is next, after 5"
    assert sequence.broken("a", None) == "$.payload.a.seq: 6 is next, after 5"
    assert [sequence.broken("b", n) for n in (None, 4, 4, "x")] == ["", "", "", ""]


def test_frames_that_were_overtaken_wait_and_late_ones_are_dropped() -> None:
    order = Reorder(1)
    assert order.push(2, "b") == []
    assert order.push(1, "a") == ["a", "b"]
    assert order.push(1, "again") == []
    assert order.push(4, "d") == []
    assert order
    assert order.overdue() == ["d"]
    assert order.push(3, "c") == []
    assert not order


def test_only_so_many_wait() -> None:
    order = Reorder(1, most=2)
    assert [order.push(n, n) for n in (3, 4)] == [[], []]
    assert order.push(5, 5) == [3, 4, 5]


@given(st.permutations(range(1, 9)))
def test_any_order_is_put_right(numbers: list[int]) -> None:
    order = Reorder(1)
    assert [f for n in numbers for f in order.push(n, n)] == list(range(1, 9))
