"""Who shares a batch, and when it starts."""

from dataclasses import dataclass, field

import pytest

from aseloader import Context
from aseloader.batching.curve import BatchCurve
from aseloader.batching.queue import BatchQueue


@dataclass(eq=False)
class Request:
    """A request of the queue."""

    arrived_at: float
    group: str = ""
    deadline: float | None = None
    context: Context = field(init=False)

    def __post_init__(self) -> None:
        self.context = Context({}, self.deadline)


def make_queue(
    max_wait_s: float = 1.0, base_ms: float = 20.0, returning: int = 4
) -> BatchQueue[Request]:
    """Return an empty queue at 0 s, when a batch has just ended.

    A batch of n takes `base_ms` + n/2 ms. After each one so far, `returning` requests arrived, the
    last of them 2 ms after its end.
    """
    queue: BatchQueue[Request] = BatchQueue(8, max_wait_s, BatchCurve())
    for n in range(-200, 0):
        size = 1 + n % 4
        queue.record_batch_end(size, base_ms + size / 2, float(n))
        for m in range(returning):
            queue.add(Request(n + 0.002 * (m + 1) / returning))
        while len(queue):
            queue.pop_batch()
    queue.record_batch_end(4, base_ms + 2, 0.0)
    return queue


def test_batches_are_in_order_and_no_larger_than_allowed() -> None:
    queue: BatchQueue[Request] = BatchQueue(8, 1.0, BatchCurve())
    assert queue.start_at(0.0) is None
    requests = [Request(n) for n in range(19)]
    for request in requests:
        queue.add(request)
    assert len(queue) == 19
    assert [queue.pop_batch(), queue.pop_batch(), queue.pop_batch()] == [
        requests[:8],
        requests[8:16],
        requests[16:],
    ]
    assert queue.start_at(0.0) is None


def test_a_batch_has_one_group_and_the_oldest_goes_first() -> None:
    queue: BatchQueue[Request] = BatchQueue(8, 1.0, BatchCurve())
    requests = [Request(n, "ab"[n % 2]) for n in range(6)]
    for request in requests:
        queue.add(request)
    assert queue.pop_batch() == requests[0::2]
    assert queue.pop_batch() == requests[1::2]


def test_discarded_request_is_in_no_batch() -> None:
    queue: BatchQueue[Request] = BatchQueue(8, 1.0, BatchCurve())
    kept, discarded = Request(1.0), Request(2.0)
    queue.add(kept)
    queue.add(discarded)
    assert queue.discard(discarded)
    assert not queue.discard(discarded)
    assert queue.pop_batch() == [kept]
    assert not queue.discard(kept), "it is in a batch"
    assert queue.start_at(0.0) is None


def test_nothing_waits_before_the_times_of_batches_are_known() -> None:
    queue: BatchQueue[Request] = BatchQueue(8, 1.0, BatchCurve())
    for n in range(3):
        queue.record_batch_end(1, 20.0, float(n))
        queue.add(Request(n + 0.001))
        assert queue.start_at(float(n)) == n + 0.001
        queue.pop_batch()


def test_the_first_waits_for_the_others_that_usually_return() -> None:
    queue = make_queue()
    for n in range(4):
        queue.add(Request(0.0001 * n))
        start_at = queue.start_at(0.0)
        assert start_at is not None
        if n < 3:
            assert start_at == pytest.approx(0.003, abs=0.0001), "half as long again as usual"
    assert start_at == 0.0, "all are here"


def test_requests_that_waited_for_the_last_batch_wait_for_its_callers() -> None:
    queue = make_queue()
    for n in range(3):
        queue.add(Request(-0.01 + 0.001 * n))
    start_at = queue.start_at(0.0)
    assert start_at == pytest.approx(0.003, abs=0.0001)


def test_nothing_waits_if_a_worker_has_been_free_for_longer() -> None:
    queue = make_queue()
    queue.add(Request(0.5))
    assert queue.start_at(0.0) == 0.5


def test_nothing_waits_if_nobody_usually_returns() -> None:
    queue = make_queue(returning=0)
    queue.add(Request(0.0001))
    assert queue.start_at(0.0) == 0.0001


def test_nothing_waits_if_batches_save_nothing() -> None:
    queue = make_queue(base_ms=0.1)
    queue.add(Request(0.0001))
    queue.add(Request(0.0002))
    assert queue.start_at(0.0) == 0.0001


def test_a_full_batch_starts_at_once() -> None:
    queue = make_queue(returning=16)
    for n in range(8):
        queue.add(Request(n * 0.0001))
    assert queue.start_at(-1.0) == 0.0


def test_the_wait_is_bounded_by_the_author() -> None:
    queue = make_queue(max_wait_s=0.0025)
    queue.add(Request(-0.01))
    assert queue.start_at(0.0) == pytest.approx(0.0025)
    queue = make_queue(max_wait_s=0.0)
    queue.add(Request(-0.01))
    assert queue.start_at(0.0) == 0.0


def test_the_wait_is_bounded_by_the_deadline() -> None:
    queue = make_queue()
    queue.add(Request(0.0, deadline=0.0215))  # a batch of one takes 20.5 ms
    assert queue.start_at(0.0) == pytest.approx(0.001, abs=0.0005)
