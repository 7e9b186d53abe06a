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
from tests.rpc.test_connection import REQUEST, met, sent, server

pytestmark = pytest.mark.sources_only  # it derives from compiled classes

HEAD = encode_header_block(
    [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"x-a", b"1")]
)
TAIL = encode_header_block([(b"grpc-status", b"0"), (b"x-b", b"2")])


def begun(kind: str = "unary") -> tuple[Connection, Any, list[Any]]:
    connection, ended = met(server()), []
    blocks = HeaderBlockCache(parse_response_headers)
    call: Any
    if kind == "unary":
        call = UnaryCall(b"", 1 << 20, None, ended.append, print, b"ask")
    else:
        call = StreamCall(b"", 1 << 24, None, ended.append, print)
    call.start(connection, blocks, REQUEST)
    sent(connection)
    return connection, call, ended


@given(st.binary(max_size=3000), st.lists(st.integers(1, 700), max_size=8))
def test_an_answer_in_any_number_of_pieces(message: bytes, sizes: list[int]) -> None:
    connection, call, ended = begun()
    data = length_prefix(len(message)) + message
    connection.receive_data(frame(1, 4, 1, HEAD))
    for size in sizes:
        piece, data = data[:size], data[size:]
        connection.receive_data(frame(0, 0, 1, piece))
    connection.receive_data(frame(0, 0, 1, data) + frame(1, 5, 1, TAIL))
    assert ended == [call]
    assert call.error is None
    assert call.response == message
    assert call.initial_headers.metadata == (("x-a", "1"),)
    assert call.trailers.metadata == (("x-b", "2"),)
    assert not connection.outbound.streams


def test_what_comes_after_the_end_is_no_second_end() -> None:
    connection, call, ended = begun()
    call.fail(Status.CANCELLED, "enough")
    call.fail(Status.INTERNAL, "again")
    connection.receive_data(
        frame(1, 4, 1, HEAD) + frame(0, 0, 1, b"x") + frame(3, 0, 1, b"\0\0\0\2")
    )
    assert ended == [call]
    assert call.error.status is Status.CANCELLED


def test_early_trailers_end_a_call_and_give_up_what_is_unsent() -> None:
    connection, call, ended = begun("stream")
    refusal = encode_header_block(
        [
            (b":status", b"200"),
            (b"content-type", b"application/grpc"),
            (b"grpc-status", b"8"),
            (b"grpc-message", b"full"),
        ]
    )
    connection.receive_data(frame(1, 5, 1, refusal))
    assert ended == [call]
    assert (call.error.status, call.error.details) == (Status.RESOURCE_EXHAUSTED, "full")
    assert not connection.outbound.streams
    assert sent(connection) == frame(3, 0, 1, b"\0\0\0\x08")


def test_an_interim_head_is_passed_over() -> None:
    connection, call, _ = begun()
    interim = encode_header_block([(b":status", b"103"), (b"link", b"x")])
    data = frame(0, 0, 1, length_prefix(2) + b"ok")
    connection.receive_data(
        frame(1, 4, 1, interim) + frame(1, 4, 1, HEAD) + data + frame(1, 5, 1, TAIL)
    )
    assert call.response == b"ok"


def test_a_refused_call_can_go_out_again() -> None:
    connection, call, ended = begun()
    connection.receive_data(frame(3, 0, 1, b"\0\0\0\x07"))
    assert call.refused
    assert not call.error.may_have_run
    call.reset_for_retry()
    call.start(connection, HeaderBlockCache(parse_response_headers), REQUEST)
    connection.receive_data(
        frame(1, 4, 3, HEAD) + frame(0, 0, 3, length_prefix(1) + b"x") + frame(1, 5, 3, TAIL)
    )
    assert len(ended) == 2
    assert call.response == b"x"
    assert call.is_retry


def test_one_that_had_begun_to_answer_does_not_count_as_refused() -> None:
    connection, call, _ = begun()
    connection.receive_data(frame(1, 4, 1, HEAD) + frame(3, 0, 1, b"\0\0\0\x07"))
    assert not call.refused


def test_a_message_unread_holds_the_peer_and_reading_frees_it() -> None:
    connection, call, _ = begun("stream")
    whole = length_prefix(8187) + b"x" * 8187
    connection.receive_data(frame(1, 4, 1, HEAD))
    for _ in range(INITIAL_RECV_WINDOW // 8192):
        connection.receive_data(frame(0, 0, 1, whole))
    assert call.recv_window == 0
    assert b"".join(f for f in connection.outbound.take_frames() if f[8] == 1) == b""
    while call.inbox:
        assert call.pop() == b"x" * 8187
    assert call.recv_window >= INITIAL_RECV_WINDOW // 2


@given(st.lists(st.integers(0, 5000), max_size=20), st.lists(st.integers(1, 9000), max_size=30))
def test_credit_is_given_once_for_every_byte(sizes: list[int], cuts: list[int]) -> None:
    """Whatever the cuts: when all is read, what was consumed is what came."""
    connection, call, _ = begun("stream")
    data = b"".join(length_prefix(size) + b"m" * size for size in sizes)
    total = len(data)
    connection.receive_data(frame(1, 4, 1, HEAD))
    for cut in [*cuts, total]:
        piece, data = data[:cut], data[cut:]
        for at in range(0, len(piece), 16_000):
            connection.receive_data(frame(0, 0, 1, piece[at : at + 16_000]))
    got = []
    while call.inbox:
        got.append(len(call.pop()))
    assert got == sizes
    assert call.recv_window + call.consumed == INITIAL_RECV_WINDOW
