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
def test_exactly_the_expired_items_are_found(times: list[float | None], now: float) -> None:
    items = [Item(time) for time in times]
    expired, _ = find_expired(items, now)
    assert expired == [item for item in items if item.deadline is not None and item.deadline <= now]


@given(TIMES, st.floats(0, 120))
def test_next_check_is_at_the_first_deadline_or_after_the_minimum_interval(
    times: list[float | None], now: float
) -> None:
    _, next_check = find_expired([Item(time) for time in times], now)
    first = min((time for time in times if time is not None and time > now), default=inf)
    assert next_check == max(first, now + MIN_CHECK_INTERVAL_S)
