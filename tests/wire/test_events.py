"""Sessions as server-sent events, by either lane: results as they come, one end, errors."""

import json
import signal
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.harness import PATIENCE, Gateway, Loader
from tests.wire.test_sockets import TALKER, free

EVENTS = {"Accept": "text/event-stream"}
Told = list[tuple[str, str, dict[str, Any]]]


@pytest.fixture(scope="module", params=["true", "false"], ids=["lane", "starlette"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Gateway, Loader]]:
    flags = ("--gateway-once-lane", request.param, "--session-keep-alive", "0.3")
    with Gateway(*flags) as running, Loader(running.lb, TALKER) as loader:
        running.joined(loader)
        yield running, loader


@pytest.fixture
def gateway(pair: tuple[Gateway, Loader]) -> Gateway:
    return pair[0]


@pytest.fixture
def loader(pair: tuple[Gateway, Loader]) -> Loader:
    return pair[1]


def asked(**params: Any) -> dict[str, Any]:
    return {
        "header": {"app_id": "tests", "status": 3},
        "parameter": {"talker": params},
        "payload": {"text": {"text": "aGVsbG8="}},
    }


def events(text: str) -> Told:
    """Return (event, id, data) of a stream; comments are events without a name."""
    told = []
    for block in text.split("\n\n")[:-1]:
        fields = dict(line.partition(": ")[::2] for line in block.split("\n"))
        data = json.loads(fields["data"]) if "data" in fields else {}
        told.append((fields.get("event", ""), fields.get("id", ""), data))
    return told


def test_results_and_the_end(gateway: Gateway) -> None:
    answer = gateway.post(asked(act="flood", many=3), "talker", headers=EVENTS)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-store"
    told = events(answer.text)
    assert [(event, number) for event, number, _ in told] == [
        ("result", "1"),
        ("result", "2"),
        ("result", "3"),
        ("result", "4"),
        ("end", ""),
    ]
    assert told[0][2]["payload"]["facts"]["text"] == {"number": 0}
    assert {data["header"]["sid"] for _, _, data in told} == {answer.headers["x-ase-request-id"]}
    assert [data["header"]["status"] for _, _, data in told] == [1, 1, 1, 1, 2]
    free(gateway)


def test_a_post_is_the_only_frame_whatever_it_calls_itself(gateway: Gateway) -> None:
    told = asked()
    told["header"]["status"] = 0
    answer = gateway.post(told, "talker", headers=EVENTS)
    assert [event for event, _, _ in events(answer.text)] == ["result", "end"]
    free(gateway)


def test_the_envelope_may_ask_for_them(gateway: Gateway) -> None:
    told = asked()
    told["header"]["stream"] = True
    answer = gateway.post(told, "talker")
    assert [event for event, _, _ in events(answer.text)] == ["result", "end"]
    told["header"]["stream"] = False
    answer = gateway.post(told, "talker")
    assert (answer.status_code, answer.json()["header"]["code"]) == (400, 10004)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"parameter": {"talker": {"act": "refuse"}}}, 400, 10107),
        ({"parameter": {"talker": {"act": "raise"}}}, 502, 10908),
        ({"parameter": {"talker": {"act": "undeclared"}}}, 502, 10106),
        ({"parameter": {"talker": {"act": "nothing"}}}, 400, 10163),
        ({"header": {"status": 3}}, 400, 10313),
        ({"header": {"app_id": "t", "status": 1}}, 400, 10163),
        ({"payload": {"text": {"text": "%"}}}, 400, 10163),
    ],
)
def test_before_they_begin_an_error_is_an_answer(
    gateway: Gateway, change: dict[str, Any], status: int, code: int
) -> None:
    answer = gateway.post(asked() | change, "talker", headers=EVENTS)
    assert (answer.status_code, answer.json()["header"]["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/json"
    free(gateway)


def test_a_comment_tells_that_it_goes_on_and_a_client_that_leaves_leaves_nothing(
    gateway: Gateway,
) -> None:
    with gateway.http.stream(
        "POST", "/v1/private/talker", json=asked(act="hold"), headers=EVENTS
    ) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        assert next(lines).startswith(":")
    free(gateway)


def test_a_client_that_leaves_before_they_begin(gateway: Gateway) -> None:
    data = json.dumps(asked(act="hold")).encode()
    head = "POST /v1/private/talker HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
    head += f"Accept: text/event-stream\r\nContent-Length: {len(data)}\r\n\r\n"
    where = urlsplit(gateway.url)
    with socket.create_connection((where.hostname, where.port), timeout=PATIENCE) as sock:
        sock.sendall(head.encode() + data)
        while not any(each["inflight"] for each in gateway.state()):
            pass
    free(gateway)


def test_one_that_reads_slowly_stops_the_loader_and_gets_everything(
    gateway: Gateway, loader: Loader
) -> None:
    over = loader.count("over")
    many = 20_000  # 20 MB and more, which no buffer on the way holds
    with gateway.http.stream(
        "POST", "/v1/private/talker", json=asked(act="flood", many=many), headers=EVENTS
    ) as answer:
        chunks = answer.iter_bytes()
        size = len(next(chunks))
        while [each["running"] for each in gateway.state()] != [1]:
            pass  # the loader's report is on its way
        assert loader.count("over") == over, "it waits for the client"
        size += sum(map(len, chunks))
    assert size > many * 1024
    free(gateway)


def test_the_connection_goes_on_behind_them(gateway: Gateway) -> None:
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=PATIENCE) as http:
        for _ in range(3):
            assert http.post("/v1/private/talker", json=asked(), headers=EVENTS).status_code == 200
            assert http.post("/v1/private/talker", json=asked()).status_code == 400


def test_a_loader_that_dies_is_told_by_an_event() -> None:
    with Gateway("--session-keep-alive", "0.1") as gateway, Loader(gateway.lb, TALKER) as loader:
        gateway.joined(loader)
        with gateway.http.stream(
            "POST", "/v1/private/talker", json=asked(act="hold"), headers=EVENTS
        ) as answer:
            lines = answer.iter_lines()
            next(lines)
            loader.signal(signal.SIGKILL)
            told = [line for line in lines if line.startswith(("event", "data"))]
        assert told[0] == "event: error"
        assert json.loads(told[1].removeprefix("data: "))["header"]["code"] == 10222
