"""The queue of pipelined requests: they are answered one at a time, in the order received."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from schemas.model.errors import AseError

# With this number of queued requests the connection stops reading. With fewer it reads on while a
# request runs, to notice a client that disconnects.
_MAX_WAITING: Final = 8
# With this number of queued requests another one is an error: one read can hold thousands.
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


class FlowControl(Protocol):
    """The part of uvicorn's flow control that decides whether a request may start."""

    write_paused: bool


class PipelineQueue:
    """The requests of one connection: the running one, and those queued after it in order.

    A request starts only if none runs, none was queued earlier, and the client reads what is
    written to it. `current` is the running request or None. `on_started` is called after a queued
    request was started; it is not called for a request that starts at once.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        flow: FlowControl,
        on_started: Callable[[], None],
    ) -> None:
        self.current: Cycle | None = None
        self._loop = loop
        self._transport = transport
        self._flow = flow
        self._on_started = on_started
        self._waiting: deque[Cycle] = deque()

    def __bool__(self) -> bool:
        return self.current is not None or bool(self._waiting)

    @property
    def is_full(self) -> bool:
        """Return whether the queue is long enough to stop reading from the connection."""
        return len(self._waiting) >= _MAX_WAITING

    @property
    def is_over_limit(self) -> bool:
        """Return whether the queue is too long to accept another request."""
        return len(self._waiting) >= _HARD_MAX_WAITING

    def may_write(self) -> bool:
        """Return whether the client reads what is written to it."""
        return not self._flow.write_paused and not self._transport.is_closing()

    def submit(self, cycle: Cycle) -> None:
        """Start a request now, or queue it: `start` is called when it becomes the current one."""
        if self.try_acquire(cycle):
            cycle.start()
        else:
            self._waiting.append(cycle)

    def try_acquire(self, cycle: Cycle) -> bool:
        """Make a request the current one if it may start now; return whether it may."""
        if self.current is not None or self._waiting or not self.may_write():
            return False
        self.current = cycle
        return True

    def finish_current(self) -> None:
        """Finish the current request after its response; schedule the next one."""
        self.current = None
        self.schedule_next()

    def schedule_next(self) -> None:
        """Start the next request in the next event-loop iteration.

        Starting it here would deepen the stack with each queued request.
        """
        if self._waiting:
            self._loop.call_soon(self._start_next)

    def resume_writing(self) -> None:
        """Continue the current response, or start the next request: the client reads again."""
        if self.current is None:
            self.schedule_next()
        else:
            self.current.resume_writing()

    def clear(self) -> Cycle | None:
        """Remove all requests; return the running request, or None."""
        current, self.current = self.current, None
        self._waiting.clear()
        return current

    def _start_next(self) -> None:
        if self._waiting and self.current is None and self.may_write():
            self.current = self._waiting.popleft()
            self.current.start()
            self._on_started()
