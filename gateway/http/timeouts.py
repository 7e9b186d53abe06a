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
    DRAIN_BODY = "rest"
    IDLE = "idle"


class ConnectionTimer:
    """The time for whatever is awaited now; `late` is told of it when that time is over.

    One timer serves all that is ever awaited: when it comes too early, it looks again. So waiting
    costs a request no timer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_timeout: Callable[[Wait], None]) -> None:
        self._loop = loop
        self._on_timeout = on_timeout
        self._deadline = inf
        self._timer: asyncio.TimerHandle | None = None
        self.waiting_for = Wait.NOTHING

    def arm(self, waiting_for: Wait, seconds: float) -> None:
        """Give something its time."""
        deadline = self._loop.time() + seconds
        self.waiting_for, self._deadline = waiting_for, deadline
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._on_timer)
        elif self._timer.when() > deadline:
            self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._on_timer)

    def disarm(self) -> None:
        """Wait for nothing: whatever takes time now is ours."""
        self.waiting_for, self._deadline = Wait.NOTHING, inf

    def stop(self) -> None:
        """End for good."""
        self.disarm()
        if self._timer is not None:
            self._timer.cancel()

    def _on_timer(self) -> None:
        self._timer = None
        if self._loop.time() >= self._deadline:
            waiting_for = self.waiting_for
            self.disarm()
            self._on_timeout(waiting_for)
        elif self._deadline < inf:
            self._timer = self._loop.call_at(self._deadline, self._on_timer)


class WriteStallMonitor:
    """Watches a client that does not keep up; one that reads nothing for `seconds` is cut off.

    What the kernel still holds for it counts, too: our own buffer alone may stand still meanwhile.
    """

    def __init__(self, transport: asyncio.Transport, timeout: float) -> None:
        self._transport = transport
        self._timeout = timeout
        self._last_unread_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch, when more is written than the client has read."""
        unread = self.unread_bytes()
        if self._timer is None and unread:
            self._last_unread_bytes = unread
            self._restart_timer()

    def stop(self) -> None:
        """End: the client keeps up."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def unread_bytes(self) -> int:
        """Return the bytes that were written, and have not come to the client's side."""
        sock = self._transport.get_extra_info("socket")
        kernel_bytes = 0
        if sock is not None and not self._transport.is_closing():
            with suppress(OSError):  # a way that does not tell
                raw_size = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
                kernel_bytes = int.from_bytes(raw_size, sys.byteorder)
        return self._transport.get_write_buffer_size() + kernel_bytes

    def _restart_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._timeout, self._check_progress)

    def _check_progress(self) -> None:
        self._timer = None
        unread = self.unread_bytes()
        if unread and unread >= self._last_unread_bytes:
            self._transport.abort()
        elif unread:
            self._last_unread_bytes = unread
            self._restart_timer()
