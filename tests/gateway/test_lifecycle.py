"""The life of a gateway process: its signals, and what is told to the service manager."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from gateway.handover import HandedOver
from gateway.lifecycle import Lifecycle, LifecycleSettings
from gateway.request.shutdown import Shutdown
from gateway.sockets import ListeningSockets

READY = """
import socket, sys
lines = socket.socket(fileno=int(sys.argv[1])).makefile("rw")
lines.write("listening\\n"); lines.flush(); lines.readline()
lines.write("ready\\n"); lines.flush()
"""


class FakeGateway:
    """Reports nothing; it has two sockets to inherit."""

    def __init__(self) -> None:
        self.sockets = ListeningSockets(socket.socket(), socket.socket(), None, None)
        self.obstacle = ""

    def find_obstacle(self) -> str:
        return self.obstacle

    async def hand_over_reports(self) -> HandedOver:
        return HandedOver([])

    async def take_back_reports(self) -> None:
        pass


class Fixture:
    """A lifecycle in a running event loop, and what it has told."""

    def __init__(self, program: str = READY, *, refusal: str = "", is_worker: bool = False) -> None:
        self.told: list[str] = []
        self.started: list[subprocess.Popen[bytes]] = []
        self.stop: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.gateway = FakeGateway()

        def start(_: ListeningSockets, descriptor: int) -> "subprocess.Popen[bytes]":
            command = [sys.executable, "-S", "-c", program, str(descriptor)]
            self.started.append(subprocess.Popen(command, pass_fds=[descriptor]))
            return self.started[-1]

        settings = LifecycleSettings(start, refusal, is_worker, self.told.append)
        self.lifecycle = Lifecycle(self.stop, settings)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 (a state, not an event)
                await asyncio.sleep(0.001)

    def close(self) -> None:
        for process in self.started:
            process.wait()
        self.gateway.sockets.close()


@pytest.mark.parametrize(
    ("graceful", "shutdown"), [(True, Shutdown.GRACEFUL), (False, Shutdown.IMMEDIATE)]
)
def test_stop_ends_the_process_as_it_says(graceful: bool, shutdown: Shutdown) -> None:
    async def main() -> None:
        fixture = Fixture()
        fixture.lifecycle.begin(fixture.gateway)
        fixture.stop.set_result(graceful)
        assert await fixture.lifecycle.shutdown is shutdown
        assert fixture.told == ["READY=1"]
        fixture.close()

    asyncio.run(main())


def test_process_is_replaced_at_the_signal_and_its_manager_follows_the_new_one() -> None:
    async def main() -> None:
        fixture = Fixture()
        fixture.lifecycle.begin(fixture.gateway)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert await fixture.lifecycle.shutdown is Shutdown.REPLACED
        assert fixture.told == ["READY=1", f"MAINPID={fixture.started[0].pid}\nWATCHDOG=1"]
        fixture.close()

    asyncio.run(main())


def test_worker_makes_room_at_the_signal() -> None:
    async def main() -> None:
        fixture = Fixture(is_worker=True)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert await fixture.lifecycle.shutdown is Shutdown.REPLACED
        assert fixture.started == []
        fixture.close()

    asyncio.run(main())


def test_failure_is_told_and_another_attempt_may_succeed() -> None:
    async def main() -> None:
        fixture = Fixture("raise SystemExit(3)")
        fixture.lifecycle.begin(fixture.gateway)
        for attempt in (1, 2):
            os.kill(os.getpid(), signal.SIGUSR2)
            await fixture.until(lambda n=attempt: fixture.lifecycle.upgrade.attempt == n)
            await fixture.until(lambda: fixture.lifecycle.upgrade.to_json()["state"] == "failed")
            assert "exit code 3" in fixture.lifecycle.upgrade.reason
        assert not fixture.lifecycle.shutdown.done()
        assert fixture.told == ["READY=1"]
        fixture.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("early", "it does not serve yet"),
        ("stopping", "it stops"),
        ("refused", "pid 1"),
        ("drained", "drained"),
        ("twice", "an upgrade is in progress"),
    ],
)
def test_upgrade_is_refused_with_its_reason(
    case: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        waits = "import sys; sys.stdin.read()"
        fixture = Fixture(waits, refusal="pid 1" if case == "refused" else "")
        fixture.gateway.obstacle = "drained" if case == "drained" else ""
        if case != "early":
            fixture.lifecycle.begin(fixture.gateway)
        if case == "stopping":
            fixture.stop.set_result(True)
            await fixture.lifecycle.shutdown
        if case == "twice":
            os.kill(os.getpid(), signal.SIGUSR2)
            await fixture.until(lambda: bool(fixture.started))
        os.kill(os.getpid(), signal.SIGUSR2)
        await fixture.until(lambda: "upgrade refused" in caplog.messages)
        assert [vars(r)["reason"] for r in caplog.records if r.msg == "upgrade refused"] == [reason]
        assert len(fixture.started) == (case == "twice")
        assert fixture.lifecycle.upgrade.attempt == 1
        for process in fixture.started:
            process.kill()
            await fixture.until(lambda: fixture.lifecycle.upgrade.to_json()["state"] == "failed")
        fixture.close()

    asyncio.run(main())


def test_stop_during_an_upgrade_ends_the_new_process() -> None:
    async def main() -> None:
        fixture = Fixture("import sys; sys.stdin.read()")
        fixture.lifecycle.begin(fixture.gateway)
        os.kill(os.getpid(), signal.SIGUSR2)
        await fixture.until(lambda: bool(fixture.started))
        fixture.stop.set_result(True)
        assert await fixture.lifecycle.shutdown is Shutdown.GRACEFUL
        await fixture.until(lambda: fixture.started[0].poll() is not None)
        fixture.close()

    asyncio.run(main())


def test_fault_of_ours_leaves_the_next_attempt_possible(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        fixture = Fixture()

        async def fail() -> list[HandedOver]:
            raise ValueError("a fault")

        fixture.gateway.hand_over_reports = fail  # type: ignore[method-assign]
        fixture.lifecycle.begin(fixture.gateway)
        os.kill(os.getpid(), signal.SIGUSR2)
        await fixture.until(lambda: fixture.lifecycle.upgrade.to_json()["state"] == "failed")
        assert "a fault" in fixture.lifecycle.upgrade.reason
        assert not fixture.lifecycle.shutdown.done()
        fixture.close()

    asyncio.run(main())
    assert "upgrade failed by a fault of ours; this process serves on" in caplog.messages
