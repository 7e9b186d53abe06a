"""A stream as it begins; its owner fills in the rest."""

import pytest

from rpc.streams import INITIAL_RECV_WINDOW, Http2Stream
from tests.rpc.test_connection import RecordingStream

pytestmark = pytest.mark.sources_only  # it derives from compiled classes


def test_new_stream_is_open_both_ways() -> None:
    stream = RecordingStream()
    assert (stream.id, stream.send_open, stream.recv_open, stream.recv_window) == (
        0,
        True,
        True,
        INITIAL_RECV_WINDOW,
    )
    stream.send_open = False
    stream.id = 7
    stream.reset_state()
    assert (stream.id, stream.send_open) == (0, True)


@pytest.mark.parametrize("name", ["on_headers", "on_data", "on_reset", "on_refused"])
def test_callbacks_are_abstract(name: str) -> None:
    """A stream that is deaf to one of them cannot even be made."""
    callbacks = {
        callback: lambda *_: None
        for callback in Http2Stream.__abstractmethods__
        if callback != name
    }
    with pytest.raises(TypeError, match=name):
        type("Deaf", (Http2Stream,), callbacks)()
