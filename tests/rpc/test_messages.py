"""Messages cut from data at any place, gzip, and limits."""

import gzip
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc.messages import MessageDeframer, length_prefix
from rpc.status import RpcError, Status


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(0, 400)))
def test_messages_come_whole_wherever_the_data_is_cut(
    messages: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(length_prefix(len(message)) + message for message in messages)
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    cutter, found = MessageDeframer(100), []
    for start, end in itertools.pairwise(places):
        found += cutter.feed(data[start:end])
    assert found == messages
    assert cutter.buffered_size == 0


def test_what_is_held_of_a_message() -> None:
    cutter = MessageDeframer(100)
    assert cutter.feed(length_prefix(3) + b"ab") == []
    assert cutter.buffered_size == 7
    assert cutter.feed(b"c" + length_prefix(1)) == [b"abc"]
    assert cutter.buffered_size == 5


@pytest.mark.parametrize(
    ("data", "encoding", "status"),
    [
        (b"\0\0\0\0\x65", b"identity", Status.RESOURCE_EXHAUSTED),
        (b"\1\0\0\0\1x", b"identity", Status.UNIMPLEMENTED),
        (b"\1\0\0\0\1x", b"br", Status.UNIMPLEMENTED),
        (b"\1\0\0\0\1x", b"gzip", Status.INTERNAL),
        (b"\1\0\0\0\5" + gzip.compress(b"abc")[:5], b"gzip", Status.INTERNAL),
    ],
    ids=["too long", "not announced", "unknown", "no gzip", "cut gzip"],
)
def test_what_cannot_be_read(data: bytes, encoding: bytes, status: Status) -> None:
    cutter = MessageDeframer(100)
    cutter.encoding = encoding
    with pytest.raises(RpcError) as caught:
        cutter.feed(data)
    assert caught.value.status is status


def test_gzip_is_unpacked_and_a_bomb_is_not() -> None:
    cutter = MessageDeframer(1000)
    cutter.encoding = b"gzip"
    for size, fits in ((1000, True), (1001, False), (500_000, False)):
        coded = gzip.compress(b"x" * size)
        data = b"\1" + len(coded).to_bytes(4, "big") + coded
        if fits:
            assert cutter.feed(data) == [b"x" * size]
        else:
            with pytest.raises(RpcError, match="1000 bytes"):
                MessageDeframer.feed(_fresh(), data)


def _fresh() -> MessageDeframer:
    cutter = MessageDeframer(1000)
    cutter.encoding = b"gzip"
    return cutter
