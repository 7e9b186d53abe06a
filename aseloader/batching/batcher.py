"""Runs the batches of one wrapper, in threads or in the event loop."""

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aseloader.batching.curve import BatchCurve
from aseloader.batching.queue import BatchQueue
from aseloader.declare import accepts_context
from aseloader.thread_calls import ThreadCalls
from aseloader.wrapper import Context, Data, Refused, Wrapper
from schemas.model.errors import BAD_OUTPUT, ONCE_TIMEOUT, AseError

_logger = logging.getLogger("ase.loader")


# What `batch` returned for a request, or what it raised.
Outcome = tuple[Any, BaseException | None]


@dataclass(slots=True, eq=False)
class BatchRequest:
    """A request that waits for a batch, or is in one.

    `group` is equal for requests that may share a batch. `arrived_at` is in seconds. `outcome` is
    done when the batch has ended. `batch_ms` is the time that the batch took, 0 before.
    """

    params: Mapping[str, Any]
    inputs: Mapping[str, Data]
    context: Context
    group: Hashable
    arrived_at: float
    outcome: "asyncio.Future[Outcome]"
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
        on_batch: Callable[[BatchRecord], None] = lambda _: None,
    ) -> None:
        self._batch: Any = wrapper.batch  # type: ignore[attr-defined]
        self._is_async = inspect.iscoroutinefunction(self._batch)
        self._takes_contexts = accepts_context(type(wrapper), "batch")
        self._batch_by = wrapper.batch_by
        self._free_workers = workers
        self._worker_free_since = 0.0
        self._thread_calls = thread_calls
        self._on_batch = on_batch
        self.curve = BatchCurve()
        self._queue: BatchQueue[BatchRequest] = BatchQueue(
            wrapper.max_batch, wrapper.max_wait_ms / 1000, self.curve
        )
        self._timer: asyncio.TimerHandle | None = None
        self._is_start_scheduled = False

    def add(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> BatchRequest:
        """Add a request to the queue; its `outcome` is done when its batch has ended."""
        loop = asyncio.get_running_loop()
        group = tuple(repr(params[name]) for name in self._batch_by)
        request = BatchRequest(
            params, inputs, context, group, time.monotonic(), loop.create_future()
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
                message = "it waited until its deadline"
                request.outcome.set_result((None, AseError(ONCE_TIMEOUT, message)))
            else:
                running.append(request)
        if not running:
            return
        self._free_workers -= 1
        run: asyncio.Future[list[Outcome]] = (
            loop.create_task(self._run_async(running))
            if self._is_async
            else self._thread_calls.start(self._run, running)
        )
        started_at = time.monotonic()
        run.add_done_callback(lambda run: self._end_batch(running, run, started_at))

    # What a wrapper raises is returned as a value: raised, SystemExit would end the event loop, and
    # a future cannot carry StopIteration.

    def _run(self, requests: Sequence[BatchRequest]) -> list[Outcome]:
        """Call a plain `batch`; if it raises, call it again for each request alone."""
        try:
            return _to_outcomes(self._call_batch(requests), len(requests))
        except BaseException as error:  # noqa: BLE001
            if len(requests) == 1:
                return [(None, error)]
            self._log_repetition(error, requests)
        return [outcome for request in requests for outcome in self._run([request])]

    async def _run_async(self, requests: Sequence[BatchRequest]) -> list[Outcome]:
        """Call an async `batch`; if it raises, call it again for each request alone."""
        try:
            return _to_outcomes(await self._call_batch(requests), len(requests))
        except BaseException as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            if len(requests) == 1:
                return [(None, error)]
            self._log_repetition(error, requests)
        return [outcome for request in requests for outcome in await self._run_async([request])]

    def _log_repetition(self, error: BaseException, requests: Sequence[BatchRequest]) -> None:
        if isinstance(error, Refused):
            return
        sids = ",".join(request.context.sid for request in requests)
        fields = {"size": len(requests), "reason": repr(error), "sids": sids}
        _logger.warning("batch raised; each request runs alone", extra=fields)

    def _call_batch(self, requests: Sequence[BatchRequest]) -> Any:
        """Call the method of the wrapper: its list of outputs, or a coroutine that returns it."""
        arguments = [[r.params for r in requests], [r.inputs for r in requests]]
        if self._takes_contexts:
            return self._batch(*arguments, [r.context for r in requests])
        return self._batch(*arguments)

    def _end_batch(
        self, requests: list[BatchRequest], run: "asyncio.Future[list[Outcome]]", started_at: float
    ) -> None:
        now = time.monotonic()
        self._free_workers += 1
        self._worker_free_since = now
        seconds = now - started_at
        if run.cancelled():  # the event loop ends
            outcomes: list[Outcome] = [(None, asyncio.CancelledError())] * len(requests)
        else:
            outcomes = run.result()
        succeeded = all(error is None for _, error in outcomes)
        self._queue.record_batch_end(len(requests), seconds * 1000 if succeeded else None, now)
        for request, outcome in zip(requests, outcomes, strict=True):
            request.batch_ms = seconds * 1000
            request.outcome.set_result(outcome)
        waits_s = tuple(started_at - request.arrived_at for request in requests)
        self._on_batch(BatchRecord(len(requests), seconds, waits_s))
        self._schedule_start(run.get_loop())


def _to_outcomes(results: Any, count: int) -> list[Outcome]:
    """Return what `batch` returned as one outcome per request, in the same order."""
    if not isinstance(results, list | tuple) or len(results) != count:
        size = f"{len(results)} items" if isinstance(results, list | tuple) else "no list"
        message = f"batch must return a list with an item per request: {count}, not {size}"
        return [(None, AseError(BAD_OUTPUT, message))] * count
    return [
        (None, result) if isinstance(result, BaseException) else (result, None)
        for result in results
    ]
