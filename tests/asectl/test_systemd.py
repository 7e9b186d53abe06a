"""The protocols of systemd, against sockets and its own programs."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from asectl import systemd
from tests.harness import ROOT

NAMES = ("public", "admin", "grpc", "lb")


@pytest.mark.parametrize("prefix", ["", "@"])
def test_state_is_sent_to_the_socket_of_the_service_manager(prefix: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = f"@ase-test-{os.getpid()}" if prefix else str(tmp_path / "notify")
        manager.bind(address.replace("@", "\0"))
        systemd.notify({"NOTIFY_SOCKET": address}, "READY=1")
        assert manager.recv(100) == b"READY=1"


def test_manager_that_does_not_read_stops_nothing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        for _ in range(5000):
            systemd.notify({"NOTIFY_SOCKET": str(tmp_path / "notify")}, "WATCHDOG=1", 0.0)
        systemd.notify({"NOTIFY_SOCKET": str(tmp_path / "notify")}, "READY=1", 0.001)


def test_nothing_is_sent_where_nobody_listens(tmp_path: Path) -> None:
    systemd.notify({}, "READY=1")
    systemd.notify({"NOTIFY_SOCKET": str(tmp_path / "gone")}, "READY=1")


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, 0.0),
    ],
)
def test_watchdog_is_fed_by_the_process_that_it_watches(
    environ: dict[str, str], interval: float
) -> None:
    assert systemd.watchdog_interval(environ, 7) == interval


def test_signs_of_life_go_on_while_the_event_loop_runs(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000"}

        async def main() -> None:
            task = asyncio.create_task(systemd.feed_watchdog(environ))
            manager.setblocking(False)
            for _ in range(3):
                assert await asyncio.get_running_loop().sock_recv(manager, 100) == b"WATCHDOG=1"
            task.cancel()

        asyncio.run(main())


PROGRAM = """
import os, sys
from asectl import systemd
try:
    sockets = systemd.listening_sockets(os.environ, os.getpid(), ("public", "admin", "grpc", "lb"))
except systemd.SocketNameError as error:
    sys.exit(f"error: {error}")
print(*(f"{name}:{sock.getsockname()[1]}" for name, sock in sockets.items()))
"""


@pytest.mark.peer("systemd-socket-activate")
@pytest.mark.parametrize(
    ("flags", "ports", "answer"),
    [
        ([], 1, "public:{0}\n"),
        (["--fdname=admin"], 1, "admin:{0}\n"),
        (["--fdname=lb:public"], 2, "lb:{0} public:{1}\n"),
        (["--fdname=lb:web"], 2, "error: the socket 'web' needs a FileDescriptorName= of: "),
        (["--fdname=lb:lb"], 2, "error: the socket 'lb' needs"),
        ([], 2, "error: the socket '' needs"),
    ],
)
def test_sockets_of_systemd_are_taken_by_their_names(
    flags: list[str], ports: int, answer: str
) -> None:
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(ports)]
    numbers = [sock.getsockname()[1] for sock in listening]
    for sock in listening:
        sock.close()
    listen = [f"--listen=127.0.0.1:{number}" for number in numbers]
    activate = shutil.which("systemd-socket-activate")
    assert activate is not None
    command = [activate, *listen, *flags, sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stderr:  # "Listening on ...", one for each
            if f":{numbers[-1]} " in line:
                break
        socket.create_connection(("127.0.0.1", numbers[0])).close()
        output = process.stdout.read() + process.stderr.read()
    assert answer.format(*numbers) in output


def test_sockets_for_another_process_are_left_alone() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1"}
    assert systemd.listening_sockets(environ, 2, NAMES) == {}
