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


class Told(Http2Stream):
    """A stream that keeps what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Any] = []

    def on_headers(self, block: bytes, ended: bool, /) -> None:
        self.log.append(("headers", block, ended))

    def on_data(self, data: bytes, ended: bool, /) -> None:
        self.log.append(("data", data, ended))

    def on_reset(self, code: int) -> None:
        self.log.append(("reset", code))

    def on_refused(self, reason: str) -> None:
        self.log.append(("refused", reason))

    def on_sent(self) -> None:
        self.log.append(("sent",))


def server(**changed: int) -> h2.connection.H2Connection:
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    names = {name.name.lower(): name for name in h2.settings.SettingCodes}
    initial = {names[name]: value for name, value in changed.items()}
    peer.local_settings = h2.settings.Settings(client=False, initial_values=initial)
    peer.initiate_connection()
    return peer


def sent(connection: Connection) -> bytes:
    """Return all that it would write, piece by piece."""
    pieces = []
    while piece := b"".join(connection.outbound.take_frames()):
        pieces.append(piece)
        connection.outbound.on_flushed()
    return b"".join(pieces)


def met(peer: h2.connection.H2Connection) -> Connection:
    """Return a connection that has shaken hands with a peer."""
    connection = Connection()
    connection.initiate_connection()
    peer.receive_data(sent(connection))
    connection.receive_data(peer.data_to_send())
    peer.receive_data(sent(connection))
    connection.receive_data(peer.data_to_send())
    return connection


def opened(connection: Connection, data: bytes = b"", *, ended: bool = True) -> Told:
    stream = Told()
    head = (TABLE_SIZE_UPDATE if connection.outbound.next_stream_id == 1 else b"") + REQUEST
    connection.outbound.open_stream(stream, head, data, ended)
    return stream


def exchange() -> bytes:
    """Return what a server sends in a life of five calls: of every kind a frame."""
    peer = server(max_concurrent_streams=9)
    connection = met(peer)
    peer.receive_data(b"".join([sent(connection)]))
    streams = [opened(connection, b"x" * 10) for _ in range(5)]
    peer.receive_data(sent(connection))
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


RECORDED = exchange()


def played(pieces: list[bytes]) -> list[Any]:
    """Play the recorded bytes to a connection with the same five calls; return what each heard."""
    peer = server(max_concurrent_streams=9)
    connection = met(peer)
    streams = [opened(connection, b"x" * 10) for _ in range(5)]
    for piece in pieces:
        connection.receive_data(piece)
    assert [stream.id for stream in connection.outbound.streams.values()] == [7]
    assert connection.goaway_reason
    return [stream.log for stream in streams]


def test_what_the_five_calls_hear() -> None:
    first, second, third, fourth, fifth = played([RECORDED])
    assert [entry[0] for entry in first] == ["headers", "data", "data", "headers"]
    assert first[1][1] == b"a" * 5000
    assert first[-1][2]
    assert [entry[0] for entry in second] == ["headers", "data"]
    assert len(second[0][1]) > 20_000, "a block in two frames"
    assert third == [("reset", 8)]
    assert fourth == []
    assert fifth[0][0] == "refused"


@given(st.lists(st.integers(0, len(RECORDED)), max_size=30))
@settings(max_examples=150)
def test_it_hears_the_same_wherever_the_bytes_are_cut(cuts: list[int]) -> None:
    places = sorted({0, len(RECORDED), *cuts})
    pieces = [RECORDED[a:b] for a, b in itertools.pairwise(places)]
    assert played(pieces) == played([RECORDED])


def test_byte_by_byte() -> None:
    assert played([RECORDED[i : i + 1] for i in range(len(RECORDED))]) == played([RECORDED])


@given(st.integers(0, len(RECORDED) - 1), st.binary(min_size=1, max_size=4))
@settings(max_examples=300)
def test_damaged_bytes_are_heard_or_a_protocol_error(place: int, damage: bytes) -> None:
    connection = met(server(max_concurrent_streams=9))
    for _ in range(5):
        opened(connection, b"x" * 10)
    damaged = RECORDED[:place] + damage + RECORDED[place + len(damage) :]
    try:
        connection.receive_data(damaged)
    except ProtocolError as error:
        assert error.reason


@given(st.binary(max_size=300))
def test_any_bytes_at_all_are_heard_or_a_protocol_error(data: bytes) -> None:
    connection = Connection()
    try:
        connection.receive_data(data)
    except ProtocolError as error:
        assert error.code in ErrorCode


def test_a_stream_that_was_given_up_may_still_be_spoken_to_and_is_not_heard() -> None:
    peer = server()
    connection = met(peer)
    stream = opened(connection)
    peer.receive_data(sent(connection))
    peer.send_headers(1, [(":status", "200")])
    peer.send_data(1, b"x" * 100)
    connection.reset_stream(stream, ErrorCode.CANCEL)
    assert not connection.outbound.streams
    connection.receive_data(peer.data_to_send())
    assert stream.log == []
    connection.reset_stream(stream, ErrorCode.CANCEL)
    assert sent(connection).count(b"\0\0\0\x08") == 1


def test_a_stream_that_ended_must_not_be_spoken_to() -> None:
    peer = server()
    connection = met(peer)
    opened(connection)
    peer.receive_data(sent(connection))
    peer.send_headers(1, [(":status", "200")], end_stream=True)
    connection.receive_data(peer.data_to_send())
    with pytest.raises(ProtocolError) as caught:
        connection.receive_data(frame(0, 0, 1, b"x"))
    assert caught.value.code is ErrorCode.STREAM_CLOSED


def test_what_was_used_up_may_be_sent_again() -> None:
    peer = server()
    connection = met(peer)
    stream = opened(connection)
    peer.receive_data(sent(connection))
    peer.send_headers(1, [(":status", "200")])
    total = 0
    for _ in range(300):
        size = min(16_000, peer.local_flow_control_window(1))
        peer.send_data(1, b"x" * size)
        total += size
        connection.receive_data(peer.data_to_send())
        connection.acknowledge_received_data(stream, size)
        peer.receive_data(sent(connection))
    assert total == 300 * 16_000


def test_the_peer_says_how_many_streams_there_may_be() -> None:
    connection = met(server(max_concurrent_streams=1))
    assert connection.can_open_stream()
    opened(connection)
    assert not connection.can_open_stream()


def test_a_second_role_counts_even_numbers() -> None:
    connection = Connection(first_stream_id=2)
    opened(connection)
    opened(connection)
    assert list(connection.outbound.streams) == [2, 4]


def test_idle_frames_are_counted_only_in_a_row() -> None:
    connection = met(server())
    for _ in range(3):
        opened(connection)
        connection.receive_data(frame(6, 0, 0, b"x" * 8) * (MAX_USELESS_FRAMES - 10))
        connection.receive_data(frame(1, 4, connection.outbound.next_stream_id - 2, b"\x88"))
