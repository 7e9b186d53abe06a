"""Deadlines: never early, a tick late at most, and gone when removed."""

from hypothesis import given
from hypothesis import strategies as st

from rpc.deadlines import TICK, Deadlines

TIMES = st.lists(st.floats(0, 100), max_size=50)


@given(TIMES, st.floats(0, 120))
def test_what_is_due_is_due(times: list[float], now: float) -> None:
    deadlines: Deadlines[int] = Deadlines()
    for item, when in enumerate(times):
        deadlines.add(item, when)
    due = set(deadlines.due(now))
    for item, when in enumerate(times):
        assert (item not in due) if when > now else (item in due or now - when <= 2 * TICK)
    assert not deadlines.due(now)


@given(TIMES)
def test_what_was_removed_never_comes_due(times: list[float]) -> None:
    deadlines: Deadlines[int] = Deadlines()
    ticks = [deadlines.add(item, when) for item, when in enumerate(times)]
    for item, tick in enumerate(ticks):
        deadlines.remove(item, tick)
        deadlines.remove(item, tick)
    assert deadlines.next() is None
    assert deadlines.due(1e9) == []


def test_the_next_is_the_earliest() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.add("b", 2.0)
    deadlines.add("a", 1.0)
    assert deadlines.next() == 1.0
    assert deadlines.due(3.0) == ["a", "b"]
