"""Gateway, hub and loader as services of systemd: what they tell it, and the sockets they get."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.harness import PROBE, ROOT, TIMEOUT_S, Gateway, Hub, Loader, Process, run_asectl

UNITS = ROOT / "deploy/systemd"


class Manager:
    """A socket as systemd has it for a service of the type notify."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.settimeout(TIMEOUT_S)
        self.environ = {"NOTIFY_SOCKET": str(folder / "notify")}

    def wait_for(self, state: str) -> list[str]:
        """Wait for a state that begins so; return those that came, it last."""
        states = []
        while True:
            states.append(self._socket.recv(1000).decode())
            if states[-1].startswith(state):
                return states

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with contextlib.closing(Manager(tmp_path)) as running:
        yield running


def test_gateway_says_when_it_serves_is_replaced_and_stops(manager: Manager) -> None:
    with Gateway(env=manager.environ) as gateway:
        assert manager.wait_for("READY=1") == ["READY=1"]
        gateway.signal(signal.SIGUSR2)
        *states, main_pid = manager.wait_for("MAINPID=")
        new_pid = int(main_pid.removeprefix("MAINPID=").removesuffix("\nWATCHDOG=1"))
        assert states == ["READY=1"], "of the new process"
        os.kill(new_pid, signal.SIGTERM)
        manager.wait_for("STOPPING=1")


def test_workers_say_nothing_and_their_parent_feeds_the_watchdog(manager: Manager) -> None:
    environ = {**manager.environ, "WATCHDOG_USEC": "20000"}
    with Hub() as hub, Gateway("--lb-hub", hub.lb, "--workers", "2", env=environ) as gateway:
        manager.wait_for("READY=1")
        manager.wait_for("WATCHDOG=1")
        gateway.signal(signal.SIGTERM)
        assert "READY=1" not in manager.wait_for("STOPPING=1")


def test_hub_and_loader_say_when_they_serve(manager: Manager) -> None:
    with Hub(env=manager.environ) as hub:
        manager.wait_for("READY=1")
        with Loader(hub.lb, env=manager.environ) as loader:
            manager.wait_for("READY=1")
            loader.signal(signal.SIGTERM)
            manager.wait_for("STOPPING=1")


@pytest.mark.peer("systemd-socket-activate")
def test_gateway_serves_on_the_socket_that_systemd_has_opened() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    activate = shutil.which("systemd-socket-activate")
    flags = ["--gateway-admin-port", "0", "--lb-port", "0", "--gateway-port", str(port)]
    command = [str(activate), f"--listen=127.0.0.1:{port}", "--fdname=public",
               sys.executable, "-m", "asectl", "gateway", *flags]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert "Listening on" in process.stderr.readline()
        response = httpx.get(f"http://127.0.0.1:{port}/livez", timeout=TIMEOUT_S, trust_env=False)
        assert response.status_code == 200, "the connection waited for the start"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0


def test_socket_of_an_unknown_name_is_an_error_of_the_configuration() -> None:
    program = 'exec env LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=public:web "$@" 3</dev/null'
    with Process("gateway", prefix=("sh", "-c", program, "sh")) as process:
        assert process.wait_for_exit() == 3
        assert "the socket 'web' needs a FileDescriptorName= of: public" in "".join(process.text)


@pytest.mark.peer("systemd-analyze")
@pytest.mark.parametrize("name", sorted(path.name for path in UNITS.glob("athena-*")))
def test_units_are_valid_by_systemd(name: str, tmp_path: Path) -> None:
    """With our own asectl in the place of the one in /opt."""
    for path in UNITS.glob("athena-*"):
        text = path.read_text().replace("/opt/athena-serving/bin/asectl", "/bin/true")
        (tmp_path / path.name).write_text(text)
    unit = name.replace("@", "@words-1")
    if unit != name:
        (tmp_path / unit).symlink_to(name)
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("name", ["athena-gateway.service", "athena-hub.service"])
def test_commands_of_the_units_are_right(name: str) -> None:
    (line,) = [x for x in (UNITS / name).read_text().splitlines() if x.startswith("ExecStart=")]
    program, *arguments = line.removeprefix("ExecStart=").split()
    assert program == "/opt/athena-serving/bin/asectl"
    assert arguments[1:] == ["-c", "/etc/athena-serving/ase.yaml"]
    assert run_asectl(arguments[0], "--help").returncode == 0
    assert run_asectl("config", "check", "-c", str(UNITS / "ase.yaml")).returncode == 0


def test_loader_unit_runs_what_its_environment_file_says(tmp_path: Path) -> None:
    unit = (UNITS / "athena-loader@.service").read_text()
    assert "EnvironmentFile=/etc/athena-serving/%i.env" in unit
    (line,) = [x for x in unit.splitlines() if x.startswith("ExecStart=")]
    with Gateway() as gateway:
        variables = {"$WRAPPER": PROBE, "$FLAGS": f"--lb {gateway.lb} --port 0 --metrics-port 0"}
        words = [
            word
            for part in line.split()[1:]  # systemd splits the value of a $VARIABLE at blanks
            for word in variables.get(part, part).split()
        ]
        assert words[:2] == ["loader", "run"]
        with Process(*words) as loader:
            gateway.wait_for_event("instance admitted", service="probe")
            loader.wait_for_event("metrics")
            assert gateway.call().status_code == 200


def test_gateway_starts_as_the_readme_of_the_units_says(tmp_path: Path) -> None:
    """With folders of the test in the place of those of the system."""
    readme = (UNITS / "README.md").read_text()
    keys = "/var/lib/athena-serving/keys.sqlite"
    text = (UNITS / "ase.yaml").read_text()
    assert keys in text
    assert "key create --app NAME" in readme
    assert f"--auth-keys {keys}" in readme
    config = tmp_path / "ase.yaml"
    config.write_text(text.replace(keys, f"{tmp_path}/keys.sqlite"))
    created = run_asectl("key", "create", "--app", "NAME", "--auth-keys", f"{tmp_path}/keys.sqlite")
    assert created.returncode == 0, created.stderr
    with Gateway("-c", str(config), "--gateway-host", "127.0.0.1") as gateway:
        assert gateway.http.get("/readyz").status_code == 200
