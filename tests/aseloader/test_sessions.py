# ruff: noqa: N802 (the names are the original's)
"""Sessions at the loader: async, in a thread, by the original's methods; licences and errors."""

import asyncio
import gc
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from aseloader import Input, Integer, Output, Refused, Wrapper
from aseloader.engine import Engine
from aseloader.original import OriginalWrapper, Request, RequestData
from aseloader.sessions import SessionEngine
from lb.reporter.limiter import ConcurrencyLimiter
from schemas.model.errors import AseError
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload
from tests.wrappers.tokens import Tokens


class StreamingWrapper(Wrapper):
    """What all of them declare."""

    service = "streams"
    total = 2
    fail = Integer(0, 9, default=0)
    text = Input("text")
    said = Output("text")


class ThreadWrapper(StreamingWrapper):
    """A plain generator; it tells when it was let go."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def session(self, params, inputs):  # type: ignore[no-untyped-def]
        try:
            for frame_inputs in inputs:
                if params["fail"] == 1:
                    raise Refused("not this")
                if params["fail"] == 2:
                    raise SystemExit("out")
                if params["fail"] == 6:
                    yield None
                yield {"said": frame_inputs["text"].data.upper()}
        finally:
            self.closed.set()


class AsyncWrapper(StreamingWrapper):
    async def session(self, params, inputs):  # type: ignore[no-untyped-def]
        async for frame_inputs in inputs:
            if params["fail"] == 1:
                raise Refused("not this")
            if params["fail"] == 2:
                raise SystemExit("out")
            if params["fail"] == 3:
                yield "no mapping"
            if params["fail"] == 5:
                raise asyncio.CancelledError
            yield {"said": frame_inputs["text"].data.upper()}


@dataclass
class OriginalResponse:
    list: Any = None
    error_code: int = 0
    handle: str = ""


@dataclass
class ResponseData:
    key: str
    data: bytes
    status: int = 0


class EchoOriginal(OriginalWrapper):
    """As one wrote it for the package."""

    service = "streams"
    total = 2
    fail = Integer(0, 9, default=0)
    text = Input("text")
    said = Output("text")

    def __init__(self) -> None:
        self.results: dict[str, list[bytes]] = {}
        self.forced_result: Any = None
        self.destroyed: list[str] = []

    def wrapperCreate(self, params, sid):  # type: ignore[no-untyped-def]
        if params["fail"] == 4:
            return OriginalResponse(error_code=4242)
        self.results["h"] = []
        return "h"

    def wrapperWrite(self, handle: str, req: Request, sid: str) -> int:
        data = req.get("text")
        assert data is not None
        self.results[handle].append(data.data.upper())
        return 0

    def wrapperRead(self, handle: str, sid: str) -> Any:
        ready = self.results[handle]
        if self.forced_result is not None:
            return self.forced_result
        return OriginalResponse([ResponseData("said", ready.pop(0))]) if ready else None

    def wrapperDestroy(self, handle: str) -> int:
        self.destroyed.append(handle)
        return 0


class ThreadedOriginal(OriginalWrapper):
    """As the package's own example: another thread works, and is asked until it is done."""

    service = "streams"
    total = 2
    text = Input("text")
    said = Output("text")

    def __init__(self) -> None:
        self.results: queue.Queue[OriginalResponse] = queue.Queue()
        self.statuses: list[int] = []
        self.worker = ThreadPoolExecutor(1)
        self.polled_in_vain = threading.Event()

    def wrapperCreate(self, params, sid, userTag="", persId=0):  # type: ignore[no-untyped-def] # noqa: N803
        return OriginalResponse(handle="h")

    def wrapperWrite(self, handle: str, req: Request) -> int:
        data = req.get("text")
        assert data is not None
        assert req.get("nobody") is None
        self.statuses.append(data.status)
        self.worker.submit(self.produce_result, data)
        return 0

    def produce_result(self, data: RequestData) -> None:
        self.polled_in_vain.wait(30)
        part = ResponseData("said", data.data.upper(), data.status)
        self.results.put(OriginalResponse([part] if data.status else [part, part]))

    def wrapperRead(self, handle: str) -> Any:
        try:
            return self.results.get_nowait()
        except queue.Empty:
            self.polled_in_vain.set()
            return OriginalResponse([ResponseData("said", b"", 1)])

    def wrapperDestroy(self, handle: str) -> int:
        return 0


def frame(text: bytes, status: int, fail: int = 0, service: str = "streams") -> LoaderInput:
    meta = MetaDesc(name="text", attribute={"status": str(status)})
    return LoaderInput(
        serviceId=service,
        params={"fail": str(fail)},
        expect=[MetaDesc(name="said")],
        pl=[Payload(meta=meta, data=text)],
    )


class SessionHarness:
    """A wrapper driven by hand."""

    def __init__(self, wrapper: Wrapper) -> None:
        self.wrapper = wrapper
        self._changed = asyncio.Event()
        self.limiter = ConcurrencyLimiter(wrapper.total, self._changed.set)
        self.sessions = SessionEngine(wrapper, self.limiter, Engine(wrapper, self.limiter))

    async def idle(self) -> None:
        """Wait until no licence is held: a thread gives its own back when it has returned."""
        while self.limiter.inflight:
            self._changed.clear()
            await self._changed.wait()

    async def outputs(self, *frames: LoaderInput) -> list[LoaderOutput]:
        async def frame_stream() -> AsyncIterator[LoaderInput]:
            for input_frame in frames:
                yield input_frame

        answers = self.sessions.serve(frame_stream(), gateway="g", timeout=None)
        return [output async for output in answers]


WrapperFactory = Callable[[], Wrapper]
WRAPPER_CLASSES = [AsyncWrapper, ThreadWrapper, EchoOriginal]


@pytest.mark.parametrize("make_wrapper", WRAPPER_CLASSES)
def test_each_frame_gets_a_result(make_wrapper: WrapperFactory) -> None:
    async def main() -> None:
        harness = SessionHarness(make_wrapper())
        outputs = await harness.outputs(frame(b"a", 0), frame(b"b", 1), frame(b"", 2))
        assert [output.status for output in outputs] == [0, 1, 1, 2]
        assert [part.data for output in outputs for part in output.pl] == [b"A", b"B"]
        assert [part.meta.attribute["seq"] for o in outputs for part in o.pl] == ["1", "2"]
        await harness.idle()
        assert (harness.limiter.served, harness.limiter.errors) == (1, 0)

    asyncio.run(main())


def test_usage_is_sent_with_the_results_that_used_it() -> None:
    """What a client that leaves has used is known before the session ends."""

    async def main() -> None:
        frames = [frame(b"four", status, service="tokens") for status in (0, 1, 2)]
        outputs = await SessionHarness(Tokens()).outputs(*frames)
        units = [output.units["tokens"] for output in outputs]
        assert sum(units) == 3 * 4 + 1
        assert units[1] >= 4

    asyncio.run(main())


@pytest.mark.parametrize(
    ("make_wrapper", "fail", "code", "message"),
    [
        (AsyncWrapper, 1, 10107, "not this"), (ThreadWrapper, 1, 10107, "not this"),
        (AsyncWrapper, 2, 10908, "SystemExit"), (ThreadWrapper, 2, 10908, "SystemExit"),
        (AsyncWrapper, 3, 10106, "must yield mappings"),
        (ThreadWrapper, 6, 10106, "must yield mappings"),
        (AsyncWrapper, 5, 10908, "CancelledError"), (EchoOriginal, 4, 4242, "returned 4242"),
    ],
)  # fmt: skip
def test_errors_are_reported_in_the_last_output(
    make_wrapper: WrapperFactory, fail: int, code: int, message: str
) -> None:
    async def main() -> None:
        harness = SessionHarness(make_wrapper())
        last = (await harness.outputs(frame(b"a", 0, fail), frame(b"b", 2)))[-1]
        assert (last.code, last.status) == (code, LoaderOutput.END)
        assert message in last.err
        await harness.idle()
        assert harness.limiter.errors == (code != 10107)

    asyncio.run(main())


def test_threaded_original_is_polled_until_done() -> None:
    async def main() -> None:
        wrapper = ThreadedOriginal()
        harness = SessionHarness(wrapper)
        outputs = await harness.outputs(frame(b"a", 0), frame(b"b", 1), frame(b"", 2))
        assert [part.data for output in outputs for part in output.pl] == [b"A", b"A", b"B"]
        assert wrapper.statuses == [0, 1, 2], "the end is written, too"
        await harness.idle()

    asyncio.run(main())


class TwoOutputOriginal(OriginalWrapper):
    """Two outputs, of which one ends before the other; and it ends badly."""

    service = "streams"
    text = Input("text")
    said = Output("text")
    other = Output("text")

    def __init__(self) -> None:
        self.reads = [
            OriginalResponse([ResponseData("said", b"t", 2), ResponseData("other", b"a1", 1)]),
            OriginalResponse((ResponseData("other", b"a2", 2),)),
        ]

    def wrapperCreate(self, params: Any) -> str:  # type: ignore[override]
        return "h"

    def wrapperWrite(self, handle: str, req: Request) -> int:  # type: ignore[override]
        return 0

    def wrapperRead(self, handle: str) -> Any:  # type: ignore[override]
        return self.reads.pop(0)

    def wrapperDestroy(self) -> None:  # type: ignore[override]
        raise ValueError("at the end")


def test_original_ends_with_its_outputs_and_destroy_errors_are_only_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        first = frame(b"a", 0)
        first.expect.append(MetaDesc(name="other"))
        outputs = await SessionHarness(TwoOutputOriginal()).outputs(first, frame(b"b", 2))
        assert [part.data for output in outputs for part in output.pl] == [b"t", b"a1", b"a2"]
        assert outputs[-1].code == 0

    asyncio.run(main())
    assert "wrapperDestroy raised" in caplog.text


@pytest.mark.parametrize(
    "result", [{"said": b"x"}, b"x", OriginalResponse("x"), OriginalResponse([("said", b"x")]), 1.5]
)
def test_invalid_wrapper_read_result_is_10106(result: Any) -> None:
    async def main() -> None:
        wrapper = EchoOriginal()
        wrapper.forced_result = result
        last = (await SessionHarness(wrapper).outputs(frame(b"a", 0), frame(b"b", 2)))[-1]
        assert last.code == 10106
        assert "wrapperRead must return" in last.err

    asyncio.run(main())


def test_header_status_overrides_payload_status() -> None:
    async def main() -> None:
        frames = [frame(b"a", 2), frame(b"b", 3), frame(b"c", 2)]
        for number, request in enumerate(frames):
            request.headers["status"] = "2" if number == 2 else "1"
        outputs = await SessionHarness(AsyncWrapper()).outputs(*frames)
        assert [part.data for output in outputs for part in output.pl] == [b"A", b"B", b"C"]

    asyncio.run(main())


@pytest.mark.parametrize("make_wrapper", [ThreadWrapper, EchoOriginal])
def test_ended_thread_logs_no_errors(
    make_wrapper: WrapperFactory, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        harness = SessionHarness(make_wrapper())
        for _ in range(50):
            await harness.outputs(frame(b"a", 0), frame(b"b", 2))
            await harness.idle()

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
        gc.collect()
    assert not caplog.records


def test_sessions_beyond_total_are_rejected() -> None:
    async def main() -> None:
        harness = SessionHarness(AsyncWrapper())
        finish_events = [asyncio.Event() for _ in range(2)]

        async def frame_then_wait(event: asyncio.Event) -> AsyncIterator[LoaderInput]:
            yield frame(b"a", 0)
            await event.wait()

        open_sessions = []
        for event in finish_events:
            answers = harness.sessions.serve(frame_then_wait(event), gateway="g", timeout=None)
            assert (await anext(answers)).status == LoaderOutput.BEGIN
            open_sessions.append(answers)
        with pytest.raises(AseError, match="10110"):
            await harness.outputs(frame(b"a", 0))
        for answers in open_sessions:
            await answers.aclose()
        assert harness.limiter.inflight == 0
        assert len(await harness.outputs(frame(b"a", 2))) == 3

    asyncio.run(main())


class SlowToEnd(StreamingWrapper):
    """It takes its time to end."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.ended = False

    async def session(self, params, inputs):  # type: ignore[no-untyped-def]
        try:
            async for frame_inputs in inputs:
                yield {"said": frame_inputs["text"].data}
        finally:
            await self.may_end.wait()
            self.ended = True


def test_slot_is_held_until_the_wrapper_has_ended() -> None:
    async def main() -> None:
        wrapper = SlowToEnd()
        harness = SessionHarness(wrapper)

        async def open_ended_frames() -> AsyncIterator[LoaderInput]:
            yield frame(b"a", 0)
            await asyncio.Event().wait()

        outputs = harness.sessions.serve(open_ended_frames(), gateway="g", timeout=None)
        assert [(await anext(outputs)).status for _ in range(2)] == [0, 1]
        closing = asyncio.ensure_future(outputs.aclose())
        for _ in range(10):
            await asyncio.sleep(0)
        assert harness.limiter.inflight == 1
        wrapper.may_end.set()
        await closing
        assert wrapper.ended
        assert harness.limiter.inflight == 0

    asyncio.run(main())


def test_sessions_are_not_queued() -> None:
    """There may be more licences, for requests that do."""

    async def main() -> None:
        wrapper = AsyncWrapper()
        limiter = ConcurrencyLimiter(10, lambda: None, best=1)
        sessions = SessionEngine(wrapper, limiter, Engine(wrapper, limiter))

        async def open_ended_frames() -> AsyncIterator[LoaderInput]:
            yield frame(b"a", 0)
            await asyncio.Event().wait()

        first = sessions.serve(open_ended_frames(), gateway="g", timeout=None)
        assert (await anext(first)).status == LoaderOutput.BEGIN
        with pytest.raises(AseError, match="10110"):
            await anext(sessions.serve(open_ended_frames(), gateway="g", timeout=None))
        await first.aclose()
        second = sessions.serve(open_ended_frames(), gateway="g", timeout=None)
        assert (await anext(second)).status == LoaderOutput.BEGIN
        await second.aclose()

    asyncio.run(main())


class UnaryWrapper(Wrapper):
    service = "streams"
    text = Input("text")
    said = Output("text")

    def __init__(self) -> None:
        self.cancelled = False
        self.started = asyncio.Event()

    async def once(self, params, inputs, context):  # type: ignore[no-untyped-def]
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


def test_async_once_is_cancelled_with_its_session() -> None:
    async def main() -> None:
        wrapper = UnaryWrapper()
        harness = SessionHarness(wrapper)
        task = asyncio.ensure_future(harness.outputs(frame(b"a", 3)))
        await wrapper.started.wait()
        task.cancel()
        await harness.idle()
        assert wrapper.cancelled

    asyncio.run(main())


def test_waiting_thread_is_released_with_its_session() -> None:
    async def main() -> None:
        wrapper = ThreadWrapper()
        harness = SessionHarness(wrapper)

        async def open_ended_frames() -> AsyncIterator[LoaderInput]:
            yield frame(b"a", 0)
            await asyncio.Event().wait()

        outputs = harness.sessions.serve(open_ended_frames(), gateway="g", timeout=None)
        assert (await anext(outputs)).status == LoaderOutput.BEGIN
        assert (await anext(outputs)).pl[0].data == b"A"
        await outputs.aclose()
        await asyncio.to_thread(wrapper.closed.wait, 10)
        await harness.idle()

    asyncio.run(main())


def test_original_is_destroyed_exactly_once() -> None:
    async def main() -> None:
        wrapper = EchoOriginal()
        harness = SessionHarness(wrapper)
        await harness.outputs(frame(b"a", 0), frame(b"b", 2))
        assert wrapper.destroyed == ["h"]

    asyncio.run(main())
