"""A stream as it begins; its owner fills in the rest."""

import pytest

from rpc.streams import ROOM, Stream


def test_a_fresh_stream_is_open_both_ways() -> None:
    stream = Stream()
    assert (stream.id, stream.sending, stream.receiving, stream.room) == (0, True, True, ROOM)
    stream.sending = False
    stream.id = 7
    stream.fresh()
    assert (stream.id, stream.sending) == (0, True)


def test_its_owner_must_hear() -> None:
    stream = Stream()
    for call in (
        lambda: stream.on_headers(b"", ended=True),
        lambda: stream.on_data(b"", ended=True),
        lambda: stream.on_reset(0),
        lambda: stream.on_refused(""),
    ):
        with pytest.raises(NotImplementedError):
            call()
    stream.on_sent()
