"""What callers used, by real processes: exact, across restarts, and as `asectl usage` prints it."""

import csv
import io
import json
import re
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from gateway.usage.store import UsageStore
from tests.harness import FREE_PORTS, TIMEOUT_S, Gateway, Loader, make_envelope, run_asectl
from tests.sessions import TALKER

CONFIG = "auth: [key]\nusage: {store: usage.sqlite}\n"


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "ase.yaml"
    path.write_text(CONFIG)
    return str(path)


def asectl(config: str, *args: str) -> str:
    result = run_asectl(*args, "-c", config)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def usage(config: str, by: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(asectl(config, "usage", "--by", by, "-o", "json"))
    return rows


def post(gateway: Gateway, key: str, **parameters: Any) -> httpx.Response:
    headers = {"x-api-key": key}
    return gateway.post(make_envelope("probe", **parameters), "probe", headers=headers)


def test_every_request_and_session_counts_once(config: str) -> None:
    key = asectl(config, "key", "create", "--app", "tests")
    with (
        Gateway("-c", config) as gateway,
        Loader(gateway.lb) as probe,
        Loader(gateway.lb, TALKER) as talker,
    ):
        gateway.wait_until_up(probe)
        gateway.wait_until_up(talker)
        for _ in range(20):
            assert post(gateway, key).status_code == 200
        assert post(gateway, key, act="raise").status_code == 502
        assert gateway.call().status_code == 401  # nobody's: it is not billed
        url = gateway.url.replace("http", "ws", 1) + "/v1/private/talker"
        with connect(url, proxy=None, additional_headers={"x-api-key": key}) as ws:
            envelope = {
                "header": {"app_id": "tests", "status": 3},
                "parameter": {"talker": {"act": "flood", "many": 5}},
                "payload": {"text": {"text": "aGVsbG8="}},
            }
            ws.send(json.dumps(envelope))
            results = [ws.recv(TIMEOUT_S) for _ in range(3)]
        assert results
        gateway.stop()  # writes what is left
    by_service = {row["service"]: row for row in usage(config, "app,service")}
    assert (by_service["probe"]["requests"], by_service["probe"]["errors"]) == (21, 1)
    assert by_service["talker"]["requests"] == 1
    assert all(row["app"] == "tests" and row["bytes_in"] > 0 for row in by_service.values())
    assert by_service["probe"]["bytes_out"] > by_service["probe"]["requests"]
    (by_key,) = usage(config, "key")
    assert re.fullmatch(r"k\w{9}", by_key["key"])
    assert by_key["loader_s"] > 0
    table = asectl(config, "usage", "--by", "service,code").splitlines()
    assert table[0].split()[:3] == ["SERVICE", "CODE", "REQUESTS"]
    assert ["probe", "0", "20"] in [line.split()[:3] for line in table]
    rows = list(csv.DictReader(io.StringIO(asectl(config, "usage", "-o", "csv"))))
    assert sum(int(row["requests"]) for row in rows) == 22


def test_units_of_wrappers_are_summed(config: str) -> None:
    key = asectl(config, "key", "create", "--app", "tests")
    headers = {"x-api-key": key}
    with (
        Gateway("-c", config) as gateway,
        Loader(gateway.lb, "tests/wrappers/tokens.py:Tokens") as tokens,
        Loader(gateway.lb) as probe,
    ):
        gateway.wait_until_up(tokens)
        gateway.wait_until_up(probe)
        for _ in range(3):  # "hello" each
            assert gateway.post(make_envelope("tokens"), "tokens", headers=headers).is_success
        events = {**headers, "accept": "text/event-stream"}
        assert "event: end" in gateway.post(make_envelope("tokens"), "tokens", headers=events).text
        assert post(gateway, key).status_code == 200
        gateway.stop()
    units = {row["service"]: row["units"] for row in usage(config, "service")}
    assert units == {"tokens": {"images": 6, "tokens": 3 * 5 + 5 + 1}, "probe": {}}
    (total,) = usage(config, "")
    assert total["units"] == {"images": 6, "tokens": 21}
    table = asectl(config, "usage", "--by", "service").splitlines()
    assert table[0].split()[-1] == "UNITS"
    assert table[1].endswith("images=6 tokens=21")
    rows = csv.DictReader(io.StringIO(asectl(config, "usage", "--by", "service", "-o", "csv")))
    assert [row["units"] for row in rows] == ["images=6 tokens=21", ""]


def test_killed_gateway_loses_a_second_at_most_and_counts_nothing_twice(config: str) -> None:
    key = asectl(config, "key", "create", "--app", "tests")
    with Gateway("-c", config) as gateway, Loader(gateway.lb) as probe:
        gateway.wait_until_up(probe)
        for _ in range(30):
            assert post(gateway, key).status_code == 200
        store, calls = UsageStore(Path(config).parent / "usage.sqlite"), 30
        while store.sums([], 0.0)[0]["requests"] < 30 and calls < 100_000:
            assert post(gateway, key).status_code == 200
            calls += 1
        gateway.signal(signal.SIGKILL)
        gateway.wait_for_exit()
    (row,) = usage(config, "app")
    assert 30 <= row["requests"] <= calls


def test_quota_outlives_a_restart(config: str) -> None:
    key = asectl(config, "key", "create", "--app", "tests", "--quota", "3/day")
    statuses = []
    for _ in range(2):
        with Gateway("-c", config) as gateway, Loader(gateway.lb) as probe:
            gateway.wait_until_up(probe)
            statuses += [post(gateway, key).status_code for _ in range(2)]
            gateway.stop()
    assert statuses == [200, 200, 200, 429]


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--by", "user"), 2, "'user' is none of app, key, service, code"),
        (("--since", "1"), 2, "no time such as"),
        ((), 3, "there is no file of usage: set usage.store"),
    ],
)
def test_wrong_arguments_are_explained(
    config: str, args: tuple[str, ...], code: int, message: str
) -> None:
    result = run_asectl("usage", "-c", config, *args)
    assert (result.returncode, message in result.stderr) == (code, True), result.stderr


def test_file_that_is_none_stops_the_start(config: str) -> None:
    (Path(config).parent / "usage.sqlite").write_bytes(b"x" * 5000)
    result = run_asectl("gateway", "-c", config, "--auth-methods", "none", *FREE_PORTS)
    assert result.returncode == 3
    assert "usage.store: " in result.stderr
    assert "Traceback" not in result.stderr
