"""What a loader's port calls: in this process, or in several others."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Protocol

from schemas.wire import LoaderInput, LoaderOutput


class RequestEngine(Protocol):
    """What processes single requests: `Engine`, or the processes of a loader."""

    async def once(
        self,
        frame: LoaderInput,
        *,
        gateway: str,
        timeout: float | None,
        is_abandoned: Callable[[], bool] | None = None,
    ) -> LoaderOutput:
        """Process one request. Raises AseError 10110 if it was not accepted.

        `is_abandoned` returns whether nobody waits for it any more, though it is not cancelled.
        """


class SessionRunner(Protocol):
    """What runs sessions: `SessionEngine`, or the processes of a loader."""

    def serve(
        self, frames: AsyncIterator[LoaderInput], *, gateway: str, timeout: float | None
    ) -> AsyncGenerator[LoaderOutput, None]:
        """Run a session and yield its outputs. Raises AseError 10110 if it was not accepted."""
