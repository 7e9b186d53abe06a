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

ODD = [SystemExit(3), StopIteration(1), KeyboardInterrupt(), GeneratorExit(), ValueError("x"),
       asyncio.CancelledError(), MemoryError(), RecursionError()]  # fmt: skip


class Sync(Wrapper):
    """Raises what it is given, or waits until it is let go."""

    service = "s"
    number = Integer()
    out = Output("text")

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.made: Any = {"out": b"fine"}
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.let_go.set()

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        self.context = context
        self.begun.set()
        self.let_go.wait(30)
        if self.error is not None:
            raise self.error
        made: Outputs = self.made
        return made


class Async(Sync):
    """The same, in the loop."""

    async def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        return super().once(params, inputs, context)


FRAME = LoaderInput(state=LoaderInput.ONCE, expect=[MetaDesc(name="out")])


def ask(engine: Engine, frame: LoaderInput = FRAME) -> LoaderOutput:
    return asyncio.run(engine.once(frame, gateway="g", timeout=None))


@pytest.mark.parametrize("kind", [Sync, Async])
@pytest.mark.parametrize("error", ODD, ids=lambda error: type(error).__name__)
def test_whatever_a_wrapper_raises_is_10908_and_frees_its_licence(
    kind: type[Sync], error: BaseException
) -> None:
    wrapper, meter = kind(), ConcurrencyLimiter(1, lambda: None)
    engine = Engine(wrapper, meter)
    wrapper.error = error
    assert ask(engine).code == 10908
    assert meter.inflight == 0
    wrapper.error = None
    assert ask(engine).code == 0
    engine.close()


@pytest.mark.parametrize(
    ("error", "errors"),
    [(None, 0), (Refused("no"), 0), (ValueError("x"), 1)],
    ids=itertools.count(),
)
def test_only_what_is_its_own_fault_counts_against_a_loader(
    error: BaseException | None, errors: int
) -> None:
    wrapper, meter = Sync(), ConcurrencyLimiter(1, lambda: None)
    engine = Engine(wrapper, meter)
    wrapper.error = error
    ask(engine)
    assert (meter.served, meter.errors) == (1, errors)
    engine.close()


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (None, 10106),
        ([("out", b"")], 10106),
        ({"other": b""}, 10106),
        ({"out": 5}, 10106),
        ({"out": {"a": float("nan")}}, 10908),
        ({"out": {"a": object()}}, 10908),
        ({5: b""}, 10106),
        ({"out": Data(b"", {"rate": 16000, "on": True})}, 0),  # type: ignore[dict-item]
        ({"out": bytearray(b"x")}, 0),
        ({"out": "x"}, 0),
        ({}, 0),
    ],
    ids=itertools.count(),
)
def test_whatever_a_wrapper_returns_is_an_answer(made: Any, code: int) -> None:
    wrapper, meter = Sync(), ConcurrencyLimiter(1, lambda: None)
    engine = Engine(wrapper, meter)
    wrapper.made = made
    output = ask(engine)
    assert output.code == code
    assert meter.inflight == 0
    engine.close()


def test_attributes_of_data_become_texts() -> None:
    wrapper = Sync()
    wrapper.made = {"out": Data(b"", {"rate": 16000, "on": True})}  # type: ignore[dict-item]
    engine = Engine(wrapper, ConcurrencyLimiter(1, lambda: None))
    assert dict(ask(engine).pl[0].meta.attribute) == {
        "rate": "16000",
        "on": "true",
        "seq": "0",
        "status": "3",
    }
    engine.close()


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (LoaderInput(state=LoaderInput.ONCE, params={"number": "x"}), "'number' cannot be read"),
        (LoaderInput(state=LoaderInput.ONCE, pl=[Payload(meta=MetaDesc(name="a"))]), "'a' is not"),
    ],
    ids=["parameter", "input"],
)
def test_a_frame_that_no_gateway_of_ours_sends_is_10107(frame: LoaderInput, words: str) -> None:
    engine = Engine(Sync(), ConcurrencyLimiter(1, lambda: None))
    output = ask(engine, frame)
    assert output.code == 10107
    assert words in output.err
    engine.close()


def test_words_that_are_no_text_are_mended() -> None:
    wrapper, meter = Sync(), ConcurrencyLimiter(1, lambda: None)
    engine = Engine(wrapper, meter)
    wrapper.error = Refused("\ud800 broken")
    output = ask(engine)
    assert (output.code, output.err) == (10107, "? broken")
    assert meter.inflight == 0
    engine.close()


def test_beyond_total_is_refused_at_once_and_nothing_ran() -> None:
    wrapper, meter = Sync(), ConcurrencyLimiter(1, lambda: None)
    engine = Engine(wrapper, meter)
    wrapper.let_go.clear()

    async def main() -> None:
        first = asyncio.create_task(engine.once(FRAME, gateway="g", timeout=None))
        await asyncio.to_thread(wrapper.begun.wait, 10)
        with pytest.raises(AseError) as caught:
            await engine.once(FRAME, gateway="g", timeout=None)
        assert caught.value.spec is LOADER_FULL
        assert str(caught.value).startswith("10110 ")
        wrapper.let_go.set()
        assert (await first).code == 0

    asyncio.run(main())
    assert (meter.inflight, meter.next_load().rejected) == (0, 1)
    engine.close()


def test_a_cancelled_thread_keeps_its_licence_until_it_returns() -> None:
    wrapper, meter = Sync(), ConcurrencyLimiter(1, lambda: None)
    engine = Engine(wrapper, meter)
    wrapper.let_go.clear()
    freed = threading.Event()
    meter._on_change = lambda: freed.set() if not meter.inflight else None

    async def main() -> None:
        task = asyncio.create_task(engine.once(FRAME, gateway="g", timeout=60.0))
        await asyncio.to_thread(wrapper.begun.wait, 10)
        assert not wrapper.context.cancelled
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert wrapper.context.cancelled
        assert meter.inflight == 1
        wrapper.let_go.set()
        assert await asyncio.to_thread(freed.wait, 10)

    asyncio.run(main())
    assert meter.inflight == 0
    engine.close()


def test_a_passed_deadline_is_cancelled_too() -> None:
    wrapper = Sync()
    engine = Engine(wrapper, ConcurrencyLimiter(1, lambda: None))
    wrapper.let_go.clear()

    async def main() -> None:
        task = asyncio.create_task(engine.once(FRAME, gateway="g", timeout=0.01))
        await asyncio.to_thread(wrapper.begun.wait, 10)
        assert wrapper.context.deadline is not None
        while not wrapper.context.cancelled:
            await asyncio.to_thread(wrapper.begun.wait, 0.001)
        wrapper.let_go.set()
        assert (await task).code == 0

    asyncio.run(main())
    engine.close()


def test_one_that_waited_until_its_deadline_does_not_run() -> None:
    wrapper, meter = Sync(), ConcurrencyLimiter(2, lambda: None, best=1)
    engine = Engine(wrapper, meter)
    assert asyncio.run(engine.once(FRAME, gateway="g", timeout=-1.0)).code == 10102
    assert not wrapper.begun.is_set()
    assert (meter.inflight, meter.next_load().errors) == (0, 0), "that is no fault of the loader"
    engine.close()


def test_of_async_ones_no_more_than_best_run_at_a_time() -> None:
    class Counting(Sync):
        running = most = 0

        async def once(
            self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
        ) -> Outputs:
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0)
            self.running -= 1
            return {"out": b""}

    wrapper, meter = Counting(), ConcurrencyLimiter(20, lambda: None, best=2)
    engine = Engine(wrapper, meter)

    async def main() -> None:
        asked = [engine.once(FRAME, gateway="g", timeout=None) for _ in range(10)]
        assert [output.code for output in await asyncio.gather(*asked)] == [0] * 10

    asyncio.run(main())
    assert (wrapper.most, meter.inflight) == (2, 0)
    engine.close()


def test_beyond_best_they_wait_for_their_turn() -> None:
    wrapper, meter = Sync(), ConcurrencyLimiter(3, lambda: None, best=1)
    engine = Engine(wrapper, meter)
    wrapper.let_go.clear()

    async def main() -> None:
        tasks = [
            asyncio.create_task(engine.once(FRAME, gateway=name, timeout=None)) for name in "abc"
        ]
        await asyncio.to_thread(wrapper.begun.wait, 10)
        load = meter.next_load()
        assert (load.running, load.queued) == (1, 2)
        tasks[2].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[2]
        wrapper.let_go.set()
        assert [(await task).code for task in tasks[:2]] == [0, 0]

    asyncio.run(main())
    assert meter.inflight == 0
    engine.close()
