"""A stream of a connection, without a role: two halves, two windows, and an owner. Pure."""

from collections import deque

# What a peer may send on a stream before we used up some of it, in bytes.
ROOM = 1 << 20


class Stream:
    """One stream. Its owner derives from it and fills in the `on_` methods.

    `sending` and `receiving` tell which halves are open; `window` is what we may send, `room` what
    the peer may, in bytes.
    """

    __slots__ = ("consumed", "ending", "id", "pending", "receiving", "room", "sending", "window")

    def __init__(self) -> None:
        self.fresh()

    def fresh(self) -> None:
        """Be a stream that was not opened yet."""
        self.id = 0
        self.sending = self.receiving = True
        self.window = 0
        self.room = ROOM
        self.consumed = 0
        self.pending: deque[memoryview] | None = None
        self.ending = False

    def on_headers(self, block: bytes, *, ended: bool) -> None:
        """Take a header block; `ended`: nothing follows."""
        raise NotImplementedError

    def on_data(self, data: bytes, *, ended: bool) -> None:
        """Take data; what has been used up is told with `Connection.use_up`."""
        raise NotImplementedError

    def on_reset(self, code: int) -> None:
        """Take in that the peer gave the stream up."""
        raise NotImplementedError

    def on_refused(self, reason: str) -> None:
        """Take in that the peer never looked at the stream, and never will."""
        raise NotImplementedError

    def on_sent(self) -> None:
        """Take in that all that was given to `send` is on its way."""
