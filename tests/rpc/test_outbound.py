"""What is sent: held to the windows of an `h2` server, in turns, and all of it in the end."""

import h2.events
import pytest

from rpc.frames import ErrorCode, ProtocolError
from tests.clock import Clock
from tests.rpc.test_connection import connect, drain_sent_bytes, h2_server, open_stream

pytestmark = pytest.mark.sources_only  # it derives from compiled classes


def test_data_respects_the_windows_and_arrives_completely() -> None:
    peer = h2_server(initial_window_size=100)
    clock = Clock()
    connection = connect(peer, clock)
    bodies = [bytes([n]) * 150_000 for n in range(3)]
    streams = [open_stream(connection, body) for body in bodies]
    received: dict[int, bytes] = {}
    for _ in range(10_000):
        clock.now += 0.01  # the peer's window of 100 bytes costs many small updates
        for event in peer.receive_data(drain_sent_bytes(connection)):
            if isinstance(event, h2.events.DataReceived):
                received[event.stream_id] = received.get(event.stream_id, b"") + event.data
                peer.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        response_bytes = peer.data_to_send()
        if not response_bytes:
            break
        connection.receive_data(response_bytes)
    assert [received[stream.id] for stream in streams] == bodies
    assert all(stream.events == [("sent",)] for stream in streams)
    assert not any(stream.send_open for stream in streams)


def test_small_stream_is_not_blocked_by_a_large_one() -> None:
    """Both wait for the connection's window; as it opens, they take turns."""
    peer = h2_server(initial_window_size=1 << 24)
    connection = connect(peer)
    open_stream(connection, b"L" * 5_000_000)
    small = open_stream(connection, b"s" * 5_000)
    peer.receive_data(drain_sent_bytes(connection))
    peer.increment_flow_control_window(600_000)
    connection.receive_data(peer.data_to_send())
    assert len(drain_sent_bytes(connection)) < 610_000
    assert not small.send_open


@pytest.mark.parametrize("size", [1 << 20, 5_000])
def test_ready_data_is_bounded_despite_wide_windows(size: int) -> None:
    """However wide the windows are: one who takes nothing gets a piece, and the rest waits here."""
    peer = h2_server(initial_window_size=1 << 30)
    connection = connect(peer)
    peer.increment_flow_control_window(1 << 30)
    connection.receive_data(peer.data_to_send())
    stream_count = 400_000_000 // size // 100
    streams = [open_stream(connection, b"x" * size) for _ in range(stream_count)]
    late_streams = [open_stream(connection, end_stream=False) for _ in range(stream_count)]
    for stream in late_streams:
        connection.outbound.send_data(stream, b"y" * size, end_stream=True)
    ready_frames = connection.outbound.take_frames()
    assert sum(len(frame) for frame in ready_frames) < (1 << 18) + 150 * 2 * stream_count
    connection.outbound.on_flushed()
    total_sent = sum(map(len, ready_frames)) + len(drain_sent_bytes(connection))
    assert total_sent >= 2 * stream_count * size
    assert not any(stream.send_open for stream in (*streams, *late_streams))


def test_blocked_data_stays_buffered_until_unblocked() -> None:
    peer = h2_server(initial_window_size=1 << 20)
    connection = connect(peer)
    connection.outbound.blocked = True
    stream = open_stream(connection, b"x" * 1000)
    assert stream.send_buffer
    assert len(drain_sent_bytes(connection)) < 200
    connection.outbound.unblock()
    assert len(drain_sent_bytes(connection)) > 1000
    assert not stream.send_open


def test_stream_ids_run_out() -> None:
    connection = connect(h2_server())
    connection.outbound.next_stream_id = 2**31 - 1
    assert not connection.outbound.stream_ids_exhausted
    open_stream(connection)
    assert connection.outbound.stream_ids_exhausted


def test_large_header_block_is_split_into_frames() -> None:
    peer = h2_server()
    connection = connect(peer)
    stream = open_stream(connection)
    connection.outbound.streams.clear()
    connection.outbound.take_frames()
    connection.outbound.next_stream_id = 1
    from rpc.headers import encode_literal
    from tests.rpc.test_connection import REQUEST

    header_block = b"\x20" + REQUEST + encode_literal(b"x-long", b"y" * 40_000)
    connection.outbound.open_stream(stream, header_block, b"", True)
    events = peer.receive_data(drain_sent_bytes(connection))
    (request,) = [event for event in events if isinstance(event, h2.events.RequestReceived)]
    assert dict(request.headers)[b"x-long"] == b"y" * 40_000


def test_window_may_be_negative_but_never_overflow() -> None:
    connection = connect(h2_server())
    stream = open_stream(connection, end_stream=False)
    connection.outbound.adjust_stream_window(stream, -100_000)
    assert stream.send_window < 0
    with pytest.raises(ProtocolError) as caught:
        connection.outbound.increase_connection_window(2**31 - 1)
    assert caught.value.code is ErrorCode.FLOW_CONTROL_ERROR
