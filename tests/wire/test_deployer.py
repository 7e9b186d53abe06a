"""A real deployer with a real gateway: deploy, switch under load, fail, be killed, delete."""

import contextlib
import json
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from bench.registry.etcd_server import start_etcd
from tests.harness import Gateway, Process, run_asectl

WRAPPER = '''\
from aseloader import service


@service("shout", total=4)
def shout(text: str) -> str:
    """Shout."""
    return text.upper() + "MARK"
'''
ENVELOPE = {
    "header": {"app_id": "t", "status": 3},
    "parameter": {},
    "payload": {"text": {"encoding": "utf8", "status": 3, "text": "aGV5"}},
}
TIMEOUT_S = 60


class Deployer(Process):
    """`asectl deployer` on a free port."""

    def __init__(self, gateway: Gateway, folder: Path, *flags: str) -> None:
        super().__init__(
            "deployer", "--port", "0", "--deployer-hubs", gateway.lb,
            "--deployer-gateway", gateway.url, "--deployer-resync", "0.5", *flags, cwd=folder,
        )  # fmt: skip
        self.api: str = self.wait_for_event("listening")["api"]
        self.folder = folder

    def run(self, *args: str) -> tuple[int, str]:
        """Run `asectl deploy`; return its exit code and output."""
        flags = ("--url", self.api)
        try:
            result = run_asectl("deploy", *args, *flags, cwd=self.folder, timeout=TIMEOUT_S)
        except TimeoutError:
            log = "\n".join(map(json.dumps, self.lines[-40:]))
            raise AssertionError(f"deploy {args}: {self.show()}\n{log}") from None
        return result.returncode, result.stdout + result.stderr

    def show(self) -> dict[str, Any]:
        url = f"{self.api}/api/v1/modserv/shout"
        data: dict[str, Any] = httpx.get(url, trust_env=False).json()["data"]
        return data

    def wait_status(self, status: str) -> dict[str, Any]:
        while (shown := self.show())["status"] != status or not shown["isObserved"]:
            pass
        return shown


def write_spec(folder: Path, mark: str, **members: Any) -> str:
    """Write a wrapper whose answers have a mark, and its specification."""
    (folder / f"wrapper_{mark}.py").write_text(WRAPPER.replace("MARK", mark))
    spec = {"serviceId": "shout", "wrapper": f"wrapper_{mark}.py:shout", **members}
    (folder / f"{mark}.yaml").write_text(json.dumps(spec))
    return f"{mark}.yaml"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway("--lb-accept-schemas", "true") as running:
        yield running


def call(gateway: Gateway) -> str:
    response = httpx.post(
        f"{gateway.url}/v1/shout", json={"text": "hey"}, trust_env=False, timeout=TIMEOUT_S
    )
    assert response.status_code == 200, response.text
    return str(response.json()["result"])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for a deployer, whose loaders end with the test."""
    yield tmp_path
    for pid in tmp_path.glob("deploy-state/*/*/*/pid"):
        try:
            os.killpg(int(pid.read_text()), signal.SIGKILL)
        except (ProcessLookupError, ValueError):
            continue


def test_a_model_is_switched_under_load_and_no_request_fails(
    gateway: Gateway, folder: Path
) -> None:
    with Deployer(gateway, folder) as deployer:
        code, output = deployer.run(write_spec(folder, "A", replicaCount=2))
        assert code == 0, output
        assert "create shout with 2 replicas" in output
        assert f"called at {gateway.url}/v1/private/shout" in output
        assert call(gateway) == "HEYA"
        results: list[str] = []
        is_done = threading.Event()

        def send() -> None:
            with httpx.Client(trust_env=False, timeout=TIMEOUT_S) as client:
                while not is_done.is_set():
                    answer = client.post(f"{gateway.url}/v1/shout", json={"text": "hey"})
                    results.append(answer.json().get("result", answer.text))

        senders = [threading.Thread(target=send) for _ in range(4)]
        for sender in senders:
            sender.start()
        for mark in ("B", "C"):
            code, output = deployer.run(write_spec(folder, mark, replicaCount=2))
            assert code == 0, output
        assert deployer.run("scale", "shout", "1")[0] == 0
        is_done.set()
        for sender in senders:
            sender.join()
        assert set(results) == {"HEYA", "HEYB", "HEYC"}
        assert call(gateway) == "HEYC"
        assert deployer.run("delete", "shout")[0] == 0
        assert not (folder / "deploy-state/shout").exists()
        assert deployer.stop() == 0


def test_a_rollout_that_fails_and_a_deployer_that_is_killed(gateway: Gateway, folder: Path) -> None:
    write_spec(folder, "bad")
    (folder / "wrapper_bad.py").write_text("raise RuntimeError('no GPU here')\n")
    with Deployer(gateway, folder) as deployer:
        assert deployer.run(write_spec(folder, "A"))[0] == 0
        code, output = deployer.run("bad.yaml")
        assert code == 1
        assert "has ended 3 times" in output
        assert "RuntimeError: no GPU here" in output
        assert call(gateway) == "HEYA"
        serving = deployer.show()["replicas"]
        deployer.kill()
    with Deployer(gateway, folder) as deployer:
        shown = deployer.wait_status("failed")
        running = [r for r in shown["replicas"] if r["state"] == "running"]
        before = [r for r in serving if r["state"] == "running"]
        assert [r["address"] for r in running] == [r["address"] for r in before]
        assert call(gateway) == "HEYA"
        code, output = deployer.run("rollback", "shout")
        assert code == 0, output
        # A replica that is killed is started again, and said so.
        pid = int(next(folder.glob("deploy-state/shout/*/0/pid")).read_text())
        os.kill(pid, signal.SIGKILL)
        restarted: dict[str, Any] = {}
        while restarted.get("crashes") != 1 or restarted["state"] != "running":
            (restarted,) = deployer.show()["replicas"]
        deployer.wait_status("running")
        gateway.wait_for_event("instance admitted", instance=restarted["address"])
        assert call(gateway) == "HEYA"
        code, output = deployer.run("logs", "shout", "--lines", "5")
        assert code == 0
        assert "listening" in output
        code, output = deployer.run("status", "shout")
        assert code == 0
        assert "running" in output
        assert deployer.run("delete", "shout")[0] == 0


def test_two_deployers_on_one_file_take_turns(gateway: Gateway, folder: Path) -> None:
    with Deployer(gateway, folder) as first:
        assert first.run(write_spec(folder, "A"))[0] == 0
        second = Process("deployer", "--port", "0", "--deployer-hubs", gateway.lb, cwd=folder)
        with second:
            second.wait_for_event("another deployer leads; waiting")
            first.kill()
            second.wait_for_event("listening")
            assert len([*folder.glob("deploy-state/shout/*/*/pid")]) == 1
            assert call(gateway) == "HEYA"
            assert second.stop() == 0


@pytest.mark.peer("etcd")
def test_two_deployers_on_etcd_start_nothing_twice(gateway: Gateway, folder: Path) -> None:
    # In memory: each step of a rollout is a commit, and a busy disk takes seconds for a sync.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as data, start_etcd(Path(data)) as members:
        etcd = ("--registry-etcd", members[0].address)
        with Deployer(gateway, folder, *etcd) as first, Deployer(gateway, folder, *etcd) as second:
            leader, other = (first, second) if _leads(first) else (second, first)
            # Both take commands; one works.
            assert other.run(write_spec(folder, "A", replicaCount=2))[0] == 0
            assert len([*folder.glob("deploy-state/shout/*/*/pid")]) == 2
            leader.kill()
            other.wait_for_event("leads the deployments")
            assert other.run("scale", "shout", "3")[0] == 0
            assert len([*folder.glob("deploy-state/shout/*/*/pid")]) == 3
            assert call(gateway) == "HEYA"
            assert other.run("delete", "shout")[0] == 0
            assert other.stop() == 0


def test_up_runs_a_deployer_whose_replicas_end_with_it(folder: Path) -> None:
    file = write_spec(folder, "A")
    for _ in range(2):  # the second one brings back what was deployed
        with Process("up", "--deployer", "--port", "0", cwd=folder) as up:
            url = up.wait_for_output("deployer http").split()[1]
            gateway = up.wait_for_output("gateway  http").split()[1]
            up.wait_for_output("ready; try")
            result = run_asectl("deploy", file, "--url", url, cwd=folder, timeout=TIMEOUT_S)
            assert result.returncode == 0, result.stdout + result.stderr
            body = {"text": "hey"}
            response = httpx.post(f"{gateway}/v1/shout", json=body, trust_env=False)
            assert response.json() == {"result": "HEYA"}
            up.signal(signal.SIGINT)
            assert up.wait_for_exit() == 0
        assert not (folder / "deploy-state/shout").exists()


def _leads(deployer: Deployer) -> bool:
    ready = httpx.get(f"{deployer.api}/readyz", trust_env=False).json()
    return bool(ready["leader"])


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("deployer", "--host", "0.0.0.0"), 2, "unrecognized arguments: --host"),
        (("deployer", "--deployer-host", "0.0.0.0"), 3, "anyone could run programs here"),
        (("deployer", "--pipeline", "x"), 3, "unknown pipeline 'x'; there are wrapper"),
        (("deployer", "--pipeline", "none.py:p"), 3, "none.py: No such file"),
        (("deployer", "--config", "seed.yaml"), 3, "service.prot: unknown"),
        (("deploy", "none.yaml"), 3, "none.yaml: [Errno 2]"),
        (("deploy", "bad.yaml"), 3, "bad.yaml:2:1: error: replicas: unknown member"),
        (("deploy", "status", "--url", "http://127.0.0.1:1"), 4, "no deployer answers"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, args: tuple[str, ...], code: int, message: str
) -> None:
    (tmp_path / "bad.yaml").write_text("serviceId: a\nreplicas: 2\n")
    (tmp_path / "seed.yaml").write_text("service:\n  prot: 1\n")
    result = run_asectl(*args, cwd=tmp_path)
    assert result.returncode == code, result.stderr
    assert message in result.stderr


def test_a_pipeline_of_ones_own_and_the_file_of_the_seed(gateway: Gateway, folder: Path) -> None:
    (folder / "mine.py").write_text(
        "from deploy.engine.pipeline import pipeline\nfrom deploy.pipelines import steps\n\n\n"
        "def greet(context):\n    open('greeted', 'w').write(context.spec.id)\n\n\n"
        "mine = (\n    pipeline('mine').step(greet)\n"
        "    .step(steps.deploy, done=steps.is_deployed, undo=steps.undo_deploy)\n"
        "    .step(steps.wait_for_load, done=steps.is_reporting)\n"
        "    .step(steps.expose, done=steps.is_exposed)\n)\n"
    )
    (folder / "seed.yaml").write_text(
        "service: {port: 0}\nplugins: {defaultPipeline: 'mine.py:mine'}\nlogging: {level: info}\n"
    )
    deployer = Process(
        "deployer", "--config", "seed.yaml", "--deployer-hubs", gateway.lb, cwd=folder
    )
    with deployer:
        api = deployer.wait_for_event("listening")["api"]
        file = write_spec(folder, "A")
        result = run_asectl("deploy", file, "--url", api, cwd=folder, timeout=TIMEOUT_S)
        assert result.returncode == 0, result.stdout + result.stderr
        assert result.stdout.splitlines()[-6:-3] == [
            "+ wait_for_load",
            "+ expose",
            "shout: running",
        ]
        assert (folder / "greeted").read_text() == "shout"


def test_a_canary_gets_its_share_and_is_promoted_or_taken_back(
    gateway: Gateway, folder: Path
) -> None:
    with Deployer(gateway, folder) as deployer, httpx.Client(trust_env=False) as client:

        def send(count: int) -> list[str]:
            answers = []
            for _ in range(count):
                answer = client.post(f"{gateway.url}/v1/shout", json={"text": "hey"})
                answers.append(answer.json().get("result", "failed")[-1:])
            return answers

        def start_canary(mark: str, **canary: Any) -> None:
            file = write_spec(folder, mark, canary={"share": "30%", **canary})
            code, output = deployer.run(file, "--wait", "3")
            assert code == 5, output
            assert "gets 30 % of the requests" in output

        assert deployer.run(write_spec(folder, "A"))[0] == 0
        start_canary("B", promotion="hand")
        shares = send(300)
        assert set(shares) == {"A", "B"}
        assert 50 < shares.count("B") < 130
        state = httpx.get(f"{gateway.admin}/lb/state", trust_env=False).json()["instances"]
        assert {row["version"] for row in state} == {
            replica["revision"] for replica in deployer.show()["replicas"]
        }
        assert deployer.run("promote", "shout")[0] == 0
        assert set(send(20)) == {"B"}
        # One that fails is found out, and taken back; nobody waits for that.
        start_canary("C", requests=40)
        (folder / "wrapper_D.py").write_text(WRAPPER.replace('text.upper() + "MARK"', "1 / 0"))
        (folder / "D.yaml").write_text((folder / "C.yaml").read_text().replace("_C", "_D"))
        assert deployer.run("D.yaml", "--wait", "3")[0] == 5
        while deployer.show()["status"] == "updating":
            send(10)
        shown = deployer.wait_status("failed")
        assert "step canary:" in shown["reason"]
        assert set(send(20)) == {"B"}
        # The one before is as good as what serves, by 40 requests of each with none failed.
        file = write_spec(folder, "C", canary={"share": "50%", "requests": 40,
                                               "errorTolerance": 0.2})  # fmt: skip
        assert deployer.run(file, "--wait", "3")[0] == 5
        while deployer.show()["status"] == "updating":
            send(10)
        assert deployer.wait_status("running")["serving"] == deployer.show()["revision"]
        assert set(send(20)) == {"C"}
        assert deployer.run("delete", "shout")[0] == 0


def test_positions_of_one_wrapper_are_services_of_their_own(gateway: Gateway, folder: Path) -> None:
    def asectl(*args: str) -> str:
        result = run_asectl(*args, "--url", deployer.api, cwd=folder, timeout=TIMEOUT_S)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def shout(position: str) -> str:
        response = httpx.post(
            f"{gateway.url}/v1/{position}", json={"text": "hey"}, trust_env=False, timeout=TIMEOUT_S
        )
        assert response.status_code == 200, response.text
        return str(response.json()["result"])

    for version, mark, accuracy in (("1", "A", 0.8), ("2", "B", 0.9)):
        write_spec(folder, mark)
        model = {"name": "shout", "version": version, "wrapper": f"wrapper_{mark}.py:shout"}
        (folder / f"model{version}.json").write_text(json.dumps({**model, "accuracy": accuracy}))
    with Deployer(gateway, folder) as deployer:
        asectl("project", "create", "drones")
        asectl("application", "create", "voice", "--project", "drones")
        for version in "12":
            asectl("model", "add", f"model{version}.json", "--application", "voice")
        assert "shout:2  0.9" in asectl("model", "list", "--application", "voice")
        north = ["position", "create", "north", "--application", "voice"]
        output = asectl(*north, "--model", "shout:1", "--memory", "1Gi")
        assert f"called at {gateway.url}/v1/private/north" in output
        asectl("position", "create", "south", "--application", "voice", "--model", "best")
        assert (shout("north"), shout("south")) == ("HEYA", "HEYB")
        assert "InService, model shout:2" in asectl("position", "switch", "north", "best")
        assert (shout("north"), shout("south")) == ("HEYB", "HEYB")
        asectl("position", "scale", "north", "2")
        usage = json.loads(asectl("position", "usage", "north", "-o", "json"))
        assert len(usage["replicas"]) == 2
        assert 0 < usage["replicas"][0]["memoryShare"] < 1
        assert "north" in asectl("position", "status")
        for position in ("north", "south"):
            asectl("position", "delete", position)
        while (
            httpx.get(f"{deployer.api}/api/v1/modserv/north", trust_env=False).json()["data"][
                "status"
            ]
            != "terminated"
        ):
            pass


def test_a_deployment_sleeps_and_the_first_request_wakes_it(gateway: Gateway, folder: Path) -> None:
    rule = {"minReplicas": 0, "maxReplicas": 2, "window": 1, "scaleDownDelay": 1}
    with Deployer(gateway, folder) as deployer:
        assert deployer.run(write_spec(folder, "A", autoscale=rule))[0] == 0
        assert call(gateway) == "HEYA"
        _wait_asleep(deployer, folder)
        with ThreadPoolExecutor(8) as senders:
            answers = [*senders.map(lambda _: call(gateway), range(8))]
        assert answers == ["HEYA"] * 8
        assert len([*folder.glob("deploy-state/shout/*/*/pid")]) == 1
        woken = deployer.wait_for_event("woken")
        assert woken["deployment"] == "shout"
        # A session waits like a single request.
        _wait_asleep(deployer, folder)
        url = f"{gateway.url.replace('http', 'ws', 1)}/v1/private/shout"
        with connect(url) as session:
            session.send(json.dumps(ENVELOPE))
            assert json.loads(session.recv(timeout=TIMEOUT_S))["header"]["code"] == 0
        # A gateway and a deployer that start now know the service that sleeps.
        _wait_asleep(deployer, folder)
        deployer.kill()
    with Deployer(gateway, folder) as deployer:
        with Gateway("--lb-hub", gateway.lb) as other:
            deployer.wait_status("running")
            other.wait_for_event("instance admitted")
            assert call(other) == "HEYA"
        _wait_asleep(deployer, folder)
        # What cannot be woken is told so, and may be tried again.
        (folder / "wrapper_A.py").write_text("raise RuntimeError('no GPU here')\n")
        response = httpx.post(
            f"{gateway.url}/v1/shout", json={"text": "hey"}, trust_env=False, timeout=TIMEOUT_S
        )
        assert response.status_code == 503
        assert response.headers["retry-after"]
        assert deployer.run("delete", "shout")[0] == 0


def _wait_asleep(deployer: Deployer, folder: Path) -> None:
    while "sleeps" not in deployer.show()["reason"]:
        pass
    wait_until_stopped(folder, "shout")


def wait_until_stopped(folder: Path, deployment: str) -> None:
    """Wait until no replica of a deployment is left; their folders go while one looks."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            if not [*folder.glob(f"deploy-state/{deployment}/*/*/pid")]:
                return
