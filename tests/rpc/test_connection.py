"""The core by bytes alone: recorded exchanges cut anywhere, and what is sent under windows.

The other side is the `h2` library, in memory.
"""

import itertools
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpc.connection import Connection
from rpc.frame_budget import BURST
from rpc.frames import ErrorCode, ProtocolError, frame
from rpc.headers import TABLE_SIZE_UPDATE, encode_header_block
from rpc.streams import Http2Stream
from tests.clock import Clock

pytestmark = pytest.mark.sources_only  # it derives from compiled classes

REQUEST = encode_header_block(
    [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"h")]
)


class RecordingStream(Http2Stream):
    """A stream that keeps what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def on_headers(self, header_block: bytes, end_stream: bool, /) -> None:
        self.events.append(("headers", header_block, end_stream))

    def on_data(self, data: bytes, end_stream: bool, /) -> None:
        self.events.append(("data", data, end_stream))

    def on_reset(self, code: int) -> None:
        self.events.append(("reset", code))

    def on_refused(self, reason: str) -> None:
        self.events.append(("refused", reason))

    def on_sent(self) -> None:
        self.events.append(("sent",))


def h2_server(**settings: int) -> h2.connection.H2Connection:
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    codes_by_name = {code.name.lower(): code for code in h2.settings.SettingCodes}
    initial_settings = {codes_by_name[code]: value for code, value in settings.items()}
    peer.local_settings = h2.settings.Settings(client=False, initial_values=initial_settings)
    peer.initiate_connection()
    return peer


def drain_sent_bytes(connection: Connection) -> bytes:
    """Return all that it would write, piece by piece."""
    pieces = []
    while piece := b"".join(connection.outbound.take_frames()):
        pieces.append(piece)
        connection.outbound.on_flushed()
    return b"".join(pieces)


def connect(peer: h2.connection.H2Connection, clock: Clock | None = None) -> Connection:
    """Return a connection that has shaken hands with a peer."""
    connection = Connection(clock or Clock())
    connection.initiate_connection()
    peer.receive_data(drain_sent_bytes(connection))
    connection.receive_data(peer.data_to_send())
    peer.receive_data(drain_sent_bytes(connection))
    connection.receive_data(peer.data_to_send())
    return connection


def open_stream(
    connection: Connection, data: bytes = b"", *, end_stream: bool = True
) -> RecordingStream:
    stream = RecordingStream()
    header_block = (TABLE_SIZE_UPDATE if connection.outbound.next_stream_id == 1 else b"") + REQUEST
    connection.outbound.open_stream(stream, header_block, data, end_stream)
    return stream


def record_exchange() -> bytes:
    """Return what a server sends in a life of five calls: of every kind a frame."""
    peer = h2_server(max_concurrent_streams=9)
    connection = connect(peer)
    peer.receive_data(b"".join([drain_sent_bytes(connection)]))
    streams = [open_stream(connection, b"x" * 10) for _ in range(5)]
    peer.receive_data(drain_sent_bytes(connection))
    peer.send_headers(1, [(":status", "200")])
    peer.send_data(1, b"a" * 5000, pad_length=99)
    peer.ping(b"12345678")
    peer.send_headers(3, [(":status", "200"), ("x-long", "y" * 40_000)])
    peer.send_data(1, b"b" * 3000)
    peer.send_headers(1, [("grpc-status", "0")], end_stream=True)
    peer.reset_stream(5, 8)
    peer.increment_flow_control_window(1000)
    peer.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 100})
    peer.send_data(3, b"", end_stream=True)
    peer.close_connection(last_stream_id=7)
    assert len(streams) == 5
    return bytes(peer.data_to_send())


RECORDED_BYTES = record_exchange()


def replay(pieces: list[bytes]) -> list[Any]:
    """Play the recorded bytes to a connection with the same five calls; return what each heard."""
    peer = h2_server(max_concurrent_streams=9)
    connection = connect(peer)
    streams = [open_stream(connection, b"x" * 10) for _ in range(5)]
    for piece in pieces:
        connection.receive_data(piece)
    assert [stream.id for stream in connection.outbound.streams.values()] == [7]
    assert connection.goaway_reason
    return [stream.events for stream in streams]


def test_recorded_exchange_reaches_the_streams() -> None:
    first, second, third, fourth, fifth = replay([RECORDED_BYTES])
    assert [event[0] for event in first] == ["headers", "data", "data", "headers"]
    assert first[1][1] == b"a" * 5000
    assert first[-1][2]
    assert [event[0] for event in second] == ["headers", "data"]
    assert len(second[0][1]) > 20_000, "a block in two frames"
    assert third == [("reset", 8)]
    assert fourth == []
    assert fifth[0][0] == "refused"


@given(st.lists(st.integers(0, len(RECORDED_BYTES)), max_size=30))
@settings(max_examples=150)
def test_events_do_not_depend_on_how_bytes_are_split(cuts: list[int]) -> None:
    boundaries = sorted({0, len(RECORDED_BYTES), *cuts})
    pieces = [RECORDED_BYTES[start:end] for start, end in itertools.pairwise(boundaries)]
    assert replay(pieces) == replay([RECORDED_BYTES])


def test_events_are_the_same_byte_by_byte() -> None:
    assert replay([RECORDED_BYTES[i : i + 1] for i in range(len(RECORDED_BYTES))]) == replay(
        [RECORDED_BYTES]
    )


@given(st.integers(0, len(RECORDED_BYTES) - 1), st.binary(min_size=1, max_size=4))
@settings(max_examples=300)
def test_damaged_bytes_are_processed_or_a_protocol_error(offset: int, damage: bytes) -> None:
    connection = connect(h2_server(max_concurrent_streams=9))
    for _ in range(5):
        open_stream(connection, b"x" * 10)
    damaged = RECORDED_BYTES[:offset] + damage + RECORDED_BYTES[offset + len(damage) :]
    try:
        connection.receive_data(damaged)
    except ProtocolError as error:
        assert error.reason


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_processed_or_a_protocol_error(data: bytes) -> None:
    connection = Connection(Clock())
    try:
        connection.receive_data(data)
    except ProtocolError as error:
        assert error.code in ErrorCode


def test_frames_on_a_reset_stream_are_ignored() -> None:
    peer = h2_server()
    connection = connect(peer)
    stream = open_stream(connection)
    peer.receive_data(drain_sent_bytes(connection))
    peer.send_headers(1, [(":status", "200")])
    peer.send_data(1, b"x" * 100)
    connection.reset_stream(stream, ErrorCode.CANCEL)
    assert not connection.outbound.streams
    connection.receive_data(peer.data_to_send())
    assert stream.events == []
    connection.reset_stream(stream, ErrorCode.CANCEL)
    assert drain_sent_bytes(connection).count(b"\0\0\0\x08") == 1


def test_data_on_an_ended_stream_is_an_error() -> None:
    peer = h2_server()
    connection = connect(peer)
    open_stream(connection)
    peer.receive_data(drain_sent_bytes(connection))
    peer.send_headers(1, [(":status", "200")], end_stream=True)
    connection.receive_data(peer.data_to_send())
    with pytest.raises(ProtocolError) as caught:
        connection.receive_data(frame(0, 0, 1, b"x"))
    assert caught.value.code is ErrorCode.STREAM_CLOSED


def test_acknowledged_data_reopens_the_windows() -> None:
    peer = h2_server()
    connection = connect(peer)
    stream = open_stream(connection)
    peer.receive_data(drain_sent_bytes(connection))
    peer.send_headers(1, [(":status", "200")])
    total = 0
    for _ in range(300):
        size = min(16_000, peer.local_flow_control_window(1))
        peer.send_data(1, b"x" * size)
        total += size
        connection.receive_data(peer.data_to_send())
        connection.acknowledge_received_data(stream, size)
        peer.receive_data(drain_sent_bytes(connection))
    assert total == 300 * 16_000


def test_peer_limits_concurrent_streams() -> None:
    connection = connect(h2_server(max_concurrent_streams=1))
    assert connection.can_open_stream()
    open_stream(connection)
    assert not connection.can_open_stream()


def test_stream_ids_may_be_even() -> None:
    connection = Connection(Clock(), first_stream_id=2)
    open_stream(connection)
    open_stream(connection)
    assert list(connection.outbound.streams) == [2, 4]


FLOODS = {
    "PING": frame(6, 0, 0, b"x" * 8),
    "PING ACK": frame(6, 1, 0, b"x" * 8),
    "SETTINGS": frame(4, 0, 0, b""),
    "SETTINGS ACK": frame(4, 1, 0, b""),
    "WINDOW_UPDATE of the connection": frame(8, 0, 0, b"\0\0\0\1"),
    "WINDOW_UPDATE of a stream": frame(8, 0, 1, b"\0\0\0\1"),
    "WINDOW_UPDATE of an ended stream": frame(8, 0, 3, b"\0\0\0\1"),
    "PRIORITY": frame(2, 0, 1, b"\0" * 5),
    "RST_STREAM of an ended stream": frame(3, 0, 3, b"\0\0\0\x08"),
    "GOAWAY": frame(7, 0, 0, b"\x7f\xff\xff\xff\0\0\0\0"),
    "ALTSVC": frame(10, 0, 0, b"\0\0"),
    "unknown": frame(200, 0, 0, b""),
    "empty DATA": frame(0, 0, 1, b""),
    "padded DATA without data": frame(0, 8, 1, b"\x02\0\0"),
    "tiny DATA": frame(0, 0, 1, b"x"),
    "DATA of a reset stream": frame(0, 0, 3, b"x" * 100),
    "HEADERS": frame(1, 4, 1, b"\x88"),
    "HEADERS of a reset stream": frame(1, 4, 3, b"\x88"),
}


def connect_with_streams(clock: Clock) -> Connection:
    """Return a connection with an open stream, 1, and one that was reset, 3."""
    connection = connect(h2_server(), clock)
    open_stream(connection)
    connection.reset_stream(open_stream(connection), ErrorCode.CANCEL)
    return connection


@pytest.mark.parametrize("kind", FLOODS)
def test_flood_of_frames_that_bring_nothing_ends_the_connection(kind: str) -> None:
    clock = Clock()
    connection = connect_with_streams(clock)
    clock.now += 1.0
    flood = FLOODS[kind] * 10
    with pytest.raises(ProtocolError) as caught:
        for _ in range(BURST):
            connection.receive_data(flood)
            drain_sent_bytes(connection)
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("kind", FLOODS)
def test_calls_beside_a_flood_do_not_pay_for_it(kind: str) -> None:
    """Their frames are useful, but they are not many: 150 calls a second."""
    clock = Clock()
    connection = connect_with_streams(clock)
    with pytest.raises(ProtocolError) as caught:
        for _ in range(3000):
            clock.now += 1 / 150
            stream = open_stream(connection)
            answer = frame(1, 4, stream.id, b"\x88") + frame(0, 1, stream.id, b"x" * 100)
            connection.receive_data(answer + FLOODS[kind] * 200)
            drain_sent_bytes(connection)
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.unmeasured
@pytest.mark.parametrize("kind", [kind for kind in FLOODS if kind != "GOAWAY"])
def test_usual_frames_are_never_too_many(kind: str) -> None:
    """An hour of ten frames a second without a call, and 10,000 calls in a second with six each."""
    clock = Clock()
    connection = connect_with_streams(clock)
    for _ in range(36_000):
        clock.now += 0.1
        connection.receive_data(FLOODS[kind])
        connection.outbound.take_frames()
    for _ in range(10_000):
        clock.now += 0.0001
        stream = open_stream(connection)
        connection.receive_data(FLOODS[kind] * 6)
        answer = frame(1, 4, stream.id, b"\x88") + frame(0, 1, stream.id, b"x")
        connection.receive_data(answer)
        connection.outbound.take_frames()


def test_large_request_earns_the_window_updates_that_it_needs() -> None:
    clock = Clock()
    connection = connect(h2_server(), clock)
    stream = open_stream(connection, b"x" * 65_535, end_stream=False)
    for _ in range(20_000):  # 160 MB, a window update of stream and connection for each 8 KiB
        connection.receive_data(frame(8, 0, 0, b"\0\0\x20\0") + frame(8, 0, 1, b"\0\0\x20\0"))
        connection.outbound.take_frames()
        connection.outbound.send_data(stream, b"x" * 8192, end_stream=False)


def test_large_header_blocks_cost_more() -> None:
    connection = connect_with_streams(Clock())
    with pytest.raises(ProtocolError) as caught:
        for _ in range(BURST // 50):
            connection.receive_data(frame(1, 4, 1, b"\x88" * 60_000))
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM
