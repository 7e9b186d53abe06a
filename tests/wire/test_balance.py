"""Load balancing between real processes: waiting, ejection, hangs, hubs that come and go."""

import asyncio
import contextlib
import json
import math
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from config.options import POLICIES
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

SPEC = "tests/wrappers/probe.py:Probe"


def asectl_output(*args: str) -> str:
    result = run_asectl(*args)
    result.check_returncode()
    return result.stdout


def test_request_waits_for_a_free_slot() -> None:
    with Gateway("--lb-wait", "20") as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        with ThreadPoolExecutor(1) as clients:
            with occupied_slot(gateway, loader, "a"), occupied_slot(gateway, loader, "b"):
                waiting = clients.submit(gateway.call)
                _wait_for_metric(gateway, "ase_pick_waiting", lambda value: value == 1.0)
            response = waiting.result(TIMEOUT_S)
        assert response.status_code == 200
        line = gateway.wait_for_event("request", status=200)
        assert line["wait_ms"] > 0
        assert "ase_pick_waits_total 1.0" in gateway.metrics()


def test_full_load_of_several_gateways_waits_and_is_not_rejected() -> None:
    """Each gateway sees the load of the other late, so loaders reject many of its requests."""
    with Hub() as hub, contextlib.ExitStack() as stack:
        flags = ("--lb-hub", hub.lb, "--lb-wait", "20", "--gateway-deadline", "30")
        gateways = [stack.enter_context(Gateway(*flags)) for _ in range(2)]
        sleeper = "tests/wrappers/sleeper.py:Sleeper"
        loaders = [stack.enter_context(Loader(hub.lb, sleeper)) for _ in range(2)]
        for gateway in gateways:
            for loader in loaders:
                gateway.wait_until_up(loader)
        clients = stack.enter_context(ThreadPoolExecutor(16))
        responses = clients.map(
            lambda number: gateways[number % 2].call("sleeper").status_code, range(400)
        )
        assert set(responses) == {200}
        retries = [
            re.search(r'ase_retries_total\{reason="full"\} (\S+)', gateway.metrics())
            for gateway in gateways
        ]
        assert sum(float(match[1]) for match in retries if match) > 0, "loaders rejected some"


def _wait_for_metric(gateway: Gateway, name: str, is_wanted: Callable[[float], bool]) -> None:
    """Ask for a metric until it has the value."""
    for _ in range(1000):
        match = re.search(rf"^{name} (\S+)$", gateway.metrics(), re.MULTILINE)
        if match and is_wanted(float(match[1])):
            return
    raise AssertionError(f"{name} never had the value")


async def _overload(gateway: Gateway) -> tuple[list[int], Counter[int]]:
    """Keep 24 requests of one application in flight; return the statuses of another's, and these.

    The other sends 30, one after the other.
    """
    heavy, light = make_envelope("sleeper"), make_envelope("sleeper")
    heavy["header"]["app_id"] = "heavy"
    statuses: Counter[int] = Counter()
    overloaded = asyncio.Event()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(
        base_url=gateway.url, timeout=TIMEOUT_S, trust_env=False, limits=limits
    ) as http:

        async def send_heavy() -> None:
            while True:
                response = await http.post("/v1/private/sleeper", json=heavy)
                statuses[response.status_code] += 1
                if statuses[503] > 60:
                    overloaded.set()

        tasks = [asyncio.create_task(send_heavy()) for _ in range(24)]
        await overloaded.wait()
        responses = [await http.post("/v1/private/sleeper", json=light) for _ in range(30)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [response.status_code for response in responses], statuses


@pytest.mark.unmeasured
def test_applications_share_an_overloaded_service() -> None:
    """One has 24 requests in flight at four slots; the other waits for its turn alone."""
    sleeper = "tests/wrappers/sleeper.py:Sleeper"
    flags = ("--lb-wait", "0.2", "--gateway-lame-duck", "0")
    with Gateway(*flags) as gateway, Loader(gateway.lb, sleeper) as loader:
        gateway.wait_until_up(loader)
        light, heavy = asyncio.run(_overload(gateway))
        assert light == [200] * 30
        assert heavy[200] > 0
        gateway.stop()  # the log is complete
        shed = [line for line in gateway.lines if line.get("status") == 503]
        late = [line for line in shed if "wait_ms" in line]
        # At first it is not known how long requests take: some wait in vain.
        assert len(shed) > 60
        assert len(late) <= len(shed) // 2, "who cannot be served in time is told at once"


def test_full_pending_queue_is_503_at_once() -> None:
    flags = ("--lb-wait", "30", "--lb-waiting", "0")
    with Gateway(*flags) as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        with occupied_slot(gateway, loader, "a"), occupied_slot(gateway, loader, "b"):
            response = gateway.call()
            assert (response.status_code, response.json()["header"]["code"]) == (503, 10110)
            assert "retry-after" in response.headers


def test_loader_queues_requests_beyond_its_slots() -> None:
    with Gateway() as gateway, Loader(gateway.lb, SPEC, "--total", "1", "--queue", "3") as loader:
        gateway.wait_until_up(loader)
        with ThreadPoolExecutor(3) as clients:
            with occupied_slot(gateway, loader, "a"):
                waiting = [clients.submit(gateway.call) for _ in range(3)]
                while gateway.state()[0]["queued"] < 3:
                    pass
                (line,) = gateway.state()
                assert (line["running"], line["queued"], line["total"]) == (1, 3, 4)
            assert {future.result(TIMEOUT_S).status_code for future in waiting} == {200}


def test_fast_failing_loader_is_ejected() -> None:
    """A thousand times faster than the good one, and idle: it must not draw the traffic."""
    with (
        Gateway() as gateway,
        Loader(gateway.lb) as good,
        Loader(gateway.lb, "tests/wrappers/failing.py:Failing") as bad,
    ):
        for loader in (good, bad):
            gateway.wait_until_up(loader)
        start = time.monotonic()
        responses = [gateway.call() for _ in range(100)]
        failed = [response for response in responses if response.status_code == 502]
        # A trial follows 0.8 s after the ejection at the earliest, the next after twice the time.
        trials = int(math.log2(1 + (time.monotonic() - start) / 0.8))
        assert 1 <= len(failed) <= 5 + trials, "five in a row, and trials"
        reason = gateway.wait_for_event("instance ejected", instance=bad.addr)["reason"]
        assert reason in ("failed_in_row", "reported_failures"), "by answers, or by a report"
        (line,) = [line for line in gateway.state() if line["instance"] == bad.addr]
        assert line["state"] == "up"
        assert line["health"] in ("ejected", "checking", "tried")
        assert f'ase_pick_ejections_total{{reason="{reason}"}} 1.0' in gateway.metrics()
        # An ejection may end while `asectl` starts; the next failure ejects for twice as long.
        while not re.search(
            rf"{re.escape(bad.addr)} .*(failed_in_row|reported_failures|failed_again)",
            asectl_output("lb", "state", "--url", gateway.admin),
        ):
            gateway.call()


def test_failures_seen_by_one_gateway_eject_for_all() -> None:
    with (
        Hub() as hub,
        Gateway("--lb-hub", hub.lb) as first_gateway,
        Gateway("--lb-hub", hub.lb) as second_gateway,
        Loader(hub.lb) as good,
        Loader(hub.lb, "tests/wrappers/failing.py:Failing") as bad,
    ):
        for gateway in (first_gateway, second_gateway):
            for loader in (good, bad):
                gateway.wait_until_up(loader)
        while not first_gateway.count("instance ejected", instance=bad.addr):
            first_gateway.call()
        event = second_gateway.wait_for_event("instance ejected", instance=bad.addr)
        assert event["reason"] == "reported_failures"
        assert second_gateway.call().headers["x-ase-instance"] == good.addr


def test_all_failing_loaders_are_still_used() -> None:
    with Gateway() as gateway, Loader(gateway.lb, "tests/wrappers/failing.py:Failing") as bad:
        gateway.wait_until_up(bad)
        responses = [gateway.call() for _ in range(20)]
        assert {response.status_code for response in responses} == {502}, "not 503: it is asked"


def test_frozen_loader_is_suspect_then_removed_and_returns() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as frozen, Loader(gateway.lb) as good:
        for loader in (frozen, good):
            gateway.wait_until_up(loader)
        frozen.signal(signal.SIGSTOP)
        gateway.wait_for_event("instance suspect", instance=frozen.addr, reason="silent")
        gateway.wait_for_event("instance gone", instance=frozen.addr)
        responses = [gateway.call() for _ in range(10)]
        assert {response.headers["x-ase-instance"] for response in responses} == {good.addr}
        frozen.signal(signal.SIGCONT)
        while gateway.count("instance up", instance=frozen.addr) < 2:
            gateway.call()


async def _generate_load(url: str, stop: asyncio.Event) -> list[int]:
    """Call, one after the other in four tasks, until told to stop; return the statuses."""
    statuses: list[int] = []

    async def client(http: httpx.AsyncClient) -> None:
        while not stop.is_set():
            response = await http.post("/v1/private/probe", json=make_envelope())
            statuses.append(response.status_code)

    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, trust_env=False) as http:
        await asyncio.gather(*(client(http) for _ in range(4)))
    return statuses


@pytest.mark.parametrize("hubs", [1, 2])
def test_hub_restart_loses_no_request(hubs: int) -> None:
    """Killed under load, started anew on the same port: the loader and the gateway find it."""
    others = [Hub() for _ in range(hubs - 1)]
    first = Hub()
    hub_addrs = ",".join(hub.lb for hub in (first, *others))
    port = first.lb.rpartition(":")[2]
    try:
        with Loader(hub_addrs) as loader, Gateway("--lb-hub", hub_addrs) as gateway:
            gateway.wait_until_up(loader)

            async def main() -> list[int]:
                stop = asyncio.Event()
                load = asyncio.create_task(_generate_load(gateway.url, stop))
                await asyncio.to_thread(first.kill)
                await asyncio.to_thread(gateway.wait_for_event, "hub lost; trying on", hub=first.lb)
                restarted = await asyncio.to_thread(
                    Process, "lb", "--lb-port", port, "--lb-admin-port", "0"
                )
                others.append(restarted)  # type: ignore[arg-type]
                await asyncio.to_thread(loader.wait_for_event, "reporting again", hub=first.lb)
                await asyncio.to_thread(_wait_until_followed_again, gateway, first.lb)
                stop.set()
                return await load

            statuses = asyncio.run(main())
            assert set(statuses) == {200}
            (line,) = gateway.state()
            assert (line["state"], line["instance"]) == ("up", loader.addr)
            removed = gateway.count("instance gone")
            assert removed == 0
            if hubs == 2:
                assert gateway.count("instance suspect") == 0, "the other hub told of it"
    finally:
        for hub in (first, *others):
            hub.kill()


def _wait_until_followed_again(gateway: Gateway, hub: str) -> None:
    while gateway.count("hub followed", hub=hub) < 2:
        pass


def test_state_and_top_show_instances() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        gateway.call()
        head, line = asectl_output("lb", "state", "--url", gateway.admin).splitlines()
        assert head.split()[:4] == ["SERVICE", "INSTANCE", "STATE", "REASON"]
        assert line.split()[:4] == ["probe", loader.addr, "up", "reported"]
        (instance,) = json.loads(asectl_output("lb", "state", "--url", gateway.admin, "--json"))
        assert (instance["instance"], instance["health"]) == (loader.addr, "in")
        text = asectl_output("top", "--url", gateway.admin, "--times", "2", "--every", "0.05")
        assert text.count("1 instances, 1 in") == 2
        wrong = run_asectl("lb", "state", "--url", gateway.url)
        assert wrong.returncode == 4
        assert "is it the admin port?" in wrong.stderr


def test_pick_metrics() -> None:
    with Hub() as hub, Loader(hub.lb) as loader, Gateway("--lb-hub", hub.lb) as gateway:
        gateway.wait_until_up(loader)
        for _ in range(20):
            gateway.call()
        text = gateway.metrics()
        picks = re.findall(r'^ase_pick_total\{by="\w+"\} (\S+)$', text, re.MULTILINE)
        assert sum(map(float, picks)) == 20
        for name in (
            "ase_pick_seconds_count",
            "ase_pick_report_age_seconds_sum",
            "ase_pick_waiting",
            "ase_pick_estimate_error_count",
            "ase_pick_dropped_total",
        ):
            assert re.search(rf"^{name} ", text, re.MULTILINE), name
        assert f'ase_pick_inflight{{loader="{loader.addr}",service="probe"}} 0.0' in text
        hub_text = httpx.get(f"{hub.admin}/metrics", trust_env=False).text
        for name in ("ase_lb_reports_total", "ase_lb_frames_total"):
            match = re.search(rf"^{name} (\S+)$", hub_text, re.MULTILINE)
            assert match
            assert float(match[1]) > 0


@pytest.mark.unmeasured
@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_serves(policy: str) -> None:
    """Two loaders, one of which dies: each policy uses both, and then goes on with the other."""
    with (
        Gateway("--lb-policy", policy) as gateway,
        Loader(gateway.lb) as first,
        Loader(gateway.lb) as second,
    ):
        for loader in (first, second):
            gateway.wait_until_up(loader)
        responses = [gateway.call() for _ in range(40)]
        assert {response.status_code for response in responses} == {200}
        assert {response.headers["x-ase-instance"] for response in responses} == {
            first.addr,
            second.addr,
        }
        first.kill()
        gateway.wait_for_event("instance suspect", instance=first.addr)
        responses = [gateway.call() for _ in range(20)]
        assert {response.status_code for response in responses} == {200}
        assert {response.headers["x-ase-instance"] for response in responses} == {second.addr}


def test_affinity_keeps_a_user_on_one_loader(tmp_path: Path) -> None:
    (tmp_path / "ase.yaml").write_text("services:\n  sleeper: {affinity: header.uid}\n")
    with (
        # A busy machine delays reports; a loader that is suspect meanwhile is no user's home.
        Gateway("--config", str(tmp_path / "ase.yaml"), "--lb-silence", "2") as gateway,
        contextlib.ExitStack() as stack,
    ):
        # Their requests take 50 ms. What a busy machine adds is less than the quarter of it by
        # which a user's home may be slower.
        sleeper = "tests/wrappers/sleeper.py:Sleeper"
        loaders = [stack.enter_context(Loader(gateway.lb, sleeper)) for _ in range(4)]
        for loader in loaders:
            gateway.wait_until_up(loader)
        for _ in loaders:  # the first requests are the newcomers' trials
            assert gateway.call("sleeper").status_code == 200

        def instances_used(uid: str) -> Counter[str]:
            envelope = make_envelope("sleeper")
            envelope["header"]["uid"] = uid
            return Counter(
                gateway.post(envelope, "sleeper").headers["x-ase-instance"] for _ in range(6)
            )

        used = [instances_used(f"user-{n}") for n in range(8)]
        at_home = sum(counts.most_common(1)[0][1] for counts in used)
        assert at_home > 0.8 * 8 * 6, (used, gateway.state())
        assert len({counts.most_common(1)[0][0] for counts in used}) > 1
