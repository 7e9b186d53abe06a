"""Batches of real wrappers: who shares one, what fails alone, who leaves before it begins."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from aseloader import Context, Data, Input, Integer, Output, Refused, Wrapper
from aseloader.batching.batcher import BatchRecord
from aseloader.engine import Engine, slot_count
from aseloader.testing import LoaderError, LoaderFor
from lb.reporter.limiter import ConcurrencyLimiter
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload

Lists = Sequence[Mapping[str, Any]]


class Upper(Wrapper):
    """Answers in capitals, and keeps the size of each batch."""

    service = "upper"
    max_batch = 4
    batch_by = ("width",)
    width = Integer(default=1)
    text = Input("text", required=False)
    out = Output("text")

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.started, self.release = threading.Event(), threading.Event()
        self.release.set()

    def batch(self, params: Lists, inputs: Lists, contexts: Sequence[Context]) -> list[Any]:
        assert len(params) == len(inputs) == len(contexts)
        texts = [request["text"].data for request in inputs]
        self.batches.append(texts)
        self.started.set()
        self.release.wait(30)
        return [self.answer(text, p["width"]) for text, p in zip(texts, params, strict=True)]

    def answer(self, text: bytes, width: int) -> Any:
        if text == b"refused":
            return Refused("not this one")
        if text == b"raises":
            raise ValueError("bad input")
        return {"out": text.upper() * width}


class AsyncUpper(Upper):
    """The same, in the loop."""

    async def batch(  # type: ignore[override]
        self, params: Lists, inputs: Lists, contexts: Sequence[Context]
    ) -> list[Any]:
        await asyncio.sleep(0)
        return super().batch(params, inputs, contexts)


def request(text: bytes, **params: int) -> tuple[dict[str, int], dict[str, bytes]]:
    return params, {"text": text}


def texts_of(results: list[dict[str, Data] | LoaderError]) -> list[Any]:
    return [r.code if isinstance(r, LoaderError) else r["out"].data for r in results]


@pytest.mark.parametrize("wrapper_class", [Upper, AsyncUpper])
def test_requests_that_arrive_together_share_batches(wrapper_class: type[Upper]) -> None:
    wrapper = wrapper_class()
    texts = [b"a", b"b", b"c", b"d", b"e", b"f"]
    with LoaderFor(wrapper) as call:
        results = call.batch([request(text) for text in texts])
        assert call({}, {"text": b"alone"})["out"].data == b"ALONE"
    assert texts_of(results) == [b"A", b"B", b"C", b"D", b"E", b"F"]
    assert wrapper.batches == [texts[:4], texts[4:], [b"alone"]]


def test_requests_of_a_batch_agree_in_batch_by() -> None:
    wrapper = Upper()
    with LoaderFor(wrapper) as call:
        results = call.batch([request(b"abcd"[n : n + 1], width=1 + n % 2) for n in range(4)])
    assert texts_of(results) == [b"A", b"BB", b"C", b"DD"]
    assert wrapper.batches == [[b"a", b"c"], [b"b", b"d"]]


@pytest.mark.parametrize("wrapper_class", [Upper, AsyncUpper])
def test_a_bad_input_fails_only_its_own_request(
    wrapper_class: type[Upper], caplog: pytest.LogCaptureFixture
) -> None:
    wrapper = wrapper_class()
    with LoaderFor(wrapper) as call, caplog.at_level(logging.WARNING):
        results = call.batch(map(request, (b"a", b"refused", b"c")))
        assert texts_of(results) == [b"A", 10107, b"C"]
        assert len(wrapper.batches) == 1, "a returned exception costs no second call"
        assert not caplog.records
        results = call.batch(map(request, (b"a", b"raises", b"c")))
        assert texts_of(results) == [b"A", 10908, b"C"]
    assert wrapper.batches[1:] == [[b"a", b"raises", b"c"], [b"a"], [b"raises"], [b"c"]]
    messages = [record.message for record in caplog.records]
    assert messages == ["batch raised; each request runs alone", "wrapper raised"]


def test_a_request_that_breaks_the_schema_is_in_no_batch() -> None:
    wrapper = Upper()
    with LoaderFor(wrapper) as call:
        results = call.batch([request(b"a"), ({"width": "wide"}, {"text": b"b"})])
    assert texts_of(results) == [b"A", 10163]
    assert wrapper.batches == [[b"a"]]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ([], "batch must return a list with an item per request: 1, not 0 items"),
        ({"out": b""}, "batch must return a list with an item per request: 1, not dict"),
        ([b"x"], "the wrapper must return a mapping of outputs by name, not bytes"),
    ],
    ids=range(3),
)
def test_a_wrong_result_names_what_is_wrong(result: Any, message: str) -> None:
    class Wrong(Upper):
        def batch(self, params: Lists, inputs: Lists) -> Any:  # type: ignore[override]
            return result

    with LoaderFor(Wrong()) as call, pytest.raises(LoaderError, match=message) as caught:
        call({}, {"text": b"a"})
    assert caught.value.code == 10106


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration(1), asyncio.CancelledError()])
@pytest.mark.parametrize("wrapper_class", [Upper, AsyncUpper])
def test_any_exception_is_10908(wrapper_class: type[Upper], error: BaseException) -> None:
    wrapper = wrapper_class()

    def answer(text: bytes, width: int) -> Any:
        raise error

    wrapper.answer = answer  # type: ignore[method-assign]
    with LoaderFor(wrapper) as call:
        assert texts_of(call.batch([request(b"a"), request(b"b")])) == [10908, 10908]


class Running:
    """An engine of `Upper` in this event loop."""

    def __init__(self, wrapper: Upper, best: int = 0) -> None:
        self.records: list[BatchRecord] = []
        slots = best or slot_count(type(wrapper))
        self.limiter = ConcurrencyLimiter(3 * slots, lambda: None, best=slots)
        self.engine = Engine(wrapper, self.limiter, on_batch=self.records.append)

    def start(self, text: bytes, timeout: float | None = None) -> "asyncio.Task[LoaderOutput]":
        frame = LoaderInput(state=LoaderInput.ONCE, expect=[MetaDesc(name="out")])
        frame.pl.append(Payload(meta=MetaDesc(name="text"), data=text))
        return asyncio.create_task(self.engine.once(frame, gateway="g", timeout=timeout))


async def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (a thread changes it)
        await asyncio.sleep(0)


async def wait_for(event: threading.Event) -> None:
    await asyncio.get_running_loop().run_in_executor(None, event.wait, 30)


def test_a_cancelled_or_late_request_leaves_a_batch_that_has_not_begun() -> None:
    wrapper = Upper()
    wrapper.release.clear()

    async def check() -> None:
        running = Running(wrapper)
        first = running.start(b"first")
        await wait_for(wrapper.started)
        cancelled, late = running.start(b"cancelled"), running.start(b"late", timeout=0.01)
        expires_at = time.monotonic() + 0.02
        kept = running.start(b"kept")
        await asyncio.sleep(0)
        assert running.limiter.inflight == 4
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert running.limiter.inflight == 3, "its permit is free"
        await wait_until(lambda: time.monotonic() > expires_at)
        wrapper.release.set()
        assert [task.code for task in await asyncio.gather(first, kept, late)] == [0, 0, 10102]
        assert running.limiter.inflight == 0
        running.engine.close()

    asyncio.run(check())
    assert wrapper.batches == [[b"first"], [b"kept"]]


def test_permit_is_held_until_the_batch_ends() -> None:
    wrapper = Upper()
    wrapper.release.clear()

    async def check() -> None:
        running = Running(wrapper)
        task = running.start(b"a")
        await wait_for(wrapper.started)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert running.limiter.inflight == 1
        wrapper.release.set()
        await wait_until(lambda: not running.limiter.inflight)
        running.engine.close()

    asyncio.run(check())


def test_total_batches_run_at_a_time_and_their_figures_are_recorded() -> None:
    class Two(Upper):
        total = 2

    wrapper = Two()
    wrapper.release.clear()

    async def check() -> None:
        running = Running(wrapper)
        tasks = [running.start(bytes([65 + n])) for n in range(10)]
        await wait_until(lambda: len(wrapper.batches) == 2)
        assert [len(batch) for batch in wrapper.batches] == [4, 4]
        wrapper.release.set()
        assert {output.code for output in await asyncio.gather(*tasks)} == {0}
        assert sorted(record.size for record in running.records) == [2, 4, 4]
        for record in running.records:
            assert len(record.waits_s) == record.size
            assert min(record.waits_s) >= 0 < record.seconds
        running.engine.close()

    asyncio.run(check())


def test_the_curve_reaches_the_load_report() -> None:
    wrapper = Upper()

    async def check() -> None:
        running = Running(wrapper)
        for n in range(30):
            await asyncio.gather(*(running.start(b"x") for _ in range(1 + n % 4)))
        load = running.limiter.next_load()
        assert load.batch_base_ms + load.batch_item_ms > 0
        running.engine.close()

    asyncio.run(check())


class UnprintableError(Exception):
    """An exception whose own code raises."""

    def __repr__(self) -> str:
        raise ValueError("no repr")

    __str__ = __repr__


@pytest.mark.parametrize("wrapper_class", [Upper, AsyncUpper])
def test_an_exception_that_cannot_be_printed_ends_nothing(wrapper_class: type[Upper]) -> None:
    wrapper = wrapper_class()

    def answer(text: bytes, width: int) -> Any:
        if text == b"bad":
            raise UnprintableError
        return {"out": text}

    wrapper.answer = answer  # type: ignore[method-assign]
    with LoaderFor(wrapper) as call:
        assert texts_of(call.batch([request(b"bad"), request(b"good")])) == [10908, b"good"]
        assert texts_of(call.batch([request(b"again")])) == [b"again"]


def test_an_output_that_cannot_be_encoded_fails_alone_without_a_repetition() -> None:
    wrapper = Upper()
    wrapper.answer = lambda text, _: {"out": Data("text")} if text == b"bad" else {"out": text}  # type: ignore[method-assign,arg-type]
    with LoaderFor(wrapper) as call:
        results = call.batch([request(b"bad"), request(b"good")])
    assert texts_of(results) == [10908, b"good"]
    assert len(wrapper.batches) == 1


def test_a_repetition_skips_requests_whose_callers_have_gone() -> None:
    wrapper = Upper()
    wrapper.release.clear()

    async def check() -> None:
        running = Running(wrapper)
        tasks = [running.start(text) for text in (b"raises", b"gone", b"stays")]
        await wait_for(wrapper.started)
        tasks[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        wrapper.release.set()
        assert [task.code for task in await asyncio.gather(tasks[0], tasks[2])] == [10908, 0]
        running.engine.close()

    asyncio.run(check())
    assert wrapper.batches == [[b"raises", b"gone", b"stays"], [b"raises"], [b"stays"]]
