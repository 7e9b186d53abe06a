"""The SDK against a real gateway: certificates that it verifies, results, errors, loop times."""

import asyncio
import contextlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from aseclient import (
    AsyncClient,
    Client,
    CredentialError,
    InferenceError,
    InputRefusedError,
    UnavailableError,
)
from aseclient.client import LoopReports
from tests.harness import Gateway, Loader, run_asectl

WRAPPER = '''\
from aseloader import service
from aseloader.wrapper import Refused


@service("north")
def north(value: list[float]) -> list[float]:
    """Double."""
    if len(value) > 3:
        raise Refused("at most three")
    return [2 * number for number in value]


@service("south")
def south(text: str) -> str:
    """Shout."""
    return text.upper()
'''


class Edge:
    """A gateway that takes keys and certificates, and two positions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "ase.yaml").write_text("auth: [certificate]\n")
        (folder / "wrapper.py").write_text(WRAPPER)
        self.key = self.new_key("--app", "battery")
        self.north_key = self.new_key("--app", "battery", "--services", "north")
        self.gateway = Gateway("-c", str(folder / "ase.yaml"))
        self.gateway.secrets += [self.key, self.north_key]

    def new_key(self, *flags: str) -> str:
        result = run_asectl("key", "create", *flags, "-c", str(self.folder / "ase.yaml"))
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        return httpx.post(
            f"{self.gateway.url}{path}", json=body, headers=headers, trust_env=False, timeout=30.0
        )

    def certificate_request(self, **changes: object) -> dict[str, object]:
        return {
            "application_uid": "battery", "application_token": self.key, "position_uid": "north",
            "inference_client_name": "uav-1", **changes,
        }  # fmt: skip

    def loops(self, position: str) -> int:
        """Return how many loops of a position were reported."""
        pattern = rf'ase_closed_loop_seconds_count{{service="{position}"}} (\d+)'
        match = re.search(pattern, self.gateway.metrics())
        return int(match[1]) if match else 0


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    edge = Edge(tmp_path_factory.mktemp("edge"))
    file = edge.folder / "wrapper.py"
    with (
        edge.gateway as gateway,
        Loader(gateway.lb, f"{file}:north") as north,
        Loader(gateway.lb, f"{file}:south") as south,
    ):
        gateway.wait_until_up(north)
        gateway.wait_until_up(south)
        yield edge


def test_client_calls_positions_and_reports_its_loops(edge: Edge) -> None:
    before = edge.loops("north")
    with Client(edge.gateway.url, "battery", edge.key, name="uav-1") as client:
        assert client.infer("north", [1, 2.5]) == [2.0, 5.0]
        assert client.infer("south", text="hey") == "HEY"
        with client.loop("north") as loop:
            assert loop.infer([1]) == [2.0]
            assert loop.infer([2]) == [4.0]
        with pytest.raises(InputRefusedError, match="at most three") as refused:
            client.infer("north", [1, 2, 3, 4])
        assert refused.value.code == 10107
        with pytest.raises(InputRefusedError, match="text"):
            client.infer("south", [1])
        with pytest.raises(InferenceError, match="no such service"):
            client.infer("west", 1)
    assert edge.loops("north") == before + 2  # closing the client has waited for them


def test_async_client_does_the_same(edge: Edge) -> None:
    before = edge.loops("north")

    async def scenario() -> None:
        async with AsyncClient(edge.gateway.url, "battery", edge.key) as client:
            results = await asyncio.gather(*(client.infer("north", [n]) for n in range(20)))
            assert results == [[2.0 * n] for n in range(20)]
            async with client.loop("north") as loop:
                assert await loop.infer([1]) == [2.0]
            with pytest.raises(InputRefusedError):
                await client.infer("north", [1, 2, 3, 4])

    asyncio.run(scenario())
    assert edge.loops("north") == before + 21


def test_wrong_tokens_and_positions_are_refused(edge: Edge) -> None:
    with (
        Client(edge.gateway.url, "battery", "ase_nothing") as client,
        pytest.raises(CredentialError, match="the API key is not accepted"),
    ):
        client.infer("north", [1])
    with (
        Client(edge.gateway.url, "shop", edge.key) as client,
        pytest.raises(CredentialError, match="of another application"),
    ):
        client.infer("north", [1])
    with Client(edge.gateway.url, "battery", edge.north_key) as client:
        assert client.infer("north", [1]) == [2.0]
        with pytest.raises(CredentialError, match="not for south"):
            client.infer("south", text="a")


def test_edge_that_is_not_there_is_said(edge: Edge) -> None:
    with (
        Client("127.0.0.1:1", "battery", edge.key, timeout=1.0) as client,
        pytest.raises(UnavailableError, match="the edge is not reached"),
    ):
        client.infer("north", [1])


def test_certificate_is_for_its_position_alone(edge: Edge) -> None:
    issued = edge.post("/certificate", edge.certificate_request())
    assert issued.headers["cache-control"] == "no-store"
    body = issued.json()
    assert re.fullmatch(r"[0-9a-f]{64}\d{10}", body["certificate"])
    assert int(body["certificate"][64:]) == body["expires_at"]
    assert 3590 < body["expires_at"] - time.time() <= 3600
    members = (
        f'app="battery", client="uav-1", position="north", key="{body["key"]}", '
        f'value="{body["certificate"]}"'
    )
    good = f"Certificate {members}"
    for path in ("/v1/north", "/inference-service-north"):
        for _ in range(2):  # the second one is remembered
            response = edge.post(path, {"value": [1]}, authorization=good)
            assert (response.status_code, response.json()) == (200, {"result": [2.0]})
    assert edge.post("/v1/south", {"text": "a"}, authorization=good).status_code == 403
    for bad in (
        good.replace("uav-1", "uav-2"),
        good.replace('position="north"', 'position="south"'),
        good.replace('app="battery"', 'app="shop"'),
        f'{good[:-2]}{(int(good[-2]) + 1) % 10}"',
        "Certificate",
    ):
        refused = edge.post("/v1/north", {"value": [1]}, authorization=bad)
        assert refused.status_code == 401, bad
        assert refused.headers["www-authenticate"] == 'Certificate realm="ase"'
        assert body["certificate"] not in refused.text
    assert edge.post("/v1/north", {"value": [1]}).status_code == 401
    # A key alone is no credential here.
    assert (
        edge.post("/v1/north", {"value": [1]}, authorization=f"Bearer {edge.key}").status_code
        == 401
    )


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"application_token": "x"}, 401, "does not begin with ase_"),
        ({"application_token": 1}, 400, "application_token: must be a text"),
        ({"position_uid": ""}, 400, "position_uid: must be a text"),
        ({"inference_client_name": 'a"b'}, 400, "client: must be"),
        ({"inference_client_name": "a\nb"}, 400, "client: must be"),
    ],
)
def test_requests_of_certificates_are_checked(
    edge: Edge, changes: dict[str, object], status: int, message: str
) -> None:
    response = edge.post("/certificate", edge.certificate_request(**changes))
    assert response.status_code == status
    assert response.json()["status"] == "error"
    assert message in response.json()["message"]


def test_other_bodies_are_refused(edge: Edge) -> None:
    url = f"{edge.gateway.url}/certificate"
    for member in ("application_token", "position_uid", "application_uid"):
        # Half of a surrogate pair: JSON may have it, and nothing can be made of it.
        body = json.dumps(edge.certificate_request(**{member: "\ud800"}))
        assert httpx.post(url, content=body, trust_env=False).status_code == 400
    for body, status in ((b"[]", 400), (b"{", 400), (b"[" * 9000, 400), (b" " * 20_000, 413)):
        assert httpx.post(url, content=body, trust_env=False).status_code == status
    assert httpx.get(url, trust_env=False).status_code == 405


def test_loop_times_are_taken_from_callers_alone(edge: Edge) -> None:
    assert edge.post("/closed-loop-north", {"value": 1}).status_code == 401
    body = edge.post("/certificate", edge.certificate_request()).json()
    good = (
        f'Certificate app="battery", client="uav-1", position="north", key="{body["key"]}", '
        f'value="{body["certificate"]}"'
    )
    before = edge.loops("north")
    for value in (-1, 1e9, True, "1", None):
        response = edge.post("/closed-loop-north", {"value": value}, authorization=good)
        assert response.status_code == 400
    assert edge.post("/closed-loop-south", {"value": 1}, authorization=good).status_code == 403
    assert edge.post("/closed-loop-west", {"value": 1}, authorization=good).status_code == 404
    assert edge.loops("north") == before
    assert edge.post("/closed-loop-north", {"value": 0.2}, authorization=good).json() == {
        "status": "success"
    }
    assert edge.loops("north") == before + 1


def test_certificate_ends_with_its_key(edge: Edge) -> None:
    key = edge.new_key("--app", "battery", "--comment", "short")
    keys = json.loads(
        run_asectl("key", "list", "-o", "json", "-c", str(edge.folder / "ase.yaml")).stdout
    )
    edge.gateway.wait_for_event("keys changed", keys=len(keys))
    with Client(edge.gateway.url, "battery", key) as client:
        assert client.infer("north", [1]) == [2.0]
        key_id = next(each["id"] for each in keys if each.get("comment") == "short")
        result = run_asectl("key", "revoke", key_id, "-c", str(edge.folder / "ase.yaml"))
        assert result.returncode == 0, result.stderr
        with pytest.raises(CredentialError, match="revoked"):
            while True:
                client.infer("north", [1])


class SlowEdge(ThreadingHTTPServer):
    """Issues certificates, and answers calls byte by byte; counts both."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _SlowHandler)
        self.counts: Counter[str] = Counter()
        self.is_slow = False
        self.stopping = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _SlowHandler(BaseHTTPRequestHandler):
    server: SlowEdge

    def do_POST(self) -> None:
        edge = self.server
        self.rfile.read(int(self.headers["content-length"]))
        edge.counts[self.path] += 1
        if self.path == "/certificate":
            body = json.dumps({"certificate": "f" * 64, "key": "k", "expires_at": 2**40}).encode()
        else:
            body = b'{"value": 1}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if edge.is_slow and self.path == "/v1/north":
            with contextlib.suppress(OSError):
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    edge.stopping.wait(0.2)
        else:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def slow_edge() -> Iterator[SlowEdge]:
    server = SlowEdge()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.stopping.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_timeout_is_that_of_the_whole_call(slow_edge: SlowEdge) -> None:
    slow_edge.is_slow = True
    with (
        Client(slow_edge.url, "a", "t", timeout=0.5) as client,
        pytest.raises(InferenceError, match=r"not whole after .* the model may have run") as late,
    ):
        client.infer("north", 1)
    assert not isinstance(late.value, UnavailableError)

    async def scenario() -> None:
        async with AsyncClient(slow_edge.url, "a", "t", timeout=0.5) as client:
            with pytest.raises(InferenceError, match="the model may have run"):
                await client.infer("north", 1)

    asyncio.run(scenario())
    assert slow_edge.counts["/v1/north"] == 2  # what may have run is not sent again


def test_callers_who_begin_at_once_ask_for_one_certificate(slow_edge: SlowEdge) -> None:
    with (
        Client(slow_edge.url, "a", "t") as client,
        ThreadPoolExecutor(8) as threads,
    ):
        assert [*threads.map(lambda _: client.infer("north", 1), range(40))] == [1] * 40
    assert slow_edge.counts["/certificate"] == 1

    async def scenario() -> None:
        async with AsyncClient(slow_edge.url, "a", "t") as client:
            results = await asyncio.gather(*(client.infer("north", 1) for _ in range(40)))
            assert results == [1] * 40

    asyncio.run(scenario())
    assert slow_edge.counts["/certificate"] == 2
    assert slow_edge.counts["/closed-loop-north"] == 80


def test_reports_that_fail_end_nothing_and_a_thread_without_work_ends() -> None:
    sent: list[float] = []
    failed = threading.Event()

    def report(_: str, seconds: float) -> None:
        if seconds < 0:
            failed.set()
            raise UnicodeEncodeError("ascii", "x", 0, 1, "no")
        sent.append(seconds)

    reports = LoopReports(report, idle_s=0.01)
    reports.add("north", -1.0)
    assert failed.wait(20)
    for _ in range(3):
        reports.add("north", 1.0)
        while reports.is_running():
            pass
    reports.close(1.0)
    reports.add("north", 2.0)
    assert sent == [1.0, 1.0, 1.0]
