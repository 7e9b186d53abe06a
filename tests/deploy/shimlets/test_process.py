"""Processes of the host: deployers that are killed, folders, what a replica must not know."""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from asectl import loader
from deploy.shimlets.interface import ReplicaState, ShimletError
from deploy.shimlets.loader_program import loader_command, loader_environment
from deploy.shimlets.process import ProcessShimlet
from deploy.shimlets.replica_process import ReplicaProcess
from deploy.shimlets.usage import is_alive, read_usage_by_session
from lb.credentials import HubCredentials
from tests.deploy.shimlets.test_shimlet_contract import WORKLOAD, WRAPPER
from tests.harness import ROOT

ONE = replace(WORKLOAD, replicas=1)
# Starts two replicas and is killed.
FIRST_DEPLOYER = """
import asyncio, os, signal, sys
from pathlib import Path
from deploy.shimlets.process import ProcessShimlet
from tests.deploy.shimlets.test_shimlet_contract import WORKLOAD
folder = Path(sys.argv[1])
asyncio.run(ProcessShimlet(folder / "state", folder, "127.0.0.1").apply(WORKLOAD))
os.kill(os.getpid(), signal.SIGKILL)
"""


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(main())


async def stop_all(shimlet: ProcessShimlet) -> None:
    while await shimlet.status("ocr"):
        await shimlet.delete("ocr")
        await asyncio.sleep(0.02)
    await shimlet.close()


def test_another_deployer_adopts_what_runs(tmp_path: Path) -> None:
    (tmp_path / "wrapper.py").write_text(WRAPPER)
    killed = subprocess.run(
        [sys.executable, "-c", FIRST_DEPLOYER, str(tmp_path)], cwd=ROOT, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    before = [
        (f"ocr-r1-{number}", json.loads(notes.read_text())["port"])
        for number, notes in enumerate(sorted(tmp_path.glob("state/ocr/r1/*/notes.json")))
    ]

    async def scenario() -> None:
        second = ProcessShimlet(tmp_path / "state", tmp_path, "127.0.0.1")
        changed: list[str] = []
        second.on_change(changed.append)
        await second.apply(WORKLOAD)
        after = await second.status("ocr")
        assert [(r.name, int(r.address.rpartition(":")[2])) for r in after] == before
        assert all(r.state is ReplicaState.RUNNING and not r.crashes for r in after)
        pid = int((tmp_path / "state/ocr/r1/0/pid").read_text())
        os.kill(pid, signal.SIGKILL)
        while not changed:  # noqa: ASYNC110 (a state, not an event)
            await asyncio.sleep(0.01)
        (ended, _) = await second.status("ocr")
        assert ended.state is ReplicaState.BACKOFF
        await stop_all(second)

    run(scenario)


def test_a_second_process_cannot_be_started(tmp_path: Path) -> None:
    command = ["/bin/sleep", "60"]
    replica = ReplicaProcess(tmp_path / "0", 1.0, 1000)
    pid = replica.start(command, "127.0.0.1", os.environ, tmp_path)
    assert pid
    other = ReplicaProcess(tmp_path / "0", 1.0, 1000)
    assert other.is_running()
    assert other.start(command, "127.0.0.1", os.environ, tmp_path) == 0
    assert is_alive(pid)
    replica.kill("enough")
    assert not replica.is_running()
    assert replica.notes.reason == "enough"
    assert replica.notes.crashes == 1


def test_one_that_does_not_end_is_killed_after_its_time(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "trap '' TERM; echo ready; while true; do sleep 0.05; done"]
    replica = ReplicaProcess(tmp_path / "0", 0.05, 1000)
    replica.start(command, "127.0.0.1", os.environ, tmp_path)
    while replica.read_log(5) != "ready":
        time.sleep(0.01)
    deadline = time.monotonic() + 30
    while replica.is_running() and time.monotonic() < deadline:
        replica.stop()
    assert "SIGKILL" in replica.notes.reason


def test_what_a_process_leaves_behind_is_killed(tmp_path: Path) -> None:
    """Its child has the descriptor of the lock, and would keep it for ever."""
    script = "import os, time\nif os.fork(): os._exit(3)\ntime.sleep(600)"
    replica = ReplicaProcess(tmp_path / "0", 1.0, 1000)
    replica.start(["python3", "-c", script], "127.0.0.1", os.environ, tmp_path)
    deadline = time.monotonic() + 30
    while replica.is_running() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not replica.is_running()
    assert replica.notes.reason == "ended with exit code 3"


def test_crashes_put_off_the_next_start(tmp_path: Path) -> None:
    replica = ReplicaProcess(tmp_path / "0", 1.0, 1000)
    waits = []
    for _ in range(3):
        replica.start(["/bin/false"], "127.0.0.1", os.environ, tmp_path)
        while replica.is_running():
            time.sleep(0.005)
        waits.append(round(replica.retry_at() - replica.notes.ended_at, 1))
    assert waits == [0.5, 1.0, 2.0]
    assert replica.notes.crashes == 3


def test_logs_are_kept_short_and_each_run_has_its_own(tmp_path: Path) -> None:
    replica = ReplicaProcess(tmp_path / "0", 1.0, 100)
    for text in ("first", "second"):
        replica.start(["/bin/echo", text], "127.0.0.1", os.environ, tmp_path)
        while replica.is_running():
            time.sleep(0.005)
    assert replica.read_log(10) == "second"
    assert (tmp_path / "0/log.1").read_text() == "first\n"
    (tmp_path / "0/log").write_text("x" * 101)
    replica.trim_log()
    assert (tmp_path / "0/log").read_text() == ""
    assert len((tmp_path / "0/log.1").read_text()) == 101


def test_damaged_notes_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0/notes.json").write_text("{")
    assert ReplicaProcess(tmp_path / "0", 1.0, 100).notes.crashes == 0


def test_a_model_does_not_see_the_keys_of_the_deployer() -> None:
    own = {"ASE_REGISTRY_TOKEN": "a secret", "ASE_LB_TOKEN": "another", "HOME": "/root"}
    env = loader_environment(ONE, own, HubCredentials("of the hub", "ca.pem"))
    assert not {"a secret", "another"} & {*env.values()}
    assert (env["ASE_LB_TOKEN"], env["HOME"]) == ("of the hub", "/root")
    assert env["MARK"] == "!"
    assert "ASE_LB_TOKEN" not in loader_environment(ONE, own, HubCredentials())


def test_a_loader_is_told_of_the_certificates_of_hubs() -> None:
    credentials = HubCredentials("t", "/ca.pem", "/cert.pem", "/key.pem")
    command = loader_command(ONE, "127.0.0.1", "8240", credentials)
    parser = argparse.ArgumentParser()
    loader.add_arguments(parser)
    options = parser.parse_args(command[command.index("run") + 1 :])
    assert (options.lb_ca, options.lb_cert, options.lb_key) == ("/ca.pem", "/cert.pem", "/key.pem")
    assert "t" not in command


@pytest.mark.parametrize(
    ("wrapper", "message"),
    [
        ("../evil.py:X", "is not below"),
        ("/etc/passwd:X", "is not below"),
        ("none.py:X", "no such file below"),
        ("", "needs `wrapper`"),
    ],
)
def test_wrappers_are_files_of_the_models_folder(
    tmp_path: Path, wrapper: str, message: str
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/wrapper.py").write_text(WRAPPER)
    (tmp_path / "evil.py").write_text(WRAPPER)
    shimlet = ProcessShimlet(tmp_path / "state", tmp_path / "models", "127.0.0.1")
    assert message in shimlet.check(replace(ONE, wrapper=wrapper))


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    """A file stands where the folder would be made: it fails as a disk that takes nothing."""
    (tmp_path / "wrapper.py").write_text(WRAPPER)
    (tmp_path / "state").write_text("")

    async def scenario() -> None:
        shimlet = ProcessShimlet(tmp_path / "state", tmp_path, "127.0.0.1")
        with pytest.raises(ShimletError, match="see the folder"):
            await shimlet.apply(ONE)
        await shimlet.close()

    run(scenario)


def test_usage_is_that_of_a_session() -> None:
    usage = read_usage_by_session()[os.getsid(0)]
    assert usage.memory > 2**20
    assert usage.cpu_s >= 0
    assert is_alive(os.getpid())
    assert not is_alive(2**22 + 1)


def test_deployer_that_looked_too_early_knows_what_another_one_has_started(tmp_path: Path) -> None:
    """A follower sees the folder before its notes are there; it may lead a moment later."""
    (tmp_path / "wrapper.py").write_text(WRAPPER)

    async def scenario() -> None:
        leader = ProcessShimlet(tmp_path / "state", tmp_path, "127.0.0.1")
        follower = ProcessShimlet(tmp_path / "state", tmp_path, "127.0.0.1")
        (tmp_path / "state/ocr/r1/0").mkdir(parents=True)
        await follower.status("ocr")
        await leader.apply(ONE)
        (started,) = await leader.status("ocr")
        (seen,) = await follower.status("ocr")
        assert (seen.address, seen.started_at) == (started.address, started.started_at)
        # One that has led before does not note an end in the place of what was started since.
        pid = int((tmp_path / "state/ocr/r1/0/pid").read_text())
        os.killpg(pid, signal.SIGKILL)
        while True:
            await follower.apply(ONE)
            (again,) = await follower.status("ocr")
            if again.state is ReplicaState.RUNNING and again.started_at > started.started_at:
                break
            await asyncio.sleep(0.02)
        (before,) = await leader.status("ocr")
        assert (before.address, before.crashes) == (again.address, 1)
        await leader.close()
        await stop_all(follower)

    run(scenario)
