"""Pipelined requests: answered in the order they came, one at a time."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

# Requests that may wait behind the one that runs, before we read no further: up to then we do, to
# see a client that goes away.
_MOST: Final = 8
# And of one read, which may hold thousands.
_FAR_TOO_MANY: Final = 512


class Turns:
    """The requests of a connection.

    `may_run` tells whether one may begin at all; `begun` is called when one that waited has.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        may_run: Callable[[], bool],
        begun: Callable[[], None],
    ) -> None:
        self.running: Any = None
        self._loop = loop
        self._may_run = may_run
        self._begun = begun
        self._waiting: deque[tuple[Any, Callable[[], None]]] = deque()

    def __bool__(self) -> bool:
        return self.running is not None or bool(self._waiting)

    @property
    def many(self) -> bool:
        """Return whether so many wait that no more should be read."""
        return len(self._waiting) >= _MOST

    @property
    def too_many(self) -> bool:
        """Return whether more wait than any client has a use for."""
        return len(self._waiting) >= _FAR_TOO_MANY

    def take(self, request: Any, start: Callable[[], None]) -> None:
        """Start a request when it is its turn, now or later."""
        if self.seize(request):
            start()
        else:
            self._waiting.append((request, start))

    def seize(self, request: Any) -> bool:
        """Give a request its turn, if it can be had now; return whether it can."""
        if self.running is not None or self._waiting or not self._may_run():
            return False
        self.running = request
        return True

    def over(self) -> None:
        """Take in that the one that ran is answered."""
        self.running = None
        self.go_on()

    def go_on(self) -> None:
        """Start the next in the loop's next turn: a long line must not grow the stack."""
        if self._waiting:
            self._loop.call_soon(self._next)

    def resumed(self) -> None:
        """Take in that the client reads again: an answer in parts goes on, or the next begins."""
        resumed = getattr(self.running, "resumed", None)
        if resumed is None:
            self.go_on()
        else:
            resumed()

    def drop(self) -> Any:
        """Forget all; return the one that ran."""
        running, self.running = self.running, None
        self._waiting.clear()
        return running

    def _next(self) -> None:
        if self._waiting and self.running is None and self._may_run():
            self.running, start = self._waiting.popleft()
            start()
            self._begun()
