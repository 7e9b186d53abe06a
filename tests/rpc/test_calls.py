"""Calls by bytes alone: one end each, whatever comes, and credit for what was read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc.calls import StreamCall, UnaryCall
from rpc.connection import Connection
from rpc.frames import frame
from rpc.headers import HeaderBlockCache, encode_header_block
from rpc.messages import length_prefix
from rpc.metadata import parse_response_headers
from rpc.status import Status
from rpc.streams import INITIAL_RECV_WINDOW
from tests.rpc.test_connection import REQUEST, connect, drain_sent_bytes, h2_server

pytestmark = pytest.mark.sources_only  # it derives from compiled classes

HEADERS_BLOCK = encode_header_block(
    [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"x-a", b"1")]
)
TRAILERS_BLOCK = encode_header_block([(b"grpc-status", b"0"), (b"x-b", b"2")])


def start_call(call_type: str = "unary") -> tuple[Connection, Any, list[Any]]:
    connection, ended_calls = connect(h2_server()), []
    block_cache = HeaderBlockCache(parse_response_headers)
    call: Any
    if call_type == "unary":
        call = UnaryCall(b"", 1 << 20, None, ended_calls.append, print, b"ask")
    else:
        call = StreamCall(b"", 1 << 24, None, ended_calls.append, print)
    call.start(connection, block_cache, REQUEST)
    drain_sent_bytes(connection)
    return connection, call, ended_calls


@given(st.binary(max_size=3000), st.lists(st.integers(1, 700), max_size=8))
def test_response_split_into_any_frames(message: bytes, sizes: list[int]) -> None:
    connection, call, ended_calls = start_call()
    data = length_prefix(len(message)) + message
    connection.receive_data(frame(1, 4, 1, HEADERS_BLOCK))
    for size in sizes:
        piece, data = data[:size], data[size:]
        connection.receive_data(frame(0, 0, 1, piece))
    connection.receive_data(frame(0, 0, 1, data) + frame(1, 5, 1, TRAILERS_BLOCK))
    assert ended_calls == [call]
    assert call.error is None
    assert call.response == message
    assert call.initial_headers.metadata == (("x-a", "1"),)
    assert call.trailers.metadata == (("x-b", "2"),)
    assert not connection.outbound.streams


def test_call_ends_once() -> None:
    connection, call, ended_calls = start_call()
    call.fail(Status.CANCELLED, "enough")
    call.fail(Status.INTERNAL, "again")
    connection.receive_data(
        frame(1, 4, 1, HEADERS_BLOCK) + frame(0, 0, 1, b"x") + frame(3, 0, 1, b"\0\0\0\2")
    )
    assert ended_calls == [call]
    assert call.error.status is Status.CANCELLED


def test_early_trailers_end_the_call_and_reset_the_stream() -> None:
    connection, call, ended_calls = start_call("stream")
    refusal = encode_header_block(
        [
            (b":status", b"200"),
            (b"content-type", b"application/grpc"),
            (b"grpc-status", b"8"),
            (b"grpc-message", b"full"),
        ]
    )
    connection.receive_data(frame(1, 5, 1, refusal))
    assert ended_calls == [call]
    assert (call.error.status, call.error.details) == (Status.RESOURCE_EXHAUSTED, "full")
    assert not connection.outbound.streams
    assert drain_sent_bytes(connection) == frame(3, 0, 1, b"\0\0\0\x08")


def test_informational_headers_are_skipped() -> None:
    connection, call, _ = start_call()
    interim = encode_header_block([(b":status", b"103"), (b"link", b"x")])
    data = frame(0, 0, 1, length_prefix(2) + b"ok")
    connection.receive_data(
        frame(1, 4, 1, interim)
        + frame(1, 4, 1, HEADERS_BLOCK)
        + data
        + frame(1, 5, 1, TRAILERS_BLOCK)
    )
    assert call.response == b"ok"


def test_refused_call_can_be_retried() -> None:
    connection, call, ended_calls = start_call()
    connection.receive_data(frame(3, 0, 1, b"\0\0\0\x07"))
    assert call.refused
    assert not call.error.may_have_run
    call.reset_for_retry()
    call.start(connection, HeaderBlockCache(parse_response_headers), REQUEST)
    connection.receive_data(
        frame(1, 4, 3, HEADERS_BLOCK)
        + frame(0, 0, 3, length_prefix(1) + b"x")
        + frame(1, 5, 3, TRAILERS_BLOCK)
    )
    assert len(ended_calls) == 2
    assert call.response == b"x"
    assert call.is_retry


def test_refusal_after_response_headers_is_not_retryable() -> None:
    connection, call, _ = start_call()
    connection.receive_data(frame(1, 4, 1, HEADERS_BLOCK) + frame(3, 0, 1, b"\0\0\0\x07"))
    assert not call.refused


def test_unread_messages_close_the_window_and_reading_reopens_it() -> None:
    connection, call, _ = start_call("stream")
    encoded_message = length_prefix(8187) + b"x" * 8187
    connection.receive_data(frame(1, 4, 1, HEADERS_BLOCK))
    for _ in range(INITIAL_RECV_WINDOW // 8192):
        connection.receive_data(frame(0, 0, 1, encoded_message))
    assert call.recv_window == 0
    assert b"".join(f for f in connection.outbound.take_frames() if f[8] == 1) == b""
    while call.inbox:
        assert call.pop() == b"x" * 8187
    assert call.recv_window >= INITIAL_RECV_WINDOW // 2


@given(st.lists(st.integers(0, 5000), max_size=20), st.lists(st.integers(1, 9000), max_size=30))
def test_every_byte_is_credited_once(sizes: list[int], piece_sizes: list[int]) -> None:
    """Whatever the cuts: when all is read, what was consumed is what came."""
    connection, call, _ = start_call("stream")
    data = b"".join(length_prefix(size) + b"m" * size for size in sizes)
    total = len(data)
    connection.receive_data(frame(1, 4, 1, HEADERS_BLOCK))
    for piece_size in [*piece_sizes, total]:
        piece, data = data[:piece_size], data[piece_size:]
        for offset in range(0, len(piece), 16_000):
            connection.receive_data(frame(0, 0, 1, piece[offset : offset + 16_000]))
    received_sizes = []
    while call.inbox:
        received_sizes.append(len(call.pop()))
    assert received_sizes == sizes
    assert call.recv_window + call.consumed == INITIAL_RECV_WINDOW
