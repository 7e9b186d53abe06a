"""A stream as it begins; its owner fills in the rest."""

import pytest

from rpc.streams import ROOM, Stream
from tests.rpc.test_connection import Told


def test_a_fresh_stream_is_open_both_ways() -> None:
    stream = Told()
    assert (stream.id, stream.sending, stream.receiving, stream.room) == (0, True, True, ROOM)
    stream.sending = False
    stream.id = 7
    stream.fresh()
    assert (stream.id, stream.sending) == (0, True)


@pytest.mark.parametrize("name", ["on_headers", "on_data", "on_reset", "on_refused"])
def test_its_owner_must_hear(name: str) -> None:
    """A stream that is deaf to one of them cannot even be made."""
    hears = {n: lambda *_: None for n in Stream.__abstractmethods__ if n != name}
    with pytest.raises(TypeError, match=name):
        type("Deaf", (Stream,), hears)()
