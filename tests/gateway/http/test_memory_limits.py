"""Memory for clients is bounded in sum: who is cut, who is not, and that the sums stay right."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.http.memory_limits import BodyBudget, UnreadOutput


class Buffer:
    def __init__(self, size: int) -> None:
        self.size = size
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.size

    def abort(self) -> None:
        self.aborted = True


class Holder:
    def reject_body_for_memory(self) -> None:
        raise AssertionError("the budget returns whom it rejects")


def test_oldest_unread_output_is_cut_first() -> None:
    cuts: list[int] = []
    unread = UnreadOutput(100, cuts.append)
    oldest, reader, newest = Buffer(40), Buffer(40), Buffer(40)
    unread.count(oldest)
    unread.count(reader)
    assert unread.total == 80
    reader.size = 30
    unread.count(newest)
    assert (oldest.aborted, reader.aborted, newest.aborted) == (True, False, False)
    assert cuts == [40]
    assert unread.total == 80, "what was counted before is counted again only when it is too much"
    unread.forget(oldest)  # its connection ends
    unread.forget(reader)
    assert unread.total == 40


def test_client_that_has_read_some_is_cut_last() -> None:
    unread = UnreadOutput(100, lambda _: None)
    reader, stalled, newest = Buffer(60), Buffer(30), Buffer(40)
    unread.count(reader)
    unread.count(stalled)
    reader.size = 50
    unread.count(newest)
    assert (reader.aborted, stalled.aborted, newest.aborted) == (False, True, False)
    assert unread.total == 90


def test_client_whose_buffer_is_empty_is_not_cut() -> None:
    """It may have unread bytes in the kernel's buffer alone; cutting it would free nothing."""
    unread = UnreadOutput(100, lambda _: None)
    idle = Buffer(0)
    for buffer in (idle, Buffer(60), Buffer(60), Buffer(60)):
        unread.count(buffer)
    assert not idle.aborted


def test_only_client_is_not_cut() -> None:
    unread = UnreadOutput(100, lambda _: None)
    only = Buffer(1000)
    unread.count(only)
    assert not only.aborted
    unread.count(Buffer(1))
    assert only.aborted


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60)), max_size=60))
def test_unread_output_never_exceeds_its_limit(steps: list[tuple[int, int]]) -> None:
    unread = UnreadOutput(100, lambda _: None)
    buffers = [Buffer(0) for _ in range(6)]
    for index, size in steps:
        buffer = buffers[index]
        if buffer.aborted:
            unread.forget(buffer)
            buffers[index] = Buffer(0)
        elif size < 10:
            buffer.size = 0
            unread.forget(buffer)
        else:
            buffer.size = size
            unread.count(buffer)
        assert unread.total <= 100
        assert unread.total == sum(buffer.size for buffer in buffers if not buffer.aborted)


def test_largest_arriving_body_is_rejected() -> None:
    budget = BodyBudget(100)
    large, small, complete = Holder(), Holder(), Holder()
    assert budget.hold(complete, 45) is None
    budget.complete(complete)
    assert budget.hold(large, 30) is None
    assert budget.hold(small, 25) is None
    assert budget.hold(small, 26) is large, "a complete body is in use"
    budget.release(large)
    assert budget.total == 71
    assert budget.hold(small, 56) is small
    for holder in (small, complete, large):
        budget.release(holder)
    assert budget.total == 0


def test_next_body_of_a_holder_is_counted_beside_its_complete_one() -> None:
    budget = BodyBudget(100)
    holder = Holder()
    budget.hold(holder, 40)
    budget.complete(holder)
    assert budget.hold(holder, 50) is None
    assert budget.total == 90
    assert budget.hold(holder, 61) is holder
    budget.release(holder)
    assert budget.total == 0
