"""The sessions of one WebSocket: which message belongs to which, their errors and their limits."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from config.options import SessionOptions
from schemas.model.errors import WRAPPER_RAISED, AseError
from tests.inprocess import InProcessGateway
from tests.sessions import InProcessWebSocket, frame, output_bytes

OPTIONS = SessionOptions(max_frame=4096, queue=4)
MULTIPLEX = "?stream_mode=multiplex"
FIRST_FRAME = frame(0, b"a")


@pytest.fixture
def gateway() -> Iterator[InProcessGateway]:
    with InProcessGateway(session_options=OPTIONS) as running:
        yield running


def with_seq(envelope: dict[str, Any], seq: int) -> dict[str, Any]:
    return {**envelope, "payload": {"text": {"text": "aGk=", "seq": seq}}}


BAD_SESSIONS: list[tuple[str, list[Any], int, int, str]] = [
    ("first: continue", [frame(1, b"a", app_id="t")], 10163, 1008, "a session begins with"),
    ("first: end", [frame(2, b"a", app_id="t")], 10163, 1008, "a session begins with"),
    ("first: no status", [{"header": {"app_id": "t"}}], 10163, 1008, "is required"),
    ("first: no app id", [{"header": {"status": 0}}], 10313, 1008, "appid cannot be empty"),
    ("status 7", [frame(7, b"a", app_id="t")], 10163, 1008, "must be 0, 1, 2 or 3"),
    ("two begins", [FIRST_FRAME, FIRST_FRAME], 10163, 1008, "the session has begun"),
    ("once after begin", [FIRST_FRAME, frame(3, b"a")], 10163, 1008, "the session has begun"),
    ("after the end", [FIRST_FRAME, frame(2), frame(1, b"b")], 10163, 1008,
     "last frame was sent"),
    ("not json", ["{"], 10163, 1008, "must be json"),
    ("no object", ["[]"], 10163, 1008, "must be a json object"),
    ("duplicate key", ['{"a":1,"a":2}'], 10163, 1008, "uplicate"),
    ("bad base64", [{**FIRST_FRAME, "payload": {"text": {"text": "%"}}}], 10163, 1008, "base64"),
    ("bad base64 mid-stream", [FIRST_FRAME, {"payload": {"text": {"text": "%"}}}], 10163, 1008,
     "base64"),
    ("schema mid-stream", [FIRST_FRAME, {"payload": {"nobody": {}}}], 10163, 1008,
     "is not known here"),
    ("seq gap", [with_seq(FIRST_FRAME, 1), with_seq({}, 3)], 10163, 1008, "seq: 2 is next"),
    ("seq twice", [with_seq(FIRST_FRAME, 1), with_seq({}, 1)], 10163, 1008, "seq: 2 is next"),
    ("no frame for long", [FIRST_FRAME], 10200, 3008, "session read timeout"),
    ("nothing at all", [], 10200, 3008, "session read timeout"),
]  # fmt: skip


def assert_all_released(gateway: InProcessGateway) -> None:
    slots = gateway.picker.new_slots
    assert [len(slot.errors) for slot in slots] == [1] * len(slots)


@pytest.mark.parametrize(("frames", "code", "close_code", "message_part"),
                         [row[1:] for row in BAD_SESSIONS],
                         ids=[row[0] for row in BAD_SESSIONS])  # fmt: skip
def test_session_errors_are_reported_and_leak_nothing(
    gateway: InProcessGateway, frames: list[Any], code: int, close_code: int, message_part: str
) -> None:
    with InProcessWebSocket(gateway) as ws:
        ws.send(*frames)
        (envelope,) = ws.receive_all()
        assert (envelope["header"]["code"], envelope["header"]["status"]) == (code, 0)
        assert message_part in envelope["header"]["message"]
        assert ws.receive_close_code() == close_code
    assert_all_released(gateway)


def test_too_large_a_message_is_1009(gateway: InProcessGateway) -> None:
    with InProcessWebSocket(gateway) as ws:
        ws.send(FIRST_FRAME, "x" * 5000)
        assert ws.receive_close_code() == 1009
    assert_all_released(gateway)


def test_binary_messages_need_their_subprotocol(gateway: InProcessGateway) -> None:
    with InProcessWebSocket(gateway) as ws:
        ws.send(b"bytes")
        assert ws.receive_close_code() == 1003


def test_binary_subprotocol_carries_data_without_base64(gateway: InProcessGateway) -> None:
    header = json.dumps({**frame(0), "payload": {"text": {}}}).encode()
    with InProcessWebSocket(gateway, subprotocol="ase.binary.v1") as ws:
        assert ws.subprotocol == "ase.binary.v1"
        ws.send(len(header).to_bytes(4, "big") + header + b"raw \0 bytes")
        (stream,) = gateway.caller.streams
        assert b"raw \0 bytes" in stream.sent_frames[0]
        stream.push_result(1, b"RAW \0 BYTES")
        message = ws.receive_message()
        size = int.from_bytes(message[:4], "big")
        assert message[4 + size :] == b"RAW \0 BYTES"
        ws.send(b"\xff\xff\xff\xff")
        assert b"a binary message is" in ws.receive_message()
        assert ws.receive_close_code() == 1008


def test_results_of_multiplexed_sessions_carry_their_cid(gateway: InProcessGateway) -> None:
    with InProcessWebSocket(gateway, MULTIPLEX) as ws:
        ws.send(frame(0, b"one", cid="a"), frame(0, b"two", cid="b"))
        first, second = gateway.caller.streams
        second.push_result(1, b"TWO")
        first.push_result(1, b"ONE")
        results = [ws.receive() for _ in range(2)]
        assert [(r["header"]["cid"], output_bytes(r)) for r in results] == [
            ("b", b"TWO"),
            ("a", b"ONE"),
        ]
        second.fail_with(AseError(WRAPPER_RAISED))
        header = ws.receive()["header"]
        assert (header["cid"], header["code"]) == ("b", WRAPPER_RAISED.code)
        first.push_result(2, b"LAST")
        assert ws.receive()["header"]["status"] == 2
    assert_all_released(gateway)


@pytest.mark.parametrize("cid", [None, "", "x" * 200, 7])
def test_multiplexed_frames_need_a_cid(gateway: InProcessGateway, cid: Any) -> None:
    with InProcessWebSocket(gateway, MULTIPLEX) as ws:
        ws.send(frame(0, b"x", **({} if cid is None else {"cid": cid})))
        header = ws.receive()["header"]
        assert header["code"] == 10163
        assert "$.header.cid" in header["message"]
        ws.send(frame(0, b"x", cid="good"))
        assert len(gateway.caller.streams) == 1


def test_frames_of_unknown_sessions_are_rejected(gateway: InProcessGateway) -> None:
    with InProcessWebSocket(gateway, MULTIPLEX) as ws:
        ws.send(frame(1, b"lost", cid="nobody"))
        header = ws.receive()["header"]
        assert (header["cid"], header["code"]) == ("nobody", 10163)


def test_session_limit_per_socket(gateway: InProcessGateway) -> None:
    with InProcessWebSocket(gateway, MULTIPLEX) as ws:
        ws.send(*(frame(0, b"x", cid=str(number)) for number in range(OPTIONS.most + 1)))
        header = ws.receive()["header"]
        assert (header["cid"], header["code"]) == (str(OPTIONS.most), 10163)
        assert len(gateway.caller.streams) == OPTIONS.most
    assert_all_released(gateway)


def test_no_read_timeout_after_the_last_frame(gateway: InProcessGateway) -> None:
    with InProcessWebSocket(gateway) as ws:
        ws.send(frame(0, b"a"), frame(2))
        ws.sock.settimeout(1.2 * OPTIONS.read_timeout)
        with pytest.raises(TimeoutError):
            ws.receive()


def test_session_lifetime_limit() -> None:
    options = SessionOptions(lifetime=30.0, read_timeout=1000.0)
    with InProcessGateway(session_options=options) as gateway, InProcessWebSocket(gateway) as ws:
        ws.send(frame(0, b"a"))
        start = gateway.loop.time()
        assert ws.receive()["header"]["code"] == 10114
        assert gateway.loop.time() - start == pytest.approx(30.0, abs=0.1)
        assert ws.receive_close_code() == 3008
    assert_all_released(gateway)


def test_frames_after_a_failed_session_are_dropped(gateway: InProcessGateway) -> None:
    with InProcessWebSocket(gateway, MULTIPLEX) as ws:
        bad = frame(1, b"x", cid="a") | {"payload": {"nobody": {}}}
        ws.send(frame(0, b"one", cid="a"), bad, *[frame(1, b"late", cid="a")] * 50)
        assert ws.receive()["header"]["code"] == 10163
        ws.send(frame(1, b"late", cid="a"), frame(1, b"late", cid="never"))
        header = ws.receive()["header"]
        assert (header["cid"], header["code"]) == ("never", 10163), "not one of the session's"
        ws.send(frame(3, b"again", cid="a"))
        gateway.caller.streams[-1].push_result(2, b"AGAIN")
        assert ws.receive()["header"]["status"] == 2


def test_only_the_64_latest_ended_sessions_are_remembered(gateway: InProcessGateway) -> None:
    with InProcessWebSocket(gateway, MULTIPLEX) as ws:
        for number in range(65):
            ws.send(frame(3, b"x", cid=str(number)))
            gateway.caller.streams[-1].push_result(2)
            assert ws.receive()["header"]["code"] == 0
        ws.send(frame(1, b"late", cid="1"), frame(1, b"late", cid="0"))
        assert ws.receive()["header"]["cid"] == "0"


def test_full_queue_of_a_multiplexed_session_fails_that_session_alone(
    gateway: InProcessGateway,
) -> None:
    with InProcessWebSocket(gateway, MULTIPLEX) as ws:
        ws.send(frame(0, b"a", cid="slow"), frame(0, b"b", cid="quick"))
        slow, quick = gateway.caller.streams
        slow.has_room = False
        ws.send(*[frame(1, b"x", cid="slow")] * (OPTIONS.queue + 1))
        header = ws.receive()["header"]
        assert (header["cid"], header["code"]) == ("slow", 10301)
        quick.push_result(1, b"STILL HERE")
        assert output_bytes(ws.receive()) == b"STILL HERE"


def test_full_queue_of_the_one_session_stops_reading(gateway: InProcessGateway) -> None:
    with InProcessWebSocket(gateway) as ws:
        ws.send(frame(0, b"a"))
        (stream,) = gateway.caller.streams
        stream.has_room = False
        frame_count = 20
        ws.send(*[frame(1, b"x" * 600)] * frame_count)
        assert not ws.sock.transport.is_reading()
        stream.has_room = True
        gateway.run(stream.wake)
        assert ws.sock.transport.is_reading()
        assert len(stream.sent_frames) == 1 + frame_count


def test_multiplexed_client_that_reads_no_errors_is_not_read(gateway: InProcessGateway) -> None:
    with InProcessWebSocket(gateway, MULTIPLEX) as ws:
        ws.sock.stop_reading()
        for _ in range(2000):
            ws.send("{}")
            if not ws.sock.transport.is_reading():
                break
        assert not ws.sock.transport.is_reading(), "each message would cause another error"
        ws.sock.continue_reading()
        assert ws.sock.transport.is_reading()


def test_idle_multiplexed_socket_is_closed(gateway: InProcessGateway) -> None:
    with InProcessWebSocket(gateway, MULTIPLEX) as ws:
        start = gateway.loop.time()
        assert ws.receive()["header"]["code"] == 10200
        assert ws.receive_close_code() == 3008
        assert gateway.loop.time() - start >= OPTIONS.idle


def test_internal_error_is_reported_with_1011(gateway: InProcessGateway) -> None:
    gateway.picker.error = ValueError("a secret")  # type: ignore[assignment]
    with InProcessWebSocket(gateway) as ws:
        ws.send(FIRST_FRAME)
        (envelope,) = ws.receive_all()
        assert envelope["header"]["code"] == 11502
        assert "secret" not in envelope["header"]["message"]
        assert ws.receive_close_code() == 1011
    assert len(gateway.internal_errors) == 1
