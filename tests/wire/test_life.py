"""Coming and going: loaders that join, die and drain; clients that leave; a gateway that stops."""

import contextlib
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

from aseloader import declare
from tests.harness import Gateway, Hub, Loader, Process, make_envelope, occupied_slot
from tests.wire.test_faults import dead_address
from tests.wire.test_health_checks import reports
from tests.wrappers import versions

SLOW = "tests/wrappers/probe.py:Slow"
BROKEN = "tests/wrappers/probe.py:Broken"


def test_killed_loader_costs_only_its_running_requests() -> None:
    """50 requests/s, open loop; the kill falls in the middle.

    What is sent after the gateway has noticed the end of the loader is not lost.
    """
    period, count = 0.02, 150
    # The second loader alone has two slots for them, on a machine that may be busy with others.
    patient = ("--lb-wait", "20", "--gateway-deadline", "30")
    with Gateway(*patient) as gateway, Loader(gateway.lb) as first, Loader(gateway.lb) as second:
        gateway.wait_until_up(first)
        gateway.wait_until_up(second)
        start = time.monotonic()
        pause = threading.Event()

        def send_request(number: int) -> tuple[float, httpx.Response]:
            pause.wait(max(0.0, start + number * period - time.monotonic()))
            sent_at = time.monotonic()
            return sent_at, gateway.call()

        with ThreadPoolExecutor(16) as pool:
            futures = [pool.submit(send_request, number) for number in range(count)]
            futures[count // 3].result()
            first.signal(signal.SIGKILL)
            gateway.wait_for_event("instance suspect", instance=first.addr, reason="stream_lost")
            noticed_at = time.monotonic()
            responses = [future.result() for future in futures]
        after = [response for sent_at, response in responses if sent_at > noticed_at]
        failed = [response for _, response in responses if response.status_code != 200]
        assert len(after) > 10
        assert [a.status_code for a in after] == [200] * len(after)
        assert {a.headers["x-ase-instance"] for a in after} == {second.addr}
        assert all(a.headers["x-ase-instance"] == first.addr for a in failed)
        assert len(failed) <= 2, "no more than its two licences could be in flight there"
        gateway.wait_for_event("instance gone", instance=first.addr, reason="expired")
        text = gateway.metrics()
        labels = 'reason="stream_lost",service="probe",state="suspect"'
        assert f"ase_lb_instance_changes_total{{{labels}}} 1.0" in text
        assert 'ase_lb_instances{service="probe",state="up"} 1.0' in text


def test_a_new_loader_gets_its_first_request_at_once() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as first:
        gateway.wait_until_up(first)
        for _ in range(20):
            assert gateway.call().status_code == 200
        with Loader(gateway.lb) as second:
            gateway.wait_until_up(second)
            assert gateway.call().headers["x-ase-instance"] == second.addr


def test_load_is_shared_between_equal_loaders() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as first, Loader(gateway.lb) as second:
        gateway.wait_until_up(first)
        gateway.wait_until_up(second)
        used = [gateway.call().headers["x-ase-instance"] for _ in range(100)]
        assert min(used.count(first.addr), used.count(second.addr)) >= 25


def test_full_instance_is_not_picked() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as first:
        gateway.wait_until_up(first)
        with (
            occupied_slot(gateway, first, "a"),
            occupied_slot(gateway, first, "b"),
            Loader(gateway.lb) as second,
        ):
            gateway.wait_until_up(second)
            responses = [gateway.call() for _ in range(20)]
            assert {a.headers["x-ase-instance"] for a in responses} == {second.addr}
            assert {a.headers["x-ase-attempts"] for a in responses} == {"1"}, (
                "by report, not by trial"
            )


def test_loader_with_failed_init_is_not_reported() -> None:
    with Gateway() as gateway, Process("loader", "run", BROKEN, "--lb", gateway.lb) as loader:
        assert loader.wait_for_exit() == 1
        assert "no weights here" in "\n".join(loader.text)
        assert gateway.state() == []


def test_wrapper_of_one_request_at_a_time_has_one_thread() -> None:
    """sqlite3 refuses a connection in another thread than the one that opened it."""
    spec = "tests/wrappers/database.py:Database"
    with Gateway() as gateway, Loader(gateway.lb, spec) as loader:
        gateway.wait_until_up(loader)
        envelope = make_envelope("database")
        counts = []
        for headers in ({}, {"accept": "text/event-stream"}, {}):
            text = gateway.post(envelope, "database", headers=headers).text
            counts.append(next(count for count in ("MQ==", "Mg==", "Mw==") if count in text))
        assert counts == ["MQ==", "Mg==", "Mw=="]
        loader.signal(signal.SIGTERM)
        loader.wait_for_event("stopped")


def test_loader_of_more_requests_than_it_may_report_does_not_start() -> None:
    args = ("--lb", "", "--total", "6000", "--queue", "5000")
    with Process("loader", "run", "tests/wrappers/probe.py:Probe", *args) as loader:
        assert loader.wait_for_exit() == 1
        assert "Probe: 6000 requests at a time and 5000 that wait" in "\n".join(loader.text)


def test_draining_loader_finishes_running_requests() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as first:
        gateway.wait_until_up(first)
        with occupied_slot(gateway, first, "a") as sock:
            first.signal(signal.SIGTERM)
            gateway.wait_for_event("instance draining", instance=first.addr)
            with Loader(gateway.lb) as second:
                gateway.wait_until_up(second)
                for _ in range(10):
                    assert gateway.call().headers["x-ase-instance"] == second.addr
                sock.close()
                assert first.wait_for_exit() == 0
                gateway.wait_for_event("instance gone", instance=first.addr, reason="left")
                assert gateway.call().status_code == 200


@pytest.mark.parametrize("spec", ["tests/wrappers/probe.py:Probe", SLOW], ids=["async", "thread"])
def test_client_disconnect_cancels_the_call_and_frees_the_slot(spec: str) -> None:
    with Gateway() as gateway, Loader(gateway.lb, spec, "--total", "1") as loader:
        gateway.wait_until_up(loader)
        service = "slow" if spec == SLOW else "probe"
        envelope = make_envelope(service, act="hold")
        with occupied_slot(gateway, loader, "a", service):
            assert gateway.post(envelope, service).status_code == 503, "its one slot is taken"
        line = loader.wait_for_event("let go", request_id="a")
        assert line["cancelled"] is True
        request_line = gateway.wait_for_event("request", code=499)
        assert request_line["status"] == 499
        assert request_line["instance"] == loader.addr
        with occupied_slot(gateway, loader, "b", service):
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
        gateway.wait_until_up(loader)
        assert gateway.call("stubborn").status_code == 504
        assert gateway.call("stubborn", wait=False).json()["header"]["code"] == 10110
        fifo.write_text("go")
        loader.wait_for_event("returned")
        _wait_for_instances(gateway, lambda instance: instance["running"] == 0)
        assert gateway.call("stubborn", wait=False).status_code == 200


def test_sigterm_makes_unready_finishes_requests_and_exits_0() -> None:
    with Gateway("--gateway-lame-duck", "1") as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        content = json.dumps(make_envelope(act="answer")).encode()
        address = urlsplit(gateway.url)
        with socket.create_connection((address.hostname, address.port), timeout=30) as sock:
            head = (
                "POST /v1/private/probe HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            )
            sock.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content[:-1])
            gateway.signal(signal.SIGTERM)
            gateway.wait_for_event("draining")
            ready = httpx.get(f"{gateway.url}/readyz", trust_env=False)
            assert ready.status_code == 503
            assert ready.json()["reason"] == "draining"
            assert gateway.call().status_code == 200, "a lame duck still answers"
            while _accepts_connections(gateway):
                pass
            sock.sendall(content[-1:])
            response = sock.recv(65536)
            assert response.startswith(b"HTTP/1.1 200 OK"), "begun before, finished after"
        assert gateway.wait_for_exit() == 0


def _accepts_connections(gateway: Gateway) -> bool:
    address = urlsplit(gateway.url)
    try:
        socket.create_connection((address.hostname, address.port), timeout=30).close()
    except ConnectionError:  # refused, or reset with the listener it waited at
        return False
    return True


def test_a_second_signal_ends_a_gateway_at_once() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        with occupied_slot(gateway, loader, "a"):
            gateway.signal(signal.SIGTERM)
            gateway.wait_for_event("draining")
            gateway.signal(signal.SIGTERM)
            assert gateway.wait_for_exit() == 130


def test_a_hub_in_its_own_process_serves_two_gateways() -> None:
    with Hub() as hub, Loader(hub.lb) as loader:
        flags = ("--lb-hub", hub.lb)
        with Gateway(*flags) as first, Gateway(*flags) as second:
            for gateway in (first, second):
                gateway.wait_until_up(loader)
                assert gateway.http.get("/readyz").status_code == 200
                assert gateway.call().status_code == 200
            with occupied_slot(first, loader, "a"), occupied_slot(first, loader, "b"):
                line = next(
                    iter(_wait_for_instances(second, lambda instance: instance["running"] == 2))
                )
                assert line["instance"] == loader.addr
            hub.kill()
            for gateway in (first, second):
                gateway.wait_for_event("hub lost; trying on")
                assert gateway.call().status_code == 200, "the last view stays good"
                assert gateway.http.get("/readyz").status_code == 200


def test_hub_announces_dead_loaders() -> None:
    with Hub() as hub, Loader(hub.lb) as loader, Gateway("--lb-hub", hub.lb) as gateway:
        gateway.wait_until_up(loader)
        loader.signal(signal.SIGKILL)
        hub.wait_for_event("instance suspect", reason="stream_lost")
        gateway.wait_for_event("instance suspect", reason="stream_lost")
        gateway.wait_for_event("instance gone", reason="expired")
        assert gateway.call().json()["header"]["code"] == 20002
        assert 'state="suspect"' in httpx.get(f"{hub.admin}/metrics", trust_env=False).text


def test_a_gateway_without_its_hub_knows_its_services(tmp_path: Path) -> None:
    """It is restarted while the hub is away: its clients try again, and none is told 404."""
    cache = ("--lb-schema-cache", str(tmp_path / "schemas"))
    with Hub() as hub:
        flags = ("--lb-hub", hub.lb, *cache)
        with Gateway(*flags) as gateway, Loader(hub.lb) as loader:
            gateway.wait_until_up(loader)
            assert gateway.call().status_code == 200
            assert gateway.call("other").status_code == 404
    with Gateway(*flags) as gateway:
        responses = [gateway.call(), gateway.call("other")]
        responses.append(gateway.http.get("/v1/apis/other/schema"))
        assert [response.status_code for response in responses] == [503] * 3
        assert [response.json()["header"]["code"] for response in responses] == [20002] * 3
        assert all("retry-after" in response.headers for response in responses)
        assert gateway.post({}).status_code == 400, "requests are checked all the same"
        assert gateway.http.get("/v1/apis/probe/schema").status_code == 200


def _wait_for_instances(gateway: Gateway, condition: object) -> list[dict[str, object]]:
    """Read the state until an instance is as wished; each reading is a round trip, not a sleep."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        matching = [line for line in gateway.state() if condition(line)]  # type: ignore[operator]
        if matching:
            return matching
    raise AssertionError("never seen")


def test_a_rolling_upgrade_never_mixes_two_contracts() -> None:
    """Two of the old schema, then three of the new: the switch is one, counted and logged."""
    old, new = "tests/wrappers/versions.py:Old", "tests/wrappers/versions.py:New"
    with Gateway() as gateway, Loader(gateway.lb, old) as a, Loader(gateway.lb, old) as b:
        gateway.wait_until_up(a)
        gateway.wait_until_up(b)
        first = gateway.wait_for_event("contract switched", before="")
        with Loader(gateway.lb, new) as c:
            gateway.wait_until_up(c)
            versions = {_version(gateway) for _ in range(20)}
            assert versions == {"old"}
            assert [x["schema_active"] for x in gateway.state()] == [True, True, False]
            with Loader(gateway.lb, new) as d, Loader(gateway.lb, new) as e:
                gateway.wait_until_up(d)
                gateway.wait_until_up(e)
                gateway.wait_for_event("contract switched", before=first["after"])
                assert gateway.count("contract switched") == 2
                assert {_version(gateway) for _ in range(20)} == {"new"}
                metric_line = 'ase_contract_switches_total{service="versions"} 2.0'
                assert metric_line in gateway.metrics()


def test_a_claim_of_slots_switches_no_schema() -> None:
    """A loader that claims 4,000 slots, and another that does not answer: neither is a majority."""
    old, new = "tests/wrappers/versions.py:Old", "tests/wrappers/versions.py:New"
    with Gateway() as gateway, Loader(gateway.lb, old) as loader:
        gateway.wait_until_up(loader)
        document = declare.schema(versions.New)
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                addr = dead_address()
                reported = reports(gateway.lb, "versions", addr, total=4000, document=document)
                stack.enter_context(reported)
                gateway.wait_for_event("instance ejected", instance=addr, reason="check_failed")
            with Loader(gateway.lb, new) as claimant:
                gateway.wait_until_up(claimant)
                assert {_version(gateway) for _ in range(20)} == {"old"}
                assert gateway.count("contract switched") == 1


def _version(gateway: Gateway) -> str:
    envelope = {"header": {"app_id": "t", "status": 3}, "parameter": {}, "payload": {}}
    version: str = gateway.post(envelope, "versions").json()["payload"]["said"]["text"]["version"]
    return version


def test_busy_port_error_names_port_and_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        with Process("gateway", "--gateway-port", str(port)) as process:
            assert process.wait_for_exit() == 1
            stderr = "\n".join(process.text)
        assert f"127.0.0.1:{port} is in use by " in stderr
        with Process("loader", "run", SLOW, "--port", str(port)) as process:
            assert process.wait_for_exit() == 1
            assert f"127.0.0.1:{port}" in "\n".join(process.text)


def test_request_cut_by_drain_gets_an_error_envelope() -> None:
    flags = ("--gateway-drain", "1", "--gateway-deadline", "60")
    with Gateway(*flags) as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        with occupied_slot(gateway, loader, "a") as sock:
            gateway.signal(signal.SIGTERM)
            response = b""
            while piece := sock.recv(65536):
                response += piece
            assert response.startswith(b"HTTP/1.1 504 ")
            assert b'"code": 10102' in response
            assert gateway.wait_for_event("request", code=10102)["fault"] == "deadline"
            assert gateway.wait_for_exit() == 0
            loader.wait_for_event("let go", request_id="a")


def test_responses_close_connections_while_draining() -> None:
    with Gateway("--gateway-lame-duck", "1") as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        assert "connection" not in gateway.call().headers
        gateway.signal(signal.SIGTERM)
        gateway.wait_for_event("draining")
        assert gateway.call().headers["connection"] == "close"
        assert gateway.wait_for_exit() == 0


def test_client_disconnect_with_pipelined_request_cancels_the_call() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        with occupied_slot(gateway, loader, "a") as sock:
            sock.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert loader.wait_for_event("let go", request_id="a")["cancelled"] is True
        assert gateway.wait_for_event("request", code=499)["fault"] == "client_gone"
        assert gateway.call().status_code == 200


def test_sigterm_during_init_ends_a_loader_at_once(tmp_path: Path) -> None:
    fifo = tmp_path / "weights"
    os.mkfifo(fifo)
    args = ("loader", "run", "tests/wrappers/loading.py:Loading", "--set", f"fifo={fifo}")
    with Process(*args, "--port", "0") as loader:
        loader.wait_for_event("loading")
        loader.signal(signal.SIGTERM)
        assert loader.wait_for_exit() == 1
        assert loader.count("listening") == 0
        loader.wait_for_event("a thread of the wrapper still runs; leaving it")


def test_a_thread_that_never_returns_does_not_keep_a_loader_alive(tmp_path: Path) -> None:
    fifo = tmp_path / "release"
    os.mkfifo(fifo)
    flags = ("--set", f"fifo={fifo}", "--drain", "0.5")
    spec = "tests/wrappers/stubborn.py:Stubborn"
    with (
        Gateway("--gateway-deadline", "0.3") as gateway,
        Loader(gateway.lb, spec, *flags) as loader,
    ):
        gateway.wait_until_up(loader)
        assert gateway.call("stubborn").status_code == 504
        loader.signal(signal.SIGTERM)
        gateway.wait_for_event("instance gone", instance=loader.addr)
        assert loader.wait_for_exit() == 1
        loader.wait_for_event("a thread of the wrapper still runs; leaving it")
        assert loader.count("stopped") == 0, "fini is not called under a running thread"


def test_frozen_loader_is_detected_before_the_deadline() -> None:
    """It takes bytes and answers nothing: only pings tell. The deadline would be 504."""
    with Gateway("--gateway-deadline", "60") as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        with occupied_slot(gateway, loader, "a") as sock:
            loader.signal(signal.SIGSTOP)
            try:
                response = sock.recv(65536)
            finally:
                loader.signal(signal.SIGCONT)
    assert response.startswith(b"HTTP/1.1 502 ")
    assert b"10222" in response


@pytest.mark.parametrize("lane", ["true", "false"])
def test_client_disconnect_cancels_upstream_with_and_without_fast_path(lane: str) -> None:
    with Gateway("--gateway-once-lane", lane) as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        with occupied_slot(gateway, loader, "gone"):
            pass
        loader.wait_for_event("let go", request_id="gone", cancelled=True)
        line = gateway.wait_for_event("request", status=499)
        assert line["fault"] == "client_gone"
