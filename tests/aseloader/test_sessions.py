# ruff: noqa: N802 (the names are the original's)
"""Sessions at the loader: async, in a thread, by the original's methods; licences and errors."""

import asyncio
import gc
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable
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


class Streams(Wrapper):
    """What all of them declare."""

    service = "streams"
    total = 2
    fail = Integer(0, 9, default=0)
    text = Input("text")
    said = Output("text")


class Thread(Streams):
    """A plain generator; it tells when it was let go."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def session(self, params, inputs):  # type: ignore[no-untyped-def]
        try:
            for told in inputs:
                if params["fail"] == 1:
                    raise Refused("not this")
                if params["fail"] == 2:
                    raise SystemExit("out")
                if params["fail"] == 6:
                    yield None
                yield {"said": told["text"].data.upper()}
        finally:
            self.over.set()


class Async(Streams):
    async def session(self, params, inputs):  # type: ignore[no-untyped-def]
        async for told in inputs:
            if params["fail"] == 1:
                raise Refused("not this")
            if params["fail"] == 2:
                raise SystemExit("out")
            if params["fail"] == 3:
                yield "no mapping"
            if params["fail"] == 5:
                raise asyncio.CancelledError
            yield {"said": told["text"].data.upper()}


@dataclass
class Answer:
    list: Any = None
    error_code: int = 0
    handle: str = ""


@dataclass
class Part:
    key: str
    data: bytes
    status: int = 0


class Original(OriginalWrapper):
    """As one wrote it for the package."""

    service = "streams"
    total = 2
    fail = Integer(0, 9, default=0)
    text = Input("text")
    said = Output("text")

    def __init__(self) -> None:
        self.open: dict[str, list[bytes]] = {}
        self.odd: Any = None
        self.destroyed: list[str] = []

    def wrapperCreate(self, params, sid):  # type: ignore[no-untyped-def]
        if params["fail"] == 4:
            return Answer(error_code=4242)
        self.open["h"] = []
        return "h"

    def wrapperWrite(self, handle: str, req: Request, sid: str) -> int:
        told = req.get("text")
        assert told is not None
        self.open[handle].append(told.data.upper())
        return 0

    def wrapperRead(self, handle: str, sid: str) -> Any:
        ready = self.open[handle]
        if self.odd is not None:
            return self.odd
        return Answer([Part("said", ready.pop(0))]) if ready else None

    def wrapperDestroy(self, handle: str) -> int:
        self.destroyed.append(handle)
        return 0


class Threaded(OriginalWrapper):
    """As the package's own example: another thread works, and is asked until it is done."""

    service = "streams"
    total = 2
    text = Input("text")
    said = Output("text")

    def __init__(self) -> None:
        self.ready: queue.Queue[Answer] = queue.Queue()
        self.statuses: list[int] = []

    def wrapperCreate(self, params, sid, userTag="", persId=0):  # type: ignore[no-untyped-def] # noqa: N803
        return Answer(handle="h")

    def wrapperWrite(self, handle: str, req: Request) -> int:
        told = req.get("text")
        assert told is not None
        assert req.get("nobody") is None
        self.statuses.append(told.status)
        threading.Timer(0.03, self.work, (told,)).start()
        return 0

    def work(self, told: RequestData) -> None:
        part = Part("said", told.data.upper(), told.status)
        self.ready.put(Answer([part] if told.status else [part, part]))

    def wrapperRead(self, handle: str) -> Any:
        try:
            return self.ready.get_nowait()
        except queue.Empty:
            return Answer([Part("said", b"", 1)])

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


class Driven:
    """A wrapper driven by hand."""

    def __init__(self, wrapper: Wrapper) -> None:
        self.wrapper = wrapper
        self._changed = asyncio.Event()
        self.meter = ConcurrencyLimiter(wrapper.total, self._changed.set)
        self.sessions = SessionEngine(wrapper, self.meter, Engine(wrapper, self.meter))

    async def idle(self) -> None:
        """Wait until no licence is held: a thread gives its own back when it has returned."""
        while self.meter.inflight:
            self._changed.clear()
            await self._changed.wait()

    async def outputs(self, *frames: LoaderInput) -> list[LoaderOutput]:
        async def told() -> AsyncIterator[LoaderInput]:
            for one in frames:
                yield one

        answers = self.sessions.serve(told(), gateway="g", timeout=None)
        return [output async for output in answers]


Make = Callable[[], Wrapper]
ALL = [Async, Thread, Original]


@pytest.mark.parametrize("make", ALL)
def test_frame_by_frame(make: Make) -> None:
    async def main() -> None:
        driven = Driven(make())
        told = await driven.outputs(frame(b"a", 0), frame(b"b", 1), frame(b"", 2))
        assert [output.status for output in told] == [0, 1, 1, 2]
        assert [part.data for output in told for part in output.pl] == [b"A", b"B"]
        assert [part.meta.attribute["seq"] for o in told for part in o.pl] == ["1", "2"]
        await driven.idle()
        assert (driven.meter.served, driven.meter.errors) == (1, 0)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("make", "fail", "code", "words"),
    [
        (Async, 1, 10107, "not this"), (Thread, 1, 10107, "not this"),
        (Async, 2, 10908, "SystemExit"), (Thread, 2, 10908, "SystemExit"),
        (Async, 3, 10106, "must yield mappings"), (Thread, 6, 10106, "must yield mappings"),
        (Async, 5, 10908, "CancelledError"), (Original, 4, 4242, "returned 4242"),
    ],
)  # fmt: skip
def test_errors_are_told_inside(make: Make, fail: int, code: int, words: str) -> None:
    async def main() -> None:
        driven = Driven(make())
        last = (await driven.outputs(frame(b"a", 0, fail), frame(b"b", 2)))[-1]
        assert (last.code, last.status) == (code, LoaderOutput.END)
        assert words in last.err
        await driven.idle()
        assert driven.meter.errors == (code != 10107)

    asyncio.run(main())


def test_an_original_whose_own_thread_works_is_asked_until_it_is_done() -> None:
    async def main() -> None:
        wrapper = Threaded()
        driven = Driven(wrapper)
        told = await driven.outputs(frame(b"a", 0), frame(b"b", 1), frame(b"", 2))
        assert [part.data for output in told for part in output.pl] == [b"A", b"A", b"B"]
        assert wrapper.statuses == [0, 1, 2], "the end is written, too"
        await driven.idle()

    asyncio.run(main())


class Both(OriginalWrapper):
    """Two outputs, of which one ends before the other; and it ends badly."""

    service = "streams"
    text = Input("text")
    said = Output("text")
    other = Output("text")

    def __init__(self) -> None:
        self.reads = [
            Answer([Part("said", b"t", 2), Part("other", b"a1", 1)]),
            Answer((Part("other", b"a2", 2),)),
        ]

    def wrapperCreate(self, params: Any) -> str:  # type: ignore[override]
        return "h"

    def wrapperWrite(self, handle: str, req: Request) -> int:  # type: ignore[override]
        return 0

    def wrapperRead(self, handle: str) -> Any:  # type: ignore[override]
        return self.reads.pop(0)

    def wrapperDestroy(self) -> None:  # type: ignore[override]
        raise ValueError("at the end")


def test_an_original_ends_when_its_outputs_have_and_its_end_is_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        one = frame(b"a", 0)
        one.expect.append(MetaDesc(name="other"))
        told = await Driven(Both()).outputs(one, frame(b"b", 2))
        assert [part.data for output in told for part in output.pl] == [b"t", b"a1", b"a2"]
        assert told[-1].code == 0

    asyncio.run(main())
    assert "wrapperDestroy raised" in caplog.text


@pytest.mark.parametrize("odd", [{"said": b"x"}, b"x", Answer("x"), Answer([("said", b"x")]), 1.5])
def test_what_an_original_cannot_return_is_told(odd: Any) -> None:
    async def main() -> None:
        wrapper = Original()
        wrapper.odd = odd
        last = (await Driven(wrapper).outputs(frame(b"a", 0), frame(b"b", 2)))[-1]
        assert last.code == 10106
        assert "wrapperRead must return" in last.err

    asyncio.run(main())


def test_a_payload_ends_a_session_only_where_no_header_says_it() -> None:
    async def main() -> None:
        frames = [frame(b"a", 2), frame(b"b", 3), frame(b"c", 2)]
        for number, one in enumerate(frames):
            one.headers["status"] = "2" if number == 2 else "1"
        told = await Driven(Async()).outputs(*frames)
        assert [part.data for output in told for part in output.pl] == [b"A", b"B", b"C"]

    asyncio.run(main())


@pytest.mark.parametrize("make", [Thread, Original])
def test_nothing_is_said_of_a_thread_that_ends(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        driven = Driven(make())
        for _ in range(50):
            await driven.outputs(frame(b"a", 0), frame(b"b", 2))
            await driven.idle()

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
        gc.collect()
    assert not caplog.records


def test_no_more_than_there_are_licences() -> None:
    async def main() -> None:
        driven = Driven(Async())
        held = [asyncio.Event() for _ in range(2)]

        async def waits(event: asyncio.Event) -> AsyncIterator[LoaderInput]:
            yield frame(b"a", 0)
            await event.wait()

        running = []
        for event in held:
            answers = driven.sessions.serve(waits(event), gateway="g", timeout=None)
            assert (await anext(answers)).status == LoaderOutput.BEGIN
            running.append(answers)
        with pytest.raises(AseError, match="10110"):
            await driven.outputs(frame(b"a", 0))
        for answers in running:
            await answers.aclose()
        assert driven.meter.inflight == 0
        assert len(await driven.outputs(frame(b"a", 2))) == 3

    asyncio.run(main())


class Leaves(Streams):
    """It takes its time to end."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.ended = False

    async def session(self, params, inputs):  # type: ignore[no-untyped-def]
        try:
            async for told in inputs:
                yield {"said": told["text"].data}
        finally:
            await self.may_end.wait()
            self.ended = True


def test_a_licence_is_held_until_the_wrapper_has_ended() -> None:
    async def main() -> None:
        wrapper = Leaves()
        driven = Driven(wrapper)

        async def never() -> AsyncIterator[LoaderInput]:
            yield frame(b"a", 0)
            await asyncio.Event().wait()

        answers = driven.sessions.serve(never(), gateway="g", timeout=None)
        assert [(await anext(answers)).status for _ in range(2)] == [0, 1]
        closing = asyncio.ensure_future(answers.aclose())
        for _ in range(10):
            await asyncio.sleep(0)
        assert driven.meter.inflight == 1
        wrapper.may_end.set()
        await closing
        assert wrapper.ended
        assert driven.meter.inflight == 0

    asyncio.run(main())


def test_sessions_do_not_wait_for_a_turn() -> None:
    """There may be more licences, for requests that do."""

    async def main() -> None:
        wrapper = Async()
        meter = ConcurrencyLimiter(10, lambda: None, best=1)
        sessions = SessionEngine(wrapper, meter, Engine(wrapper, meter))

        async def one() -> AsyncIterator[LoaderInput]:
            yield frame(b"a", 0)
            await asyncio.Event().wait()

        first = sessions.serve(one(), gateway="g", timeout=None)
        assert (await anext(first)).status == LoaderOutput.BEGIN
        with pytest.raises(AseError, match="10110"):
            await anext(sessions.serve(one(), gateway="g", timeout=None))
        await first.aclose()
        again = sessions.serve(one(), gateway="g", timeout=None)
        assert (await anext(again)).status == LoaderOutput.BEGIN
        await again.aclose()

    asyncio.run(main())


class Once(Wrapper):
    service = "streams"
    text = Input("text")
    said = Output("text")

    def __init__(self) -> None:
        self.cancelled = False
        self.began = asyncio.Event()

    async def once(self, params, inputs, context):  # type: ignore[no-untyped-def]
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


def test_an_async_once_ends_with_who_asked_it_by_a_session() -> None:
    async def main() -> None:
        wrapper = Once()
        driven = Driven(wrapper)
        work = asyncio.ensure_future(driven.outputs(frame(b"a", 3)))
        await wrapper.began.wait()
        work.cancel()
        await driven.idle()
        assert wrapper.cancelled

    asyncio.run(main())


def test_a_thread_that_waits_is_let_go_with_its_session() -> None:
    async def main() -> None:
        wrapper = Thread()
        driven = Driven(wrapper)

        async def never() -> AsyncIterator[LoaderInput]:
            yield frame(b"a", 0)
            await asyncio.Event().wait()

        answers = driven.sessions.serve(never(), gateway="g", timeout=None)
        assert (await anext(answers)).status == LoaderOutput.BEGIN
        assert (await anext(answers)).pl[0].data == b"A"
        await answers.aclose()
        await asyncio.to_thread(wrapper.over.wait, 10)
        await driven.idle()

    asyncio.run(main())


def test_the_original_is_destroyed_once_whatever_happens() -> None:
    async def main() -> None:
        wrapper = Original()
        driven = Driven(wrapper)
        await driven.outputs(frame(b"a", 0), frame(b"b", 2))
        assert wrapper.destroyed == ["h"]

    asyncio.run(main())
