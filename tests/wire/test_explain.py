"""`asectl explain`: a request that failed or was slow, told from its id; and the next picks."""

import json
import subprocess

import pytest

from tests.harness import Gateway, Hub, Loader, make_envelope, run_asectl


def explain(gateway: Gateway, *args: str) -> subprocess.CompletedProcess[str]:
    return run_asectl("explain", "--url", gateway.admin, *args)


def request_id(gateway: Gateway, **parameters: str) -> str:
    response = gateway.post(make_envelope(**parameters))
    return str(response.headers["x-ase-request-id"])


@pytest.mark.parametrize("lane", ["true", "false"])
def test_failed_request_is_explained_by_its_id(lane: str) -> None:
    with Gateway("--gateway-once-lane", lane) as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        assert explain(gateway).stdout == "no request has failed or was slow\n"
        served = request_id(gateway, act="answer")
        failed = request_id(gateway, act="raise")
        text = explain(gateway, failed).stdout
        assert f"request {failed}, ended 20" in text
        assert "POST /v1/private/probe of tests" in text
        assert "probe: status 502, code 10908 raised" in text
        assert f"call 1   {loader.addr} took" in text
        assert "ms old): raised" in text
        assert f"{loader.addr}  candidate" in text
        explanation = json.loads(explain(gateway, failed, "--json").stdout)
        assert explanation["phases_ms"]["total"] >= explanation["phases_ms"]["upstream"] > 0
        assert failed in explain(gateway).stdout
        unknown = explain(gateway, served)
        assert unknown.returncode == 1
        assert "no such request is explained; the latest" in unknown.stderr


def test_slow_call_that_fails_is_one_call_and_a_client_that_leaves_is_none() -> None:
    with Gateway("--gateway-slow", "0") as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        failed = request_id(gateway, act="raise")
        explanation = json.loads(explain(gateway, failed, "--json").stdout)
        assert [attempt["fault"] for attempt in explanation["attempts"]] == ["raised"]
        assert (
            f"expected {explanation['attempts'][0]['expected_ms']:.1f} ms (report"
            in explain(gateway, failed).stdout
        )


def test_nothing_is_kept_if_the_option_is_0() -> None:
    with Gateway("--gateway-explained", "0") as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        failed = request_id(gateway, act="raise")
        assert explain(gateway).stdout == "gateway.explained is 0: nothing is kept of requests\n"
        assert explain(gateway, failed).returncode == 1


def test_slow_request_is_explained_and_a_refused_one_is_not() -> None:
    with Gateway("--gateway-slow", "0") as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        slow = request_id(gateway, act="answer")
        text = explain(gateway, slow).stdout
        assert "probe: status 200, code 0\n" in text
        assert "ms old): answered" in text
    with Gateway() as gateway:
        lost = str(gateway.post(make_envelope()).headers["x-ase-request-id"])
        assert "no such request" in explain(gateway, lost).stderr, "404 is the caller's fault"


def test_next_picks_are_told_with_their_shares() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as first, Loader(gateway.lb) as second:
        for loader in (first, second):
            gateway.wait_until_up(loader)
        picks = json.loads(explain(gateway, "--dry-run", "probe", "--json").stdout)
        assert {c["instance"] for c in picks["candidates"]} == {first.addr, second.addr}
        assert sum(c["share"] for c in picks["candidates"]) == pytest.approx(1.0)
        assert (
            "the next requests of probe would go to"
            in explain(gateway, "--dry-run", "probe").stdout
        )
        unknown = explain(gateway, "--dry-run", "nobody")
        assert (unknown.returncode, "no service 'nobody'" in unknown.stderr) == (1, True)


def test_workers_answer_for_each_other() -> None:
    with Hub() as hub, Loader(hub.lb) as loader:  # noqa: SIM117 (the gateway needs the hub's port)
        with Gateway("--lb-hub", hub.lb, "--workers", "2") as gateway:
            gateway.wait_for_event("instance up", instance=loader.addr)
            failed = [request_id(gateway, act="raise") for _ in range(8)]
            listed = explain(gateway).stdout
            for sid in failed:
                assert sid in listed
                assert explain(gateway, sid).returncode == 0
            assert explain(gateway, "--dry-run", "probe").returncode == 0
            assert explain(gateway, "0" * 32).returncode == 1


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("zz",), 2, "'zz' is no request id"),
        (("0" * 32, "--dry-run", "x"), 2, "a REQUEST_ID or --dry-run, not both"),
        (("--url", "http://127.0.0.1:1"), 4, "no explanation to be had"),
    ],
)
def test_wrong_arguments_are_one_line(args: tuple[str, ...], code: int, message: str) -> None:
    result = run_asectl("explain", *args)
    assert result.returncode == code
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
