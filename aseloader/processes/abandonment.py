"""How a loader abandons a request at one of its processes, because the caller has gone.

The call of the request stays open: the loader has to know when the thread that works on it has
returned. So the loader makes another call, with the number of the request.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rpc.server import CallContext

METHOD: Final = "/ase.process/Abandon"
# Metadata of a request to a process: its number.
REQUEST_KEY: Final = "ase-request"


class RunningRequests:
    """The requests of a process by their numbers; the abandoned ones are those to be given up."""

    def __init__(self) -> None:
        self._running: set[str] = set()
        self._abandoned: set[str] = set()

    @contextmanager
    def run(self, number: str) -> Iterator[Callable[[], bool]]:
        """Note a request while it runs; yield what returns whether it is abandoned."""
        self._running.add(number)
        try:
            yield lambda: number in self._abandoned
        finally:
            self._running.discard(number)
            self._abandoned.discard(number)

    async def abandon(self, data: bytes, _call: CallContext) -> bytes:
        """Serve `METHOD`: the message is the number of a request, which may have ended."""
        number = data.decode("ascii", "replace")
        if number in self._running:
            self._abandoned.add(number)
        return b""
