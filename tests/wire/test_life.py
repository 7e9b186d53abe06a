"""Coming and going: loaders that join, die and drain; clients that leave; a gateway that stops."""

import json
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.harness import Gateway, Hub, Loader, Process, body, held

SLOW = "tests/wrappers/probe.py:Slow"
BROKEN = "tests/wrappers/probe.py:Broken"


def test_kill_9_of_one_of_two_costs_only_what_ran_on_it() -> None:
    """50 requests/s, open loop; the kill falls in the middle; each answer is judged by when."""
    period, count = 0.02, 150
    with Gateway() as gateway, Loader(gateway.lb) as first, Loader(gateway.lb) as second:
        gateway.joined(first)
        gateway.joined(second)
        killed_at = 0.0
        begin = time.monotonic()
        pause = threading.Event()

        def ask(number: int) -> tuple[float, httpx.Response]:
            pause.wait(max(0.0, begin + number * period - time.monotonic()))
            asked = time.monotonic()
            return asked, gateway.call()

        with ThreadPoolExecutor(16) as pool:
            asking = [pool.submit(ask, number) for number in range(count)]
            asking[count // 3].result()
            first.signal(signal.SIGKILL)
            killed_at = time.monotonic()
            answers = [future.result() for future in asking]
        after = [answer for asked, answer in answers if asked > killed_at]
        failed = [answer for _, answer in answers if answer.status_code != 200]
        assert len(after) > 50
        assert [a.status_code for a in after] == [200] * len(after)
        assert {a.headers["x-ase-instance"] for a in after} == {second.addr}
        assert all(a.headers["x-ase-instance"] == first.addr for a in failed)
        assert len(failed) <= 2, "no more than its two licences could be in flight there"
        gateway.event("instance suspect", instance=first.addr, reason="stream_lost")
        gateway.event("instance gone", instance=first.addr, reason="expired")
        text = gateway.metrics()
        labels = 'reason="stream_lost",service="probe",state="suspect"'
        assert f"ase_lb_instance_changes_total{{{labels}}} 1.0" in text
        assert 'ase_lb_instances{service="probe",state="up"} 1.0' in text


def test_a_new_loader_gets_its_first_request_at_once() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as first:
        gateway.joined(first)
        for _ in range(20):
            assert gateway.call().status_code == 200
        with Loader(gateway.lb) as second:
            gateway.joined(second)
            assert gateway.call().headers["x-ase-instance"] == second.addr


def test_load_is_shared_between_equals() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as first, Loader(gateway.lb) as second:
        gateway.joined(first)
        gateway.joined(second)
        used = [gateway.call().headers["x-ase-instance"] for _ in range(100)]
        assert min(used.count(first.addr), used.count(second.addr)) >= 25


def test_a_full_instance_is_passed_over() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as first:
        gateway.joined(first)
        with held(gateway, first, "a"), held(gateway, first, "b"), Loader(gateway.lb) as second:
            gateway.joined(second)
            answers = [gateway.call() for _ in range(20)]
            assert {a.headers["x-ase-instance"] for a in answers} == {second.addr}
            assert {a.headers["x-ase-attempts"] for a in answers} == {"1"}, (
                "by report, not by trial"
            )


def test_nothing_is_reported_before_init_succeeded() -> None:
    with Gateway() as gateway, Process("loader", "run", BROKEN, "--lb", gateway.lb) as loader:
        assert loader.ended() == 1
        assert "no weights here" in "\n".join(loader.text)
        assert gateway.state() == []


def test_a_draining_loader_finishes_what_runs_and_loses_nothing() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as first:
        gateway.joined(first)
        with held(gateway, first, "a") as sock:
            first.signal(signal.SIGTERM)
            gateway.event("instance draining", instance=first.addr)
            with Loader(gateway.lb) as second:
                gateway.joined(second)
                for _ in range(10):
                    assert gateway.call().headers["x-ase-instance"] == second.addr
                sock.close()
                assert first.ended() == 0
                gateway.event("instance gone", instance=first.addr, reason="left")
                assert gateway.call().status_code == 200


@pytest.mark.parametrize("spec", ["tests/wrappers/probe.py:Probe", SLOW], ids=["async", "thread"])
def test_a_client_that_goes_away_cancels_the_call_and_frees_the_slot(spec: str) -> None:
    with Gateway() as gateway, Loader(gateway.lb, spec, "--total", "1") as loader:
        gateway.joined(loader)
        service = "slow" if spec == SLOW else "probe"
        told = body(service, act="hold")
        with held(gateway, loader, "a", service):
            assert gateway.post(told, service).status_code == 503, "its one slot is taken"
        line = loader.event("let go", request_id="a")
        assert line["cancelled"] is True
        gone = gateway.event("request", code=499)
        assert gone["status"] == 499
        assert gone["instance"] == loader.addr
        with held(gateway, loader, "b", service):
            pass


def test_a_thread_keeps_its_slot_until_it_returns(tmp_path: Path) -> None:
    """The gateway's deadline passes, the thread goes on: the loader still counts it."""
    fifo = tmp_path / "release"
    os.mkfifo(fifo)
    spec, release = "tests/wrappers/stubborn.py:Stubborn", f"fifo={fifo}"
    with (
        Gateway("--gateway-deadline", "0.3") as gateway,
        Loader(gateway.lb, spec, "--set", release) as loader,
    ):
        gateway.joined(loader)
        assert gateway.call("stubborn").status_code == 504
        assert gateway.call("stubborn", wait=False).json()["header"]["code"] == 10110
        fifo.write_text("go")
        loader.event("returned")
        _until(gateway, lambda told: told["running"] == 0)
        assert gateway.call("stubborn", wait=False).status_code == 200


def test_sigterm_makes_unready_finishes_what_runs_and_exits_0() -> None:
    with Gateway("--gateway-lame-duck", "1") as gateway, Loader(gateway.lb) as loader:
        gateway.joined(loader)
        told = json.dumps(body(act="answer")).encode()
        where = urlsplit(gateway.url)
        with socket.create_connection((where.hostname, where.port), timeout=30) as sock:
            head = (
                "POST /v1/private/probe HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            )
            sock.sendall(f"{head}Content-Length: {len(told)}\r\n\r\n".encode() + told[:-1])
            gateway.signal(signal.SIGTERM)
            gateway.event("draining")
            ready = httpx.get(f"{gateway.url}/readyz", trust_env=False)
            assert ready.status_code == 503
            assert ready.json()["reason"] == "draining"
            assert gateway.call().status_code == 200, "a lame duck still answers"
            while _accepts(gateway):
                pass
            sock.sendall(told[-1:])
            answer = sock.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 OK"), "begun before, finished after"
        assert gateway.ended() == 0


def _accepts(gateway: Gateway) -> bool:
    where = urlsplit(gateway.url)
    try:
        socket.create_connection((where.hostname, where.port), timeout=30).close()
    except ConnectionError:  # refused, or reset with the listener it waited at
        return False
    return True


def test_a_second_signal_ends_a_gateway_at_once() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as loader:
        gateway.joined(loader)
        with held(gateway, loader, "a"):
            gateway.signal(signal.SIGTERM)
            gateway.event("draining")
            gateway.signal(signal.SIGTERM)
            assert gateway.ended() == 130


def test_a_hub_in_its_own_process_serves_two_gateways() -> None:
    with Hub() as hub, Loader(hub.lb) as loader:
        flags = ("--lb-hub", hub.lb)
        with Gateway(*flags) as one, Gateway(*flags) as two:
            for gateway in (one, two):
                gateway.joined(loader)
                assert gateway.http.get("/readyz").status_code == 200
                assert gateway.call().status_code == 200
            with held(one, loader, "a"), held(one, loader, "b"):
                line = next(iter(_until(two, lambda told: told["running"] == 2)))
                assert line["instance"] == loader.addr
            hub.end()
            for gateway in (one, two):
                gateway.event("hub lost; trying on")
                assert gateway.call().status_code == 200, "the last view stays good"
                assert gateway.http.get("/readyz").status_code == 200


def test_a_hub_s_frames_tell_of_deaths() -> None:
    with Hub() as hub, Loader(hub.lb) as loader, Gateway("--lb-hub", hub.lb) as gateway:
        gateway.joined(loader)
        loader.signal(signal.SIGKILL)
        hub.event("instance suspect", reason="stream_lost")
        gateway.event("instance suspect", reason="stream_lost")
        gateway.event("instance gone", reason="expired")
        assert gateway.call().json()["header"]["code"] == 20002
        assert 'state="suspect"' in httpx.get(f"{hub.admin}/metrics", trust_env=False).text


def _until(gateway: Gateway, good: object) -> list[dict[str, object]]:
    """Read the state until an instance is as wished; each reading is a round trip, not a sleep."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = [line for line in gateway.state() if good(line)]  # type: ignore[operator]
        if found:
            return found
    raise AssertionError("never seen")


def test_a_rolling_upgrade_never_mixes_two_contracts() -> None:
    """Two of the old schema, then three of the new: the switch is one, counted and logged."""
    old, new = "tests/wrappers/versions.py:Old", "tests/wrappers/versions.py:New"
    with Gateway() as gateway, Loader(gateway.lb, old) as a, Loader(gateway.lb, old) as b:
        gateway.joined(a)
        gateway.joined(b)
        first = gateway.event("contract switched", before="")
        with Loader(gateway.lb, new) as c:
            gateway.joined(c)
            used = {_version(gateway) for _ in range(20)}
            assert used == {"old"}
            assert [x["schema_active"] for x in gateway.state()] == [True, True, False]
            with Loader(gateway.lb, new) as d, Loader(gateway.lb, new) as e:
                gateway.joined(d)
                gateway.joined(e)
                gateway.event("contract switched", before=first["after"])
                assert gateway.count("contract switched") == 2
                assert {_version(gateway) for _ in range(20)} == {"new"}
                counted = 'ase_contract_switches_total{service="versions"} 2.0'
                assert counted in gateway.metrics()


def _version(gateway: Gateway) -> str:
    told = {"header": {"app_id": "t", "status": 3}, "parameter": {}, "payload": {}}
    version: str = gateway.post(told, "versions").json()["payload"]["said"]["text"]["version"]
    return version


def test_a_busy_port_is_named_with_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        with Process("gateway", "--gateway-port", str(port)) as process:
            assert process.ended() == 1
            said = "\n".join(process.text)
        assert f"127.0.0.1:{port} is in use by " in said
        with Process("loader", "run", SLOW, "--port", str(port)) as process:
            assert process.ended() == 1
            assert f"127.0.0.1:{port}" in "\n".join(process.text)


def test_what_the_drain_cuts_is_told_in_an_envelope() -> None:
    flags = ("--gateway-drain", "1", "--gateway-deadline", "60")
    with Gateway(*flags) as gateway, Loader(gateway.lb) as loader:
        gateway.joined(loader)
        with held(gateway, loader, "a") as sock:
            gateway.signal(signal.SIGTERM)
            answer = b""
            while piece := sock.recv(65536):
                answer += piece
            assert answer.startswith(b"HTTP/1.1 504 ")
            assert b'"code": 10102' in answer
            assert gateway.event("request", code=10102)["fault"] == "deadline"
            assert gateway.ended() == 0
            loader.event("let go", request_id="a")


def test_while_draining_every_answer_ends_its_connection() -> None:
    with Gateway("--gateway-lame-duck", "1") as gateway, Loader(gateway.lb) as loader:
        gateway.joined(loader)
        assert "connection" not in gateway.call().headers
        gateway.signal(signal.SIGTERM)
        gateway.event("draining")
        assert gateway.call().headers["connection"] == "close"
        assert gateway.ended() == 0


def test_a_client_that_leaves_a_pipeline_cancels_what_runs() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as loader:
        gateway.joined(loader)
        with held(gateway, loader, "a") as sock:
            sock.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert loader.event("let go", request_id="a")["cancelled"] is True
        assert gateway.event("request", code=499)["fault"] == "client_gone"
        assert gateway.call().status_code == 200


def test_sigterm_during_init_ends_a_loader_at_once(tmp_path: Path) -> None:
    fifo = tmp_path / "weights"
    os.mkfifo(fifo)
    words = ("loader", "run", "tests/wrappers/loading.py:Loading", "--set", f"fifo={fifo}")
    with Process(*words, "--port", "0") as loader:
        loader.event("loading")
        loader.signal(signal.SIGTERM)
        assert loader.ended() == 1
        assert loader.count("listening") == 0
        loader.event("a thread of the wrapper still runs; leaving it")


def test_a_thread_that_never_returns_does_not_keep_a_loader_alive(tmp_path: Path) -> None:
    fifo = tmp_path / "release"
    os.mkfifo(fifo)
    flags = ("--set", f"fifo={fifo}", "--drain", "0.5")
    spec = "tests/wrappers/stubborn.py:Stubborn"
    with (
        Gateway("--gateway-deadline", "0.3") as gateway,
        Loader(gateway.lb, spec, *flags) as loader,
    ):
        gateway.joined(loader)
        assert gateway.call("stubborn").status_code == 504
        loader.signal(signal.SIGTERM)
        gateway.event("instance gone", instance=loader.addr)
        assert loader.ended() == 1
        loader.event("a thread of the wrapper still runs; leaving it")
        assert loader.count("stopped") == 0, "fini is not called under a running thread"


def test_a_frozen_loader_is_found_before_the_deadline() -> None:
    """It takes bytes and answers nothing: only pings tell. The deadline would be 504."""
    with Gateway("--gateway-deadline", "60") as gateway, Loader(gateway.lb) as loader:
        gateway.joined(loader)
        with held(gateway, loader, "a") as sock:
            loader.signal(signal.SIGSTOP)
            try:
                answer = sock.recv(65536)
            finally:
                loader.signal(signal.SIGCONT)
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"10222" in answer


@pytest.mark.parametrize("lane", ["true", "false"])
def test_a_client_that_leaves_cancels_upstream_in_both_lanes(lane: str) -> None:
    with Gateway("--gateway-once-lane", lane) as gateway, Loader(gateway.lb) as loader:
        gateway.joined(loader)
        with held(gateway, loader, "gone"):
            pass
        loader.event("let go", request_id="gone", cancelled=True)
        line = gateway.event("request", status=499)
        assert line["fault"] == "client_gone"
