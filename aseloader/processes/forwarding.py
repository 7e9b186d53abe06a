"""Forwards requests and sessions to the processes of a loader."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from itertools import count
from typing import Final

from aseloader.codec import error_output
from aseloader.engine import is_loader_failure
from aseloader.processes import abandonment, shared_inputs
from aseloader.processes.pool import ProcessPool
from aseloader.processes.worker_process import WorkerProcess
from lb.reporter.limiter import ConcurrencyLimiter
from rpc.client import Channel
from rpc.message_stream import stream_responses
from rpc.metadata import Metadata
from rpc.status import MessageTooLargeError, RpcError, Status
from schemas.model.errors import LOADER_FULL, ONCE_TIMEOUT, WRAPPER_RAISED, AseError
from schemas.wire import LoaderInput, LoaderOutput

_NO_DEADLINE_S: Final = 24 * 3600.0
_ABANDON_TIMEOUT_S: Final = 5.0
_PROCESS_ENDED: Final = "the process of the wrapper ended while it worked on this"


class ForwardingEngine:
    """Processes single requests in the processes of `pool`.

    As in `Engine`, a permit of `limiter` admits a request and one of its `best` slots lets it run.
    `is_idempotent`: a request whose process ends runs once more in another one.

    `is_async`: the wrapper's method is a coroutine, which is cancelled with its caller. A plain one
    runs in a thread: the permit and the slot are held until the process has answered, even if
    nobody waits any more. The loader then abandons the request at the process, where
    `context.cancelled` becomes true. The load that `limiter` reports has the curve of the
    processes' batches.
    """

    def __init__(
        self,
        pool: ProcessPool,
        limiter: ConcurrencyLimiter,
        *,
        is_idempotent: bool,
        is_async: bool,
    ) -> None:
        self._pool = pool
        self._limiter = limiter
        self._is_idempotent = is_idempotent
        self._is_async = is_async
        self.work_slots = asyncio.Semaphore(limiter.best)
        self._numbers = count(1)

    async def once(
        self,
        frame: LoaderInput,
        *,
        gateway: str,
        timeout: float | None,
        is_abandoned: Callable[[], bool] | None = None,  # noqa: ARG002 (a loader is no process)
    ) -> LoaderOutput:
        """Process one request and return its response; parameters are those of `Engine.once`.

        Raises AseError 10110 if no permit is free, or if no process takes the request.
        """
        if not self._limiter.try_acquire(gateway):
            raise AseError(LOADER_FULL, f"{LOADER_FULL.code} all licences are taken")
        deadline = time.monotonic() + (_NO_DEADLINE_S if timeout is None else timeout)
        try:
            await self.work_slots.acquire()
        except asyncio.CancelledError:
            self._limiter.release(gateway, 0.0, succeeded=False)
            raise
        started_at, request = time.monotonic(), _ForwardedRequest(str(next(self._numbers)))
        forwarding = asyncio.ensure_future(self._forward(frame, gateway, deadline, request))
        forwarding.add_done_callback(lambda ended: self._release(ended, gateway, started_at))
        try:
            return await asyncio.shield(forwarding)
        except asyncio.CancelledError:
            if self._is_async:
                forwarding.cancel()
            else:
                request.abandon()
            raise

    def _release(
        self, forwarding: "asyncio.Future[LoaderOutput]", gateway: str, started_at: float
    ) -> None:
        """Release the slot and the permit of a request: nothing of it runs any more."""
        self.work_slots.release()
        self._limiter.batch_base_ms, self._limiter.batch_item_ms = self._pool.batch_curve()
        code = ONCE_TIMEOUT.code
        if not forwarding.cancelled() and forwarding.exception() is None:
            code = forwarding.result().code
        self._limiter.release(
            gateway,
            (time.monotonic() - started_at) * 1000,
            succeeded=code == 0,
            failed=is_loader_failure(code),
        )

    async def _forward(
        self, frame: LoaderInput, gateway: str, deadline: float, request: "_ForwardedRequest"
    ) -> LoaderOutput:
        if time.monotonic() >= deadline:
            too_late = "it waited until its deadline"
            return error_output(frame.serviceId, ONCE_TIMEOUT.code, too_late)
        data, process = frame.SerializeToString(), self._pool.choose()
        try:
            try:
                return await self._call(process, data, gateway, deadline, request)
            except RpcError as error:
                may_repeat = self._is_idempotent or not error.may_have_run
                if not _is_process_lost(error) or not may_repeat or request.is_abandoned:
                    raise
                other = self._pool.choose(process)
                return await self._call(other, data, gateway, deadline, request)
        except RpcError as error:
            return _error_response(error, frame.serviceId)

    async def _call(
        self,
        process: WorkerProcess,
        data: bytes,
        gateway: str,
        deadline: float,
        request: "_ForwardedRequest",
    ) -> LoaderOutput:
        """Send a request to a process. Raises RpcError, AseError 10110 if it is full."""
        remaining_s = max(0.001, deadline - time.monotonic())
        metadata = (
            *_gateway_metadata(gateway),
            (shared_inputs.TIMEOUT_KEY, f"{remaining_s:.3f}"),
            (abandonment.REQUEST_KEY, request.number),
        )
        timeout = remaining_s if self._is_async else _NO_DEADLINE_S
        with process.use() as channel:
            request.channel = channel
            if len(data) < shared_inputs.MIN_BYTES:
                return await _infer(channel, data, metadata, timeout)
            try:
                reference = self._pool.shared_inputs.write(data)
            except OSError:  # no room in memory: the socket takes it
                return await _infer(channel, data, metadata, timeout)
            was_read = False
            try:
                shared = (*metadata, (shared_inputs.METADATA_KEY, reference))
                output = await _infer(channel, b"", shared, timeout)
                was_read = True
                return output
            finally:
                self._pool.shared_inputs.release(reference, was_read=was_read)


class _ForwardedRequest:
    """A request at a process: its number, and the channel that it was sent on, None before.

    It `is_abandoned` once its caller has gone.
    """

    def __init__(self, number: str) -> None:
        self.number = number
        self.channel: Channel | None = None
        self.is_abandoned = False
        self._abandoning: asyncio.Task[None] | None = None

    def abandon(self) -> None:
        """Abandon the request at its process too, without waiting for that."""
        self.is_abandoned = True
        if self.channel is not None:
            self._abandoning = asyncio.ensure_future(self._send_abandon(self.channel))

    async def _send_abandon(self, channel: Channel) -> None:
        with suppress(RpcError):  # the process has ended, and the request with it
            await channel.unary(
                abandonment.METHOD, self.number.encode(), timeout=_ABANDON_TIMEOUT_S
            )


class ForwardingSessions:
    """Runs sessions in the processes of `pool`.

    As in `SessionEngine`, a session holds a permit of `limiter`; if the wrapper streams, it also
    holds one of the slots of `engine`, and is rejected when none is free.
    """

    def __init__(
        self,
        pool: ProcessPool,
        limiter: ConcurrencyLimiter,
        engine: ForwardingEngine,
        *,
        is_streaming: bool,
    ) -> None:
        self._pool = pool
        self._limiter = limiter
        self._engine = engine
        self._is_streaming = is_streaming

    async def serve(
        self, frames: AsyncIterator[LoaderInput], *, gateway: str, timeout: float | None
    ) -> AsyncGenerator[LoaderOutput, None]:
        """Run a session and yield its outputs, as `SessionEngine.serve` does.

        Raises AseError 10110 if there is no room; nothing has run then.
        """
        is_full = self._is_streaming and self._engine.work_slots.locked()
        if is_full or not self._limiter.try_acquire(gateway):
            raise AseError(LOADER_FULL, f"{LOADER_FULL.code} all licences are taken")
        if self._is_streaming:
            await self._engine.work_slots.acquire()  # does not block: checked above
        code = ONCE_TIMEOUT.code
        try:
            async with aclosing(self._forward(frames, gateway, timeout)) as outputs:
                async for output in outputs:
                    code = output.code
                    yield output
        finally:
            if self._is_streaming:
                self._engine.work_slots.release()
            self._limiter.release(gateway, 0.0, succeeded=False, failed=is_loader_failure(code))

    async def _forward(
        self, frames: AsyncIterator[LoaderInput], gateway: str, timeout: float | None
    ) -> AsyncGenerator[LoaderOutput, None]:
        has_begun = False
        try:
            with self._pool.choose().use() as channel:
                stream = channel.stream(
                    "/ase.v1.Loader/Session", timeout=timeout, metadata=_gateway_metadata(gateway)
                )
                responses = stream_responses(stream, _serialize(frames))
                async with aclosing(responses):
                    async for response in responses:
                        has_begun = True
                        yield LoaderOutput.FromString(response)
        except RpcError as error:
            if not has_begun and _is_full(error):
                raise AseError(LOADER_FULL, error.details) from error
            yield _error_response(error, "")


async def _infer(channel: Channel, data: bytes, metadata: Metadata, timeout: float) -> LoaderOutput:
    """Call `Infer` at one process. Raises RpcError, AseError 10110 if the process is full."""
    try:
        response = await channel.unary(
            "/ase.v1.Loader/Infer", data, timeout=timeout, metadata=metadata
        )
    except RpcError as error:
        if _is_full(error):
            raise AseError(LOADER_FULL, error.details) from error
        raise
    return LoaderOutput.FromString(response)


async def _serialize(frames: AsyncIterator[LoaderInput]) -> AsyncIterator[bytes]:
    async for frame in frames:
        yield frame.SerializeToString()


def _gateway_metadata(gateway: str) -> Metadata:
    return (("ase-gateway", gateway),)


def _is_full(error: RpcError) -> bool:
    is_exhausted = error.status is Status.RESOURCE_EXHAUSTED
    return is_exhausted and not isinstance(error, MessageTooLargeError)


def _is_process_lost(error: RpcError) -> bool:
    """Return whether the process has ended; CANCELLED comes from a channel that is closed then."""
    return error.status in (Status.UNAVAILABLE, Status.CANCELLED)


def _error_response(error: RpcError, service: str) -> LoaderOutput:
    """Return the response that reports a failed call to a process."""
    if error.status is Status.DEADLINE_EXCEEDED:
        return error_output(service, ONCE_TIMEOUT.code, ONCE_TIMEOUT.message)
    message = _PROCESS_ENDED if _is_process_lost(error) else error.details
    return error_output(service, WRAPPER_RAISED.code, message)
