"""The work queue: each key once, by one worker, later after failures."""

from hypothesis import given
from hypothesis import strategies as st

from deploy.engine.work_queue import WorkQueue


def test_a_key_is_taken_once_however_often_it_was_added() -> None:
    queue = WorkQueue()
    for _ in range(3):
        queue.add("a", 0.0)
    assert queue.take(0.0) == "a"
    assert queue.take(0.0) is None
    assert len(queue) == 0


def test_one_that_is_worked_on_is_due_again_afterwards() -> None:
    queue = WorkQueue()
    queue.add("a", 0.0)
    assert queue.take(0.0) == "a"
    queue.add("a", 0.0)
    assert queue.take(1.0) is None  # another worker has it
    assert len(queue) == 1
    queue.finish("a")
    assert queue.take(1.0) == "a"


def test_the_earliest_time_counts() -> None:
    queue = WorkQueue()
    queue.add("a", 10.0)
    queue.add("a", 5.0)
    queue.add("a", 7.0)
    assert queue.next_at() == 5.0
    assert queue.take(4.9) is None
    assert queue.take(5.0) == "a"
    queue.finish("a")
    assert queue.take(100.0) is None
    assert queue.next_at() == float("inf")


def test_failures_put_it_off_for_longer_until_it_succeeds() -> None:
    queue = WorkQueue()
    delays = [queue.retry("a", 0.0) for _ in range(10)]
    assert delays[:4] == [0.5, 1.0, 2.0, 4.0]
    assert delays[-1] == 60.0
    queue.succeed("a")
    assert queue.retry("a", 0.0) == 0.5


def test_thousands_of_failures_are_still_a_minute() -> None:
    queue = WorkQueue()
    assert [queue.retry("a", 0.0) for _ in range(3000)][-1] == 60.0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20)), max_size=40))
def test_nothing_is_lost_and_nothing_is_taken_twice(additions: list[tuple[str, int]]) -> None:
    queue = WorkQueue()
    for key, at in additions:
        queue.add(key, at)
    taken = []
    while (key := queue.take(20.0)) is not None:
        taken.append(key)
    assert sorted(taken) == sorted({key for key, _ in additions})
