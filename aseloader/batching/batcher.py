"""Runs the batches of one wrapper, in threads or in the event loop."""

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aseloader.batching.curve import BatchCurve
from aseloader.batching.queue import BatchQueue
from aseloader.codec import Codec, Expected
from aseloader.declare import accepts_context
from aseloader.log_context import set_sid
from aseloader.thread_calls import ThreadCalls
from aseloader.wrapper import Context, Data, Refused, Wrapper
from schemas.model.errors import BAD_OUTPUT, ONCE_TIMEOUT, AseError
from schemas.wire import Payload

_logger = logging.getLogger("ase.loader")
_TOO_LATE = "it waited until its deadline"


# The outputs of a request as payloads, or what was raised instead.
Outcome = tuple[list[Payload], BaseException | None]


@dataclass(slots=True, eq=False)
class BatchRequest:
    """A request that waits for a batch, or is in one.

    `group` is equal for requests that may share a batch. `arrived_at` is in seconds. `outcome` is
    done when the batch has ended; `result` becomes its value. `values` are the inputs, converted to
    their declared types in the batch. `batch_ms` is the time that the batch took, 0 before.
    """

    params: Mapping[str, Any]
    inputs: Mapping[str, Data]
    context: Context
    expected: Expected
    group: Hashable
    arrived_at: float
    outcome: "asyncio.Future[Outcome]"
    values: Mapping[str, Any] = field(default_factory=dict)
    result: Outcome = field(default_factory=lambda: ([], asyncio.CancelledError()))
    batch_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """A batch that has ended: its size, its time, and how long its requests waited for it."""

    size: int
    seconds: float
    waits_s: tuple[float, ...]


class Batcher:
    """Collects the requests of a wrapper with `batch` and runs up to `workers` batches at a time.

    A plain `batch` runs in a thread of `thread_calls`, which must have one per worker. After each
    batch, `on_batch` is called. `curve` is the time of a batch over its size so far.

    A batch starts in the next iteration of the event loop at the earliest, so that requests that
    came in one packet share it. A request whose caller has gone, or whose deadline has passed,
    leaves a batch that has not begun.
    """

    def __init__(
        self,
        wrapper: Wrapper,
        workers: int,
        thread_calls: ThreadCalls,
        codec: Codec,
        on_batch: Callable[[BatchRecord], None] = lambda _: None,
    ) -> None:
        self._batch: Any = wrapper.batch  # type: ignore[attr-defined]
        self._is_async = inspect.iscoroutinefunction(self._batch)
        self._takes_contexts = accepts_context(type(wrapper), "batch")
        self._batch_by = wrapper.batch_by
        self._free_workers = workers
        self._worker_free_since = 0.0
        self._thread_calls = thread_calls
        self._codec = codec
        self._on_batch = on_batch
        self.curve = BatchCurve()
        self._queue: BatchQueue[BatchRequest] = BatchQueue(
            wrapper.max_batch, wrapper.max_wait_ms / 1000, self.curve
        )
        self._timer: asyncio.TimerHandle | None = None
        self._is_start_scheduled = False

    def add(
        self,
        params: Mapping[str, Any],
        inputs: Mapping[str, Data],
        context: Context,
        expected: Expected,
    ) -> BatchRequest:
        """Add a request to the queue; its `outcome` is done when its batch has ended."""
        loop = asyncio.get_running_loop()
        group = tuple(repr(params[name]) for name in self._batch_by)
        request = BatchRequest(
            params, inputs, context, expected, group, time.monotonic(), loop.create_future()
        )
        self._queue.add(request)
        self._schedule_start(loop)
        return request

    def discard(self, request: BatchRequest) -> None:
        """Give up a request. If its batch has not begun, it leaves it."""
        if self._queue.discard(request):
            request.outcome.cancel()

    def _schedule_start(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_start_scheduled and self._free_workers:
            self._is_start_scheduled = True
            loop.call_soon(self._start_due_batches, loop)

    def _start_due_batches(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start every batch that is due, and set the timer for the next one."""
        self._is_start_scheduled = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._free_workers:
            start_at = self._queue.start_at(self._worker_free_since)
            if start_at is None:
                return
            delay_s = start_at - time.monotonic()
            if delay_s > 0:
                self._timer = loop.call_later(delay_s, self._start_due_batches, loop)
                return
            self._start_batch(self._queue.pop_batch(), loop)

    def _start_batch(self, requests: list[BatchRequest], loop: asyncio.AbstractEventLoop) -> None:
        running = []
        for request in requests:
            if request.context.cancelled:
                request.outcome.set_result(([], AseError(ONCE_TIMEOUT, _TOO_LATE)))
            else:
                running.append(request)
        if not running:
            return
        self._free_workers -= 1
        run: asyncio.Future[int] = (
            loop.create_task(self._run_async(running))
            if self._is_async
            else self._thread_calls.start(self._run, running)
        )
        started_at = time.monotonic()
        run.add_done_callback(lambda run: self._end_batch(running, run, started_at))

    # What a wrapper or the code of its types raises becomes a result: raised, SystemExit would end
    # the event loop, and a future cannot carry StopIteration.

    def _run(self, requests: Sequence[BatchRequest]) -> int:
        """Run a plain `batch`; return how many requests one call has processed, 0 if it raised."""
        converted = self._convert(requests)
        if not converted:
            return 0
        try:
            self._set_results(converted, self._call_batch(converted))
            return len(converted)
        except BaseException as error:  # noqa: BLE001
            for request in self._to_repeat(error, converted):
                self._run([request])
            return 0

    async def _run_async(self, requests: Sequence[BatchRequest]) -> int:
        """Run an async `batch`; return how many requests one call has processed."""
        converted = self._convert(requests)
        if not converted:
            return 0
        try:
            self._set_results(converted, await self._call_batch(converted))
            return len(converted)
        except BaseException as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            for request in self._to_repeat(error, converted):
                await self._run_async([request])
            return 0

    def _convert(self, requests: Sequence[BatchRequest]) -> list[BatchRequest]:
        """Convert the inputs to their declared types; return the requests where that succeeds.

        A request whose caller has gone meanwhile, or whose deadline has passed, is not returned.
        """
        set_sid(_join_sids(requests))
        converted = []
        for request in requests:
            try:
                if request.context.cancelled:
                    raise AseError(ONCE_TIMEOUT, _TOO_LATE)
                request.values = self._codec.convert_inputs(request.inputs)
                converted.append(request)
            except BaseException as error:  # noqa: BLE001
                request.result = [], error
        return converted

    def _to_repeat(
        self, error: BaseException, requests: Sequence[BatchRequest]
    ) -> Sequence[BatchRequest]:
        """Return the requests that run alone because a call for all of them raised `error`.

        For one request, the error is its result.
        """
        if len(requests) == 1:
            requests[0].result = [], error
            return ()
        if not isinstance(error, Refused):
            fields = {"size": len(requests), "sid": _join_sids(requests)}
            _logger.warning(
                "batch raised; each request runs alone",
                extra={**fields, "reason": type(error).__name__},
            )
        return requests

    def _set_results(self, requests: Sequence[BatchRequest], results: Any) -> None:
        """Set the result of each request from what `batch` returned."""
        is_list = hasattr(results, "__len__") and not isinstance(results, str | bytes | Mapping)
        if not is_list or len(results) != len(requests):
            size = f"{len(results)} items" if is_list else type(results).__name__
            hint = f"a list with an item per request: {len(requests)}, not {size}"
            error = AseError(BAD_OUTPUT, f"batch must return {hint}")
            results = [error] * len(requests)
        for request, result in zip(requests, results, strict=True):
            request.result = self._encode(result, request)

    def _encode(self, result: Any, request: BatchRequest) -> Outcome:
        if isinstance(result, BaseException):
            return [], result
        try:
            return self._codec.encode_response(result, request.expected), None
        except BaseException as error:  # noqa: BLE001
            return [], error

    def _call_batch(self, requests: Sequence[BatchRequest]) -> Any:
        """Call the method of the wrapper: its list of outputs, or a coroutine that returns it."""
        arguments = [[r.params for r in requests], [r.values for r in requests]]
        if self._takes_contexts:
            return self._batch(*arguments, [r.context for r in requests])
        return self._batch(*arguments)

    def _end_batch(
        self, requests: list[BatchRequest], run: "asyncio.Future[int]", started_at: float
    ) -> None:
        now = time.monotonic()
        self._free_workers += 1
        self._worker_free_since = now
        seconds = now - started_at
        size = 0 if run.cancelled() else run.result()
        self._queue.record_batch_end(size, seconds * 1000 if size else None, now)
        for request in requests:
            request.batch_ms = seconds * 1000
            request.outcome.set_result(request.result)
        self._schedule_start(run.get_loop())
        waits_s = tuple(started_at - request.arrived_at for request in requests)
        self._on_batch(BatchRecord(len(requests), seconds, waits_s))


def _join_sids(requests: Sequence[BatchRequest]) -> str:
    return ",".join(request.context.sid for request in requests)
