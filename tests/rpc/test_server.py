"""The server against grpcio's own client: refusals, cancelled calls, a taken port."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest

from rpc.client import Channel
from rpc.server import CallContext, Server
from rpc.status import RpcError, Status


class ServerThread:
    """A server in a loop of its own thread."""

    def __init__(self) -> None:
        self.calls: list[CallContext] = []
        self.hold_started, self.cancelled = threading.Event(), threading.Event()
        self._ready: threading.Event = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))
        self._thread.start()
        self._ready.wait(10)

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        self.server = Server(
            unary={
                "/t.T/Echo": self.echo,
                "/t.T/Refuse": self.refuse,
                "/t.T/Hold": self.hold,
                "/t.T/BadTrailer": self.bad_trailer,
            },
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
        if len(data) > 1:
            call.trailers.append(("grpc-status-details-bin", data[1:]))
        raise RpcError(Status(data[0]), "no")

    async def bad_trailer(self, data: bytes, call: CallContext) -> bytes:
        call.trailers.append(("Not Allowed", "x"))
        raise RpcError(Status.ABORTED, "no")

    async def hold(self, data: bytes, call: CallContext) -> bytes:
        self.hold_started.set()
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
def server_thread() -> Iterator[ServerThread]:
    thread = ServerThread()
    yield thread
    thread.stop()


@pytest.fixture
def channel(server_thread: ServerThread) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server_thread.port}") as channel:
        yield channel


def test_call_context(server_thread: ServerThread, channel: grpc.Channel) -> None:
    call = channel.unary_unary("/t.T/Echo")
    assert call(b"x", timeout=10, metadata=[("a", "b"), ("c-bin", b"\xff")]) == b"x"
    (context,) = server_thread.calls
    assert context.metadata["a"] == "b"
    assert context.metadata["c-bin"] == "\xff"
    assert context.time_remaining is not None
    assert 5 < context.time_remaining < 11
    assert context.peer.startswith("ipv4:127.0.0.1")
    call(b"")
    assert server_thread.calls[1].time_remaining is None


@pytest.mark.parametrize("status", [Status.INVALID_ARGUMENT, Status.RESOURCE_EXHAUSTED])
def test_rpc_error_status_reaches_the_client(channel: grpc.Channel, status: Status) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.T/Refuse")(bytes([status]))
    assert caught.value.code().value[0] == status
    assert caught.value.details() == "no"


def test_an_unknown_method_is_unimplemented(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.T/Nothing")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_cancelled_call_cancels_its_coroutine(
    server_thread: ServerThread, channel: grpc.Channel
) -> None:
    future = channel.unary_unary("/t.T/Hold").future(b"")
    assert server_thread.hold_started.wait(10)
    future.cancel()
    assert server_thread.cancelled.wait(10)


def test_stream_responds_and_may_fail(channel: grpc.Channel) -> None:
    responses = channel.stream_stream("/t.T/Count")(iter([b"a", b"b", b"stop", b"c"]))
    assert [next(responses) for _ in range(3)] == [b"\x01", b"\x02", b"\x03"]
    with pytest.raises(grpc.RpcError) as caught:
        next(responses)
    assert caught.value.code() is grpc.StatusCode.ABORTED


def test_port_in_use_is_an_os_error_with_the_address(server_thread: ServerThread) -> None:
    async def main() -> None:
        second = Server(unary={})
        try:
            await second.start("127.0.0.1", server_thread.port)
        finally:
            with contextlib.suppress(Exception):
                await second.stop(0)

    with pytest.raises(OSError, match="already in use") as caught:
        asyncio.run(main())
    assert caught.value.filename == f"127.0.0.1:{server_thread.port}"


def test_error_has_the_trailers_of_its_call(channel: grpc.Channel) -> None:
    details = bytes([Status.INVALID_ARGUMENT.value]) + b"\x08\x03\x12\x02no"
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.T/Refuse")(details)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    trailers = dict(caught.value.trailing_metadata())
    assert trailers == {"grpc-status-details-bin": details[1:]}


def test_error_with_an_invalid_trailer_is_sent_without_it(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.T/BadTrailer")(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert not caught.value.trailing_metadata()


def test_unix_socket_serves_grpcio_and_our_client(tmp_path: Path) -> None:
    async def echo(data: bytes, call: CallContext) -> bytes:
        peers.append(call.peer)
        return data

    async def main() -> None:
        server = Server(unary={"/t.T/Echo": echo})
        assert await server.start(address, 0) == 0
        async with grpc.aio.insecure_channel(address) as channel:
            assert await channel.unary_unary("/t.T/Echo")(b"grpcio", timeout=10) == b"grpcio"
        client = Channel(address)
        assert await client.unary("/t.T/Echo", b"ours", timeout=10) == b"ours"
        await client.close()
        await server.stop(0)

    address, peers = f"unix:{tmp_path}/s.sock", list[str]()
    asyncio.run(main())
    assert peers == ["unix:", "unix:"]
