"""The engine: licences under every end of a request, and wrappers that raise odd things."""

import asyncio
import itertools
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from aseloader import Context, Data, Integer, Output, Outputs, Refused, Wrapper
from aseloader.engine import Engine
from lb.reporter.limiter import ConcurrencyLimiter
from schemas.model.errors import LOADER_FULL, AseError
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload

RAISED = [SystemExit(3), StopIteration(1), KeyboardInterrupt(), GeneratorExit(), ValueError("x"),
       asyncio.CancelledError(), MemoryError(), RecursionError()]  # fmt: skip


class SyncWrapper(Wrapper):
    """Raises what it is given, or waits until it is let go."""

    service = "s"
    number = Integer()
    out = Output("text")

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.result: Any = {"out": b"fine"}
        self.started, self.release = threading.Event(), threading.Event()
        self.release.set()

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        self.context = context
        self.started.set()
        self.release.wait(30)
        if self.error is not None:
            raise self.error
        outputs: Outputs = self.result
        return outputs


class AsyncWrapper(SyncWrapper):
    """The same, in the loop."""

    async def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        return super().once(params, inputs, context)


FRAME = LoaderInput(state=LoaderInput.ONCE, expect=[MetaDesc(name="out")])


def run_once(engine: Engine, frame: LoaderInput = FRAME) -> LoaderOutput:
    return asyncio.run(engine.once(frame, gateway="g", timeout=None))


@pytest.mark.parametrize("wrapper_class", [SyncWrapper, AsyncWrapper])
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_any_exception_is_10908_and_releases_the_slot(
    wrapper_class: type[SyncWrapper], error: BaseException
) -> None:
    wrapper, limiter = wrapper_class(), ConcurrencyLimiter(1, lambda: None)
    engine = Engine(wrapper, limiter)
    wrapper.error = error
    assert run_once(engine).code == 10908
    assert limiter.inflight == 0
    wrapper.error = None
    assert run_once(engine).code == 0
    engine.close()


@pytest.mark.parametrize(
    ("error", "error_count"),
    [(None, 0), (Refused("no"), 0), (ValueError("x"), 1)],
    ids=itertools.count(),
)
def test_only_loader_errors_are_counted(error: BaseException | None, error_count: int) -> None:
    wrapper, limiter = SyncWrapper(), ConcurrencyLimiter(1, lambda: None)
    engine = Engine(wrapper, limiter)
    wrapper.error = error
    run_once(engine)
    assert (limiter.served, limiter.errors) == (1, error_count)
    engine.close()


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (None, 10106),
        ([("out", b"")], 10106),
        ({"other": b""}, 10106),
        ({"out": 5}, 10106),
        ({"out": {"a": float("nan")}}, 10106),
        ({"out": {"a": object()}}, 10106),
        ({5: b""}, 10106),
        ({"out": Data(b"", {"rate": 16000, "on": True})}, 0),  # type: ignore[dict-item]
        ({"out": bytearray(b"x")}, 0),
        ({"out": "x"}, 0),
        ({}, 0),
    ],
    ids=itertools.count(),
)
def test_any_return_value_gets_an_output(result: Any, code: int) -> None:
    wrapper, limiter = SyncWrapper(), ConcurrencyLimiter(1, lambda: None)
    engine = Engine(wrapper, limiter)
    wrapper.result = result
    output = run_once(engine)
    assert output.code == code
    assert limiter.inflight == 0
    engine.close()


def test_data_attributes_are_sent_as_text() -> None:
    wrapper = SyncWrapper()
    wrapper.result = {"out": Data(b"", {"rate": 16000, "on": True})}  # type: ignore[dict-item]
    engine = Engine(wrapper, ConcurrencyLimiter(1, lambda: None))
    assert dict(run_once(engine).pl[0].meta.attribute) == {
        "rate": "16000",
        "on": "true",
        "seq": "0",
        "status": "3",
    }
    engine.close()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (LoaderInput(state=LoaderInput.ONCE, params={"number": "x"}), "'number' cannot be read"),
        (LoaderInput(state=LoaderInput.ONCE, pl=[Payload(meta=MetaDesc(name="a"))]), "'a' is not"),
    ],
    ids=["parameter", "input"],
)
def test_invalid_frame_is_10107(frame: LoaderInput, message: str) -> None:
    engine = Engine(SyncWrapper(), ConcurrencyLimiter(1, lambda: None))
    output = run_once(engine, frame)
    assert output.code == 10107
    assert message in output.err
    engine.close()


def test_unencodable_error_text_is_replaced() -> None:
    wrapper, limiter = SyncWrapper(), ConcurrencyLimiter(1, lambda: None)
    engine = Engine(wrapper, limiter)
    wrapper.error = Refused("\ud800 broken")
    output = run_once(engine)
    assert (output.code, output.err) == (10107, "? broken")
    assert limiter.inflight == 0
    engine.close()


def test_requests_beyond_total_are_rejected_without_running() -> None:
    wrapper, limiter = SyncWrapper(), ConcurrencyLimiter(1, lambda: None)
    engine = Engine(wrapper, limiter)
    wrapper.release.clear()

    async def main() -> None:
        first = asyncio.create_task(engine.once(FRAME, gateway="g", timeout=None))
        await asyncio.to_thread(wrapper.started.wait, 10)
        with pytest.raises(AseError) as caught:
            await engine.once(FRAME, gateway="g", timeout=None)
        assert caught.value.spec is LOADER_FULL
        assert str(caught.value).startswith("10110 ")
        wrapper.release.set()
        assert (await first).code == 0

    asyncio.run(main())
    assert (limiter.inflight, limiter.next_load().rejected) == (0, 1)
    engine.close()


def test_cancelled_thread_keeps_its_slot_until_it_returns() -> None:
    wrapper, limiter = SyncWrapper(), ConcurrencyLimiter(1, lambda: None)
    engine = Engine(wrapper, limiter)
    wrapper.release.clear()
    freed = threading.Event()
    limiter._on_change = lambda: freed.set() if not limiter.inflight else None

    async def main() -> None:
        task = asyncio.create_task(engine.once(FRAME, gateway="g", timeout=60.0))
        await asyncio.to_thread(wrapper.started.wait, 10)
        assert not wrapper.context.cancelled
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert wrapper.context.cancelled
        assert limiter.inflight == 1
        wrapper.release.set()
        assert await asyncio.to_thread(freed.wait, 10)

    asyncio.run(main())
    assert limiter.inflight == 0
    engine.close()


def test_expired_deadline_cancels_the_context() -> None:
    wrapper = SyncWrapper()
    engine = Engine(wrapper, ConcurrencyLimiter(1, lambda: None))
    wrapper.release.clear()

    async def main() -> None:
        task = asyncio.create_task(engine.once(FRAME, gateway="g", timeout=0.01))
        await asyncio.to_thread(wrapper.started.wait, 10)
        assert wrapper.context.deadline is not None
        while not wrapper.context.cancelled:
            await asyncio.to_thread(wrapper.started.wait, 0.001)
        wrapper.release.set()
        assert (await task).code == 0

    asyncio.run(main())
    engine.close()


def test_request_queued_past_its_deadline_does_not_run() -> None:
    wrapper, limiter = SyncWrapper(), ConcurrencyLimiter(2, lambda: None, best=1)
    engine = Engine(wrapper, limiter)
    assert asyncio.run(engine.once(FRAME, gateway="g", timeout=-1.0)).code == 10102
    assert not wrapper.started.is_set()
    assert (limiter.inflight, limiter.next_load().errors) == (0, 0), (
        "that is no fault of the loader"
    )
    engine.close()


def test_at_most_best_async_requests_run_concurrently() -> None:
    class Counting(SyncWrapper):
        running = peak = 0

        async def once(
            self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
        ) -> Outputs:
            self.running += 1
            self.peak = max(self.peak, self.running)
            await asyncio.sleep(0)
            self.running -= 1
            return {"out": b""}

    wrapper, limiter = Counting(), ConcurrencyLimiter(20, lambda: None, best=2)
    engine = Engine(wrapper, limiter)

    async def main() -> None:
        requests = [engine.once(FRAME, gateway="g", timeout=None) for _ in range(10)]
        assert [output.code for output in await asyncio.gather(*requests)] == [0] * 10

    asyncio.run(main())
    assert (wrapper.peak, limiter.inflight) == (2, 0)
    engine.close()


def test_requests_beyond_best_are_queued() -> None:
    wrapper, limiter = SyncWrapper(), ConcurrencyLimiter(3, lambda: None, best=1)
    engine = Engine(wrapper, limiter)
    wrapper.release.clear()

    async def main() -> None:
        tasks = [
            asyncio.create_task(engine.once(FRAME, gateway=name, timeout=None)) for name in "abc"
        ]
        await asyncio.to_thread(wrapper.started.wait, 10)
        load = limiter.next_load()
        assert (load.running, load.queued) == (1, 2)
        tasks[2].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[2]
        wrapper.release.set()
        assert [(await task).code for task in tasks[:2]] == [0, 0]

    asyncio.run(main())
    assert limiter.inflight == 0
    engine.close()
