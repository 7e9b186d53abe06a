"""Pipelined requests: answered in the order they came, one at a time."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from schemas.model.errors import AseError

# Requests that may wait behind the one that runs, before we read no further: up to then we do, to
# see a client that goes away.
_MAX_WAITING: Final = 8
# And of one read, which may hold thousands.
_HARD_MAX_WAITING: Final = 512


class Cycle(Protocol):
    """One request on a connection, from its head to the end of its response."""

    keep_alive: bool

    @property
    def response_complete(self) -> bool:
        """Return whether the response is written."""

    def start(self) -> None:
        """Serve the request: it is the connection's current one."""

    def add_body_chunk(self, data: bytes) -> int:
        """Keep a chunk of the body; return the bytes that nothing has read yet."""

    def complete_body(self) -> None:
        """Note that the body is whole."""

    def fail_body(self, error: AseError) -> None:
        """End the request with an error of its body."""

    def on_disconnect(self) -> None:
        """End the request: the client is gone."""

    def resume_writing(self) -> None:
        """Continue a response in parts: the client reads again."""


class PipelineQueue:
    """The requests of one connection: at most one is current, the others wait in order.

    `may_start` returns whether a request may start at all; `on_started` is called when a request
    that waited has started.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        may_start: Callable[[], bool],
        on_started: Callable[[], None],
    ) -> None:
        self.current: Cycle | None = None
        self._loop = loop
        self._may_start = may_start
        self._on_started = on_started
        self._waiting: deque[Cycle] = deque()

    def __bool__(self) -> bool:
        return self.current is not None or bool(self._waiting)

    @property
    def is_full(self) -> bool:
        """Return whether so many wait that no more should be read."""
        return len(self._waiting) >= _MAX_WAITING

    @property
    def is_over_limit(self) -> bool:
        """Return whether more wait than any client has a use for."""
        return len(self._waiting) >= _HARD_MAX_WAITING

    def submit(self, cycle: Cycle) -> None:
        """Start a request now if no other is current or waits, else in its order."""
        if self.try_acquire(cycle):
            cycle.start()
        else:
            self._waiting.append(cycle)

    def try_acquire(self, cycle: Cycle) -> bool:
        """Make a request the current one if it can start now; return whether it is."""
        if self.current is not None or self._waiting or not self._may_start():
            return False
        self.current = cycle
        return True

    def finish_current(self) -> None:
        """Take in that the one that ran is answered."""
        self.current = None
        self.schedule_next()

    def schedule_next(self) -> None:
        """Start the next in the loop's next turn: a long line must not grow the stack."""
        if self._waiting:
            self._loop.call_soon(self._start_next)

    def resume_writing(self) -> None:
        """Continue the current response, or start the next request: the client reads again."""
        if self.current is None:
            self.schedule_next()
        else:
            self.current.resume_writing()

    def clear(self) -> Cycle | None:
        """Forget all; return the one that ran."""
        current, self.current = self.current, None
        self._waiting.clear()
        return current

    def _start_next(self) -> None:
        if self._waiting and self.current is None and self._may_start():
            self.current = self._waiting.popleft()
            self.current.start()
            self._on_started()
