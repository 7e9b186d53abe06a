"""Streaming sessions at the loader: one permit per session, frames in, outputs as they come."""

import asyncio
import contextlib
import inspect
import logging
import threading
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Generator,
    Iterator,
    Mapping,
)
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

from aseloader.codec import Codec
from aseloader.declare import accepts_context, has_method
from aseloader.engine import Engine, exception_output, is_loader_failure
from aseloader.log_context import set_sid
from aseloader.wrapper import Context, Data, Outputs, Wrapper
from lb.reporter.limiter import ConcurrencyLimiter
from schemas.model.errors import BAD_OUTPUT, LOADER_FULL, ONCE_TIMEOUT, AseError
from schemas.model.session import FrameStatus
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload

_logger = logging.getLogger("ase.loader")

Frames = AsyncIterator[LoaderInput]
_FINAL_STATUSES = (str(int(FrameStatus.END)), str(int(FrameStatus.ONCE)))
_DONE = object()


class SessionEngine:
    """Runs the sessions of one wrapper.

    Every session holds a permit of `limiter` from its start until nothing of it runs any more. If
    the wrapper has `session`, each session also holds one of the `limiter.best` work slots of
    `engine`, and is rejected when none is free: a session may last for minutes, so it does not
    queue. Otherwise the frames are joined and `engine` processes them as one request, which waits
    for a work slot there.

    A plain generator runs in a thread of the engine, which has one for each work slot.
    """

    def __init__(self, wrapper: Wrapper, limiter: ConcurrencyLimiter, engine: Engine) -> None:
        self._limiter = limiter
        self._engine = engine
        self._codec = Codec(type(wrapper))
        self._is_streaming = has_method(type(wrapper), "session")
        self._session: Any = getattr(wrapper, "session", None)
        self._is_async = inspect.isasyncgenfunction(_innermost(self._session))
        self._wants_context = self._is_streaming and accepts_context(type(wrapper), "session")

    async def serve(
        self, frames: Frames, *, gateway: str, timeout: float | None
    ) -> AsyncGenerator[LoaderOutput, None]:
        """Run a session and yield its outputs: BEGIN, then results, the last one with status END.

        BEGIN means that the session has its permit. Errors of the wrapper are reported in the last
        output. `gateway` names the sender; permits are counted by it. `timeout` is the number of
        seconds left for the session, None without a limit. Raises AseError 10110 if no permit, or
        for a streaming wrapper no work slot, is free; nothing has run then. Closing this generator
        ends the session.
        """
        # A session that is passed to `once` waits for its work slot in `Engine.process`.
        is_full = self._is_streaming and self._engine.work_slots.locked()
        if is_full or not self._limiter.try_acquire(gateway):
            raise AseError(LOADER_FULL, f"{LOADER_FULL.code} all licences are taken")
        if self._is_streaming:
            await self._engine.work_slots.acquire()  # does not block: checked above
        permit = _Permit(self._limiter, gateway, self._release_work_slot)
        cancel_event = threading.Event()
        outputs = self._run_session(frames, permit, cancel_event, timeout)
        try:
            yield LoaderOutput(status=LoaderOutput.BEGIN)
            async for output in outputs:
                permit.code = output.code
                yield output
        finally:
            cancel_event.set()
            try:
                await outputs.aclose()  # runs the wrapper's own cleanup
            finally:
                permit.release_hold()

    def _release_work_slot(self) -> None:
        if self._is_streaming:
            self._engine.work_slots.release()

    async def _run_session(
        self,
        frames: Frames,
        permit: "_Permit",
        cancel_event: threading.Event,
        timeout: float | None,
    ) -> AsyncGenerator[LoaderOutput, None]:
        first_frame = await anext(frames, None)
        if first_frame is None:
            return
        deadline = None if timeout is None else time.monotonic() + timeout
        context = Context(dict(first_frame.headers), deadline, cancel_event.is_set)
        expected = {meta.name: meta for meta in first_frame.expect}
        try:
            params = self._codec.decode_params(first_frame)
            inputs = _Inputs(first_frame, frames, self._codec)
            if not self._is_streaming:
                yield await self._join_and_run_once(inputs, context, permit)
                return
            seq = 0
            results = self._start_session(params, inputs, context, permit)
            try:
                async for outputs in results:
                    if not isinstance(outputs, Mapping):
                        raise AseError(BAD_OUTPUT, "session must yield mappings of outputs by name")
                    seq += 1
                    payloads = self._codec.encode_outputs(
                        outputs, expected, seq, FrameStatus.CONTINUE
                    )
                    yield LoaderOutput(
                        serviceId=first_frame.serviceId,
                        status=LoaderOutput.CONTINUE,
                        pl=payloads,
                        units=context.take_usage(),
                    )
            finally:
                await _close_results(results, context.sid)
            units = context.take_usage()
            yield LoaderOutput(
                serviceId=first_frame.serviceId, status=LoaderOutput.END, units=units
            )
        except GeneratorExit:
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and _is_task_cancelled():
                raise
            yield exception_output(error, first_frame.serviceId, context.sid)

    def _start_session(
        self, params: Mapping[str, Any], inputs: "_Inputs", context: Context, permit: "_Permit"
    ) -> AsyncIterator[Outputs]:
        extra_args = (context,) if self._wants_context else ()
        if self._is_async:
            set_sid(context.sid)
            values = self._convert_frames(inputs)
            results: Any = self._session(params, values, *extra_args)
            return aiter(results)
        return self._run_in_thread(params, inputs, extra_args, context.sid, permit)

    async def _convert_frames(self, inputs: "_Inputs") -> AsyncIterator[Mapping[str, Any]]:
        """Yield the inputs of each frame as values of their declared types."""
        async for frame_inputs in inputs:
            try:
                values = self._codec.convert_inputs(frame_inputs)
            except Exception:
                raise
            except BaseException as error:  # of the type's own code: it must not end the loop
                raise RuntimeError(f"an input's type raised {type(error).__name__}") from error
            yield values

    async def _join_and_run_once(
        self, inputs: "_Inputs", context: Context, permit: "_Permit"
    ) -> LoaderOutput:
        """Join the frames of a session to one request, and process it by `Engine.process`.

        The data of an input are concatenated. If frames differ in an attribute, the first wins.
        """
        frame = LoaderInput()
        frame.CopyFrom(inputs.first_frame)
        frame.state = LoaderInput.ONCE
        joined: dict[str, Data] = {}
        async for frame_inputs in inputs:
            for name, part in frame_inputs.items():
                previous = joined.get(name)
                joined_data = part.data if previous is None else previous.data + part.data
                joined[name] = Data(
                    joined_data, {**part.attributes, **(previous or part).attributes}
                )
        del frame.pl[:]
        for name, data in joined.items():
            frame.pl.append(Payload(meta=inputs.meta_by_name[name], data=data.data))
        task = asyncio.ensure_future(self._engine.process(frame, context))
        permit.hold_during(task)
        try:
            output = await asyncio.shield(task)
        except asyncio.CancelledError:
            self._engine.abandon(task)
            raise
        output.status = LoaderOutput.END
        return output

    async def _run_in_thread(
        self,
        params: Mapping[str, Any],
        inputs: "_Inputs",
        extra_args: tuple[Any, ...],
        sid: str,
        permit: "_Permit",
    ) -> AsyncIterator[Outputs]:
        """Run a plain generator in a thread and yield its outputs.

        The thread blocks until a frame arrives, and until its previous output has been taken.
        """
        thread, method = _SessionThread(asyncio.get_running_loop()), self._session

        def call_session(sync_inputs: Any) -> Any:
            set_sid(sid)
            values = map(self._codec.convert_inputs, sync_inputs)
            return method(params, values, *extra_args)

        task = thread.start(self._engine.thread_pool, call_session, inputs)
        permit.hold_during(task)
        try:
            while True:
                item, error = await thread.outputs.get()
                if error is not None:
                    raise error
                if item is _DONE:
                    return
                yield item
        finally:
            thread.abandon()


def _innermost(method: Any) -> Any:
    """Return the function that decorators wrap, or `method` itself."""
    return inspect.unwrap(method) if callable(method) else method


class _Permit:
    """The permit of one session, released once, when nothing of the session runs any more.

    `_holders` counts what holds it: the session itself, and each task that may outlive the session,
    such as a thread that cannot be stopped. At zero the work slot and the permit are released.
    `code` is that of the last output. The initial 10102 stands for a session that had no output,
    and is not counted as a failure of the loader.
    """

    def __init__(
        self, limiter: ConcurrencyLimiter, gateway: str, on_release: Callable[[], None]
    ) -> None:
        self._limiter = limiter
        self._gateway = gateway
        self._on_release = on_release
        self._holders = 1
        self.code = ONCE_TIMEOUT.code

    def hold_during(self, task: "asyncio.Future[Any]") -> None:
        """Hold the permit until `task` is done."""
        self._holders += 1
        task.add_done_callback(lambda _: self.release_hold())

    def release_hold(self) -> None:
        """Drop one holder. The last one releases the work slot and the permit."""
        self._holders -= 1
        if not self._holders:
            self._on_release()
            self._limiter.release(
                self._gateway, 0.0, succeeded=False, failed=is_loader_failure(self.code)
            )


class _Inputs:
    """The inputs of a session: an async iterator over the decoded payloads of its frames.

    `_next_frame` is the first frame until it has been read. The iterator ends after the last frame
    (`_is_final`) or when `frames` ends. It skips a frame without payloads, and a last frame whose
    payloads have no data. `meta_by_name` has the description of each input as it first came.
    """

    def __init__(self, first_frame: LoaderInput, frames: Frames, codec: Codec) -> None:
        self.first_frame = first_frame
        self.meta_by_name: dict[str, MetaDesc] = {}
        self._frames = frames
        self._codec = codec
        self._next_frame: LoaderInput | None = first_frame
        self._is_finished = False

    def __iter__(self) -> Iterator[Mapping[str, Data]]:
        raise TypeError("in an async session it is `async for ... in inputs`")

    def __aiter__(self) -> AsyncIterator[Mapping[str, Data]]:
        return self

    async def __anext__(self) -> Mapping[str, Data]:
        while True:
            frame, self._next_frame = self._next_frame, None
            if frame is None:
                frame = None if self._is_finished else await anext(self._frames, None)
            if frame is None:
                raise StopAsyncIteration
            self._is_finished = _is_final(frame)
            for payload in frame.pl:
                if payload.meta.name not in self.meta_by_name:
                    # A copy: a reference to the submessage would keep its whole frame alive.
                    self.meta_by_name[payload.meta.name] = meta = MetaDesc()
                    meta.CopyFrom(payload.meta)
            # A last frame without data only ends the iterator.
            if frame.pl and not (
                self._is_finished and not any(payload.data for payload in frame.pl)
            ):
                return self._codec.decode_inputs(frame)


async def _close_results(results: AsyncIterator[Outputs], sid: str) -> None:
    """Close the generator of a wrapper. An exception in its cleanup is only logged."""
    if not isinstance(results, AsyncGenerator):
        return
    try:
        await results.aclose()
    except Exception:
        _logger.exception("session raised at its end", extra={"sid": sid})


def _is_task_cancelled() -> bool:
    """Return whether the current task is being cancelled.

    If not, a CancelledError came from something that the wrapper awaited, and is its error.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _is_final(frame: LoaderInput) -> bool:
    """Return whether a frame is the last one of its session.

    The header field `status` decides. If a frame has none, the attribute `status` of any of its
    payloads does: some senders set only that.
    """
    status = frame.headers.get("status")
    if status:
        return status in _FINAL_STATUSES
    return any(payload.meta.attribute.get("status") in _FINAL_STATUSES for payload in frame.pl)


class _SessionThread:
    """A plain generator that runs in a thread, and its link to the event loop.

    `start` and `abandon` are called in the event loop, `_run` and what it calls in the thread. The
    thread blocks in `_pending_call`, which waits either for the next frame or for room in
    `outputs`. `outputs` holds one (item, error) pair, which is the back-pressure on the generator;
    the last pair is (`_DONE`, error or None).

    A thread cannot be stopped. `abandon` cancels the pending call, and each later one fails at
    once, so the generator ends at its next `yield` or read.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._is_abandoned = False
        self._pending_call: Future[Any] | None = None
        self.outputs: asyncio.Queue[tuple[Any, BaseException | None]] = asyncio.Queue(1)

    def start(
        self,
        thread_pool: ThreadPoolExecutor,
        session: Callable[[Iterator[Mapping[str, Data]]], Any],
        inputs: _Inputs,
    ) -> "asyncio.Future[None]":
        """Start the thread and return a future that is done when the thread has returned."""
        return self._loop.run_in_executor(thread_pool, self._run, session, inputs)

    def abandon(self) -> None:
        """Cancel what the thread waits for, now and from here on."""
        self._is_abandoned = True
        if self._pending_call is not None:
            self._pending_call.cancel()

    def _run(self, session: Callable[[Iterator[Mapping[str, Data]]], Any], inputs: _Inputs) -> None:
        error: BaseException | None = None
        outputs: Any = ()
        try:
            outputs = session(self._iterate_inputs(inputs))
            for item in outputs:
                self._run_in_loop(self.outputs.put((item, None)))
        except BaseException as raised:  # noqa: BLE001
            error = raised
        try:
            if isinstance(outputs, Generator):
                outputs.close()
        except Exception:
            _logger.exception("session raised at its end")
        if not self._is_abandoned:
            with contextlib.suppress(CancelledError):  # abandoned meanwhile
                self._run_in_loop(self.outputs.put((_DONE, error)))

    def _iterate_inputs(self, inputs: _Inputs) -> Iterator[Mapping[str, Data]]:
        while (frame_inputs := self._run_in_loop(anext(inputs, None))) is not None:
            yield frame_inputs

    def _run_in_loop(self, awaitable: Any) -> Any:
        """Run `awaitable` in the event loop, and block this thread until it is done.

        Raises CancelledError if the session is abandoned.
        """
        # `abandon` sets its flag before it cancels `_pending_call`, and this reads the flag after
        # setting it: one of the two always cancels the call.
        self._pending_call = future = asyncio.run_coroutine_threadsafe(
            _as_coroutine(awaitable), self._loop
        )
        if self._is_abandoned:
            future.cancel()
        return future.result()


async def _as_coroutine(awaitable: Any) -> Any:
    return await awaitable
