"""Sessions as server-sent events, by either lane: results as they come, one end, errors."""

import json
import signal
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.browser import Browser
from tests.harness import TIMEOUT_S, Gateway, Loader
from tests.sessions import TALKER
from tests.wire.test_sockets import wait_until_idle

EVENTS = {"Accept": "text/event-stream"}
Events = list[tuple[str, str, dict[str, Any]]]


@pytest.fixture(scope="module", params=["true", "false"], ids=["lane", "starlette"])
def gateway_and_loader(request: pytest.FixtureRequest) -> Iterator[tuple[Gateway, Loader]]:
    flags = ("--gateway-once-lane", request.param, "--session-keep-alive", "0.3")
    with Gateway(*flags) as running, Loader(running.lb, TALKER) as loader:
        running.wait_until_up(loader)
        yield running, loader


@pytest.fixture
def gateway(gateway_and_loader: tuple[Gateway, Loader]) -> Gateway:
    return gateway_and_loader[0]


@pytest.fixture
def loader(gateway_and_loader: tuple[Gateway, Loader]) -> Loader:
    return gateway_and_loader[1]


def talker_envelope(**params: Any) -> dict[str, Any]:
    return {
        "header": {"app_id": "tests", "status": 3},
        "parameter": {"talker": params},
        "payload": {"text": {"text": "aGVsbG8="}},
    }


def parse_events(text: str) -> Events:
    """Return (event, id, data) of a stream; comments are events without a name."""
    parsed = []
    for block in text.split("\n\n")[:-1]:
        fields = dict(line.partition(": ")[::2] for line in block.split("\n"))
        data = json.loads(fields["data"]) if "data" in fields else {}
        parsed.append((fields.get("event", ""), fields.get("id", ""), data))
    return parsed


def test_results_then_end_event(gateway: Gateway) -> None:
    response = gateway.post(talker_envelope(act="flood", many=3), "talker", headers=EVENTS)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-store"
    received = parse_events(response.text)
    assert [(event, number) for event, number, _ in received] == [
        ("result", "1"),
        ("result", "2"),
        ("result", "3"),
        ("result", "4"),
        ("end", ""),
    ]
    assert received[0][2]["payload"]["facts"]["text"] == {"number": 0}
    assert {data["header"]["sid"] for _, _, data in received} == {
        response.headers["x-ase-request-id"]
    }
    assert [data["header"]["status"] for _, _, data in received] == [1, 1, 1, 1, 2]
    wait_until_idle(gateway)


def test_post_is_a_single_frame_whatever_its_status(gateway: Gateway) -> None:
    envelope = talker_envelope()
    envelope["header"]["status"] = 0
    response = gateway.post(envelope, "talker", headers=EVENTS)
    assert [event for event, _, _ in parse_events(response.text)] == ["result", "end"]
    wait_until_idle(gateway)


def test_header_stream_selects_events(gateway: Gateway) -> None:
    envelope = talker_envelope()
    envelope["header"]["stream"] = True
    response = gateway.post(envelope, "talker")
    assert [event for event, _, _ in parse_events(response.text)] == ["result", "end"]
    envelope["header"]["stream"] = False
    response = gateway.post(envelope, "talker")
    assert (response.status_code, response.json()["header"]["code"]) == (400, 10004)


@pytest.mark.parametrize(
    ("accept", "is_events"),
    [
        ("*/*", True),  # curl, Swagger
        ("text/html, */*;q=0.8", True),  # browsers
        ("application/json", False),
        ("application/json, */*;q=0", False),
    ],
)
def test_service_that_only_streams_answers_events_to_clients_that_take_anything(
    gateway: Gateway, accept: str, is_events: bool
) -> None:
    response = gateway.post(talker_envelope(), "talker", headers={"accept": accept})
    if is_events:
        assert response.headers["content-type"] == "text/event-stream"
        assert [event for event, _, _ in parse_events(response.text)] == ["result", "end"]
    else:
        assert (response.status_code, response.json()["header"]["code"]) == (400, 10004)
    wait_until_idle(gateway)


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
def test_error_before_the_stream_is_a_json_response(
    gateway: Gateway, change: dict[str, Any], status: int, code: int
) -> None:
    response = gateway.post(talker_envelope() | change, "talker", headers=EVENTS)
    assert (response.status_code, response.json()["header"]["code"]) == (status, code)
    assert response.headers["content-type"] == "application/json"
    wait_until_idle(gateway)


def test_keep_alive_comment_and_client_disconnect(
    gateway: Gateway,
) -> None:
    with gateway.http.stream(
        "POST", "/v1/private/talker", json=talker_envelope(act="hold"), headers=EVENTS
    ) as response:
        assert response.status_code == 200
        lines = response.iter_lines()
        assert next(lines).startswith(":")
    wait_until_idle(gateway)


def test_client_disconnect_before_the_stream(gateway: Gateway) -> None:
    data = json.dumps(talker_envelope(act="hold")).encode()
    head = "POST /v1/private/talker HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
    head += f"Accept: text/event-stream\r\nContent-Length: {len(data)}\r\n\r\n"
    address = urlsplit(gateway.url)
    with socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S) as sock:
        sock.sendall(head.encode() + data)
        while not any(instance["inflight"] for instance in gateway.state()):
            pass
    wait_until_idle(gateway)


@pytest.mark.unmeasured
def test_slow_client_pauses_the_loader_and_gets_everything(
    gateway: Gateway, loader: Loader
) -> None:
    ended_before = loader.count("over")
    many = 20_000  # 20 MB and more, which no buffer on the way holds
    with gateway.http.stream(
        "POST", "/v1/private/talker", json=talker_envelope(act="flood", many=many), headers=EVENTS
    ) as response:
        chunks = response.iter_bytes()
        size = len(next(chunks))
        while [instance["running"] for instance in gateway.state()] != [1]:
            pass  # the loader's report is on its way
        assert loader.count("over") == ended_before, "it waits for the client"
        size += sum(map(len, chunks))
    assert size > many * 1024
    wait_until_idle(gateway)


def test_connection_is_reused_after_events(gateway: Gateway) -> None:
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=TIMEOUT_S) as http:
        for _ in range(3):
            assert (
                http.post("/v1/private/talker", json=talker_envelope(), headers=EVENTS).status_code
                == 200
            )
            json_only = {"accept": "application/json"}
            response = http.post("/v1/private/talker", json=talker_envelope(), headers=json_only)
            assert response.status_code == 400


def test_loader_death_is_an_error_event() -> None:
    with Gateway("--session-keep-alive", "0.1") as gateway, Loader(gateway.lb, TALKER) as loader:
        gateway.wait_until_up(loader)
        with gateway.http.stream(
            "POST", "/v1/private/talker", json=talker_envelope(act="hold"), headers=EVENTS
        ) as response:
            lines = response.iter_lines()
            next(lines)
            loader.signal(signal.SIGKILL)
            event_lines = [line for line in lines if line.startswith(("event", "data"))]
        assert event_lines[0] == "event: error"
        assert json.loads(event_lines[1].removeprefix("data: "))["header"]["code"] == 10222


@pytest.fixture(scope="module")
def get_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that answers GET for the talker, and a loader of it."""
    folder = tmp_path_factory.mktemp("get")
    (folder / "ase.yaml").write_text("services:\n  talker: {get_events: true}\n")
    with Gateway("-c", str(folder / "ase.yaml")) as running, Loader(running.lb, TALKER) as loader:
        running.wait_until_up(loader)
        yield running


QUERY = "header.app_id=page&parameter.talker.many=2&parameter.talker.act=flood&payload.text=hi"


def test_events_by_get(get_gateway: Gateway) -> None:
    response = get_gateway.http.get(f"/v1/private/talker?{QUERY}", headers=EVENTS)
    assert response.status_code == 200
    events = parse_events(response.text)
    assert [event for event, _, _ in events] == ["result", "result", "result", "end"]
    line = get_gateway.wait_for_event("request", method="GET", status=200)
    assert line["path"] == "/v1/private/talker", "the query is never logged"


@pytest.mark.parametrize(
    ("method", "query", "headers", "status"),
    [
        ("GET", "header.app_id=a&payload.text=hi&parameter.talker.many=0", {}, 400),
        ("GET", "payload.text=hi", {}, 400),
        ("GET", "text=hi", {}, 400),
        ("GET", "payload.x=1&payload.x.y=2", {}, 400),
        ("GET", QUERY, {"Accept": "image/avif,image/webp,*/*"}, 406),
        ("GET", QUERY, {"origin": "https://elsewhere"}, 403),
        ("GET", QUERY, {"sec-fetch-site": "cross-site"}, 403),
        ("HEAD", QUERY, {}, 405),
        ("PUT", QUERY, {}, 405),
    ],
    ids=range(9),
)
def test_bad_get_requests(
    get_gateway: Gateway, method: str, query: str, headers: dict[str, str], status: int
) -> None:
    url = f"/v1/private/talker?{query}"
    response = get_gateway.http.request(method, url, headers=EVENTS | headers)
    assert response.status_code == status
    if status == 405:
        assert response.headers["allow"] == "GET, OPTIONS, POST"


def test_event_source_that_comes_back_is_sent_away(get_gateway: Gateway) -> None:
    """After the end, and for a service that must not run again: it would run for ever."""
    with httpx.stream(
        "GET", f"{get_gateway.url}/v1/private/talker?{QUERY}", headers=EVENTS, trust_env=False
    ) as response:
        assert "event: end\nid: end\n" in "".join(response.iter_text())
    for last_id in ("end", "1"):
        headers = EVENTS | {"last-event-id": last_id}
        response = get_gateway.http.get(f"/v1/private/talker?{QUERY}", headers=headers)
        assert (response.status_code, response.content) == (204, b"")
        assert len(response.headers["x-ase-request-id"]) == 32


def test_event_source_of_a_browser_ends_for_good(get_gateway: Gateway) -> None:
    with Browser() as browser:
        browser.open(get_gateway.url + "/docs")
        browser.wait("document.readyState === 'complete'")
        browser.run(
            f"window.ends = 0; source = new EventSource('/v1/private/talker?{QUERY}');"
            "source.addEventListener('end', () => window.ends++)"
        )
        browser.wait("window.source.readyState === EventSource.CLOSED")
        assert browser.run("window.ends") == 1


def test_get_is_refused_unless_the_operator_allows_it(gateway: Gateway) -> None:
    response = gateway.http.get(f"/v1/private/talker?{QUERY}")
    assert (response.status_code, response.headers["allow"]) == (405, "OPTIONS, POST")
    assert gateway.http.get("/v1/private/not-there").status_code == 404


def test_event_source_of_a_browser(get_gateway: Gateway) -> None:
    """With the API that has no other method than GET, from a page of the gateway itself."""
    document = get_gateway.http.get("/openapi.json").json()
    names = [p["name"] for p in document["paths"]["/v1/private/talker"]["get"]["parameters"]]
    assert {"header.app_id", "parameter.talker.many", "payload.text"} <= set(names)
    with Browser() as browser:
        browser.open(get_gateway.url + "/docs")
        browser.wait("document.readyState === 'complete'")
        browser.run(
            f"window.events = []; source = new EventSource('/v1/private/talker?{QUERY}');"
            "for (const name of ['result', 'end'])"
            "  source.addEventListener(name, event => events.push(name));"
            "source.addEventListener('end', () => source.close())"
        )
        received = browser.wait("window.events", lambda events: "end" in events)
    assert received == ["result", "result", "result", "end"]
