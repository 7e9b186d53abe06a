"""The queue of pipelined requests: one runs at a time, in the order received."""

from collections.abc import Iterator

import pytest

from gateway.http.pipeline import PipelineQueue
from schemas.model.errors import AseError
from tests.inprocess import MemoryTransport, VirtualLoop


class FakeCycle:
    """A request that notes when it starts."""

    keep_alive = True
    response_complete = False

    def __init__(self, name: str, started: list[str]) -> None:
        self.name = name
        self.started = started
        self.resumed = 0

    def start(self) -> None:
        self.started.append(self.name)

    def add_body_chunk(self, data: bytes) -> int:
        raise AssertionError

    def complete_body(self) -> None:
        raise AssertionError

    def fail_body(self, error: AseError) -> None:
        raise AssertionError

    def on_disconnect(self) -> None:
        raise AssertionError

    def resume_writing(self) -> None:
        self.resumed += 1


class SilentProtocol:
    """A protocol that ignores the end of its connection."""

    def connection_lost(self, _: Exception | None) -> None: ...


class PipelineFixture:
    """A queue, its loop and flow control, and the names of the requests that it started."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.transport = MemoryTransport(self.loop, SilentProtocol())
        self.write_paused = False
        self.started: list[str] = []
        self.queued_starts = 0
        self.queue = PipelineQueue(self.loop, self.transport, self, self._count_start)

    def submit(self, name: str) -> FakeCycle:
        cycle = FakeCycle(name, self.started)
        self.queue.submit(cycle)
        return cycle

    def _count_start(self) -> None:
        self.queued_starts += 1


@pytest.fixture
def pipeline() -> Iterator[PipelineFixture]:
    fixture = PipelineFixture()
    yield fixture
    fixture.loop.close()


def test_first_request_starts_at_once_and_later_ones_in_order(pipeline: PipelineFixture) -> None:
    for name in "abc":
        pipeline.submit(name)
    assert pipeline.started == ["a"]
    pipeline.queue.finish_current()
    assert pipeline.started == ["a"], "the next one starts in the next iteration of the loop"
    pipeline.loop.settle()
    assert pipeline.started == ["a", "b"]
    pipeline.queue.finish_current()
    pipeline.loop.settle()
    assert pipeline.started == ["a", "b", "c"]
    assert pipeline.queued_starts == 2, "not for the one that started at once"
    pipeline.queue.finish_current()
    assert not pipeline.queue


def test_request_does_not_overtake_one_that_waits(pipeline: PipelineFixture) -> None:
    pipeline.submit("a")
    pipeline.submit("b")
    pipeline.queue.finish_current()
    assert not pipeline.queue.try_acquire(FakeCycle("c", pipeline.started))


def test_nothing_starts_while_the_client_does_not_read(pipeline: PipelineFixture) -> None:
    pipeline.write_paused = True
    pipeline.submit("a")
    pipeline.loop.settle()
    assert pipeline.started == []
    assert pipeline.queue
    pipeline.write_paused = False
    pipeline.queue.resume_writing()
    pipeline.loop.settle()
    assert pipeline.started == ["a"]


def test_nothing_starts_on_a_connection_that_closes(pipeline: PipelineFixture) -> None:
    pipeline.transport.close()
    assert not pipeline.queue.try_acquire(FakeCycle("a", pipeline.started))


def test_running_response_continues_when_the_client_reads_again(pipeline: PipelineFixture) -> None:
    cycle = pipeline.submit("a")
    pipeline.queue.resume_writing()
    assert cycle.resumed == 1


@pytest.mark.parametrize(
    ("waiting", "is_full", "is_over_limit"),
    [(0, False, False), (7, False, False), (8, True, False), (511, True, False), (512, True, True)],
)
def test_limits_of_the_queue(
    pipeline: PipelineFixture, waiting: int, is_full: bool, is_over_limit: bool
) -> None:
    for number in range(waiting + 1):  # one of them runs
        pipeline.submit(str(number))
    assert pipeline.queue.is_full is is_full
    assert pipeline.queue.is_over_limit is is_over_limit


def test_clear_returns_the_running_request_and_drops_the_others(pipeline: PipelineFixture) -> None:
    running = pipeline.submit("a")
    pipeline.submit("b")
    assert pipeline.queue.clear() is running
    pipeline.loop.settle()
    assert pipeline.started == ["a"]
    assert not pipeline.queue
    assert pipeline.queue.clear() is None


def test_next_request_waits_until_the_client_reads(pipeline: PipelineFixture) -> None:
    pipeline.submit("a")
    pipeline.submit("b")
    pipeline.write_paused = True
    pipeline.queue.finish_current()
    pipeline.loop.settle()
    assert pipeline.started == ["a"]
    pipeline.write_paused = False
    pipeline.queue.resume_writing()
    pipeline.loop.settle()
    assert pipeline.started == ["a", "b"]


class InstantCycle(FakeCycle):
    """A request that is answered when it starts."""

    def __init__(self, name: str, pipeline: PipelineFixture) -> None:
        super().__init__(name, pipeline.started)
        self.queue = pipeline.queue

    def start(self) -> None:
        super().start()
        self.queue.finish_current()


def test_many_requests_that_are_answered_at_once_do_not_deepen_the_stack(
    pipeline: PipelineFixture,
) -> None:
    pipeline.submit("first")
    names = [str(number) for number in range(512)]
    for name in names:
        pipeline.queue.submit(InstantCycle(name, pipeline))
    pipeline.queue.finish_current()
    pipeline.loop.sleep(1.0)
    assert pipeline.started == ["first", *names]
    assert not pipeline.queue
