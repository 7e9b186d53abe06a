"""The shimlet `supervisor` with a real supervisord: what only it has, and its faults."""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.shimlets.interface import ReplicaState, ReplicaStatus, ShimletError, Workload
from deploy.shimlets.launch import main
from deploy.shimlets.supervisor import SupervisorShimlet
from deploy.shimlets.supervisor_rpc import SupervisorRpc
from tests.deploy.shimlets.test_shimlet_contract import running
from tests.deploy.supervisord import running_supervisord

WRAPPER = '''\
import os

from aseloader import service

print("\\x1b[31mMARK is", repr(os.environ["MARK"]), "\\x1b[0m", flush=True)


@service("shout", total=2)
def shout(text: str) -> str:
    """Shout."""
    return text
'''
ODD = "100 %(ENV_HOME)s, \"quoted\" 'twice'; # two\nlines"
WORKLOAD = Workload("ocr", "r1", 1, "", wrapper="wrapper.py:shout", env={"MARK": ODD})


class Supervised:
    """A supervisord and a shimlet of it. `restart` is another deployer's shimlet."""

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self.address = address
        self.shimlet = self.create()

    def create(self) -> SupervisorShimlet:
        (self._folder / "models").mkdir(exist_ok=True)
        return SupervisorShimlet(
            self.address, self._folder / "programs", self._folder / "models", "127.0.0.1", 20.0
        )

    async def wait(
        self, condition: Callable[[list[ReplicaStatus]], bool], workload: Workload | None = None
    ) -> list[ReplicaStatus]:
        """Wait for a state of the replicas; `workload` is applied again meanwhile."""
        async with asyncio.timeout(60):
            while True:
                if workload is not None:
                    await self.shimlet.apply(workload)
                replicas = await self.shimlet.status("ocr")
                if condition(replicas):
                    return replicas
                await asyncio.sleep(0.05)

    async def wait_gone(self) -> None:
        async with asyncio.timeout(60):
            while await self.shimlet.status("ocr"):
                await self.shimlet.delete("ocr")
                await asyncio.sleep(0.05)


def run(folder: Path, scenario: Callable[[Supervised], Awaitable[None]]) -> None:
    async def main_of_test() -> None:
        with running_supervisord(folder, folder / "programs") as address:
            supervised = Supervised(folder, address)
            (folder / "models/wrapper.py").write_text(WRAPPER)
            try:
                await scenario(supervised)
                await supervised.wait_gone()
            finally:
                await supervised.shimlet.close()

    asyncio.run(main_of_test())


def test_environment_is_passed_as_it_is(tmp_path: Path) -> None:
    async def scenario(supervised: Supervised) -> None:
        (replica,) = await supervised.wait(running(1), WORKLOAD)
        text = ""
        async with asyncio.timeout(60):
            while "MARK" not in text:
                text = await supervised.shimlet.logs("ocr", replica.name, 100)
                await asyncio.sleep(0.05)
        assert f"MARK is {ODD!r}" in text
        assert (tmp_path / f"programs/ase-{replica.name}.json").stat().st_mode & 0o077 == 0

    run(tmp_path, scenario)


def test_one_that_ends_at_once_is_given_up_and_tried_again_later(tmp_path: Path) -> None:
    async def scenario(supervised: Supervised) -> None:
        (tmp_path / "models/bad.py").write_text("raise RuntimeError('no GPU here')\n")
        workload = replace(WORKLOAD, wrapper="bad.py")
        (replica,) = await supervised.wait(lambda rs: rs[0].crashes >= 3, workload)
        assert replica.state is ReplicaState.BACKOFF
        assert replica.reason.startswith("ended: exit status 1")
        assert "no GPU here" in await supervised.shimlet.logs("ocr", replica.name, 12)
        (tmp_path / "models/bad.py").write_text(WRAPPER)  # it heals when its cause is gone
        await supervised.wait(running(1), workload)

    run(tmp_path, scenario)


def test_another_deployer_finds_what_runs(tmp_path: Path) -> None:
    async def scenario(supervised: Supervised) -> None:
        (before,) = await supervised.wait(running(1), WORKLOAD)
        await supervised.shimlet.close()
        supervised.shimlet = supervised.create()
        (after,) = await supervised.wait(running(1), WORKLOAD)
        assert (after.name, after.address) == (before.name, before.address)
        assert (after.started_at, after.crashes) == (before.started_at, 0)

    run(tmp_path, scenario)


def test_supervisord_that_is_gone_is_named_without_its_password(tmp_path: Path) -> None:
    async def scenario() -> None:
        for address, name in (
            ("unix:///none/s.sock", "/none/s.sock"),
            ("http://ann:secret@127.0.0.1:1", "127.0.0.1:1"),
        ):
            shimlet = SupervisorShimlet(address, tmp_path, tmp_path, "127.0.0.1")
            with pytest.raises(ShimletError) as error_info:
                await shimlet.apply(WORKLOAD)
            assert f"supervisor at {name}" in str(error_info.value)
            assert "does not answer" in str(error_info.value)
            assert "secret" not in str(error_info.value)
            await shimlet.close()

    asyncio.run(scenario())


def test_program_is_become(tmp_path: Path) -> None:
    launch = {"command": ["/bin/sh", "-c", "pwd; echo $MARK"], "env": {"MARK": ODD}}
    path = tmp_path / "launch.json"
    path.write_text(json.dumps({**launch, "cwd": str(tmp_path)}))
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(writer, 1)
        main(str(path))
    os.close(writer)
    with os.fdopen(reader) as output:
        assert output.read().startswith(f"{tmp_path}\n100 %(ENV_HOME)s")
    assert os.waitpid(pid, 0)[1] == 0


def test_replica_that_is_wanted_again_while_it_ends_comes_back(tmp_path: Path) -> None:
    async def scenario(supervised: Supervised) -> None:
        two = replace(WORKLOAD, replicas=2)
        await supervised.wait(running(2), two)
        await supervised.shimlet.apply(WORKLOAD)
        await supervised.wait(running(2), two)

    run(tmp_path, scenario)


def test_each_start_has_a_port_that_is_free(tmp_path: Path) -> None:
    """Somebody may have taken the port of a replica that does not run at the moment."""

    async def scenario(supervised: Supervised) -> None:
        (replica,) = await supervised.wait(running(1), WORKLOAD)
        (launch,) = (tmp_path / "programs").glob("*.json")
        port = int(replica.address.rpartition(":")[2])
        rpc = SupervisorRpc(supervised.address)
        rpc.call("stopProcess", launch.stem, True)
        rpc.close()
        with socket.create_server(("127.0.0.1", port)):
            (again,) = await supervised.wait(running(1), WORKLOAD)
            assert again.address not in ("", replica.address)
        # Another deployer reads it too.
        other = supervised.create()
        (seen,) = await other.status("ocr")
        assert seen.address == again.address
        await other.close()

    run(tmp_path, scenario)
