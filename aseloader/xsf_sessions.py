"""Sessions of the xsf protocol: AIIn writes a frame, AIOut reads a result, AIExcp aborts.

Source: `docs/wire.md`. A handle names the session in all its calls. Frames are delivered in the
order of their `sync_id`; a missing one is skipped after `_REORDER_TIMEOUT_S`. A session without
calls is released after `_IDLE_TIMEOUT_S`, or `_POLLED_IDLE_TIMEOUT_S` if its caller polls.

Back-pressure: the loader replies to an AIIn when the queue has room for another frame, or after
`_WRITE_TIMEOUT_S`. So a caller that sends one AIIn at a time is slowed down to the wrapper's pace.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

from aseloader.interfaces import SessionRunner
from aseloader.xsf import XsfRequest
from rpc.bounded_cache import BoundedCache
from schemas.model.errors import HANDLE_RELEASED, LOADER_FULL, NO_HANDLE, AseError, ErrorSpec
from schemas.model.session import ReorderBuffer
from schemas.wire import LoaderInput, LoaderOutput

_MAX_RELEASED: Final = 1000
_REORDER_TIMEOUT_S: Final = 5.0
_IDLE_TIMEOUT_S: Final = 90.0  # longer than the 60 s that an AIOut may wait
# An Athena gateway does not poll while its client reads slowly, and ends each session it starts.
_POLLED_IDLE_TIMEOUT_S: Final = 300.0
_WRITE_TIMEOUT_S: Final = 3.0  # less than the 5 s that callers wait for the reply
_MAX_QUEUED_FRAMES: Final = 8
_FINAL_STATUSES: Final = (LoaderOutput.END, LoaderOutput.ONCE)


class XsfSessions:
    """The xsf sessions of a loader, by handle.

    A handle is in at most one of `_open_sessions` and, once released, `_released`, unless it is
    used again for a new session. `_released` keeps the last 1000 handles in the order of their
    release, to distinguish a released handle (10101) from an unknown one (10008).
    """

    def __init__(self, session_engine: SessionRunner) -> None:
        self._session_engine = session_engine
        self._open_sessions: dict[str, _HandleSession] = {}
        self._released: BoundedCache[str, bool] = BoundedCache(_MAX_RELEASED)

    async def serve(self, request: XsfRequest, gateway: str) -> LoaderOutput:
        """Run one operation and return its output, without data if no result is ready.

        A final output, an error code or AIExcp releases the session. The output has the code 10008
        for an unknown handle, 10101 for a released one. Raises AseError 10110 if the loader is full
        or if a first frame names an open session.
        """
        session = self._open_sessions.get(request.handle)
        if request.frame is not None and request.is_first:
            if session is not None:
                raise AseError(LOADER_FULL, "the handle is in use")
            session = await self._start_session(request, gateway)
        if session is None:
            is_released = request.handle in self._released.entries
            return _error_output(HANDLE_RELEASED if is_released else NO_HANDLE)
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
        if self._open_sessions.get(request.handle) is not session:  # another call released it
            return _error_output(HANDLE_RELEASED)
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
        self._released.add(handle, True)


def _error_output(error_spec: ErrorSpec) -> LoaderOutput:
    return LoaderOutput(code=error_spec.code, err=error_spec.message, status=LoaderOutput.END)


class _HandleSession:
    """One xsf session: frames in order to the wrapper, outputs kept until they are read.

    - `_frames`: frames in order that the wrapper has not read. The reply to an AIIn waits while it
      has `_MAX_QUEUED_FRAMES` or more.
    - `_reorder_buffer`: frames after a missing one, at most 64. `_reorder_timer` runs while the
      buffer is not empty.
    - `_results`: outputs that the caller has not read, at most two: `_run` reads one ahead.
    - `_error`: why the session could not start; set before any output.
    - `_is_closed`: `_run` has ended, or the session was released. Waiting calls then return.
    - Events: `_frame_ready` wakes the wrapper, `_changed` a waiting AIOut or `wait_started`,
      `_result_taken` wakes `_run`, `_write_changed` a waiting AIIn when a frame was read or a
      result is ready.

    `on_idle` is called with the session if no call has come for the idle timeout.
    """

    def __init__(
        self,
        session_engine: SessionRunner,
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
        self._write_changed = asyncio.Event()
        self._results: deque[LoaderOutput] = deque()
        self._changed = asyncio.Event()
        self._result_taken = asyncio.Event()
        self._error: AseError | None = None
        self._is_closed = False
        self._reorder_timer: asyncio.TimerHandle | None = None
        self._idle_timer = self._loop.call_later(self._idle_timeout_s, on_idle, self)
        self._task = asyncio.ensure_future(self._run(session_engine, gateway))

    def push(self, frame: LoaderInput) -> None:
        """Queue a frame. A frame that arrives before its predecessors waits for them.

        A frame without `sync_id` is queued at once.
        """
        in_order = self._reorder_buffer.push(frame.sync_id, frame) if frame.sync_id else [frame]
        self._enqueue(in_order)

    async def wait_started(self) -> None:
        """Wait until the session has its permit. Raises AseError 10110 if there is none."""
        while not self._results and self._error is None and not self._is_closed:
            await self._wait_for_change()
        if self._error is not None:
            raise self._error

    async def acknowledge_frame(self, *, results_by_poll: bool) -> LoaderOutput:
        """Wait until there is room for another frame; return an output if one is ready.

        If `results_by_poll`, the output never has data: AIOut alone returns results, since two
        replies with results could overtake each other.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WRITE_TIMEOUT_S):
                while self._is_full() and (results_by_poll or not self._results):
                    self._write_changed.clear()
                    await self._write_changed.wait()
        if results_by_poll and not self._is_closed:
            self._reset_idle_timer()
        return LoaderOutput(status=LoaderOutput.CONTINUE) if results_by_poll else self._pop_result()

    def _is_full(self) -> bool:
        return len(self._frames) >= _MAX_QUEUED_FRAMES and not self._is_closed

    async def next_result(self, timeout: float) -> LoaderOutput:
        """Return the next output, or one without data if none comes within `timeout` seconds."""
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
        if self._is_closed:  # it ended without a final output: none will come
            return LoaderOutput(status=LoaderOutput.END)
        return LoaderOutput(status=LoaderOutput.CONTINUE)

    def close(self) -> None:
        """Cancel the session and its timers, and wake all waiting calls."""
        self._is_closed = True
        self._changed.set()
        self._write_changed.set()
        self._idle_timer.cancel()
        if self._reorder_timer is not None:
            self._reorder_timer.cancel()
        self._task.cancel()

    def _enqueue(self, frames: list[LoaderInput]) -> None:
        """Pass on frames that are in order, and restart the timer of the gap after them, if any."""
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

    async def _run(self, session_engine: SessionRunner, gateway: str) -> None:
        outputs = session_engine.serve(self._read_frames(), gateway=gateway, timeout=None)
        try:
            async for output in outputs:
                self._results.append(output)
                self._changed.set()
                self._write_changed.set()
                while len(self._results) > 1:  # back-pressure: one output ahead of the caller
                    self._result_taken.clear()
                    await self._result_taken.wait()
        except AseError as error:
            self._error = error
        finally:
            self._is_closed = True
            self._changed.set()
            self._write_changed.set()
            await outputs.aclose()

    async def _read_frames(self) -> AsyncIterator[LoaderInput]:
        while True:
            while not self._frames:
                self._frame_ready.clear()
                await self._frame_ready.wait()
            yield self._frames.popleft()
            self._write_changed.set()

    async def _wait_for_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
