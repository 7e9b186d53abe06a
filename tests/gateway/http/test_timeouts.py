"""The timers of a connection, on a clock of their own."""

from collections.abc import Iterator

import pytest

from gateway.http.memory_limits import UnreadOutput
from gateway.http.timeouts import ConnectionTimer, Wait, WriteStallMonitor
from tests.inprocess import MemoryTransport, VirtualLoop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    running = VirtualLoop()
    yield running
    running.close()


class TimerFixture:
    """A timer that notes its time-outs, as seconds after its creation."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.start = loop.time()
        self.timeouts: list[tuple[float, Wait]] = []
        self.timer = ConnectionTimer(loop, self._record)

    def _record(self, waiting_for: Wait) -> None:
        self.timeouts.append((self.loop.time() - self.start, waiting_for))


def test_timer_reports_what_was_waited_for(loop: VirtualLoop) -> None:
    fixture = TimerFixture(loop)
    fixture.timer.arm(Wait.HEAD, 5.0)
    loop.sleep(4.9)
    assert fixture.timeouts == []
    loop.sleep(100.0)
    assert fixture.timeouts == [(pytest.approx(5.0), Wait.HEAD)]
    assert fixture.timer.waiting_for is Wait.NOTHING


@pytest.mark.parametrize("seconds", [1.0, 9.0], ids=["earlier", "later"])
def test_latest_wait_replaces_the_one_before(loop: VirtualLoop, seconds: float) -> None:
    fixture = TimerFixture(loop)
    fixture.timer.arm(Wait.HEAD, 5.0)
    fixture.timer.arm(Wait.IDLE, seconds)
    loop.sleep(100.0)
    assert fixture.timeouts == [(pytest.approx(seconds), Wait.IDLE)]


def test_disarmed_timer_reports_nothing_until_it_is_armed_again(loop: VirtualLoop) -> None:
    fixture = TimerFixture(loop)
    fixture.timer.arm(Wait.BODY, 5.0)
    fixture.timer.disarm()
    loop.sleep(10.0)
    assert fixture.timeouts == []
    fixture.timer.arm(Wait.BODY, 5.0)
    loop.sleep(10.0)
    assert fixture.timeouts == [(pytest.approx(15.0), Wait.BODY)]


def test_stopped_timer_leaves_nothing_in_the_loop(loop: VirtualLoop) -> None:
    fixture = TimerFixture(loop)
    fixture.timer.arm(Wait.IDLE, 5.0)
    fixture.timer.stop()
    loop.sleep(10.0)
    assert fixture.timeouts == []


class SilentProtocol:
    """A protocol that ignores flow control."""

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, _: Exception | None) -> None: ...


def start_monitor(loop: VirtualLoop, unread: int) -> tuple[WriteStallMonitor, MemoryTransport]:
    transport = MemoryTransport(loop, SilentProtocol())
    transport.set_client_reads(False)
    transport.write(b"x" * unread)
    monitor = WriteStallMonitor(transport, 10.0, UnreadOutput(1 << 30, lambda _: None))
    loop.call_soon(monitor.start)
    loop.settle()
    return monitor, transport


def test_client_that_reads_nothing_is_aborted(loop: VirtualLoop) -> None:
    _, transport = start_monitor(loop, 1000)
    loop.sleep(9.9)
    assert not transport.aborted
    loop.sleep(0.2)
    assert transport.aborted


def test_client_that_reads_a_little_is_kept(loop: VirtualLoop) -> None:
    _, transport = start_monitor(loop, 1000)
    for _ in range(5):
        transport.read_buffered(1)
        loop.sleep(10.0)
    assert not transport.aborted
    loop.sleep(10.1)
    assert transport.aborted


def test_monitor_ends_when_all_is_read_or_it_is_stopped(loop: VirtualLoop) -> None:
    monitor, transport = start_monitor(loop, 1000)
    transport.set_client_reads(True)
    loop.sleep(30.0)
    assert not transport.aborted
    assert monitor.unread_bytes() == 0
    monitor, transport = start_monitor(loop, 1000)
    monitor.stop()
    loop.sleep(30.0)
    assert not transport.aborted


def test_monitor_does_not_start_without_unread_bytes(loop: VirtualLoop) -> None:
    _, transport = start_monitor(loop, 0)
    transport.write(b"x")
    loop.sleep(30.0)
    assert not transport.aborted


def test_wait_may_be_armed_by_the_timeout_of_the_one_before(loop: VirtualLoop) -> None:
    """The connection does so, to check the rate of a body once a second."""
    start, times = loop.time(), []

    def on_timeout(waiting_for: Wait) -> None:
        times.append(loop.time() - start)
        if len(times) < 3:
            timer.arm(waiting_for, 1.0)

    timer = ConnectionTimer(loop, on_timeout)
    timer.arm(Wait.BODY, 5.0)
    loop.sleep(100.0)
    assert times == [pytest.approx(seconds) for seconds in (5.0, 6.0, 7.0)]
    assert timer.waiting_for is Wait.NOTHING


def test_monitor_that_is_started_twice_is_stopped_once(loop: VirtualLoop) -> None:
    monitor, transport = start_monitor(loop, 1000)
    loop.sleep(6.0)
    transport.write(b"x" * 1000)
    assert monitor.unread_bytes() == 2000
    loop.call_soon(monitor.start)
    loop.settle()
    monitor.stop()
    loop.sleep(30.0)
    assert not transport.aborted


def test_stopped_monitor_may_be_started_again(loop: VirtualLoop) -> None:
    monitor, transport = start_monitor(loop, 1000)
    loop.sleep(9.0)
    monitor.stop()
    loop.call_soon(monitor.start)
    loop.sleep(9.0)
    assert not transport.aborted
    loop.sleep(1.1)
    assert transport.aborted
