"""Execution of single requests: acquire a permit, call the wrapper, encode the response frame."""

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aseloader.batching.batcher import Batcher, BatchRecord, Outcome
from aseloader.codec import Codec, Expected, error_output
from aseloader.declare import accepts_context, has_method
from aseloader.log_context import set_sid
from aseloader.thread_calls import ThreadCalls
from aseloader.wrapper import Context, Data, Refused, Wrapper
from lb.reporter.limiter import ConcurrencyLimiter
from schemas.model.errors import (
    BAD_MODE,
    BAD_OUTPUT,
    INPUT_REFUSED,
    LOADER_FULL,
    ONCE_TIMEOUT,
    WRAPPER_RAISED,
    AseError,
    ErrorSource,
    loader_error_spec,
)
from schemas.wire import LoaderInput, LoaderOutput, Payload

_logger = logging.getLogger("ase.loader")


def is_loader_failure(code: int) -> bool:
    """Return whether a response code counts as a failure of this loader.

    It does not if it is 0, an error of the caller, or 10102 (the caller stopped waiting).
    """
    return (
        code not in (0, ONCE_TIMEOUT.code)
        and loader_error_spec(code).source is not ErrorSource.CALLER
    )


def wrapper_threads(count: int) -> ThreadPoolExecutor:
    """Return the threads in which the methods of a wrapper run that are no coroutines.

    With one thread, `init`, each request and `fini` run in it, as libraries need that bind what
    they open to a thread (sqlite3, CUDA).
    """
    return ThreadPoolExecutor(count, thread_name_prefix="wrapper")


def slot_count(wrapper_class: type[Wrapper], total: int = 0) -> int:
    """Return how many requests a loader works on at a time: all that its batches have room for.

    `total` replaces that of the wrapper, unless it is 0.
    """
    workers = total or wrapper_class.total
    return workers * wrapper_class.max_batch if has_method(wrapper_class, "batch") else workers


class Engine:
    """Runs the requests of one wrapper, at most `limiter.best` at a time.

    Two limits apply. A permit of `limiter` admits a request to the process: there are
    `limiter.total`, and a request without one fails with 10110. A work slot lets it run: there are
    `limiter.best`, and a request with a permit waits in FIFO order for a slot. A streaming session
    holds one of each. `thread_pool` has one thread per work slot, so that it never queues; a caller
    may pass its own, in which `init` has run.

    A sync `once` runs in a thread. Its permit and its slot are held until the thread has returned,
    even if the caller has gone, since a thread cannot be stopped. An async `once` runs in the event
    loop and is cancelled with its caller.

    If the wrapper has `batch`, requests with a permit wait for a place in a batch instead of a work
    slot. A batch runs in one thread, and `limiter.best` is the number of threads times `max_batch`.
    `batcher` is None for other wrappers; `on_batch` is called after each batch.
    """

    def __init__(
        self,
        wrapper: Wrapper,
        limiter: ConcurrencyLimiter,
        thread_pool: ThreadPoolExecutor | None = None,
        on_batch: Callable[[BatchRecord], None] = lambda _: None,
    ) -> None:
        self._limiter = limiter
        self._codec = Codec(type(wrapper))
        self._once: Any = getattr(wrapper, "once", None)
        self._is_async = inspect.iscoroutinefunction(self._once)
        has_once = has_method(type(wrapper), "once")
        self._takes_context = has_once and accepts_context(type(wrapper), "once")
        self.work_slots = asyncio.Semaphore(limiter.best)
        is_batching = has_method(type(wrapper), "batch")
        threads = max(1, limiter.best // wrapper.max_batch) if is_batching else limiter.best
        self.thread_pool = thread_pool or wrapper_threads(threads)
        self._thread_calls = ThreadCalls(self.thread_pool)
        self._on_batch = on_batch
        self.batcher = (
            Batcher(wrapper, threads, self._thread_calls, self._codec, self._record_batch)
            if is_batching
            else None
        )

    async def process(self, frame: LoaderInput, context: Context) -> LoaderOutput:
        """Wait for a work slot or a batch, process `frame` and return the response.

        The caller must hold a permit. Errors of the wrapper are reported in the response.
        """
        return await self._process(frame, context, _Work())

    async def once(
        self,
        frame: LoaderInput,
        *,
        gateway: str,
        timeout: float | None,
        is_abandoned: Callable[[], bool] | None = None,
    ) -> LoaderOutput:
        """Process one request and return its response. Errors are reported in the response.

        `gateway` names the sender; permits are counted by it. `timeout` is the number of seconds
        left until the deadline, None without one. Raises AseError 10110 if no permit is free;
        nothing has run then. If this coroutine is cancelled, the permit is still held until the
        work has ended. `is_abandoned` returns whether nobody waits, though it is not cancelled.
        """
        if not self._limiter.try_acquire(gateway):
            raise AseError(LOADER_FULL, f"{LOADER_FULL.code} all licences are taken")
        deadline = None if timeout is None else time.monotonic() + timeout
        work, task = _Work(), asyncio.current_task()

        def is_cancelled() -> bool:
            is_given_up = work.is_given_up or (task is not None and task.cancelling() > 0)
            is_left = is_abandoned is not None and is_abandoned()
            return is_given_up or is_left or _is_past(deadline)

        context = Context(dict(frame.headers), deadline, is_cancelled)
        code = ONCE_TIMEOUT.code
        try:
            output = await self._process(frame, context, work)
            code = output.code
        finally:
            work.is_given_up = True
            work.call_when_idle(lambda: self._release_permit(code, gateway, work))
        return output

    def abandon(self, task: "asyncio.Future[LoaderOutput]") -> None:
        """Give up the response of `task`: cancel an async `once`; a thread runs to its end."""
        if self._is_async:
            task.cancel()

    def close(self) -> None:
        """Shut down the thread pool without waiting. Work that has not started is dropped."""
        self.thread_pool.shutdown(wait=False, cancel_futures=True)

    def _record_batch(self, record: BatchRecord) -> None:
        if self.batcher is not None and self.batcher.curve.is_known:
            curve = self.batcher.curve
            self._limiter.batch_base_ms = curve.base_ms
            self._limiter.batch_item_ms = curve.item_ms
        self._on_batch(record)

    def _release_permit(self, code: int, gateway: str, work: "_Work") -> None:
        failed = is_loader_failure(code)
        self._limiter.release(gateway, work.ms, succeeded=code == 0, failed=failed)

    async def _process(self, frame: LoaderInput, context: Context, work: "_Work") -> LoaderOutput:
        """Wait for a work slot or a batch, process `frame`, and set `work.ms` to the time it took.

        A slot is held until a thread that works on it has returned.
        """
        if self.batcher is not None:
            return await self._compute_output(frame, context, work)
        await self.work_slots.acquire()
        started_at: float | None = None
        try:
            if context.cancelled:  # the caller has gone, or the deadline passed in the queue
                return error_output(
                    frame.serviceId, ONCE_TIMEOUT.code, "it waited until its deadline"
                )
            started_at = time.monotonic()
            return await self._compute_output(frame, context, work)
        finally:
            work.call_when_idle(lambda: self._release_slot(work, started_at))

    def _release_slot(self, work: "_Work", started_at: float | None) -> None:
        if started_at is not None:
            work.ms = (time.monotonic() - started_at) * 1000
        self.work_slots.release()

    async def _compute_output(
        self, frame: LoaderInput, context: Context, work: "_Work"
    ) -> LoaderOutput:
        try:
            if self._once is None and self.batcher is None:
                raise AseError(BAD_MODE, BAD_MODE.message)
            params, inputs = self._decode_inputs(frame)
            expected = {meta.name: meta for meta in frame.expect}
            payloads = await self._run_wrapper(params, inputs, context, expected, work)
            return LoaderOutput(
                serviceId=frame.serviceId,
                status=LoaderOutput.ONCE,
                pl=payloads,
                units=context.take_usage(),
            )
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001
            return exception_output(error, frame.serviceId, context.sid)

    async def _run_wrapper(
        self,
        params: Mapping[str, Any],
        inputs: Mapping[str, Data],
        context: Context,
        expected: Expected,
        work: "_Work",
    ) -> list[Payload]:
        arguments = (params, inputs, context, expected)
        if self.batcher is not None:
            payloads, error = await self._run_in_batch(self.batcher, work, *arguments)
        elif self._is_async:
            payloads, error = await self._run_async(*arguments)
        else:
            work.thread_call = self._thread_calls.start(self._run_sync, *arguments)
            payloads, error = await asyncio.shield(work.thread_call)
        if error is None:
            return payloads
        if isinstance(error, Exception):
            raise error
        raise RuntimeError(f"the wrapper raised {type(error).__name__}") from error

    async def _run_in_batch(
        self,
        batcher: Batcher,
        work: "_Work",
        params: Mapping[str, Any],
        inputs: Mapping[str, Data],
        context: Context,
        expected: Expected,
    ) -> Outcome:
        request = batcher.add(params, inputs, context, expected)
        work.thread_call = request.outcome
        try:
            outcome = await asyncio.shield(request.outcome)
        except asyncio.CancelledError:
            batcher.discard(request)
            raise
        work.ms = request.batch_ms
        return outcome

    # What a wrapper raises is returned as a value. Raised, SystemExit would end the event loop, and
    # a future cannot carry StopIteration, so the permit would never be released.

    def _run_sync(
        self,
        params: Mapping[str, Any],
        inputs: Mapping[str, Data],
        context: Context,
        expected: Expected,
    ) -> Outcome:
        set_sid(context.sid)
        try:
            outputs = self._once(*self._arguments(params, inputs, context))
            return self._codec.encode_response(outputs, expected), None
        except BaseException as error:  # noqa: BLE001
            return [], error
        finally:
            set_sid("")

    async def _run_async(
        self,
        params: Mapping[str, Any],
        inputs: Mapping[str, Data],
        context: Context,
        expected: Expected,
    ) -> Outcome:
        set_sid(context.sid)
        try:
            outputs = await self._once(*self._arguments(params, inputs, context))
            return self._codec.encode_response(outputs, expected), None
        except BaseException as error:
            task = asyncio.current_task()
            is_cancelled = task is not None and task.cancelling() > 0
            if isinstance(error, asyncio.CancelledError) and (is_cancelled or context.cancelled):
                raise
            return [], error

    def _arguments(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> tuple[Any, ...]:
        values = self._codec.convert_inputs(inputs)
        return (params, values, context) if self._takes_context else (params, values)

    def _decode_inputs(self, frame: LoaderInput) -> tuple[dict[str, Any], dict[str, Data]]:
        params, inputs = self._codec.decode_params(frame), self._codec.decode_inputs(frame)
        self._codec.check_required_inputs(inputs)
        return params, inputs


def exception_output(error: BaseException, service: str, sid: str) -> LoaderOutput:
    """Return the response that reports what a wrapper raised.

    `Refused` becomes 10107 with its message, AseError its own code, anything else 10908 with the
    name of the exception's class. The loader logs 10908 with the traceback, and 10106.
    """
    if isinstance(error, Refused):
        return error_output(
            service, INPUT_REFUSED.code, _refusal_message(error) or INPUT_REFUSED.message
        )
    if isinstance(error, AseError):
        if error.spec is BAD_OUTPUT:  # the author of the wrapper has to correct it
            _logger.error("wrapper output invalid", extra={"sid": sid, "reason": str(error)})
        return error_output(service, error.spec.code, str(error))
    _logger.error("wrapper raised", extra={"sid": sid}, exc_info=error)
    return error_output(service, WRAPPER_RAISED.code, f"wrapper raised {type(error).__name__}")


class _Work:
    """The work on one request.

    `ms` is the time that it took, 0 if it never began. `is_given_up`: nobody waits for its result.
    `thread_call` is done when the thread that works on it has returned; None without a thread.
    """

    __slots__ = ("is_given_up", "ms", "thread_call")

    def __init__(self) -> None:
        self.ms = 0.0
        self.is_given_up = False
        self.thread_call: asyncio.Future[Any] | None = None

    def call_when_idle(self, callback: Callable[[], None]) -> None:
        """Call `callback` now, or when the thread that still works has returned."""
        if self.thread_call is None or self.thread_call.done():
            callback()
        else:
            self.thread_call.add_done_callback(lambda _: callback())


def _refusal_message(error: Refused) -> str:
    """Return the message of a refusal, cut to 2048 characters; "" if `str()` of it raises."""
    try:
        return str(error)[:2048]
    except Exception:  # noqa: BLE001 (the wrapper's own `__str__`)
        return ""


def _is_past(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() > deadline
