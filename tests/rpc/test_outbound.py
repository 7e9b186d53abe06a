"""What is sent: held to the windows of an `h2` server, in turns, and all of it in the end."""

import h2.events
import pytest

from rpc.frames import ErrorCode, ProtocolError
from tests.rpc.test_connection import met, opened, sent, server

pytestmark = pytest.mark.sources_only  # it derives from compiled classes


def test_data_waits_for_the_windows_and_all_of_it_arrives() -> None:
    peer = server(initial_window_size=100)
    connection = met(peer)
    bodies = [bytes([n]) * 150_000 for n in range(3)]
    streams = [opened(connection, body) for body in bodies]
    got: dict[int, bytes] = {}
    for _ in range(10_000):
        for event in peer.receive_data(sent(connection)):
            if isinstance(event, h2.events.DataReceived):
                got[event.stream_id] = got.get(event.stream_id, b"") + event.data
                peer.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        back = peer.data_to_send()
        if not back:
            break
        connection.receive_data(back)
    assert [got[stream.id] for stream in streams] == bodies
    assert all(stream.log == [("sent",)] for stream in streams)
    assert not any(stream.send_open for stream in streams)


def test_a_small_stream_is_not_stuck_behind_a_large_one() -> None:
    """Both wait for the connection's window; as it opens, they take turns."""
    peer = server(initial_window_size=1 << 24)
    connection = met(peer)
    opened(connection, b"L" * 5_000_000)
    small = opened(connection, b"s" * 5_000)
    peer.receive_data(sent(connection))
    peer.increment_flow_control_window(600_000)
    connection.receive_data(peer.data_to_send())
    assert len(sent(connection)) < 610_000
    assert not small.send_open


@pytest.mark.parametrize("size", [1 << 20, 5_000])
def test_no_more_is_ready_than_a_write_may_show_to_be_too_much(size: int) -> None:
    """However wide the windows are: one who takes nothing gets a piece, and the rest waits here."""
    peer = server(initial_window_size=1 << 30)
    connection = met(peer)
    peer.increment_flow_control_window(1 << 30)
    connection.receive_data(peer.data_to_send())
    many = 400_000_000 // size // 100
    streams = [opened(connection, b"x" * size) for _ in range(many)]
    once = [opened(connection, ended=False) for _ in range(many)]
    for stream in once:
        connection.outbound.send_data(stream, b"y" * size, end_stream=True)
    ready = connection.outbound.take_frames()
    assert sum(len(frame) for frame in ready) < (1 << 18) + 150 * 2 * many
    connection.outbound.on_flushed()
    rest = sum(map(len, ready)) + len(sent(connection))
    assert rest >= 2 * many * size
    assert not any(stream.send_open for stream in (*streams, *once))


def test_what_is_blocked_stays_with_its_stream_and_goes_on_later() -> None:
    peer = server(initial_window_size=1 << 20)
    connection = met(peer)
    connection.outbound.blocked = True
    stream = opened(connection, b"x" * 1000)
    assert stream.send_buffer
    assert len(sent(connection)) < 200
    connection.outbound.unblock()
    assert len(sent(connection)) > 1000
    assert not stream.send_open


def test_numbers_for_streams_run_out() -> None:
    connection = met(server())
    connection.outbound.next_stream_id = 2**31 - 1
    assert not connection.outbound.stream_ids_exhausted()
    opened(connection)
    assert connection.outbound.stream_ids_exhausted()


def test_a_head_larger_than_a_frame_is_cut() -> None:
    peer = server()
    connection = met(peer)
    stream = opened(connection)
    connection.outbound.streams.clear()
    connection.outbound.take_frames()
    connection.outbound.next_stream_id = 1
    from rpc.headers import encode_literal
    from tests.rpc.test_connection import REQUEST

    head = b"\x20" + REQUEST + encode_literal(b"x-long", b"y" * 40_000)
    connection.outbound.open_stream(stream, head, b"", True)
    events = peer.receive_data(sent(connection))
    (request,) = [event for event in events if isinstance(event, h2.events.RequestReceived)]
    assert dict(request.headers)[b"x-long"] == b"y" * 40_000


def test_a_window_may_turn_negative_and_never_too_large() -> None:
    connection = met(server())
    stream = opened(connection, ended=False)
    connection.outbound.adjust_stream_window(stream, -100_000)
    assert stream.send_window < 0
    with pytest.raises(ProtocolError) as caught:
        connection.outbound.increase_connection_window(2**31 - 1)
    assert caught.value.code is ErrorCode.FLOW_CONTROL_ERROR
