"""Deadlines: never early, and a tick late at most."""

from dataclasses import dataclass
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from rpc.deadlines import MIN_CHECK_INTERVAL_S, find_expired


@dataclass(frozen=True)
class Item:
    deadline: float | None


TIMES = st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=50)


@given(TIMES, st.floats(0, 120))
def test_what_is_due_is_found_and_nothing_else(times: list[float | None], now: float) -> None:
    items = [Item(time) for time in times]
    found, _ = find_expired(items, now)
    assert found == [i for i in items if i.deadline is not None and i.deadline <= now]


@given(TIMES, st.floats(0, 120))
def test_the_next_look_is_at_the_first_deadline_or_a_tick_from_now(
    times: list[float | None], now: float
) -> None:
    _, upcoming = find_expired([Item(time) for time in times], now)
    first = min((time for time in times if time is not None and time > now), default=inf)
    assert upcoming == max(first, now + MIN_CHECK_INTERVAL_S)
