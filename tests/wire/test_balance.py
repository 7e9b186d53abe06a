"""Load balancing between real processes: waiting, ejection, hangs, hubs that come and go."""

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from config.options import POLICIES
from tests.harness import PATIENCE, ROOT, Gateway, Hub, Loader, Process, body, held

SPEC = "tests/wrappers/probe.py:Probe"


def asectl(*words: str) -> str:
    told = subprocess.run(
        [sys.executable, "-m", "asectl", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    return told.stdout


def test_a_request_waits_for_the_first_place_that_is_free() -> None:
    with Gateway("--lb-wait", "20") as gateway, Loader(gateway.lb) as loader:
        gateway.joined(loader)
        with ThreadPoolExecutor(1) as clients:
            with held(gateway, loader, "a"), held(gateway, loader, "b"):
                waiting = clients.submit(gateway.call)
                _until(gateway, "ase_pick_waiting", 1.0)
            answer = waiting.result(PATIENCE)
        assert answer.status_code == 200
        line = gateway.event("request", status=200)
        assert line["wait_ms"] > 0
        assert "ase_pick_waits_total 1.0" in gateway.metrics()


def _until(gateway: Gateway, name: str, value: float) -> None:
    """Ask for a metric until it has a value."""
    for _ in range(1000):
        found = re.search(rf"^{name} (\S+)$", gateway.metrics(), re.MULTILINE)
        if found and float(found[1]) == value:
            return
    raise AssertionError(f"{name} is not {value}")


def test_beyond_those_that_may_wait_it_is_503_at_once() -> None:
    flags = ("--lb-wait", "30", "--lb-waiting", "0")
    with Gateway(*flags) as gateway, Loader(gateway.lb) as loader:
        gateway.joined(loader)
        with held(gateway, loader, "a"), held(gateway, loader, "b"):
            answer = gateway.call()
            assert (answer.status_code, answer.json()["header"]["code"]) == (503, 10110)
            assert "retry-after" in answer.headers


def test_a_loader_lets_some_wait_and_works_on_them_in_turn() -> None:
    with Gateway() as gateway, Loader(gateway.lb, SPEC, "--total", "1", "--queue", "3") as loader:
        gateway.joined(loader)
        with ThreadPoolExecutor(3) as clients:
            with held(gateway, loader, "a"):
                waiting = [clients.submit(gateway.call) for _ in range(3)]
                while gateway.state()[0]["queued"] < 3:
                    pass
                (line,) = gateway.state()
                assert (line["running"], line["queued"], line["total"]) == (1, 3, 4)
            assert {one.result(PATIENCE).status_code for one in waiting} == {200}


def test_one_that_fails_fast_is_ejected_and_the_others_serve() -> None:
    """A thousand times faster than the good one, and idle: it must not draw the traffic."""
    with (
        Gateway() as gateway,
        Loader(gateway.lb) as good,
        Loader(gateway.lb, "tests/wrappers/failing.py:Failing") as bad,
    ):
        for loader in (good, bad):
            gateway.joined(loader)
        answers = [gateway.call() for _ in range(100)]
        failed = [answer for answer in answers if answer.status_code == 502]
        assert 1 <= len(failed) <= 6, "five in a row, and perhaps one trial"
        reason = gateway.event("instance ejected", instance=bad.addr)["reason"]
        assert reason in ("failed_in_row", "reported_failures"), "by answers, or by a report"
        (line,) = [line for line in gateway.state() if line["instance"] == bad.addr]
        assert line["state"] == "up"
        assert line["health"] in ("ejected", "tried")
        assert f'ase_pick_ejections_total{{reason="{reason}"}} 1.0' in gateway.metrics()
        text = asectl("lb", "state", "--url", gateway.admin)
        assert reason in text or "failed_again" in text


def test_five_failures_are_enough_for_all_gateways() -> None:
    with (
        Hub() as hub,
        Gateway("--lb-hub", hub.lb) as one,
        Gateway("--lb-hub", hub.lb) as two,
        Loader(hub.lb) as good,
        Loader(hub.lb, "tests/wrappers/failing.py:Failing") as bad,
    ):
        for gateway in (one, two):
            for loader in (good, bad):
                gateway.joined(loader)
        while not one.count("instance ejected", instance=bad.addr):
            one.call()
        told = two.event("instance ejected", instance=bad.addr)
        assert told["reason"] == "reported_failures"
        assert two.call().headers["x-ase-instance"] == good.addr


def test_when_all_fail_nobody_is_left_out() -> None:
    with Gateway() as gateway, Loader(gateway.lb, "tests/wrappers/failing.py:Failing") as bad:
        gateway.joined(bad)
        answers = [gateway.call() for _ in range(20)]
        assert {answer.status_code for answer in answers} == {502}, "not 503: it is asked"


def test_a_frozen_loader_is_suspect_then_gone_and_comes_back() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as frozen, Loader(gateway.lb) as good:
        for loader in (frozen, good):
            gateway.joined(loader)
        frozen.signal(signal.SIGSTOP)
        gateway.event("instance suspect", instance=frozen.addr, reason="silent")
        gateway.event("instance gone", instance=frozen.addr)
        answers = [gateway.call() for _ in range(10)]
        assert {answer.headers["x-ase-instance"] for answer in answers} == {good.addr}
        frozen.signal(signal.SIGCONT)
        while gateway.count("instance up", instance=frozen.addr) < 2:
            gateway.call()


async def _load(url: str, stop: asyncio.Event) -> list[int]:
    """Call, one after the other in four tasks, until told to stop; return the statuses."""
    statuses: list[int] = []

    async def client(http: httpx.AsyncClient) -> None:
        while not stop.is_set():
            answer = await http.post("/v1/private/probe", json=body())
            statuses.append(answer.status_code)

    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False) as http:
        await asyncio.gather(*(client(http) for _ in range(4)))
    return statuses


@pytest.mark.parametrize("hubs", [1, 2])
def test_a_hub_that_restarts_costs_no_request(hubs: int) -> None:
    """Killed under load, started anew on the same port: the loader and the gateway find it."""
    others = [Hub() for _ in range(hubs - 1)]
    first = Hub()
    told = ",".join(hub.lb for hub in (first, *others))
    port = first.lb.rpartition(":")[2]
    try:
        with Loader(told) as loader, Gateway("--lb-hub", told) as gateway:
            gateway.joined(loader)

            async def main() -> list[int]:
                stop = asyncio.Event()
                load = asyncio.create_task(_load(gateway.url, stop))
                await asyncio.to_thread(first.end)
                await asyncio.to_thread(gateway.event, "hub lost; trying on", hub=first.lb)
                again = await asyncio.to_thread(
                    Process, "lb", "--lb-port", port, "--lb-admin-port", "0"
                )
                others.append(again)  # type: ignore[arg-type]
                await asyncio.to_thread(loader.event, "reporting again", hub=first.lb)
                await asyncio.to_thread(_followed, gateway, first.lb)
                stop.set()
                return await load

            statuses = asyncio.run(main())
            assert set(statuses) == {200}
            (line,) = gateway.state()
            assert (line["state"], line["instance"]) == ("up", loader.addr)
            gone = gateway.count("instance gone")
            assert gone == 0
            if hubs == 2:
                assert gateway.count("instance suspect") == 0, "the other hub told of it"
    finally:
        for hub in (first, *others):
            hub.end()


def _followed(gateway: Gateway, hub: str) -> None:
    while gateway.count("hub followed", hub=hub) < 2:
        pass


def test_state_and_top_tell_of_instances() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as loader:
        gateway.joined(loader)
        gateway.call()
        head, line = asectl("lb", "state", "--url", gateway.admin).splitlines()
        assert head.split()[:4] == ["SERVICE", "INSTANCE", "STATE", "REASON"]
        assert line.split()[:4] == ["probe", loader.addr, "up", "reported"]
        (told,) = json.loads(asectl("lb", "state", "--url", gateway.admin, "--json"))
        assert (told["instance"], told["health"]) == (loader.addr, "in")
        text = asectl("top", "--url", gateway.admin, "--times", "2", "--every", "0.05")
        assert text.count("1 instances, 1 in") == 2
        wrong: Any = subprocess.run(
            [sys.executable, "-m", "asectl", "lb", "state", "--url", gateway.url],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert wrong.returncode == 4
        assert "is it the admin port?" in wrong.stderr


def test_what_is_measured_of_picking() -> None:
    with Hub() as hub, Loader(hub.lb) as loader, Gateway("--lb-hub", hub.lb) as gateway:
        gateway.joined(loader)
        for _ in range(20):
            gateway.call()
        text = gateway.metrics()
        picked = re.findall(r'^ase_pick_total\{by="\w+"\} (\S+)$', text, re.MULTILINE)
        assert sum(map(float, picked)) == 20
        for name in (
            "ase_pick_seconds_count",
            "ase_pick_report_age_seconds_sum",
            "ase_pick_waiting",
            "ase_pick_estimate_error_count",
            "ase_pick_dropped_total",
        ):
            assert re.search(rf"^{name} ", text, re.MULTILINE), name
        assert f'ase_pick_inflight{{instance="{loader.addr}",service="probe"}} 0.0' in text
        hub_text = httpx.get(f"{hub.admin}/metrics", trust_env=False).text
        for name in ("ase_lb_reports_total", "ase_lb_frames_total"):
            found = re.search(rf"^{name} (\S+)$", hub_text, re.MULTILINE)
            assert found
            assert float(found[1]) > 0


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_serves(policy: str) -> None:
    """Two loaders, one of which dies: each policy uses both, and then goes on with the other."""
    with (
        Gateway("--lb-policy", policy) as gateway,
        Loader(gateway.lb) as one,
        Loader(gateway.lb) as two,
    ):
        for loader in (one, two):
            gateway.joined(loader)
        answers = [gateway.call() for _ in range(40)]
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.headers["x-ase-instance"] for answer in answers} == {one.addr, two.addr}
        one.end()
        gateway.event("instance suspect", instance=one.addr)
        answers = [gateway.call() for _ in range(20)]
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.headers["x-ase-instance"] for answer in answers} == {two.addr}


def test_requests_of_one_user_stay_with_one_loader(tmp_path: Path) -> None:
    (tmp_path / "ase.yaml").write_text("services:\n  probe: {affinity: header.uid}\n")
    with (
        Gateway("--config", str(tmp_path / "ase.yaml")) as gateway,
        contextlib.ExitStack() as stack,
    ):
        loaders = [stack.enter_context(Loader(gateway.lb)) for _ in range(4)]
        for loader in loaders:
            gateway.joined(loader)
        for _ in loaders:  # the first requests are the newcomers' trials
            assert gateway.call().status_code == 200

        def went(uid: str) -> set[str]:
            told = body()
            told["header"]["uid"] = uid
            return {gateway.post(told).headers["x-ase-instance"] for _ in range(20)}

        homes = [went(f"user-{n}") for n in range(8)]
        assert all(len(home) == 1 for home in homes), (homes, gateway.state())
        assert len(set.union(*homes)) > 1
