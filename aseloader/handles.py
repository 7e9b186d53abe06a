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

from aseloader.sessions import SessionEngine
from aseloader.xsf import XsfRequest
from schemas.model.errors import HANDLE_RELEASED, LOADER_FULL, NO_HANDLE, AseError
from schemas.model.session import ReorderBuffer
from schemas.wire import LoaderInput, LoaderOutput

_MAX_RELEASED: Final = 1000
_REORDER_TIMEOUT_S: Final = 5.0
_IDLE_TIMEOUT_S: Final = 90.0  # an AIOut may wait for 60
# Our gateways do not ask while their client takes its time, and end what they begin.
_POLLED_IDLE_TIMEOUT_S: Final = 300.0
_WRITE_TIMEOUT_S: Final = 3.0  # callers wait five
_MAX_QUEUED_FRAMES: Final = 8
_FINAL_STATUSES: Final = (LoaderOutput.END, LoaderOutput.ONCE)


class XsfSessions:
    """The sessions of a loader by handle."""

    def __init__(self, session_engine: SessionEngine) -> None:
        self._session_engine = session_engine
        self._open_sessions: dict[str, _HandleSession] = {}
        self._released: dict[str, None] = {}

    async def serve(self, request: XsfRequest, gateway: str) -> LoaderOutput:
        """Return what an op is answered with; an output without data when nothing is there yet.

        Raises AseError 10110 when all licences are taken, 10008 for a handle that was never there,
        10101 for one that is over.
        """
        session = self._open_sessions.get(request.handle)
        if request.frame is not None and request.is_first:
            if session is not None:
                raise AseError(LOADER_FULL, "the handle is in use")
            session = await self._start_session(request, gateway)
        if session is None:
            raise AseError(HANDLE_RELEASED if request.handle in self._released else NO_HANDLE)
        if request.op == "AIExcp":
            self._release(session)
            return LoaderOutput(status=LoaderOutput.END)
        if request.frame is not None and not request.is_first:
            session.push(request.frame)
        if request.frame is None:
            output = await session.next_result(request.timeout)
        else:
            output = await session.acknowledge_frame(
                results_by_poll=request.results_by_poll and not request.is_first
            )
        if output.code or output.status in _FINAL_STATUSES:
            self._release(session)
        return output

    async def _start_session(self, request: XsfRequest, gateway: str) -> "_HandleSession":
        session = _HandleSession(self._session_engine, gateway, self._release, request)
        if request.frame is not None:
            session.push(request.frame)
        self._open_sessions[request.handle] = session
        try:
            await session.wait_started()
        except BaseException:
            self._release(session)
            raise
        return session

    def _release(self, session: "_HandleSession") -> None:
        handle = session.handle
        if self._open_sessions.get(handle) is not session:
            return
        del self._open_sessions[handle]
        session.close()
        self._released[handle] = None
        if len(self._released) > _MAX_RELEASED:
            del self._released[next(iter(self._released))]


class _HandleSession:
    """One session: frames in order to the wrapper, its outputs until they are asked for.

    `forgotten` is called with it when nobody asks for too long.
    """

    def __init__(
        self,
        session_engine: SessionEngine,
        gateway: str,
        on_idle: Callable[["_HandleSession"], None],
        request: XsfRequest,
    ) -> None:
        self.handle = request.handle
        self._idle_timeout_s = (
            _POLLED_IDLE_TIMEOUT_S if request.results_by_poll else _IDLE_TIMEOUT_S
        )
        self._loop = asyncio.get_running_loop()
        self._on_idle = on_idle
        self._reorder_buffer = ReorderBuffer(1)
        self._frames: deque[LoaderInput] = deque()
        self._frame_ready = asyncio.Event()
        self._frame_consumed = asyncio.Event()
        self._results: deque[LoaderOutput] = deque()
        self._changed = asyncio.Event()
        self._result_taken = asyncio.Event()
        self._error: AseError | None = None
        self._is_closed = False
        self._reorder_timer: asyncio.TimerHandle | None = None
        self._idle_timer = self._loop.call_later(self._idle_timeout_s, on_idle, self)
        self._task = asyncio.ensure_future(self._run(session_engine, gateway))

    def push(self, frame: LoaderInput) -> None:
        """Take a frame; one that overtook another waits for it."""
        in_order = self._reorder_buffer.push(frame.sync_id, frame) if frame.sync_id else [frame]
        self._enqueue(in_order)

    async def wait_started(self) -> None:
        """Wait for the licence. Raises AseError 10110."""
        while not self._results and self._error is None and not self._is_closed:
            await self._wait_for_change()
        if self._error is not None:
            raise self._error

    async def acknowledge_frame(self, *, results_by_poll: bool) -> LoaderOutput:
        """Wait until there is room for another frame; return an output that is here.

        Who asks for results (`polls`) is given them there: two answers on their way could overtake.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WRITE_TIMEOUT_S):
                while self._is_full() and (results_by_poll or not self._results):
                    self._frame_consumed.clear()
                    await self._frame_consumed.wait()
        if results_by_poll and not self._is_closed:
            self._reset_idle_timer()
        return LoaderOutput(status=LoaderOutput.CONTINUE) if results_by_poll else self._pop_result()

    def _is_full(self) -> bool:
        return len(self._frames) >= _MAX_QUEUED_FRAMES and not self._is_closed

    async def next_result(self, timeout: float) -> LoaderOutput:
        """Return the next output, one without data when none came in so many seconds."""
        self._reset_idle_timer()
        if not self._results and timeout:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    while not self._results and not self._is_closed:
                        await self._wait_for_change()
        return self._pop_result()

    def _reset_idle_timer(self) -> None:
        self._idle_timer.cancel()
        self._idle_timer = self._loop.call_later(self._idle_timeout_s, self._on_idle, self)

    def _pop_result(self) -> LoaderOutput:
        self._reset_idle_timer()
        self._result_taken.set()
        if self._results:
            return self._results.popleft()
        if self._is_closed:  # it has ended without a word, and there is nothing to wait for
            return LoaderOutput(status=LoaderOutput.END)
        return LoaderOutput(status=LoaderOutput.CONTINUE)

    def close(self) -> None:
        """Let it go."""
        self._is_closed = True
        self._changed.set()
        self._frame_consumed.set()
        self._idle_timer.cancel()
        if self._reorder_timer is not None:
            self._reorder_timer.cancel()
        self._task.cancel()

    def _enqueue(self, frames: list[LoaderInput]) -> None:
        """Take frames in order; what then waits for one that is missing has its own time."""
        self._frames.extend(frames)
        self._frame_ready.set()
        if self._reorder_timer is not None and (frames or not self._reorder_buffer):
            self._reorder_timer.cancel()
            self._reorder_timer = None
        if self._reorder_buffer and self._reorder_timer is None:
            self._reorder_timer = self._loop.call_later(
                _REORDER_TIMEOUT_S, self._skip_missing_frames
            )

    def _skip_missing_frames(self) -> None:
        self._reorder_timer = None
        self._enqueue(self._reorder_buffer.skip_missing())

    async def _run(self, session_engine: SessionEngine, gateway: str) -> None:
        outputs = session_engine.serve(self._read_frames(), gateway=gateway, timeout=None)
        try:
            async for output in outputs:
                self._results.append(output)
                self._changed.set()
                while len(self._results) > 1:  # it waits for its caller, after one ahead
                    self._result_taken.clear()
                    await self._result_taken.wait()
        except AseError as error:
            self._error = error
        finally:
            self._is_closed = True
            self._changed.set()
            self._frame_consumed.set()
            await outputs.aclose()

    async def _read_frames(self) -> AsyncIterator[LoaderInput]:
        while True:
            while not self._frames:
                self._frame_ready.clear()
                await self._frame_ready.wait()
            yield self._frames.popleft()
            self._frame_consumed.set()

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
