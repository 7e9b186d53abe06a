"""Sessions by WebSocket, through real processes: what comes back, how it ends, what is left."""

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

from tests.harness import TIMEOUT_S, Gateway, Loader
from tests.sessions import TALKER, frame, output_bytes

FLAGS = ("--session-read-timeout", "1.5", "--session-max-frame", "4096", "--session-queue", "4")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway(*FLAGS) as running, Loader(running.lb, TALKER) as loader:
        running.wait_until_up(loader)
        yield running


@contextlib.contextmanager
def open_session(
    gateway: Gateway, query: str = "", service: str = "talker", **connect_options: Any
) -> Iterator[ClientConnection]:
    url = gateway.url.replace("http", "ws") + f"/v1/private/{service}" + query
    with connect(url, open_timeout=TIMEOUT_S, proxy=None, **connect_options) as ws:
        yield ws


def send(ws: ClientConnection, *frames: Any) -> None:
    for message in frames:
        ws.send(message if isinstance(message, str | bytes) else json.dumps(message))


def send_until_closed(ws: ClientConnection, *frames: Any) -> None:
    """Send frames of which one ends the session, perhaps before the others are sent."""
    with contextlib.suppress(ConnectionClosed):
        send(ws, *frames)


def receive(ws: ClientConnection) -> dict[str, Any]:
    envelope: dict[str, Any] = json.loads(ws.recv(timeout=TIMEOUT_S))
    return envelope


def receive_close_code(ws: ClientConnection) -> int | None:
    """Return the close code, after what still comes."""
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            ws.recv(timeout=TIMEOUT_S)
    return caught.value.rcvd.code if caught.value.rcvd else None


def reset_connection(ws: ClientConnection) -> None:
    """Vanish with a reset."""
    ws.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ws.socket.shutdown(socket.SHUT_RDWR)
    ws.socket.close()


def wait_until_idle(gateway: Gateway) -> None:
    """Wait until no slot is held, at the gateway or the loader."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        instances = gateway.state()
        busy = [instance for instance in instances if instance["inflight"] or instance["running"]]
        if not busy and _sessions_metric(gateway).endswith(" 0.0"):
            return
        assert time.monotonic() < deadline, f"{busy} {_sessions_metric(gateway)}"


def _sessions_metric(gateway: Gateway) -> str:
    lines = gateway.metrics().splitlines()
    return next((line for line in lines if line.startswith("ase_sessions{")), " 0.0")


def test_results_arrive_while_the_client_sends(gateway: Gateway) -> None:
    with open_session(gateway) as ws:
        send(ws, frame(0, b"one"))
        started = receive(ws)
        assert (started["header"]["code"], started["header"]["status"]) == (0, 0)
        assert "payload" not in started
        first = receive(ws)
        assert output_bytes(first) == b"ONE"
        assert first["header"]["sid"] == started["header"]["sid"]
        assert first["payload"]["said"]["seq"] == 1
        send(ws, frame(None, b"two"), frame(1, b"three"), frame(2, b"four"))
        assert [output_bytes(receive(ws)) for _ in range(3)] == [b"TWO", b"THREE", b"FOUR"]
        last = receive(ws)
        assert last["header"]["status"] == 2
        assert receive_close_code(ws) == 1000
    wait_until_idle(gateway)


def test_no_response_is_lost_when_the_client_reads_late(gateway: Gateway) -> None:
    frame_count = 20_000  # answers that no buffer on the way holds
    with open_session(gateway, "?stream_mode=multiplex") as ws:
        writer = threading.Thread(target=lambda: [ws.send("{}") for _ in range(frame_count)])
        writer.start()
        for _ in range(frame_count):
            assert receive(ws)["header"]["code"] == 10163
        writer.join()
        send(ws, frame(3, b"on", cid="a"))
        assert receive(ws)["header"]["code"] == 0


def test_single_frame_session(gateway: Gateway) -> None:
    with open_session(gateway) as ws:
        send(ws, frame(3, b"all"))
        assert [receive(ws)["header"]["status"] for _ in range(3)] == [0, 1, 2]
        assert receive_close_code(ws) == 1000


FIRST_FRAME = frame(0, b"a")
BAD_SESSIONS: list[tuple[str, list[Any], int, int, str]] = [
    ("not json", ["{"], 10163, 1008, "must be json"),
    ("no frame for long", [FIRST_FRAME], 10200, 3008, "session read timeout"),
    ("refused by the wrapper", [frame(0, b"a", act="refuse")], 10107, 1008, "not this one"),
    ("the wrapper raises", [frame(0, b"a", act="raise")], 10908, 1014, "ValueError"),
    ("undeclared output", [frame(0, b"a", act="undeclared")], 10106, 1014, "'surprise'"),
]  # fmt: skip


@pytest.mark.parametrize(("frames", "code", "close_code", "message_part"),
                         [row[1:] for row in BAD_SESSIONS],
                         ids=[row[0] for row in BAD_SESSIONS])  # fmt: skip
def test_session_errors_are_reported_and_leak_nothing(
    gateway: Gateway, frames: list[Any], code: int, close_code: int, message_part: str
) -> None:
    with open_session(gateway) as ws:
        send(ws, *frames)
        envelope = receive(ws)
        while envelope["header"]["code"] == 0:
            envelope = receive(ws)
        assert (envelope["header"]["code"], envelope["header"]["status"]) == (code, 0)
        assert message_part in envelope["header"]["message"]
        assert "secret" not in envelope["header"]["message"]
        assert receive_close_code(ws) == close_code
    wait_until_idle(gateway)


def test_binary_subprotocol(gateway: Gateway) -> None:
    def binary_message(head: Any, tail: bytes) -> bytes:
        header = json.dumps(head).encode()
        return len(header).to_bytes(4, "big") + header + tail

    with open_session(gateway, subprotocols=["ase.binary.v1"]) as ws:
        assert ws.subprotocol == "ase.binary.v1"
        send(ws, binary_message({**frame(0), "payload": {"text": {}}}, b"raw \0 bytes"))
        ws.recv(timeout=TIMEOUT_S)
        message = ws.recv(timeout=TIMEOUT_S)
        assert isinstance(message, bytes)
        size = int.from_bytes(message[:4], "big")
        assert message[4 + size :] == b"RAW \0 BYTES"
        assert json.loads(message[4 : 4 + size])["payload"]["said"] == {"seq": 1, "status": 1}
        send(ws, b"\xff\xff\xff\xff")
        message = ws.recv(timeout=TIMEOUT_S)
        assert b"a binary message is" in message  # type: ignore[operator]
        assert receive_close_code(ws) == 1008


def test_multiplexed_sessions(gateway: Gateway) -> None:
    with open_session(gateway, "?stream_mode=multiplex") as ws:
        send(ws, frame(0, b"one", cid="a"), frame(0, b"two", cid="b", act="raise"))
        send(ws, frame(1, b"lost", cid="nobody"), frame(0, b"x"), frame(1, b"more", cid="a"))
        codes_by_cid: dict[Any, list[Any]] = {}
        while (
            len(codes_by_cid.get("a", ())) < 3
            or 10908 not in codes_by_cid.get("b", ())
            or len(codes_by_cid) < 4
        ):
            header = receive(ws)["header"]
            codes_by_cid.setdefault(header.get("cid"), []).append(header["code"])
        assert codes_by_cid["a"] == [0, 0, 0]
        assert codes_by_cid["b"] == [0, 10908]
        assert (codes_by_cid["nobody"], codes_by_cid[None]) == ([10163], [10163])
        send(ws, frame(2, cid="a"))
        while receive(ws)["header"]["status"] != 2:
            pass
        send(ws, frame(3, b"again", cid="a"))
        while receive(ws)["header"]["status"] != 2:
            pass
        ws.ping().wait(TIMEOUT_S)
    wait_until_idle(gateway)


@pytest.mark.parametrize("end", ["close", "fin", "rst"])
def test_client_disconnect_leaks_nothing(gateway: Gateway, end: str) -> None:
    with open_session(gateway) as ws:
        send(ws, frame(0, b"a", act="hold"))
        receive(ws)
        assert any(instance["inflight"] for instance in gateway.state())
        if end == "close":
            ws.close()
        elif end == "rst":
            reset_connection(ws)
        else:
            ws.socket.shutdown(socket.SHUT_RDWR)
        wait_until_idle(gateway)


@pytest.mark.parametrize(
    ("service", "headers", "status"),
    [
        ("nobody", {}, 404),
        ("talker", {"Origin": "https://evil.example"}, 403),
        ("talker", {"Sec-WebSocket-Version": "99"}, 400),
        ("talker", {"Sec-WebSocket-Key": "short"}, 400),
    ],
)
def test_handshake_rejections(
    gateway: Gateway, service: str, headers: dict[str, str], status: int
) -> None:
    handshake_headers = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", **headers,
    }  # fmt: skip
    response = gateway.http.get(f"/v1/private/{service}", headers=handshake_headers)
    assert response.status_code == status
    assert response.json()["header"]["code"] != 0


def test_same_origin_handshake_is_accepted(gateway: Gateway) -> None:
    with open_session(gateway, origin=gateway.url) as ws:
        send(ws, frame(3, b"x"))
        assert receive(ws)["header"]["code"] == 0


def test_killed_loader_is_reported_to_the_client() -> None:
    def kill(loader: Loader) -> None:
        loader.signal(signal.SIGKILL)

    def freeze(loader: Loader) -> None:
        loader.signal(signal.SIGSTOP)

    cases: list[tuple[Callable[[Loader], None], int]] = [(kill, 1014), (freeze, 1014)]
    for stop_loader, close_code in cases:
        with Gateway() as gateway, Loader(gateway.lb, TALKER) as loader:
            gateway.wait_until_up(loader)
            with open_session(gateway) as ws:
                send(ws, frame(0, b"a", act="hold"))
                receive(ws)
                stop_loader(loader)
                envelope = receive(ws)
                assert envelope["header"]["code"] == 10222
                assert receive_close_code(ws) == close_code
            loader.signal(signal.SIGCONT)


def test_missing_loader_is_reported_to_the_client() -> None:
    with Gateway() as gateway:
        with Loader(gateway.lb, TALKER) as loader:
            gateway.wait_until_up(loader)
        gateway.wait_for_event("instance gone", instance=loader.addr)
        with open_session(gateway) as ws:
            send(ws, FIRST_FRAME)
            assert receive(ws)["header"]["code"] == 20002
            assert receive_close_code(ws) == 1013


def test_sessions_avoid_a_full_loader() -> None:
    with (
        Gateway("--lb-wait", "0") as gateway,
        Loader(gateway.lb, TALKER, "--total", "1") as first_loader,
        Loader(gateway.lb, TALKER, "--total", "1") as second_loader,
    ):
        gateway.wait_until_up(first_loader)
        gateway.wait_until_up(second_loader)
        with (
            open_session(gateway) as first,
            open_session(gateway) as second,
            open_session(gateway) as third,
        ):
            for ws in (first, second):
                send(ws, frame(0, b"a", act="hold"))
                assert receive(ws)["header"]["code"] == 0
            assert {instance["inflight"] for instance in gateway.state()} == {1}
            send(third, FIRST_FRAME)
            assert receive(third)["header"]["code"] == 10110
            assert receive_close_code(third) == 1013


def test_draining_gateway_ends_sessions_after_their_next_result() -> None:
    with Gateway("--gateway-drain", "2") as gateway, Loader(gateway.lb, TALKER) as loader:
        gateway.wait_until_up(loader)
        with (
            open_session(gateway) as active,
            open_session(gateway) as waiting,
            open_session(gateway) as idle,
        ):
            for ws in (active, waiting):
                send(ws, frame(0, b"a", act="echo" if ws is active else "hold"))
                receive(ws)
            assert output_bytes(receive(active)) == b"A"
            gateway.signal(signal.SIGTERM)
            assert receive_close_code(idle) == 1001
            send(active, frame(1, b"last"))
            assert output_bytes(receive(active)) == b"LAST"
            header = receive(active)["header"]
            assert (header["code"], header["message"][:17]) == (10102, "the gateway stops")
            assert receive_close_code(active) == 1001
            header = receive(waiting)["header"]
            assert (header["code"], header["message"][:17]) == (10102, "the gateway stops")
            assert receive_close_code(waiting) == 1001, "at the deadline"
        assert gateway.wait_for_exit() == 0
        codes = [line["code"] for line in gateway.lines if line.get("status") == 101]
        assert codes == [10102, 10102], "a session that was cut off did not end well"


def assert_silent(ws: ClientConnection, seconds: float) -> None:
    """See that nothing comes for so long."""
    with pytest.raises(TimeoutError):
        ws.recv(timeout=seconds)


def test_slow_loader_applies_backpressure(gateway: Gateway) -> None:
    """Frames wait, pings are answered, and silence is not the client's."""
    with open_session(gateway) as ws:
        send(ws, frame(0, b"a", act="hold"))
        receive(ws)
        large_frame = json.dumps(frame(1, b"x" * 2800))
        all_sent = threading.Event()

        def send_frames() -> None:
            with contextlib.suppress(ConnectionClosed):
                for _ in range(20_000):
                    ws.send(large_frame)
            all_sent.set()

        sender = threading.Thread(target=send_frames, daemon=True)
        sender.start()
        assert_silent(ws, 2.5)
        assert not all_sent.is_set(), "60 MB are nowhere on the way"
        reset_connection(ws)
        sender.join(TIMEOUT_S)
    wait_until_idle(gateway)


def test_only_the_slow_multiplexed_session_is_ended() -> None:
    with Gateway("--session-queue", "4") as gateway, Loader(gateway.lb, TALKER) as loader:
        gateway.wait_until_up(loader)
        with open_session(gateway, "?stream_mode=multiplex") as ws:
            send(ws, frame(0, b"a", cid="slow", act="hold"), frame(0, b"b", cid="quick"))
            large = json.dumps(frame(1, b"x" * 40_000, cid="slow"))
            received: list[dict[str, Any]] = []
            while not [envelope for envelope in received if envelope["header"]["code"] == 10301]:
                for _ in range(50):
                    ws.send(large)
                with contextlib.suppress(TimeoutError):
                    while True:
                        received.append(json.loads(ws.recv(timeout=0.02)))
            first = next(envelope for envelope in received if envelope["header"]["code"])["header"]
            assert (first["cid"], first["code"]) == ("slow", 10301)
            send(ws, frame(2, b"still here", cid="quick"))
            last: list[dict[str, Any]] = [{"header": {"status": 0}}]
            while last[-1]["header"]["status"] != 2:
                last.append(receive(ws))
            assert b"STILL HERE" in [
                output_bytes(envelope) for envelope in last if "payload" in envelope
            ]
        wait_until_idle(gateway)


def test_error_is_delivered_while_the_client_still_sends(gateway: Gateway) -> None:
    with open_session(gateway) as ws:
        send_until_closed(ws, FIRST_FRAME, "{", *(frame(1, b"x" * 1000) for _ in range(200)))
        envelope = receive(ws)
        while envelope["header"]["code"] == 0:
            envelope = receive(ws)
        assert envelope["header"]["code"] == 10163
        assert receive_close_code(ws) == 1008
    wait_until_idle(gateway)


def test_multiplexed_sessions_survive_a_client_that_pauses_reading(gateway: Gateway) -> None:
    many = 40
    with open_session(gateway, "?stream_mode=multiplex") as ws:
        send(ws, frame(0, b"a", cid="b"))
        received_headers = [receive(ws)["header"] for _ in range(2)]
        send(ws, frame(3, b"x", cid="flood", act="flood", many=20_000))
        send(ws, *[frame(1, b"a", cid="b")] * many, frame(2, cid="b"))
        while (received_headers[-1]["cid"], received_headers[-1]["status"]) != ("b", 2):
            received_headers.append(receive(ws)["header"])
        codes = [header["code"] for header in received_headers if header["cid"] == "b"]
        assert codes == [0] * (many + 3)
