"""The clocks of a connection: what it is given time for, and whether the client reads."""

import asyncio
import fcntl
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from math import inf


class Wait(Enum):
    """What a connection waits for, and is given a time for."""

    NOTHING = "nothing"
    HEAD = "head"
    BODY = "body"
    REST = "rest"
    IDLE = "idle"


class Patience:
    """The time for whatever is awaited now; `late` is told of it when that time is over.

    One timer serves all that is ever awaited: when it comes too early, it looks again. So waiting
    costs a request no timer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, late: Callable[[Wait], None]) -> None:
        self._loop = loop
        self._late = late
        self._due = inf
        self._timer: asyncio.TimerHandle | None = None
        self.awaited = Wait.NOTHING

    def wait(self, what: Wait, seconds: float) -> None:
        """Give something its time."""
        due = self._loop.time() + seconds
        self.awaited, self._due = what, due
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._look)
        elif self._timer.when() > due:
            self._timer.cancel()
            self._timer = self._loop.call_at(due, self._look)

    def rest(self) -> None:
        """Wait for nothing: whatever takes time now is ours."""
        self.awaited, self._due = Wait.NOTHING, inf

    def stop(self) -> None:
        """End for good."""
        self.rest()
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if self._loop.time() >= self._due:
            awaited = self.awaited
            self.rest()
            self._late(awaited)
        elif self._due < inf:
            self._timer = self._loop.call_at(self._due, self._look)


class Reading:
    """Watches a client that does not keep up; one that reads nothing for `seconds` is cut off.

    What the kernel still holds for it counts, too: our own buffer alone may stand still meanwhile.
    """

    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        self._transport = transport
        self._seconds = seconds
        self._unread = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Begin to watch, when more is written than the client has read."""
        unread = self.unread()
        if self._timer is None and unread:
            self._unread = unread
            self._again()

    def stop(self) -> None:
        """End: the client keeps up."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def unread(self) -> int:
        """Return the bytes that were written, and have not come to the client's side."""
        sock = self._transport.get_extra_info("socket")
        held = 0
        if sock is not None and not self._transport.is_closing():
            with suppress(OSError):  # a way that does not tell
                told = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
                held = int.from_bytes(told, sys.byteorder)
        return self._transport.get_write_buffer_size() + held

    def _again(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        unread = self.unread()
        if unread and unread >= self._unread:
            self._transport.abort()
        elif unread:
            self._unread = unread
            self._again()
