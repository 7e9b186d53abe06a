"""A stream of a connection, without a role: two halves, two windows, and an owner. Pure."""

from abc import ABC, abstractmethod
from collections import deque
from typing import Final

# What a peer may send on a stream before we used up some of it, in bytes.
INITIAL_RECV_WINDOW: Final = 1 << 20


class Http2Stream(ABC):
    """One stream. Its owner derives from it; the `on_` methods are how it hears.

    `sending` and `receiving` tell which halves are open; `window` is what we may send, `room` what
    the peer may, in bytes.
    """

    __slots__ = (
        "consumed",
        "end_stream_requested",
        "id",
        "recv_open",
        "recv_window",
        "send_buffer",
        "send_open",
        "send_window",
    )

    def __init__(self) -> None:
        self.reset_state()

    def reset_state(self) -> None:
        """Be a stream that was not opened yet."""
        self.id = 0
        self.send_open = self.recv_open = True
        self.send_window = 0
        self.recv_window = INITIAL_RECV_WINDOW
        self.consumed = 0
        self.send_buffer: deque[memoryview] | None = None
        self.end_stream_requested = False

    # Flags are positional where every frame passes: a keyword costs as much as the call itself.

    @abstractmethod
    def on_headers(self, header_block: bytes, end_stream: bool, /) -> None:
        """Take a header block; `ended`: nothing follows."""

    @abstractmethod
    def on_data(self, data: bytes, end_stream: bool, /) -> None:
        """Take data; what has been used up is told with `Connection.use_up`."""

    @abstractmethod
    def on_reset(self, code: int) -> None:
        """Take in that the peer gave the stream up."""

    @abstractmethod
    def on_refused(self, reason: str) -> None:
        """Take in that the peer never looked at the stream, and never will."""

    def on_sent(self) -> None:  # noqa: B027 (only one who waits to send more need hear it)
        """Take in that all that was given to `send` is on its way."""
