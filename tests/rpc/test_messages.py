"""Messages cut from data at any place, gzip, and limits."""

import gzip
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc.messages import MessageDeframer, length_prefix
from rpc.status import RpcError, Status


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(0, 400)))
def test_messages_are_reassembled_from_any_split(messages: list[bytes], cuts: list[int]) -> None:
    data = b"".join(length_prefix(len(message)) + message for message in messages)
    boundaries = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    deframer, deframed = MessageDeframer(100), []
    for start, end in itertools.pairwise(boundaries):
        deframed += deframer.feed(data[start:end])
    assert deframed == messages
    assert deframer.buffered_size == 0


def test_buffered_size() -> None:
    deframer = MessageDeframer(100)
    assert deframer.feed(length_prefix(3) + b"ab") == []
    assert deframer.buffered_size == 7
    assert deframer.feed(b"c" + length_prefix(1)) == [b"abc"]
    assert deframer.buffered_size == 5


@pytest.mark.parametrize(
    ("data", "encoding", "status"),
    [
        (b"\0\0\0\0\x65", b"identity", Status.RESOURCE_EXHAUSTED),
        (b"\1\0\0\0\1x", b"identity", Status.INTERNAL),
        (b"\1\0\0\0\1x", b"br", Status.INTERNAL),
        (b"\2\0\0\0\x17" + gzip.compress(b"abc"), b"gzip", Status.INTERNAL),
        (b"\1\0\0\0\1x", b"gzip", Status.INTERNAL),
        (b"\1\0\0\0\5" + gzip.compress(b"abc")[:5], b"gzip", Status.INTERNAL),
    ],
    ids=["too long", "not announced", "unknown", "flag 2", "no gzip", "cut gzip"],
)
def test_unreadable_messages(data: bytes, encoding: bytes, status: Status) -> None:
    deframer = MessageDeframer(100)
    deframer.encoding = encoding
    with pytest.raises(RpcError) as caught:
        deframer.feed(data)
    assert caught.value.status is status


def test_gzip_is_decompressed_within_the_limit() -> None:
    deframer = MessageDeframer(1000)
    deframer.encoding = b"gzip"
    for size, fits in ((1000, True), (1001, False), (500_000, False)):
        compressed = gzip.compress(b"x" * size)
        data = b"\1" + len(compressed).to_bytes(4, "big") + compressed
        if fits:
            assert deframer.feed(data) == [b"x" * size]
        else:
            with pytest.raises(RpcError, match="1000 bytes"):
                MessageDeframer.feed(_new_gzip_deframer(), data)


def _new_gzip_deframer() -> MessageDeframer:
    deframer = MessageDeframer(1000)
    deframer.encoding = b"gzip"
    return deframer
