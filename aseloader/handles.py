"""Sessions as the original's callers have them: one handle, AIIn writes, AIOut reads, AIExcp ends.

Source: reference "ase-wire" 3.6. Frames are put in the order of their `sync_id`; one that is lost
is waited for no longer than `_OVERDUE_S`. A handle that nobody asks for is let go. An AIIn is
answered when its frame has room, or after `_ROOM_S`: who writes faster than is read waits.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

from aseloader.sessions import Sessions
from aseloader.xsf import Asked
from schemas.errors import HANDLE_RELEASED, LOADER_FULL, NO_HANDLE, AseError
from schemas.session import ReorderBuffer
from schemas.wire import LoaderInput, LoaderOutput

_REMEMBERED: Final = 1000
_OVERDUE_S: Final = 5.0
_IDLE_S: Final = 90.0  # an AIOut may wait for 60
# Our gateways do not ask while their client takes its time, and end what they begin.
_ABANDONED_S: Final = 300.0
_ROOM_S: Final = 3.0  # callers wait five
_QUEUE: Final = 8
_LAST: Final = (LoaderOutput.END, LoaderOutput.ONCE)


class Handles:
    """The sessions of a loader by handle."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._open: dict[str, _Session] = {}
        self._released: dict[str, None] = {}

    async def serve(self, asked: Asked, gateway: str) -> LoaderOutput:
        """Return what an op is answered with; an output without data when nothing is there yet.

        Raises AseError 10110 when all licences are taken, 10008 for a handle that was never there,
        10101 for one that is over.
        """
        session = self._open.get(asked.handle)
        if asked.frame is not None and asked.first:
            if session is not None:
                raise AseError(LOADER_FULL, "the handle is in use")
            session = await self._begun(asked, gateway)
        if session is None:
            raise AseError(HANDLE_RELEASED if asked.handle in self._released else NO_HANDLE)
        if asked.op == "AIExcp":
            self._release(session)
            return LoaderOutput(status=LoaderOutput.END)
        if asked.frame is not None and not asked.first:
            session.push(asked.frame)
        if asked.frame is None:
            output = await session.result(asked.wait)
        else:
            output = await session.written(polls=asked.polls and not asked.first)
        if output.code or output.status in _LAST:
            self._release(session)
        return output

    async def _begun(self, asked: Asked, gateway: str) -> "_Session":
        session = _Session(self._sessions, gateway, self._release, asked)
        if asked.frame is not None:
            session.push(asked.frame)
        self._open[asked.handle] = session
        try:
            await session.begun()
        except BaseException:
            self._release(session)
            raise
        return session

    def _release(self, session: "_Session") -> None:
        handle = session.handle
        if self._open.get(handle) is not session:
            return
        del self._open[handle]
        session.end()
        self._released[handle] = None
        if len(self._released) > _REMEMBERED:
            del self._released[next(iter(self._released))]


class _Session:
    """One session: frames in order to the wrapper, its outputs until they are asked for.

    `forgotten` is called with it when nobody asks for too long.
    """

    def __init__(
        self,
        sessions: Sessions,
        gateway: str,
        forgotten: Callable[["_Session"], None],
        asked: Asked,
    ) -> None:
        self.handle = asked.handle
        self._patience = _ABANDONED_S if asked.polls else _IDLE_S
        self._loop = asyncio.get_running_loop()
        self._forgotten = forgotten
        self._order = ReorderBuffer(1)
        self._frames: deque[LoaderInput] = deque()
        self._pushed = asyncio.Event()
        self._drained = asyncio.Event()
        self._results: deque[LoaderOutput] = deque()
        self._heard = asyncio.Event()
        self._room = asyncio.Event()
        self._error: AseError | None = None
        self._over = False
        self._overdue: asyncio.TimerHandle | None = None
        self._idle = self._loop.call_later(self._patience, forgotten, self)
        self._work = asyncio.ensure_future(self._run(sessions, gateway))

    def push(self, frame: LoaderInput) -> None:
        """Take a frame; one that overtook another waits for it."""
        ready = self._order.push(frame.sync_id, frame) if frame.sync_id else [frame]
        self._take(ready)

    async def begun(self) -> None:
        """Wait for the licence. Raises AseError 10110."""
        while not self._results and self._error is None and not self._over:
            await self._change()
        if self._error is not None:
            raise self._error

    async def written(self, *, polls: bool) -> LoaderOutput:
        """Wait until there is room for another frame; return an output that is here.

        Who asks for results (`polls`) is given them there: two answers on their way could overtake.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ROOM_S):
                while self._is_behind() and (polls or not self._results):
                    self._drained.clear()
                    await self._drained.wait()
        if polls and not self._over:
            self._touch()
        return LoaderOutput(status=LoaderOutput.CONTINUE) if polls else self._answer()

    def _is_behind(self) -> bool:
        return len(self._frames) >= _QUEUE and not self._over

    async def result(self, wait: float) -> LoaderOutput:
        """Return the next output, one without data when none came in so many seconds."""
        self._touch()
        if not self._results and wait:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    while not self._results and not self._over:
                        await self._change()
        return self._answer()

    def _touch(self) -> None:
        self._idle.cancel()
        self._idle = self._loop.call_later(self._patience, self._forgotten, self)

    def _answer(self) -> LoaderOutput:
        self._touch()
        self._room.set()
        if self._results:
            return self._results.popleft()
        if self._over:  # it has ended without a word, and there is nothing to wait for
            return LoaderOutput(status=LoaderOutput.END)
        return LoaderOutput(status=LoaderOutput.CONTINUE)

    def end(self) -> None:
        """Let it go."""
        self._over = True
        self._heard.set()
        self._drained.set()
        self._idle.cancel()
        if self._overdue is not None:
            self._overdue.cancel()
        self._work.cancel()

    def _take(self, frames: list[LoaderInput]) -> None:
        """Take frames in order; what then waits for one that is missing has its own time."""
        self._frames.extend(frames)
        self._pushed.set()
        if self._overdue is not None and (frames or not self._order):
            self._overdue.cancel()
            self._overdue = None
        if self._order and self._overdue is None:
            self._overdue = self._loop.call_later(_OVERDUE_S, self._give_up)

    def _give_up(self) -> None:
        self._overdue = None
        self._take(self._order.skip_missing())

    async def _run(self, sessions: Sessions, gateway: str) -> None:
        answers = sessions.serve(self._told(), gateway=gateway, seconds=None)
        try:
            async for output in answers:
                self._results.append(output)
                self._heard.set()
                while len(self._results) > 1:  # it waits for its caller, after one ahead
                    self._room.clear()
                    await self._room.wait()
        except AseError as error:
            self._error = error
        finally:
            self._over = True
            self._heard.set()
            self._drained.set()
            await answers.aclose()

    async def _told(self) -> AsyncIterator[LoaderInput]:
        while True:
            while not self._frames:
                self._pushed.clear()
                await self._pushed.wait()
            yield self._frames.popleft()
            self._drained.set()

    async def _change(self) -> None:
        self._heard.clear()
        await self._heard.wait()
