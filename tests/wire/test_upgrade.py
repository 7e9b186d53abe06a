"""A gateway is replaced by a new process while clients, sessions and loaders use it."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from lb.client.traffic_sender import TrafficSender
from lb.credentials import HubCredentials
from lb.endpoints.traffic import TrafficRules
from tests.harness import (
    TIMEOUT_S,
    Gateway,
    Hub,
    Loader,
    Process,
    make_envelope,
    occupied_slot,
    run_asectl,
)
from tests.sessions import TALKER, frame


@contextlib.contextmanager
def successors(gateway: Gateway) -> Iterator[None]:
    """End the process that has replaced a gateway, which nobody else does."""
    try:
        yield
    finally:
        pids = [x["new_pid"] for x in gateway.lines if x["message"] == "replaced by a new process"]
        for pid in pids[-1:]:  # the others have been replaced in their turn
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def is_running(pid: int) -> bool:
    """Return whether a process has not ended; its parent may not have waited for it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Clients:
    """Threads that send requests, one after the other, until the block is left."""

    def __init__(self, gateway: Gateway, count: int) -> None:
        self.statuses: list[int] = []
        self.errors: list[str] = []
        self._url = f"{gateway.url}/v1/private/probe"
        self._stopping = threading.Event()
        self._more = threading.Condition()
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """Wait until so many further requests have ended."""
        with self._more:
            goal = len(self.statuses) + more
            enough = self._more.wait_for(
                lambda: len(self.statuses) >= goal or self.errors, TIMEOUT_S
            )
            assert enough

    def _run(self) -> None:
        with httpx.Client(trust_env=False, timeout=TIMEOUT_S) as http:
            while not self._stopping.is_set():
                try:
                    status = http.post(self._url, json=make_envelope()).status_code
                except httpx.HTTPError as error:
                    self.errors.append(repr(error))
                    return
                with self._more:
                    self.statuses.append(status)
                    self._more.notify_all()


def test_no_request_is_lost_and_what_runs_is_completed() -> None:
    flags = ("--gateway-lame-duck", "0.3", "--gateway-grpc", "true", "--gateway-grpc-port", "0")
    with (
        Gateway(*flags, "--gateway-deadline", "120") as gateway,
        successors(gateway),
        Loader(gateway.lb) as loader,
    ):
        gateway.wait_until_up(loader)
        with occupied_slot(gateway, loader, "held"), Clients(gateway, 4) as clients:
            clients.wait_for(20)
            result = run_asectl("upgrade", "--url", gateway.admin)
            assert result.returncode == 0, result.stderr
            assert result.stdout.startswith(f"pid {gateway.pid} (version ")
            new_pid = gateway.wait_for_event("replaced by a new process")["new_pid"]
            assert f"is replaced by pid {new_pid} (version " in result.stdout
            assert gateway.count("instance admitted", instance=loader.addr) == 2
            assert not gateway.count("instance suspect")
            clients.wait_for(20)
            assert gateway.process.poll() is None, "a request still runs there"
        gateway.wait_for_event("stopped")
        assert gateway.process.wait(TIMEOUT_S) == 0
        assert clients.errors == []
        assert set(clients.statuses) == {200}
        assert gateway.call().status_code == 200


def test_the_new_process_can_be_replaced_in_its_turn() -> None:
    with Gateway() as gateway, successors(gateway), Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        for _ in range(2):
            assert run_asectl("upgrade", "--url", gateway.admin).returncode == 0
        pids = [line["new_pid"] for line in gateway.lines if line["message"] == "upgrade started"]
        process = httpx.get(f"{gateway.admin}/debug/process", trust_env=False).json()
        assert process["pid"] == pids[1]
        assert process["upgrade"] == {"attempt": 0, "state": "none", "reason": ""}
        assert gateway.call().status_code == 200


def test_session_goes_on_in_the_old_process() -> None:
    flags = ("--gateway-lame-duck", "0.1")
    with Gateway(*flags) as gateway, successors(gateway), Loader(gateway.lb, TALKER) as loader:
        gateway.wait_until_up(loader)
        url = gateway.url.replace("http", "ws") + "/v1/private/talker"
        with connect(url, open_timeout=TIMEOUT_S, proxy=None) as session:
            session.send(json.dumps(frame(0, b"one")))
            first = session.recv(timeout=TIMEOUT_S)
            assert run_asectl("upgrade", "--url", gateway.admin).returncode == 0
            session.send(json.dumps(frame(2, b"two")))
            assert session.recv(timeout=TIMEOUT_S)
            assert first
        gateway.wait_for_event("stopped")


def test_new_process_that_does_not_start_leaves_the_old_one(tmp_path: Path) -> None:
    config = tmp_path / "ase.yaml"
    config.write_text("gateway: {deadline: 5}\n")
    flags = ("-c", str(config))
    with Gateway(*flags) as gateway, successors(gateway), Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        config.write_text("gateway: {deadlin: 5}\n")
        result = run_asectl("upgrade", "--url", gateway.admin)
        assert result.returncode == 1
        assert f"pid {gateway.pid} serves on: the new process, pid " in result.stderr
        assert "(exit code 3)" in result.stderr
        assert "did you mean 'deadline'?" in "\n".join(gateway.text), "why, in the log"
        assert gateway.call().status_code == 200
        assert not gateway.count("instance suspect")
        config.write_text("gateway: {deadline: 6}\n")
        assert run_asectl("upgrade", "--url", gateway.admin).returncode == 0
        assert gateway.call().status_code == 200


def test_new_process_that_would_have_no_instance_leaves_the_old_one(tmp_path: Path) -> None:
    """A changed port of the hub: no loader reports there."""
    config = tmp_path / "ase.yaml"
    config.write_text("log_level: info\n")
    flags = ("-c", str(config), "--gateway-lame-duck", "0")
    ports = ("--gateway-port", "0", "--gateway-admin-port", "0")
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        port, other_port = one.getsockname()[1], two.getsockname()[1]
    lb = "lb: {port: %d, accept_schemas: true}\n"
    config.write_text(lb % port)
    with Process("gateway", *flags, *ports) as gateway, Loader(f"127.0.0.1:{port}") as loader:
        gateway.wait_for_event("instance admitted", instance=loader.addr)
        listening = gateway.wait_for_event("listening")
        config.write_text(lb % other_port)
        result = run_asectl("upgrade", "--url", listening["admin"])
        assert result.returncode == 1
        assert f"pid {gateway.pid} serves on" in result.stderr
        assert "no instance of probe is known here" in "\n".join(gateway.text)
        url = f"{listening['gateway']}/v1/private/probe"
        response = httpx.post(url, json=make_envelope(), trust_env=False)
        assert response.status_code == 200


def test_stop_during_an_upgrade_ends_both(tmp_path: Path) -> None:
    with Gateway() as gateway:
        gateway.signal(signal.SIGUSR2)
        new_pid = gateway.wait_for_event("upgrade started")["new_pid"]
        gateway.signal(signal.SIGTERM)
        assert gateway.wait_for_exit() == 0
        assert not is_running(new_pid)


def test_drained_gateway_is_not_replaced_by_one_that_is_not() -> None:
    with Gateway() as gateway:
        assert run_asectl("drain", "--url", gateway.admin).returncode == 0
        result = run_asectl("upgrade", "--url", gateway.admin)
        assert result.returncode == 1
        assert "an operator has drained it" in result.stderr


def test_workers_are_replaced_together() -> None:
    flags = ("--workers", "2", "--gateway-lame-duck", "0.2")
    with (
        Hub() as hub,
        Loader(hub.lb) as loader,
        Gateway("--lb-hub", hub.lb, *flags) as gateway,
        successors(gateway),
    ):
        gateway.wait_for_event("instance up", instance=loader.addr)
        with Clients(gateway, 4) as clients:
            clients.wait_for(20)
            result = run_asectl("upgrade", "--url", gateway.admin)
            assert result.returncode == 0, result.stderr
            gateway.wait_for_event("replaced by a new process")
            clients.wait_for(20)
        assert gateway.process.wait(TIMEOUT_S) == 0
        assert clients.errors == []
        assert set(clients.statuses) == {200}
        assert gateway.count("worker started") == 4


def test_gateway_whose_parent_would_end_it_is_not_replaced() -> None:
    with Gateway("--until-stdin-closes", prefix=("sh", "-c", 'tail -f /dev/null | "$@"', "sh")) as (
        gateway
    ):
        result = run_asectl("upgrade", "--url", gateway.admin)
        assert result.returncode == 1
        assert "the process that started this one would end it" in result.stderr
        gateway.wait_for_event("upgrade refused")
        assert gateway.http.get("/livez").status_code == 200
        process = httpx.get(f"{gateway.admin}/debug/process", trust_env=False).json()
        os.kill(process["pid"], signal.SIGTERM)


@contextlib.contextmanager
def odd_admin_port(answer: object) -> Iterator[str]:
    """Answer every GET with `answer` as JSON; the value is the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        ({"pid": 1, "upgrade": {"attempt": 0}}, 2, "is no process of this machine"),
        ({"pid": "x", "upgrade": {"attempt": 0}}, 2, "is no process of this machine"),
        ({"pid": 1}, 4, "does not answer as the admin port of a gateway does"),
        ([], 4, "does not answer as the admin port of a gateway does"),
    ],
)
def test_no_other_process_gets_the_signal(answer: object, code: int, reason: str) -> None:
    with odd_admin_port(answer) as url:
        result = run_asectl("upgrade", "--url", url)
    assert result.returncode == code
    assert reason in result.stderr


def test_gateway_that_does_not_answer() -> None:
    assert run_asectl("upgrade", "--url", "http://127.0.0.1:1").returncode == 4


def test_version_that_is_held_back_stays_so(tmp_path: Path) -> None:
    """The rules are in the hub of the old process; their owner does not repeat them here."""
    for version in ("v1", "v2"):
        wrapper = (
            "from aseloader import service\n\n\n"
            '@service("which")\n'
            "def which(text: str) -> str:\n"
            f'    return "{version}"\n'
        )
        (tmp_path / f"{version}.py").write_text(wrapper)

    async def hold_back(hub: str) -> str:
        rules = TrafficRules("d", 0, {"v2": 0.0})
        sender = TrafficSender([hub], HubCredentials(), lambda: rules, lambda: 1)
        sending = asyncio.create_task(sender.run())
        problem = await sender.settle()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        return problem

    def answer(gateway: Gateway) -> str:
        response = gateway.http.post("/v1/which", json={"text": "x"})
        return str(response.json()["result"])

    with Gateway() as gateway, successors(gateway):
        assert asyncio.run(hold_back(gateway.lb)) == ""
        with (
            Loader(gateway.lb, str(tmp_path / "v1.py"), "--model-version", "v1") as old,
            Loader(gateway.lb, str(tmp_path / "v2.py"), "--model-version", "v2") as new,
        ):
            for loader in (old, new):
                gateway.wait_until_up(loader)
            assert {answer(gateway) for _ in range(50)} == {"v1"}
            assert run_asectl("upgrade", "--url", gateway.admin).returncode == 0
            gateway.http.close()
            gateway.http = httpx.Client(base_url=gateway.url, timeout=TIMEOUT_S, trust_env=False)
            assert {answer(gateway) for _ in range(50)} == {"v1"}
