"""A session at the loader: a licence for its life, frames in, outputs out as they come."""

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
from aseloader.declare import positional
from aseloader.engine import Engine, failure, is_failure
from aseloader.wrapper import Context, Data, Outputs, Wrapper
from lb.meter import ConcurrencyLimiter
from schemas.errors import BAD_OUTPUT, LOADER_FULL, ONCE_TIMEOUT, AseError
from schemas.session import FrameStatus
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload

_logger = logging.getLogger("ase.loader")

Frames = AsyncIterator[LoaderInput]
_LAST = (str(int(FrameStatus.END)), str(int(FrameStatus.ONCE)))
_DONE = object()


class Sessions:
    """Drives the sessions of a wrapper, as many at a time as `meter.best`."""

    def __init__(self, wrapper: Wrapper, meter: ConcurrencyLimiter, engine: Engine) -> None:
        self._wrapper = wrapper
        self._meter = meter
        self._engine = engine
        self._codec = Codec(type(wrapper))
        method = type(wrapper).session
        self._streams = method is not Wrapper.session
        self._is_async = inspect.isasyncgenfunction(inspect.unwrap(method))
        self._wants_context = len(positional(method)) > 3  # self is one of them
        self._threads = ThreadPoolExecutor(meter.total, thread_name_prefix="session")

    async def serve(
        self, frames: Frames, *, gateway: str, seconds: float | None
    ) -> AsyncGenerator[LoaderOutput, None]:
        """Yield what a session answers: BEGIN once it has its licence, results, the last with END.

        Faults are told inside an output. `gateway` names the sender, `seconds` are left. Raises
        AseError 10110 when all licences are taken; nothing ran then. None waits for its turn.
        """
        # One that is handed to `once` waits for its turn there.
        full = self._streams and self._engine.turns.locked()
        if full or not self._meter.try_acquire(gateway):
            raise AseError(LOADER_FULL, f"{LOADER_FULL.code} all licences are taken")
        if self._streams:
            await self._engine.turns.acquire()  # which is there
        licence = _Licence(self._meter, gateway, self._over)
        gone = threading.Event()
        answers = self._answers(frames, licence, gone, seconds)
        try:
            yield LoaderOutput(status=LoaderOutput.BEGIN)
            async for output in answers:
                licence.code = output.code
                yield output
        finally:
            gone.set()
            try:
                await answers.aclose()  # the wrapper's own end is a part of it
            finally:
                licence.done()

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _over(self) -> None:
        if self._streams:
            self._engine.turns.release()

    async def _answers(
        self, frames: Frames, licence: "_Licence", gone: threading.Event, seconds: float | None
    ) -> AsyncGenerator[LoaderOutput, None]:
        first = await anext(frames, None)
        if first is None:
            return
        deadline = None if seconds is None else time.monotonic() + seconds
        context = Context(dict(first.headers), deadline, gone.is_set)
        expected = {told.name: told for told in first.expect}
        try:
            params = self._codec.params(first)
            inputs = _Inputs(first, frames, self._codec)
            if not self._streams:
                yield await self._once(inputs, context, licence)
                return
            seq = 0
            made = self._made(params, inputs, context, licence)
            try:
                async for outputs in made:
                    if not isinstance(outputs, Mapping):
                        raise AseError(BAD_OUTPUT, "session must yield mappings of outputs by name")
                    seq += 1
                    payloads = self._codec.payloads(outputs, expected, seq, FrameStatus.CONTINUE)
                    yield LoaderOutput(
                        serviceId=first.serviceId, status=LoaderOutput.CONTINUE, pl=payloads
                    )
            finally:
                await _closed(made, context.sid)
            yield LoaderOutput(serviceId=first.serviceId, status=LoaderOutput.END)
        except GeneratorExit:
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            yield failure(error, first.serviceId, context.sid)

    def _made(
        self, params: Mapping[str, Any], inputs: "_Inputs", context: Context, licence: "_Licence"
    ) -> AsyncIterator[Outputs]:
        more = (context,) if self._wants_context else ()
        if self._is_async:
            made: Any = self._wrapper.session(params, inputs, *more)
            return aiter(made)
        return self._of_thread(params, inputs, more, licence)

    async def _once(self, inputs: "_Inputs", context: Context, licence: "_Licence") -> LoaderOutput:
        """Join the frames to one, and answer that."""
        frame = LoaderInput()
        frame.CopyFrom(inputs.first)
        frame.state = LoaderInput.ONCE
        joined: dict[str, Data] = {}
        async for told in inputs:
            for name, part in told.items():
                before = joined.get(name)
                whole = part.data if before is None else before.data + part.data
                joined[name] = Data(whole, {**part.attributes, **(before or part).attributes})
        del frame.pl[:]
        for name, data in joined.items():
            frame.pl.append(Payload(meta=inputs.metas[name], data=data.data))
        work = asyncio.ensure_future(self._engine.answer(frame, context))
        licence.until(work)
        try:
            output = await asyncio.shield(work)
        except asyncio.CancelledError:
            self._engine.let_go(work)
            raise
        output.status = LoaderOutput.END
        return output

    async def _of_thread(
        self,
        params: Mapping[str, Any],
        inputs: "_Inputs",
        more: tuple[Any, ...],
        licence: "_Licence",
    ) -> AsyncIterator[Outputs]:
        """Run a plain generator in a thread; it waits for inputs, and for who takes its outputs."""
        thread, method = _Thread(asyncio.get_running_loop()), self._wrapper.session

        def session(told: Any) -> Any:
            return method(params, told, *more)

        work = thread.start(self._threads, session, inputs)
        licence.until(work)
        try:
            while True:
                made, error = await thread.outputs.get()
                if error is not None:
                    raise error
                if made is _DONE:
                    return
                yield made
        finally:
            thread.leave()


class _Licence:
    """A licence, given back once: when the session is over, and nothing of it runs any more."""

    def __init__(self, meter: ConcurrencyLimiter, gateway: str, over: Callable[[], None]) -> None:
        self._meter = meter
        self._gateway = gateway
        self._over = over
        self._holders = 1
        self.code = ONCE_TIMEOUT.code

    def until(self, work: "asyncio.Future[Any]") -> None:
        """Hold it as long as some work runs."""
        self._holders += 1
        work.add_done_callback(lambda _: self.done())

    def done(self) -> None:
        """Take in that one holder is through."""
        self._holders -= 1
        if not self._holders:
            self._over()
            self._meter.release(self._gateway, 0.0, succeeded=False, failed=is_failure(self.code))


class _Inputs:
    """The inputs of a session, frame by frame, the first one at hand; it ends with its last."""

    def __init__(self, first: LoaderInput, frames: Frames, codec: Codec) -> None:
        self.first = first
        self.metas: dict[str, MetaDesc] = {}
        self._frames = frames
        self._codec = codec
        self._frame: LoaderInput | None = first
        self._ended = False

    def __iter__(self) -> Iterator[Mapping[str, Data]]:
        raise TypeError("in an async session it is `async for ... in inputs`")

    def __aiter__(self) -> AsyncIterator[Mapping[str, Data]]:
        return self

    async def __anext__(self) -> Mapping[str, Data]:
        while True:
            frame, self._frame = self._frame, None
            if frame is None:
                frame = None if self._ended else await anext(self._frames, None)
            if frame is None:
                raise StopAsyncIteration
            self._ended = _ends(frame)
            for payload in frame.pl:
                if payload.meta.name not in self.metas:  # a copy: a part keeps its whole alive
                    self.metas[payload.meta.name] = meta = MetaDesc()
                    meta.CopyFrom(payload.meta)
            if frame.pl and not (self._ended and not any(payload.data for payload in frame.pl)):
                return self._codec.inputs(frame)  # a last frame that brings nothing only ends it


async def _closed(made: AsyncIterator[Outputs], sid: str) -> None:
    """End what a wrapper makes; what it raises meanwhile is for its author alone."""
    if not isinstance(made, AsyncGenerator):
        return
    try:
        await made.aclose()
    except Exception:
        _logger.exception("session raised at its end", extra={"sid": sid})


def _is_cancelled() -> bool:
    """Return whether it is we who are to end, and not something that the wrapper waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _ends(frame: LoaderInput) -> bool:
    """Return whether a frame says that it is the last.

    Its header does; where it has no status, who sent it tells it with the payloads alone.
    """
    status = frame.headers.get("status")
    if status:
        return status in _LAST
    return any(payload.meta.attribute.get("status") in _LAST for payload in frame.pl)


class _Thread:
    """A plain generator at work in a thread, and the loop that it asks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._gone = False
        self._asked: Future[Any] | None = None
        self.outputs: asyncio.Queue[tuple[Any, BaseException | None]] = asyncio.Queue(1)

    def start(
        self,
        threads: ThreadPoolExecutor,
        session: Callable[[Iterator[Mapping[str, Data]]], Any],
        inputs: _Inputs,
    ) -> "asyncio.Future[None]":
        """Begin the work; what it yields comes by `outputs`; `_DONE` at its end, or an error."""
        return self._loop.run_in_executor(threads, self._run, session, inputs)

    def leave(self) -> None:
        """Let it go: what it waits for will not come."""
        self._gone = True
        if self._asked is not None:
            self._asked.cancel()

    def _run(self, session: Callable[[Iterator[Mapping[str, Data]]], Any], inputs: _Inputs) -> None:
        error: BaseException | None = None
        outputs: Any = ()
        try:
            outputs = session(self._told(inputs))
            for made in outputs:
                self._ask(self.outputs.put((made, None)))
        except BaseException as raised:  # noqa: BLE001
            error = raised
        try:
            if isinstance(outputs, Generator):
                outputs.close()
        except Exception:
            _logger.exception("session raised at its end")
        if not self._gone:
            with contextlib.suppress(CancelledError):  # it was let go meanwhile
                self._ask(self.outputs.put((_DONE, error)))

    def _told(self, inputs: _Inputs) -> Iterator[Mapping[str, Data]]:
        while (told := self._ask(anext(inputs, None))) is not None:
            yield told

    def _ask(self, question: Any) -> Any:
        """Wait in the thread for what the loop has to say."""
        self._asked = asked = asyncio.run_coroutine_threadsafe(_awaited(question), self._loop)
        if self._gone:
            asked.cancel()
        return asked.result()


async def _awaited(question: Any) -> Any:
    return await question
