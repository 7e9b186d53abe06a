"""A session over xsf: both outstanding calls are replied to in any order, and nothing is lost."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, cast

import pytest

from atom.xsf_streams import XsfStream
from rpc.calls import UnaryCall
from rpc.status import RpcError, Status
from schemas.wire import LoaderOutput, MetaDesc, Payload, ReqData, ResData, XsfData
from tests.inprocess import VirtualLoop

END, CONTINUE = LoaderOutput.END, LoaderOutput.CONTINUE
BEGIN = LoaderOutput.BEGIN


class ScriptedCall:
    """A call that the test replies to."""

    def __init__(self, request: bytes, on_done: Callable[[UnaryCall], None]) -> None:
        self.op = ReqData.FromString(request).op
        self.call = UnaryCall(b"", 1 << 20, None, lambda _: None, on_done, request)
        self._on_done = on_done

    def reply(self, output: LoaderOutput | None, code: int = 0) -> None:
        data = [] if output is None else [XsfData(data=output.SerializeToString())]
        self.call.response = ResData(code=code, data=data).SerializeToString()
        self._on_done(self.call)

    def fail(self) -> None:
        self.call.error = RpcError(Status.UNAVAILABLE, "the connection was lost")
        self._on_done(self.call)


class ScriptedSession:
    """A session with one reply behind it, and its outstanding AIIn and AIOut."""

    def __init__(self) -> None:
        self.calls: list[ScriptedCall] = []
        self.stream = XsfStream(cast("Any", self), b"", "handle", lambda: None, lambda _: None)
        self.stream.send(b"first frame")
        self.calls[0].reply(LoaderOutput(status=BEGIN))
        self.stream.pop_result()
        self.stream.send(b"second frame")
        self.write, self.poll = (
            next(call for call in self.calls[1:] if call.op == op) for op in ("AIIn", "AIOut")
        )

    def start_unary(
        self, _: bytes, request: bytes, __: float, on_done: Callable[[UnaryCall], None]
    ) -> UnaryCall:
        self.calls.append(ScriptedCall(request, on_done))
        return self.calls[-1].call

    def results(self) -> list[LoaderOutput]:
        results = []
        while (result := self.stream.pop_result()) is not None:
            results.append(LoaderOutput.FromString(result))
        return results

    def released_handles(self) -> int:
        return sum(call.op == "AIExcp" for call in self.calls)


def text_output(data: bytes, status: Any = CONTINUE) -> LoaderOutput:
    return LoaderOutput(status=status, pl=[Payload(meta=MetaDesc(name="said"), data=data)])


RELEASED = LoaderOutput(code=10101, err="handle was released", status=END)
Reply = tuple[str, LoaderOutput | None, int]
# The last result in a reply to either call; the other is replied to with 10101, inside the output
# as the original's loader does, or outside of it, or with a result that was read before.
LAST_RESULTS = [text_output(b"last", END), LoaderOutput(code=10905, err="failed", status=END)]
OTHER_REPLIES: list[tuple[LoaderOutput | None, int]] = [
    (RELEASED, 0),
    (None, 10101),
    (None, 10008),
    (text_output(b"earlier"), 0),
    (LoaderOutput(status=CONTINUE), 0),
]


@pytest.mark.parametrize("last_result", LAST_RESULTS, ids=["result", "error"])
@pytest.mark.parametrize("other_reply", OTHER_REPLIES, ids=range(5))
@pytest.mark.parametrize("last_op", ["AIIn", "AIOut"])
@pytest.mark.parametrize("last_comes_first", [True, False])
def test_last_result_is_delivered_last(
    last_result: LoaderOutput,
    other_reply: tuple[LoaderOutput | None, int],
    last_op: str,
    last_comes_first: bool,
) -> None:
    async def main() -> None:
        session = ScriptedSession()
        last, other = session.write, session.poll
        if last_op == "AIOut":
            last, other = other, last
        if last_comes_first:
            last.reply(last_result)
            assert session.results() == [], "an earlier result may still come"
            other.reply(*other_reply)
        else:
            other.reply(*other_reply)
            assert not session.stream.is_finished()
            last.reply(last_result)
            if other_reply[0] is not None and not other_reply[0].code:
                session.calls[-1].reply(RELEASED)  # the call that followed it
        earlier = [text_output(b"earlier")] if other_reply == (text_output(b"earlier"), 0) else []
        results = session.results()
        assert results == [*earlier, last_result]
        assert session.stream.is_finished()
        assert session.stream.failure() is None
        assert session.released_handles() == 0, "the last result releases the handle"

    asyncio.run(main())


def test_released_handle_without_a_last_result_is_an_error() -> None:
    session = ScriptedSession()
    session.poll.reply(RELEASED)
    assert not session.stream.is_finished(), "the reply to AIIn may carry the last result"
    session.write.reply(None, 10101)
    assert session.results() == []
    error = session.stream.failure()
    assert error is not None
    assert error.spec.code == 10101
    assert session.stream.is_finished()


def test_failed_call_ends_the_session_and_releases_the_handle() -> None:
    session = ScriptedSession()
    session.poll.reply(text_output(b"kept"))
    session.write.fail()
    assert session.results() == [text_output(b"kept")]
    error = session.stream.failure()
    assert error is not None
    assert error.spec.code == 10222
    assert session.released_handles() == 1


def test_last_result_waits_a_quarter_of_a_second_at_most() -> None:
    async def main() -> None:
        session = ScriptedSession()
        session.poll.reply(LAST_RESULTS[0])
        await asyncio.sleep(0.24)
        assert session.results() == []
        await asyncio.sleep(0.02)
        assert session.results() == [LAST_RESULTS[0]]
        assert session.stream.is_finished()

    with contextlib.closing(VirtualLoop()) as loop:
        loop.run_until_complete(main())
