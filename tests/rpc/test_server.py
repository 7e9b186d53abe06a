"""The server against grpcio's own client: refusals, cancelled calls, a taken port."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest

from rpc.server import CallContext, Server
from rpc.status import RpcError, Status


class Served:
    """A server in a loop of its own thread."""

    def __init__(self) -> None:
        self.calls: list[CallContext] = []
        self.held, self.cancelled = threading.Event(), threading.Event()
        self._ready: threading.Event = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))
        self._thread.start()
        self._ready.wait(10)

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        self.server = Server(
            unary={"/t.T/Echo": self.echo, "/t.T/Refuse": self.refuse, "/t.T/Hold": self.hold},
            stream={"/t.T/Count": self.count},
        )
        self.port = await self.server.start("127.0.0.1", 0)
        self._ready.set()
        await self._stop.wait()
        await self.server.stop(0)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    async def echo(self, data: bytes, call: CallContext) -> bytes:
        self.calls.append(call)
        return data

    async def refuse(self, data: bytes, call: CallContext) -> bytes:
        raise RpcError(Status(data[0]), "no")

    async def hold(self, data: bytes, call: CallContext) -> bytes:
        self.held.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        return b""

    async def count(
        self, requests: AsyncIterator[bytes], call: CallContext
    ) -> AsyncIterator[bytes]:
        number = 0
        async for request in requests:
            number += 1
            yield bytes([number])
            if request == b"stop":
                raise RpcError(Status.ABORTED, "as asked")


@pytest.fixture
def served() -> Iterator[Served]:
    running = Served()
    yield running
    running.stop()


@pytest.fixture
def channel(served: Served) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{served.port}") as channel:
        yield channel


def test_a_call_is_told_of(served: Served, channel: grpc.Channel) -> None:
    call = channel.unary_unary("/t.T/Echo")
    assert call(b"x", timeout=10, metadata=[("a", "b"), ("c-bin", b"\xff")]) == b"x"
    (told,) = served.calls
    assert told.metadata["a"] == "b"
    assert told.metadata["c-bin"] == "\xff"
    assert told.time_remaining is not None
    assert 5 < told.time_remaining < 11
    assert told.peer.startswith("ipv4:127.0.0.1")
    call(b"")
    assert served.calls[1].time_remaining is None


@pytest.mark.parametrize("status", [Status.INVALID_ARGUMENT, Status.RESOURCE_EXHAUSTED])
def test_a_refusal_has_its_status(channel: grpc.Channel, status: Status) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.T/Refuse")(bytes([status]))
    assert caught.value.code().value[0] == status
    assert caught.value.details() == "no"


def test_an_unknown_method_is_unimplemented(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.T/Nothing")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_cancelled_call_cancels_its_coroutine(served: Served, channel: grpc.Channel) -> None:
    future = channel.unary_unary("/t.T/Hold").future(b"")
    assert served.held.wait(10)
    future.cancel()
    assert served.cancelled.wait(10)


def test_a_stream_answers_and_may_refuse(channel: grpc.Channel) -> None:
    answers = channel.stream_stream("/t.T/Count")(iter([b"a", b"b", b"stop", b"c"]))
    assert [next(answers) for _ in range(3)] == [b"\x01", b"\x02", b"\x03"]
    with pytest.raises(grpc.RpcError) as caught:
        next(answers)
    assert caught.value.code() is grpc.StatusCode.ABORTED


def test_a_taken_port_is_an_os_error_that_names_it(served: Served) -> None:
    async def main() -> None:
        second = Server(unary={})
        try:
            await second.start("127.0.0.1", served.port)
        finally:
            with contextlib.suppress(Exception):
                await second.stop(0)

    with pytest.raises(OSError, match="cannot listen") as caught:
        asyncio.run(main())
    assert caught.value.filename == f"127.0.0.1:{served.port}"
