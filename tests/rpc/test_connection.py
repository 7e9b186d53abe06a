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

from rpc.connection import MAX_USELESS_FRAMES, Connection
from rpc.frames import ErrorCode, ProtocolError, frame
from rpc.headers import TABLE_SIZE_UPDATE, encode_header_block
from rpc.streams import Http2Stream

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


def connect(peer: h2.connection.H2Connection) -> Connection:
    """Return a connection that has shaken hands with a peer."""
    connection = Connection()
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
    connection = Connection()
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
    connection = Connection(first_stream_id=2)
    open_stream(connection)
    open_stream(connection)
    assert list(connection.outbound.streams) == [2, 4]


def test_only_consecutive_useless_frames_are_counted() -> None:
    connection = connect(h2_server())
    for _ in range(3):
        open_stream(connection)
        connection.receive_data(frame(6, 0, 0, b"x" * 8) * (MAX_USELESS_FRAMES - 10))
        connection.receive_data(frame(1, 4, connection.outbound.next_stream_id - 2, b"\x88"))
