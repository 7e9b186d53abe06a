"""The timers of a connection: the deadline for what the client has to send, and write stalls."""

import asyncio
import fcntl
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from math import inf

from gateway.http.memory_limits import UnreadOutput
from rpc.reset import reset_connection


class Wait(Enum):
    """What a connection waits for the client to send.

    DRAIN_BODY is the rest of a body whose response is already written.
    """

    NOTHING = "nothing"
    HEAD = "head"
    BODY = "body"
    DRAIN_BODY = "rest"
    IDLE = "idle"


class ConnectionTimer:
    """The deadline for what a connection waits for; `on_timeout` is called when it has passed.

    `_deadline` is in seconds of the event loop; it is infinite exactly when `waiting_for` is
    NOTHING. One loop timer serves all waits. Setting a later deadline or disarming leaves it as it
    is: a timer that fires too early is set again for the deadline. So most requests create no loop
    timer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_timeout: Callable[[Wait], None]) -> None:
        self._loop = loop
        self._on_timeout = on_timeout
        self._deadline = inf
        self._timer: asyncio.TimerHandle | None = None
        self.waiting_for = Wait.NOTHING

    def arm(self, waiting_for: Wait, seconds: float) -> None:
        """Wait for `waiting_for` for at most `seconds`; this replaces the current wait."""
        deadline = self._loop.time() + seconds
        self.waiting_for, self._deadline = waiting_for, deadline
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._on_timer)
        elif self._timer.when() > deadline:
            self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._on_timer)

    def disarm(self) -> None:
        """Disarm the timer: from here on the gateway, not the client, is working."""
        self.waiting_for, self._deadline = Wait.NOTHING, inf

    def stop(self) -> None:
        """Disarm the timer and cancel the loop timer, when the connection ends."""
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
    """Monitors a client that does not keep up; aborts the connection if it reads nothing in time.

    Every `timeout` seconds it compares the unread bytes with those of the previous check. If they
    did not decrease, the connection is aborted. Bytes in the kernel's send buffer count too: while
    the client reads those, the transport's own buffer may not change. The transport's buffer is
    counted in `unread_output`, which limits the buffers of all connections together.
    """

    def __init__(
        self, transport: asyncio.Transport, timeout: float, unread_output: UnreadOutput
    ) -> None:
        self._transport = transport
        self._timeout = timeout
        self._unread_output = unread_output
        self._last_unread_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start monitoring, if there are unread bytes and it is not started yet."""
        self._unread_output.count(self)
        unread = self.unread_bytes()
        if self._timer is None and unread:
            self._last_unread_bytes = unread
            self._restart_timer()

    def stop(self) -> None:
        """Stop monitoring: the client keeps up, or the connection has ended."""
        self._unread_output.forget(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes in the transport's own buffer, for `UnreadOutput`."""
        return self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """Close the connection and drop what the client has not read, in the kernel too."""
        reset_connection(self._transport)

    def unread_bytes(self) -> int:
        """Return the number of bytes that were written and did not reach the client's host."""
        sock = self._transport.get_extra_info("socket")
        kernel_bytes = 0
        if sock is not None and not self._transport.is_closing():
            with suppress(OSError):  # a socket that does not support this
                raw_size = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
                kernel_bytes = int.from_bytes(raw_size, sys.byteorder)
        return self._transport.get_write_buffer_size() + kernel_bytes

    def _restart_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._timeout, self._check_progress)

    def _check_progress(self) -> None:
        self._timer = None
        unread = self.unread_bytes()
        self._unread_output.count(self)
        if unread and unread >= self._last_unread_bytes:
            self.abort()
        elif unread:
            self._last_unread_bytes = unread
            self._restart_timer()
