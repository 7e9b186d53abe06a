"""The channel against grpcio's own server: answers, statuses, and whether a byte was sent."""

import asyncio
import contextlib
import gc
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent import futures

import grpc
import h2.errors
import h2.events
import h2.settings
import pytest

from rpc.calls import UnaryCall
from rpc.client import Channel
from rpc.message_stream import stream_responses
from rpc.status import RpcError, Status
from tests.rpc import peer as h2peer

ECHO, FAIL, HOLD, MANY = "/t.T/Echo", "/t.T/Fail", "/t.T/Hold", "/t.T/Many"


class GrpcioServer:
    """A grpcio server, and what it saw."""

    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}
        self.hold_started = threading.Event()
        self.release_held = threading.Event()
        self.server = grpc.server(futures.ThreadPoolExecutor(8))
        handlers = {
            "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Hold": grpc.unary_unary_rpc_method_handler(self.hold),
            "Many": grpc.stream_stream_rpc_method_handler(self.many),
        }
        generic_handler = grpc.method_handlers_generic_handler("t.T", handlers)
        self.server.add_generic_rpc_handlers((generic_handler,))
        self.addr = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def echo(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        self.metadata = {str(k): str(v) for k, v in context.invocation_metadata()}
        return data

    def fail(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        code = next(code for code in grpc.StatusCode if code.value[0] == data[0])
        context.abort(code, f"details of {code.name}")
        return b""

    def hold(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        context.add_callback(self.release_held.set)
        self.hold_started.set()
        self.release_held.wait(30)
        return b""

    def many(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for request in requests:
            for _ in range(request[0]):
                yield request


@pytest.fixture
def grpcio_server() -> Iterator[GrpcioServer]:
    server = GrpcioServer()
    yield server
    server.release_held.set()
    server.server.stop(None).wait()


@pytest.mark.parametrize("size", [0, 1, 16384, 65537, 1 << 20])
def test_unary_response(grpcio_server: GrpcioServer, size: int) -> None:
    async def main() -> None:
        channel = Channel(grpcio_server.addr)
        data = b"x" * size
        assert await channel.unary(ECHO, data, timeout=10, metadata=(("ase-gateway", "g"),)) == data
        await channel.close()

    asyncio.run(main())
    assert grpcio_server.metadata["ase-gateway"] == "g"


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.OK])
def test_every_status_with_its_details(grpcio_server: GrpcioServer, status: Status) -> None:
    async def main() -> RpcError:
        channel = Channel(grpcio_server.addr)
        with pytest.raises(RpcError) as caught:
            await channel.unary(FAIL, bytes([status]), timeout=10)
        await channel.close()
        return caught.value

    error = asyncio.run(main())
    assert (error.status, error.details, error.may_have_run) == (
        status,
        f"details of {status.name}",
        True,
    )


class CallOwner:
    """What refers to its call, and its call to it."""

    def __init__(self, channel: Channel) -> None:
        self.ended = asyncio.Event()
        header_block = channel.header_block(ECHO)
        self.call = channel.start_unary(header_block, b"x" * 100_000, 10, self._on_done)

    def _on_done(self, _: UnaryCall) -> None:
        self.ended.set()


def live_calls() -> list[UnaryCall]:
    return [thing for thing in gc.get_objects() if isinstance(thing, UnaryCall)]


def test_ended_call_is_freed_with_its_owner(grpcio_server: GrpcioServer) -> None:
    """Its messages may be large, and the cycle collector may not run for minutes."""

    async def main() -> None:
        channel = Channel(grpcio_server.addr)
        ids_before = {id(call) for call in live_calls()}
        gc.disable()
        try:
            owner: CallOwner | None = CallOwner(channel)
            assert owner is not None
            await owner.ended.wait()
            await asyncio.sleep(0)
            owner = None
            assert [call for call in live_calls() if id(call) not in ids_before] == []
        finally:
            gc.enable()
        await channel.close()

    gc.collect()
    asyncio.run(main())


def test_a_deadline_ends_the_call_on_both_sides(grpcio_server: GrpcioServer) -> None:
    async def main() -> None:
        channel = Channel(grpcio_server.addr)
        with pytest.raises(RpcError) as caught:
            await channel.unary(HOLD, b"", timeout=0.3)
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        await channel.close()

    asyncio.run(main())
    assert grpcio_server.release_held.wait(10)


def test_cancelling_the_task_cancels_the_call(grpcio_server: GrpcioServer) -> None:
    async def main() -> None:
        channel = Channel(grpcio_server.addr)
        task = asyncio.create_task(channel.unary(HOLD, b"", timeout=30))
        await asyncio.to_thread(grpcio_server.hold_started.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(grpcio_server.release_held.wait, 10)
        await channel.close()

    asyncio.run(main())


def test_refused_connection_fails_at_once_and_cannot_have_run() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        addr = f"127.0.0.1:{sock.getsockname()[1]}"

    async def main() -> None:
        channel = Channel(addr)
        for _ in range(3):
            with pytest.raises(RpcError) as caught:
                await channel.unary(ECHO, b"", timeout=30)
            assert (caught.value.status, caught.value.may_have_run) == (Status.UNAVAILABLE, False)
        await channel.close()

    asyncio.run(main())


def test_silent_server_fails_and_cannot_have_run() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            channel = Channel(f"127.0.0.1:{sock.getsockname()[1]}", connect_timeout=0.3)
            with pytest.raises(RpcError) as caught:
                await channel.unary(ECHO, b"", timeout=30)
            assert (caught.value.status, caught.value.may_have_run) == (Status.UNAVAILABLE, False)
            await channel.close()

    asyncio.run(main())


def test_call_may_have_run_if_the_server_dies(grpcio_server: GrpcioServer) -> None:
    async def main() -> None:
        channel = Channel(grpcio_server.addr)
        task = asyncio.create_task(channel.unary(HOLD, b"", timeout=30))
        await asyncio.to_thread(grpcio_server.hold_started.wait, 10)
        grpcio_server.server.stop(None)
        with pytest.raises(RpcError) as caught:
            await task
        assert caught.value.may_have_run
        await channel.close()

    asyncio.run(main())


@pytest.mark.parametrize("counts", [[], [0], [1], [3, 0, 2], [100] * 20])
def test_bidirectional_stream(grpcio_server: GrpcioServer, counts: list[int]) -> None:
    async def requests() -> AsyncIterator[bytes]:
        for count in counts:
            yield bytes([count])

    async def main() -> None:
        channel = Channel(grpcio_server.addr)
        responses = [
            response async for response in stream_responses(channel.stream(MANY), requests())
        ]
        assert responses == [bytes([count]) for count in counts for _ in range(count)]
        await channel.close()

    asyncio.run(main())


ONE_AT_A_TIME = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1}


def test_queued_call_starts_when_the_previous_one_is_cancelled() -> None:
    async def script(peer: h2peer.Peer) -> None:
        await peer.start(ONE_AT_A_TIME)
        await peer.wait_for_event(h2.events.RequestReceived)
        first_received.set()
        await peer.wait_for_event(h2.events.StreamReset)
        second = await peer.wait_for_event(h2.events.StreamEnded)
        while second.stream_id == 1:
            second = await peer.wait_for_event(h2.events.StreamEnded)
        await peer.respond(second.stream_id, b"second")
        await peer.read_to_end()

    async def main() -> bytes:
        async with h2peer.serve_script(script) as addr:
            channel = Channel(addr)
            header_block = channel.header_block(ECHO)
            first = channel.start_unary(header_block, b"first", 30, lambda _: None)
            second = asyncio.create_task(channel.unary(ECHO, b"", timeout=30))
            await first_received.wait()
            first.cancel()
            response = await second
            await channel.close()
            return response

    first_received = asyncio.Event()
    assert asyncio.run(main()) == b"second"


def test_queued_call_has_a_deadline() -> None:
    """It is the earlier one, though it came later: the timer that is set has to give way."""

    async def script(peer: h2peer.Peer) -> None:
        await peer.start(ONE_AT_A_TIME)
        await peer.read_to_end()

    async def main() -> RpcError:
        async with h2peer.serve_script(script) as addr:
            channel = Channel(addr)
            first = channel.start_unary(channel.header_block(ECHO), b"", 30, lambda _: None)
            with pytest.raises(RpcError) as caught:
                await channel.unary(ECHO, b"", timeout=0.3)
            first.cancel()
            await channel.close()
            return caught.value

    error = asyncio.run(main())
    assert (error.status, error.may_have_run) == (Status.DEADLINE_EXCEEDED, False)


def test_calls_end_in_the_order_of_their_deadlines() -> None:
    async def script(peer: h2peer.Peer) -> None:
        await peer.start()
        await peer.read_to_end()

    async def main() -> list[float]:
        async with h2peer.serve_script(script) as addr:
            channel, expired_deadlines = Channel(addr), []

            async def call(number: int) -> None:
                timeout = 0.2 + 0.05 * number
                deadline = time.monotonic() + timeout
                with pytest.raises(RpcError, match="deadline"):
                    await channel.unary(ECHO, b"", timeout=timeout)
                expired_deadlines.append(deadline)

            await asyncio.gather(*(call(number) for number in (5, 0, 3, 1, 4, 2)))
            await channel.close()
            return expired_deadlines

    deadlines = asyncio.run(main())
    assert len(deadlines) == 6
    assert deadlines == sorted(deadlines)


def test_reconnects_are_limited_by_backoff() -> None:
    connections = 0

    async def script(_: h2peer.Peer) -> None:
        nonlocal connections
        connections += 1

    async def main() -> None:
        async with h2peer.serve_script(script) as addr:
            channel = Channel(addr)
            for _ in range(300):
                with pytest.raises(RpcError) as caught:
                    await channel.unary(ECHO, b"", timeout=30)
                assert (caught.value.status, caught.value.may_have_run) == (
                    Status.UNAVAILABLE,
                    False,
                )
            await channel.close()

    asyncio.run(main())
    assert 1 <= connections <= 5


def test_refused_stream_is_not_retried() -> None:
    async def script(peer: h2peer.Peer) -> None:
        await peer.start()
        request = await peer.wait_for_event(h2.events.RequestReceived)
        peer.h2.reset_stream(request.stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
        await peer.flush()
        await peer.read_to_end()
        assert not [e for e in peer.events if isinstance(e, h2.events.RequestReceived)]

    async def requests() -> AsyncIterator[bytes]:
        yield b"x"

    async def main() -> RpcError:
        async with h2peer.serve_script(script) as addr:
            channel = Channel(addr)
            with pytest.raises(RpcError) as caught:
                async for _ in stream_responses(channel.stream(MANY), requests()):
                    pass
            await channel.close()
            return caught.value

    error = asyncio.run(main())
    assert (error.status, error.may_have_run) == (Status.UNAVAILABLE, False)


def test_closing_while_connecting_ends_queued_calls() -> None:
    async def script(peer: h2peer.Peer) -> None:
        connected.set()
        await peer.read_to_end()

    async def main() -> RpcError:
        async with h2peer.serve_script(script) as addr:
            channel = Channel(addr, connect_timeout=30)
            call = asyncio.create_task(channel.unary(ECHO, b"", timeout=30))
            await connected.wait()
            await channel.close()
            with pytest.raises(RpcError) as caught:
                await call
            return caught.value

    connected = asyncio.Event()
    assert not asyncio.run(main()).may_have_run


def test_peer_that_floods_gets_goaway_and_no_calls_for_a_while() -> None:
    """It answers every call, and sends pings beside the answers."""

    async def main() -> None:
        farewells = []

        async def script(peer: h2peer.Peer) -> None:
            await peer.start()
            with contextlib.suppress(ConnectionError):
                while True:
                    request = await peer.wait_for_event(h2.events.StreamEnded)
                    await peer.respond(request.stream_id)
                    await peer.flush(b"\0\0\x08\x06\0\0\0\0\0floodfld" * 300)
            farewells.append(peer.received)

        async with h2peer.serve_script(script) as addr:
            channel = Channel(addr, connect_timeout=5)
            with pytest.raises(RpcError):
                for _ in range(1000):
                    assert await channel.unary(ECHO, b"x", timeout=10) == b"ok"
            with pytest.raises(RpcError) as caught:
                await channel.unary(ECHO, b"x", timeout=10)
            assert caught.value.status is Status.UNAVAILABLE
            assert not caught.value.may_have_run
            assert b"too many frames that bring nothing" in farewells[0]
            await channel.close()

    asyncio.run(main())
