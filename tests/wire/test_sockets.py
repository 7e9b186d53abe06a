"""Sessions by WebSocket, through real processes: what comes back, how it ends, what is left."""

import base64
import contextlib
import json
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.harness import PATIENCE, Gateway, Loader

TALKER = "tests/wrappers/talker.py:Talker"
FLAGS = ("--session-read-timeout", "1.5", "--session-max-frame", "4096", "--session-queue", "4")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway(*FLAGS) as running, Loader(running.lb, TALKER) as loader:
        running.joined(loader)
        yield running


def frame(status: int | None = None, text: bytes | None = None, **told: Any) -> dict[str, Any]:
    """Return a frame; `act` and `many` are parameters, `cid` and the like of its header."""
    header = {"status": status} if status is not None else {}
    if status in (0, 3):
        header["app_id"] = "tests"  # type: ignore[assignment]
    params = {name: told.pop(name) for name in ("act", "many") if name in told}
    made: dict[str, Any] = {"header": header | told}
    if params:
        made["parameter"] = {"talker": params}
    if text is not None:
        made["payload"] = {"text": {"text": base64.b64encode(text).decode()}}
    return made


@contextlib.contextmanager
def opened(gateway: Gateway, query: str = "", **more: Any) -> Iterator[ClientConnection]:
    url = gateway.url.replace("http", "ws") + "/v1/private/talker" + query
    with connect(url, open_timeout=PATIENCE, proxy=None, **more) as ws:
        yield ws


def send(ws: ClientConnection, *frames: Any) -> None:
    for told in frames:
        ws.send(told if isinstance(told, str | bytes) else json.dumps(told))


def heard(ws: ClientConnection) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(ws.recv(timeout=PATIENCE))
    return told


def said(told: dict[str, Any]) -> bytes:
    return base64.b64decode(told["payload"]["said"]["text"])


def closed(ws: ClientConnection) -> int | None:
    """Return the close code, after what still comes."""
    with pytest.raises(ConnectionClosed) as over:
        while True:
            ws.recv(timeout=PATIENCE)
    return over.value.rcvd.code if over.value.rcvd else None


def reset(ws: ClientConnection) -> None:
    """Vanish with a reset."""
    ws.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ws.socket.shutdown(socket.SHUT_RDWR)
    ws.socket.close()


def free(gateway: Gateway) -> None:
    """See that a second later no slot is held, at the gateway or the loader."""
    until = time.monotonic() + 1
    while True:
        told = gateway.state()
        held = [each for each in told if each["inflight"] or each["running"]]
        if not held and _metric(gateway).endswith(" 0.0"):
            return
        assert time.monotonic() < until, f"{held} {_metric(gateway)}"


def _metric(gateway: Gateway) -> str:
    lines = gateway.metrics().splitlines()
    return next((line for line in lines if line.startswith("ase_sessions{")), " 0.0")


def test_results_come_while_the_client_still_talks(gateway: Gateway) -> None:
    with opened(gateway) as ws:
        send(ws, frame(0, b"one"))
        begun = heard(ws)
        assert (begun["header"]["code"], begun["header"]["status"]) == (0, 0)
        assert "payload" not in begun
        first = heard(ws)
        assert said(first) == b"ONE"
        assert first["header"]["sid"] == begun["header"]["sid"]
        assert first["payload"]["said"]["seq"] == 1
        send(ws, frame(None, b"two"), frame(1, b"three"), frame(2, b"four"))
        assert [said(heard(ws)) for _ in range(3)] == [b"TWO", b"THREE", b"FOUR"]
        last = heard(ws)
        assert last["header"]["status"] == 2
        assert closed(ws) == 1000
    free(gateway)


def test_nothing_is_lost_of_who_reads_nothing_and_writes_on(gateway: Gateway) -> None:
    many = 20_000  # answers that no buffer on the way holds
    with opened(gateway, "?stream_mode=multiplex") as ws:
        writing = threading.Thread(target=lambda: [ws.send("{}") for _ in range(many)])
        writing.start()
        for _ in range(many):
            assert heard(ws)["header"]["code"] == 10163
        writing.join()
        send(ws, frame(3, b"on", cid="a"))
        assert heard(ws)["header"]["code"] == 0


def test_one_frame_is_a_session_too(gateway: Gateway) -> None:
    with opened(gateway) as ws:
        send(ws, frame(3, b"all"))
        assert [heard(ws)["header"]["status"] for _ in range(3)] == [0, 1, 2]
        assert closed(ws) == 1000


BEGUN = frame(0, b"a")
BAD: list[tuple[str, list[Any], int, int, str]] = [
    ("first: continue", [frame(1, b"a", app_id="t")], 10163, 1008, "a session begins with"),
    ("first: end", [frame(2, b"a", app_id="t")], 10163, 1008, "a session begins with"),
    ("first: no status", [{"header": {"app_id": "t"}}], 10163, 1008, "is required"),
    ("first: no app id", [{"header": {"status": 0}}], 10313, 1008, "appid cannot be empty"),
    ("status 7", [frame(7, b"a", app_id="t")], 10163, 1008, "must be 0, 1, 2 or 3"),
    ("two begins", [BEGUN, BEGUN], 10163, 1008, "the session has begun"),
    ("once after begin", [BEGUN, frame(3, b"a")], 10163, 1008, "the session has begun"),
    ("after the end", [frame(0, b"a", act="hold"), frame(2), frame(1, b"b")], 10163, 1008,
     "last frame was sent"),
    ("not json", ["{"], 10163, 1008, "must be json"),
    ("no object", ["[]"], 10163, 1008, "must be a json object"),
    ("duplicate key", ['{"a":1,"a":2}'], 10163, 1008, "uplicate"),
    ("bad base64", [{**BEGUN, "payload": {"text": {"text": "%"}}}], 10163, 1008, "base64"),
    ("bad base64 mid-stream", [BEGUN, {"payload": {"text": {"text": "%"}}}], 10163, 1008, "base64"),
    ("schema mid-stream", [BEGUN, {"payload": {"nobody": {}}}], 10163, 1008, "is not known here"),
    ("seq gap", [
        {**BEGUN, "payload": {"text": {"text": "aGk=", "seq": 1}}},
        {"payload": {"text": {"text": "aGk=", "seq": 3}}},
    ], 10163, 1008, "seq: 2 is next"),
    ("seq twice", [
        {**BEGUN, "payload": {"text": {"text": "aGk=", "seq": 1}}},
        {"payload": {"text": {"text": "aGk=", "seq": 1}}},
    ], 10163, 1008, "seq: 2 is next"),
    ("no frame for long", [BEGUN], 10200, 3008, "session read timeout"),
    ("nothing at all", [], 10200, 3008, "session read timeout"),
    ("refused by the wrapper", [frame(0, b"a", act="refuse")], 10107, 1008, "not this one"),
    ("the wrapper raises", [frame(0, b"a", act="raise")], 10908, 1014, "ValueError"),
    ("undeclared output", [frame(0, b"a", act="undeclared")], 10106, 1014, "'surprise'"),
]  # fmt: skip


@pytest.mark.parametrize(("frames", "code", "close", "words"), [row[1:] for row in BAD],
                         ids=[row[0] for row in BAD])  # fmt: skip
def test_what_goes_wrong_is_told_and_leaves_nothing(
    gateway: Gateway, frames: list[Any], code: int, close: int, words: str
) -> None:
    with opened(gateway) as ws:
        send(ws, *frames)
        told = heard(ws)
        while told["header"]["code"] == 0:
            told = heard(ws)
        assert (told["header"]["code"], told["header"]["status"]) == (code, 0)
        assert words in told["header"]["message"]
        assert "secret" not in told["header"]["message"]
        assert closed(ws) == close
    free(gateway)


def test_oversize_is_1009(gateway: Gateway) -> None:
    with opened(gateway) as ws:
        send(ws, BEGUN, "x" * 5000)
        assert closed(ws) == 1009
    free(gateway)


def test_bytes_need_their_protocol(gateway: Gateway) -> None:
    with opened(gateway) as ws:
        send(ws, b"bytes")
        assert closed(ws) == 1003


def test_bytes(gateway: Gateway) -> None:
    def message(head: Any, tail: bytes) -> bytes:
        told = json.dumps(head).encode()
        return len(told).to_bytes(4, "big") + told + tail

    with opened(gateway, subprotocols=["ase.binary.v1"]) as ws:
        assert ws.subprotocol == "ase.binary.v1"
        send(ws, message({**frame(0), "payload": {"text": {}}}, b"raw \0 bytes"))
        ws.recv(timeout=PATIENCE)
        told = ws.recv(timeout=PATIENCE)
        assert isinstance(told, bytes)
        size = int.from_bytes(told[:4], "big")
        assert told[4 + size :] == b"RAW \0 BYTES"
        assert json.loads(told[4 : 4 + size])["payload"]["said"] == {"seq": 1, "status": 1}
        send(ws, b"\xff\xff\xff\xff")
        told = ws.recv(timeout=PATIENCE)
        assert b"a binary message is" in told  # type: ignore[operator]
        assert closed(ws) == 1008


def test_sessions_side_by_side(gateway: Gateway) -> None:
    with opened(gateway, "?stream_mode=multiplex") as ws:
        send(ws, frame(0, b"one", cid="a"), frame(0, b"two", cid="b", act="raise"))
        send(ws, frame(1, b"lost", cid="nobody"), frame(0, b"x"), frame(1, b"more", cid="a"))
        found: dict[Any, list[Any]] = {}
        while len(found.get("a", ())) < 3 or 10908 not in found.get("b", ()) or len(found) < 4:
            told = heard(ws)["header"]
            found.setdefault(told.get("cid"), []).append(told["code"])
        assert found["a"] == [0, 0, 0]
        assert found["b"] == [0, 10908]
        assert (found["nobody"], found[None]) == ([10163], [10163])
        send(ws, frame(2, cid="a"))
        while heard(ws)["header"]["status"] != 2:
            pass
        send(ws, frame(3, b"again", cid="a"))
        while heard(ws)["header"]["status"] != 2:
            pass
        ws.ping().wait(PATIENCE)
    free(gateway)


def test_only_so_many_sessions_on_a_socket(gateway: Gateway) -> None:
    with opened(gateway, "?stream_mode=multiplex") as ws:
        send(ws, *(frame(0, b"x", cid=str(n), act="hold") for n in range(16)))
        codes = []
        while 10163 not in codes:
            codes.append(heard(ws)["header"]["code"])
        assert codes.count(0) <= 15
    free(gateway)


@pytest.mark.parametrize("end", ["close", "fin", "rst"])
def test_a_client_that_vanishes_leaves_nothing(gateway: Gateway, end: str) -> None:
    with opened(gateway) as ws:
        send(ws, frame(0, b"a", act="hold"))
        heard(ws)
        assert any(each["inflight"] for each in gateway.state())
        if end == "close":
            ws.close()
        elif end == "rst":
            reset(ws)
        else:
            ws.socket.shutdown(socket.SHUT_RDWR)
        free(gateway)


@pytest.mark.parametrize(
    ("service", "headers", "status"),
    [
        ("nobody", {}, 404),
        ("talker", {"Origin": "https://evil.example"}, 403),
        ("talker", {"Sec-WebSocket-Version": "99"}, 400),
        ("talker", {"Sec-WebSocket-Key": "short"}, 400),
    ],
)
def test_who_may_not_have_a_socket(
    gateway: Gateway, service: str, headers: dict[str, str], status: int
) -> None:
    told = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", **headers,
    }  # fmt: skip
    answer = gateway.http.get(f"/v1/private/{service}", headers=told)
    assert answer.status_code == status
    assert answer.json()["header"]["code"] != 0


def test_a_page_of_ours_may(gateway: Gateway) -> None:
    with opened(gateway, origin=gateway.url) as ws:
        send(ws, frame(3, b"x"))
        assert heard(ws)["header"]["code"] == 0


def test_a_killed_loader_is_told() -> None:
    def kill(loader: Loader) -> None:
        loader.signal(signal.SIGKILL)

    def freeze(loader: Loader) -> None:
        loader.signal(signal.SIGSTOP)

    ends: list[tuple[Callable[[Loader], None], int]] = [(kill, 1014), (freeze, 1014)]
    for end, close in ends:
        with Gateway() as gateway, Loader(gateway.lb, TALKER) as loader:
            gateway.joined(loader)
            with opened(gateway) as ws:
                send(ws, frame(0, b"a", act="hold"))
                heard(ws)
                end(loader)
                told = heard(ws)
                assert told["header"]["code"] == 10222
                assert closed(ws) == close
            loader.signal(signal.SIGCONT)


def test_no_loader_is_told() -> None:
    with Gateway() as gateway:
        with Loader(gateway.lb, TALKER) as loader:
            gateway.joined(loader)
        gateway.event("instance gone", instance=loader.addr)
        with opened(gateway) as ws:
            send(ws, BEGUN)
            assert heard(ws)["header"]["code"] == 20002
            assert closed(ws) == 1013


def test_a_full_loader_is_left_for_another() -> None:
    with (
        Gateway("--lb-wait", "0") as gateway,
        Loader(gateway.lb, TALKER, "--total", "1") as one,
        Loader(gateway.lb, TALKER, "--total", "1") as two,
    ):
        gateway.joined(one)
        gateway.joined(two)
        with opened(gateway) as first, opened(gateway) as second, opened(gateway) as third:
            for ws in (first, second):
                send(ws, frame(0, b"a", act="hold"))
                assert heard(ws)["header"]["code"] == 0
            assert {each["inflight"] for each in gateway.state()} == {1}
            send(third, BEGUN)
            assert heard(third)["header"]["code"] == 10110
            assert closed(third) == 1013


def test_a_gateway_that_drains_lets_sessions_go_on_to_their_next_result() -> None:
    with Gateway("--gateway-drain", "2") as gateway, Loader(gateway.lb, TALKER) as loader:
        gateway.joined(loader)
        with opened(gateway) as talks, opened(gateway) as hears, opened(gateway) as idle:
            for ws in (talks, hears):
                send(ws, frame(0, b"a", act="echo" if ws is talks else "hold"))
                heard(ws)
            assert said(heard(talks)) == b"A"
            gateway.signal(signal.SIGTERM)
            assert closed(idle) == 1001
            send(talks, frame(1, b"last"))
            assert said(heard(talks)) == b"LAST"
            told = heard(talks)["header"]
            assert (told["code"], told["message"][:17]) == (10102, "the gateway stops")
            assert closed(talks) == 1001
            told = heard(hears)["header"]
            assert (told["code"], told["message"][:17]) == (10102, "the gateway stops")
            assert closed(hears) == 1001, "at the deadline"
        assert gateway.ended() == 0
        codes = [line["code"] for line in gateway.lines if line.get("status") == 101]
        assert codes == [10102, 10102], "a session that was cut off did not end well"


def silent(ws: ClientConnection, seconds: float) -> None:
    """See that nothing comes for so long."""
    with pytest.raises(TimeoutError):
        ws.recv(timeout=seconds)


def test_after_its_last_frame_a_client_may_be_silent(gateway: Gateway) -> None:
    with opened(gateway) as ws:
        send(ws, frame(0, b"a", act="hold"), frame(2))
        heard(ws)
        silent(ws, 2.5)  # the read timeout is 1.5 s
        assert ws.ping().wait(PATIENCE)
    free(gateway)


def test_a_loader_that_is_behind_holds_its_client_back(gateway: Gateway) -> None:
    """Frames wait, pings are answered, and silence is not the client's."""
    with opened(gateway) as ws:
        send(ws, frame(0, b"a", act="hold"))
        heard(ws)
        large = json.dumps(frame(1, b"x" * 2800))
        full = threading.Event()

        def push() -> None:
            with contextlib.suppress(ConnectionClosed):
                for _ in range(20_000):
                    ws.send(large)
            full.set()

        pushing = threading.Thread(target=push, daemon=True)
        pushing.start()
        silent(ws, 2.5)
        assert not full.is_set(), "60 MB are nowhere on the way"
        reset(ws)
        pushing.join(PATIENCE)
    free(gateway)


def test_of_many_sessions_the_one_that_is_behind_ends_alone() -> None:
    with Gateway("--session-queue", "4") as gateway, Loader(gateway.lb, TALKER) as loader:
        gateway.joined(loader)
        with opened(gateway, "?stream_mode=multiplex") as ws:
            send(ws, frame(0, b"a", cid="slow", act="hold"), frame(0, b"b", cid="quick"))
            large = json.dumps(frame(1, b"x" * 40_000, cid="slow"))
            told: list[dict[str, Any]] = []
            while not [each for each in told if each["header"]["code"] == 10301]:
                for _ in range(50):
                    ws.send(large)
                with contextlib.suppress(TimeoutError):
                    while True:
                        told.append(json.loads(ws.recv(timeout=0.02)))
            first = next(each for each in told if each["header"]["code"])["header"]
            assert (first["cid"], first["code"]) == ("slow", 10301)
            send(ws, frame(2, b"still here", cid="quick"))
            last: list[dict[str, Any]] = [{"header": {"status": 0}}]
            while last[-1]["header"]["status"] != 2:
                last.append(heard(ws))
            assert b"STILL HERE" in [said(each) for each in last if "payload" in each]
        free(gateway)


def test_no_session_is_older_than_its_lifetime() -> None:
    flags = ("--session-lifetime", "1", "--session-read-timeout", "30")
    with Gateway(*flags) as gateway, Loader(gateway.lb, TALKER) as loader:
        gateway.joined(loader)
        with opened(gateway) as ws:
            send(ws, frame(0, b"a", act="hold"))
            heard(ws)
            assert heard(ws)["header"]["code"] == 10114
            assert closed(ws) == 3008
        free(gateway)


def test_an_error_is_read_though_more_was_sent_behind_it(gateway: Gateway) -> None:
    with opened(gateway) as ws:
        with contextlib.suppress(ConnectionClosed):
            send(ws, BEGUN, "{", *(frame(1, b"x" * 1000) for _ in range(200)))
        told = heard(ws)
        while told["header"]["code"] == 0:
            told = heard(ws)
        assert told["header"]["code"] == 10163
        assert closed(ws) == 1008
    free(gateway)


def test_what_was_sent_behind_a_session_that_failed_is_dropped(gateway: Gateway) -> None:
    with opened(gateway, "?stream_mode=multiplex") as ws:
        bad = frame(1, b"x", cid="a") | {"payload": {"nobody": {}}}
        send(ws, frame(0, b"one", cid="a"), bad, *[frame(1, b"late", cid="a")] * 50)
        while heard(ws)["header"]["code"] == 0:
            pass
        send(ws, frame(3, b"again", cid="a"))
        assert [heard(ws)["header"]["status"] for _ in range(3)] == [0, 1, 2]
        send(ws, frame(1, b"late", cid="a"), frame(1, b"late", cid="never"))
        told = heard(ws)["header"]
        assert (told["cid"], told["code"]) == ("never", 10163), "of one that ended nothing is said"


def test_several_sessions_survive_a_moment_in_which_nobody_reads(gateway: Gateway) -> None:
    many = 40
    with opened(gateway, "?stream_mode=multiplex") as ws:
        send(ws, frame(0, b"a", cid="b"))
        told = [heard(ws)["header"] for _ in range(2)]
        send(ws, frame(3, b"x", cid="flood", act="flood", many=20_000))
        send(ws, *[frame(1, b"a", cid="b")] * many, frame(2, cid="b"))
        while (told[-1]["cid"], told[-1]["status"]) != ("b", 2):
            told.append(heard(ws)["header"])
        mine = [header["code"] for header in told if header["cid"] == "b"]
        assert mine == [0] * (many + 3)
