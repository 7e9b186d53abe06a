"""Pipelined requests: answered in the order they came, one at a time."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

# Requests that may wait behind the one that runs, before we read no further: up to then we do, to
# see a client that goes away.
_MAX_WAITING: Final = 8
# And of one read, which may hold thousands.
_HARD_MAX_WAITING: Final = 512


class PipelineQueue:
    """The requests of a connection.

    `may_run` tells whether one may begin at all; `begun` is called when one that waited has.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        may_start: Callable[[], bool],
        on_started: Callable[[], None],
    ) -> None:
        self.current: Any = None
        self._loop = loop
        self._may_start = may_start
        self._on_started = on_started
        self._waiting: deque[tuple[Any, Callable[[], None]]] = deque()

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

    def submit(self, request: Any, start: Callable[[], None]) -> None:
        """Start a request when it is its turn, now or later."""
        if self.try_acquire(request):
            start()
        else:
            self._waiting.append((request, start))

    def try_acquire(self, request: Any) -> bool:
        """Give a request its turn, if it can be had now; return whether it can."""
        if self.current is not None or self._waiting or not self._may_start():
            return False
        self.current = request
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
        """Take in that the client reads again: an answer in parts goes on, or the next begins."""
        resume_cycle = getattr(self.current, "resume_writing", None)
        if resume_cycle is None:
            self.schedule_next()
        else:
            resume_cycle()

    def clear(self) -> Any:
        """Forget all; return the one that ran."""
        current, self.current = self.current, None
        self._waiting.clear()
        return current

    def _start_next(self) -> None:
        if self._waiting and self.current is None and self._may_start():
            self.current, start = self._waiting.popleft()
            start()
            self._on_started()
