"""One process replaces another: the words between them, with a real process at the other end."""

import asyncio
import socket
import subprocess
import sys

import pytest

from gateway.handover import HandedOver, Predecessor, ReplaceError, replace
from gateway.sockets import ListeningSockets
from lb.endpoints.traffic import TrafficRules

_CLIENT = """
import socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
lines = sock.makefile("rw")
"""


class FakeGateway:
    """Notes what is done to it."""

    def __init__(self) -> None:
        self.sockets = ListeningSockets(socket.socket(), socket.socket(), None, None)
        self.events: list[str] = []

    def find_obstacle(self) -> str:
        return ""

    async def hand_over_reports(self) -> HandedOver:
        self.events.append("handed over")
        return HandedOver([("ocr", "127.0.0.1:1")], [TrafficRules("d", 4, {"v2": 0.5})])

    async def take_back_reports(self) -> None:
        self.events.append("taken back")


def replace_by(gateway: FakeGateway, program: str, timeout_s: float = 30.0) -> int:
    """Return the exit code of a new process that runs `program`."""

    def start(_: ListeningSockets, descriptor: int) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-S", "-c", _CLIENT + program, str(descriptor)]
        return subprocess.Popen(command, pass_fds=[descriptor])

    try:
        return asyncio.run(replace(gateway, start, timeout_s)).wait()
    finally:
        gateway.sockets.close()


READY = """
lines.write("listening\\n"); lines.flush()
handed_over = '{"instances": [["ocr", "127.0.0.1:1"]], "traffic": [["d", 4, {"v2": 0.5}]]}\\n'
assert lines.readline() == handed_over
lines.write("ready\\n"); lines.flush()
"""


def test_new_process_gets_the_loaders_and_then_the_clients() -> None:
    gateway = FakeGateway()
    assert replace_by(gateway, READY) == 0
    assert gateway.events == ["handed over"]


@pytest.mark.parametrize(
    ("program", "events", "reason"),
    [
        ("sys.exit(3)", [], "ended before it was listening.*exit code 3"),
        ('lines.write("huh\\n"); lines.flush()', [], "ended before it was listening"),
        (
            'lines.write("listening\\n"); lines.flush(); lines.readline(); sys.exit(1)',
            ["handed over", "taken back"],
            "ended before it was ready.*exit code 1",
        ),
    ],
)
def test_process_that_fails_leaves_the_old_one_as_it_was(
    program: str, events: list[str], reason: str
) -> None:
    gateway = FakeGateway()
    with pytest.raises(ReplaceError, match=reason):
        replace_by(gateway, program)
    assert gateway.events == events


def test_process_that_takes_too_long_is_ended() -> None:
    with pytest.raises(ReplaceError, match=r"not ready within 0.05 s \(exit code -9\)"):
        replace_by(FakeGateway(), "lines.readline()", timeout_s=0.05)


def test_process_that_cannot_be_started_is_told() -> None:
    gateway = FakeGateway()

    def start(_: ListeningSockets, __: int) -> "subprocess.Popen[bytes]":
        raise FileNotFoundError(2, "No such file", "python")

    with pytest.raises(ReplaceError, match=r"no process can be started.*No such file"):
        asyncio.run(replace(gateway, start))
    gateway.sockets.close()


def test_new_process_learns_the_loaders_and_notes_the_end_of_the_old_one() -> None:
    async def main() -> None:
        old, new = socket.socketpair()
        predecessor = Predecessor(new.detach())
        reader, writer = await asyncio.open_connection(sock=old)
        task = asyncio.create_task(predecessor.announce_listening())
        assert await reader.readline() == b"listening\n"
        instances = [("ocr", "a:1"), ("ocr", "b:2")]
        handed_over = HandedOver(instances, [TrafficRules("d", 4, {"v2": 0.5})])
        line = handed_over.to_line()
        writer.write(line[:20])
        await asyncio.sleep(0)
        writer.write(line[20:])
        assert await task == handed_over
        await predecessor.announce_ready()
        assert await reader.read() == b"ready\n"
        writer.close()
        await writer.wait_closed()

        old, new = socket.socketpair()
        predecessor = Predecessor(new.detach())
        old.close()
        with pytest.raises(ConnectionError):
            await predecessor.announce_listening()

    asyncio.run(main())


def test_process_that_is_told_to_stop_meanwhile_ends_the_new_one() -> None:
    gateway, started = FakeGateway(), list[subprocess.Popen[bytes]]()

    def start(_: ListeningSockets, descriptor: int) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-S", "-c", "import sys; sys.stdin.read()"]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE))
        return started[-1]

    async def main() -> None:
        task = asyncio.create_task(replace(gateway, start))
        while not started:  # noqa: ASYNC110 (a state, not an event)
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    with started[0] as process:
        assert process.wait() == -9
    gateway.sockets.close()


def test_new_process_serves_if_the_old_one_ends_before_it_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        old, new = socket.socketpair()
        predecessor = Predecessor(new.detach())
        old.close()
        await predecessor.announce_ready()

    asyncio.run(main())
    assert [r.getMessage() for r in caplog.records] == [
        "the process to be replaced has ended before"
    ]
