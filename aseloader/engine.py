"""One request at the loader: a licence, the wrapper's work, the answer's frame."""

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aseloader.codec import Codec, failed
from aseloader.wrapper import Context, Data, Outputs, Refused, Wrapper
from lb.meter import ConcurrencyLimiter
from schemas.errors import (
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
from schemas.wire import LoaderInput, LoaderOutput

_logger = logging.getLogger("ase.loader")


def is_failure(code: int) -> bool:
    """Return whether an answer's code says something against this loader.

    Good ones do not, nor does what the caller has to mend, nor that nobody waited any more.
    """
    return (
        code not in (0, ONCE_TIMEOUT.code)
        and loader_error_spec(code).source is not ErrorSource.CALLER
    )


class Engine:
    """Drives a wrapper: at most `meter.best` requests at a time, others wait for their turn.

    A sync `once` runs in a thread; its licence is taken until the thread has returned, even when
    the caller has gone. An async one runs in the loop and is cancelled with its caller. `turns` are
    for who works, sessions among them.
    """

    def __init__(self, wrapper: Wrapper, meter: ConcurrencyLimiter) -> None:
        self._wrapper = wrapper
        self._meter = meter
        self._codec = Codec(type(wrapper))
        self._is_async = inspect.iscoroutinefunction(wrapper.once)
        self._threads = ThreadPoolExecutor(meter.best, thread_name_prefix="once")
        self.turns = asyncio.Semaphore(meter.best)

    async def answer(self, frame: LoaderInput, context: Context) -> LoaderOutput:
        """Return the answer to a frame when its turn has come, the caller holding a licence."""
        return await self._worked(frame, context, _Turn())

    async def once(
        self, frame: LoaderInput, *, gateway: str, seconds: float | None
    ) -> LoaderOutput:
        """Return the answer to a frame; faults are told inside it.

        `gateway` names the sender, `seconds` are left until its deadline. Raises AseError 10110
        when all licences are taken; nothing ran then.
        """
        if not self._meter.try_acquire(gateway):
            raise AseError(LOADER_FULL, f"{LOADER_FULL.code} all licences are taken")
        began = time.monotonic()
        gone = threading.Event()
        deadline = None if seconds is None else began + seconds
        context = Context(dict(frame.headers), deadline, lambda: gone.is_set() or _late(deadline))
        turn = _Turn()
        work = asyncio.ensure_future(self._worked(frame, context, turn))
        work.add_done_callback(lambda done: self._free(done, gateway, turn))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            gone.set()
            self.let_go(work)
            raise

    def let_go(self, work: "asyncio.Future[LoaderOutput]") -> None:
        """Take in that nobody waits for an answer: an async wrapper is cancelled, a thread runs."""
        if self._is_async:
            work.cancel()

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _free(self, done: "asyncio.Future[LoaderOutput]", gateway: str, turn: "_Turn") -> None:
        code = _code(done)
        self._meter.release(gateway, turn.ms, succeeded=code == 0, failed=is_failure(code))

    async def _worked(self, frame: LoaderInput, context: Context, turn: "_Turn") -> LoaderOutput:
        """Answer a frame when its turn has come; `turn` tells how long the work took."""
        async with self.turns:
            if context.cancelled:  # nobody waits for it any more
                return failed(frame.serviceId, ONCE_TIMEOUT.code, "it waited until its deadline")
            began = time.monotonic()
            try:
                return await self._answered(frame, context)
            finally:
                turn.ms = (time.monotonic() - began) * 1000

    async def _answered(self, frame: LoaderInput, context: Context) -> LoaderOutput:
        try:
            if type(self._wrapper).once is Wrapper.once:
                raise AseError(BAD_MODE, BAD_MODE.message)
            params, inputs = self._read(frame)
            outputs = await self._run(params, inputs, context)
            expected = {told.name: told for told in frame.expect}
            payloads = self._codec.payloads(outputs, expected, 0, LoaderOutput.ONCE)
            return LoaderOutput(serviceId=frame.serviceId, status=LoaderOutput.ONCE, pl=payloads)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001
            return failure(error, frame.serviceId, context.sid)

    async def _run(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        if self._is_async:
            made, error = await self._awaited(params, inputs, context)
        else:
            loop = asyncio.get_running_loop()
            made, error = await loop.run_in_executor(
                self._threads, self._called, params, inputs, context
            )
        if isinstance(error, Exception):
            raise error
        if error is not None:
            raise RuntimeError(f"once raised {type(error).__name__}") from error
        if not isinstance(made, Mapping):
            raise AseError(BAD_OUTPUT, "once must return a mapping of outputs by name")
        return made

    # What a wrapper raises comes back as a value: SystemExit would end the loop, StopIteration
    # would be lost in a future, and the licence with it.

    def _called(self, *arguments: Any) -> tuple[Any, BaseException | None]:
        try:
            return self._wrapper.once(*arguments), None
        except BaseException as error:  # noqa: BLE001
            return None, error

    async def _awaited(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> tuple[Any, BaseException | None]:
        try:
            return await self._wrapper.once(params, inputs, context), None  # type: ignore[misc]
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and context.cancelled:
                raise
            return None, error

    def _read(self, frame: LoaderInput) -> tuple[dict[str, Any], dict[str, Data]]:
        params, inputs = self._codec.params(frame), self._codec.inputs(frame)
        self._codec.check(inputs)
        return params, inputs


def failure(error: BaseException, service: str, sid: str) -> LoaderOutput:
    """Return the answer that tells what a wrapper raised; what it did not mean to is logged."""
    if isinstance(error, Refused):
        return failed(service, INPUT_REFUSED.code, _said(error) or INPUT_REFUSED.message)
    if isinstance(error, AseError):
        if error.spec is BAD_OUTPUT:  # its author has to mend it
            _logger.error("wrapper output invalid", extra={"sid": sid, "reason": str(error)})
        return failed(service, error.spec.code, str(error))
    _logger.error("wrapper raised", extra={"sid": sid}, exc_info=error)
    return failed(service, WRAPPER_RAISED.code, f"wrapper raised {type(error).__name__}")


class _Turn:
    """How long the work on a request took, in milliseconds; 0: it never began."""

    ms = 0.0


def _said(error: Refused) -> str:
    """Return the words of a refusal, cut; none when they cannot be had."""
    try:
        return str(error)[:2048]
    except Exception:  # noqa: BLE001 (an argument of the wrapper's own kind)
        return ""


def _late(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() > deadline


def _code(done: "asyncio.Future[LoaderOutput]") -> int:
    if done.cancelled():
        return ONCE_TIMEOUT.code
    return WRAPPER_RAISED.code if done.exception() is not None else done.result().code
