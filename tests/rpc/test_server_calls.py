"""Calls at the server: messages, limits, deadlines, cancellation, windows, what a client leaves."""

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rpc.client import Channel
from rpc.frames import ErrorCode, frame
from rpc.messages import length_prefix
from rpc.server import CallContext
from rpc.status import RpcError, Status
from tests.rpc.raw_client import START, TestServer, message, open_call, run_with_server, unary_call


class Handlers:
    """Handlers that record what happens to them."""

    def __init__(self) -> None:
        self.contexts: list[CallContext] = []
        self.started, self.cancelled = asyncio.Event(), asyncio.Event()
        self.released = asyncio.Event()
        self.taken: list[bytes] = []

    async def hold(self, data: bytes, call: CallContext) -> bytes:
        self.contexts.append(call)
        self.started.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return data

    async def with_trailers(self, data: bytes, call: CallContext) -> bytes:
        call.trailers += [("load", "7"), ("report-bin", b"\xff")]
        return data

    async def fail(self, data: bytes, call: CallContext) -> bytes:
        raise ValueError("a secret of ours")

    async def refuse(self, data: bytes, call: CallContext) -> bytes:
        raise RpcError(Status.NOT_FOUND, data.decode())

    async def big(self, data: bytes, call: CallContext) -> bytes:
        return b"x" * int(data)

    async def count(
        self, requests: AsyncIterator[bytes], call: CallContext
    ) -> AsyncIterator[bytes]:
        for number in range(100_000):
            yield number.to_bytes(4, "big") + b"x" * 1020
            self.taken.append(b"")

    async def take_slowly(
        self, requests: AsyncIterator[bytes], call: CallContext
    ) -> AsyncIterator[bytes]:
        await self.released.wait()
        async for request in requests:
            self.taken.append(request)
        yield b"%d" % len(self.taken)

    async def hold_stream(
        self, requests: AsyncIterator[bytes], call: CallContext
    ) -> AsyncIterator[bytes]:
        yield await self.hold(b"", call)

    async def fail_early(
        self, requests: AsyncIterator[bytes], call: CallContext
    ) -> AsyncIterator[bytes]:
        raise RpcError(Status.ABORTED, "enough")
        yield b""

    def run(self, test: Any, **limits: Any) -> None:
        unary = {
            "/t.T/Hold": self.hold,
            "/t.T/WithTrailers": self.with_trailers,
            "/t.T/Fail": self.fail,
            "/t.T/Refuse": self.refuse,
            "/t.T/Big": self.big,
        }
        stream = {
            "/t.T/Count": self.count,
            "/t.T/TakeSlowly": self.take_slowly,
            "/t.T/FailEarly": self.fail_early,
            "/t.T/HoldStream": self.hold_stream,
        }
        run_with_server(test, unary, stream, **limits)


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


def with_channel(server: TestServer) -> Channel:
    return Channel(f"127.0.0.1:{server.port}")


async def status_of(channel: Channel, method: str, data: bytes = b"", timeout: float = 10) -> str:
    with pytest.raises(RpcError) as caught:
        await channel.unary(method, data, timeout=timeout)
    return f"{caught.value.status.name}: {caught.value.details}"


def test_errors_of_handlers(handlers: Handlers, caplog: pytest.LogCaptureFixture) -> None:
    async def test(server: TestServer) -> None:
        channel = with_channel(server)
        assert await status_of(channel, "/t.T/Nothing") == "UNIMPLEMENTED: no such method"
        text = "50 % ü\n\x00" + "x" * 5000
        details = await status_of(channel, "/t.T/Refuse", text.encode())
        assert details == "NOT_FOUND: " + text[:4096]
        with caplog.at_level(logging.CRITICAL, "ase.rpc"):
            assert await status_of(channel, "/t.T/Fail") == "INTERNAL: the handler failed"
        assert await channel.unary("/t.T/Echo", b"on", timeout=10) == b"on"
        await channel.close()

    handlers.run(test)


def test_trailers_of_a_unary_call(handlers: Handlers) -> None:
    async def test(server: TestServer) -> None:
        channel = with_channel(server)
        done = asyncio.Event()
        block = channel.header_block("/t.T/WithTrailers")
        call = channel.start_unary(block, b"x", 10, lambda _: done.set())
        await done.wait()
        assert call.trailers is not None
        assert call.trailers.metadata == (("load", "7"), ("report-bin", b"\xff"))
        await channel.close()

    handlers.run(test)


@pytest.mark.parametrize("size", [0, 1, 65_536, 1 << 20, 5_000_000])
def test_messages_larger_than_windows(handlers: Handlers, size: int) -> None:
    async def test(server: TestServer) -> None:
        channel = with_channel(server)
        data = b"x" * size
        assert await channel.unary("/t.T/Echo", data, timeout=30) == data
        stream = channel.stream("/t.T/Stream", timeout=30)
        await stream.send(data)
        await stream.send(data)
        await stream.finish_sending()
        assert [part async for part in stream] == [data, data]
        await channel.close()

    handlers.run(test)


def test_messages_above_the_limit(handlers: Handlers) -> None:
    async def test(server: TestServer) -> None:
        channel = with_channel(server)
        details = await status_of(channel, "/t.T/Echo", b"x" * 1001)
        assert details == "RESOURCE_EXHAUSTED: Received message larger than max (1001 vs. 1000)"
        details = await status_of(channel, "/t.T/Big", b"1001")
        assert details == "RESOURCE_EXHAUSTED: Sent message larger than max (1001 vs. 1000)"
        client = await server.connect()
        bomb = gzip.compress(b"\0" * 100_000)
        data = b"\1" + len(bomb).to_bytes(4, "big") + bomb
        await client.send(open_call(1, grpc_encoding="gzip") + frame(0, 1, 1, data))
        _, trailers = await client.response(1)
        assert b"after decompression larger than max" in trailers
        await channel.close()

    handlers.run(test, max_message_size=1000)


def test_compressed_requests(handlers: Handlers) -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()
        data = gzip.compress(b"hello")
        framed = b"\1" + len(data).to_bytes(4, "big") + data
        await client.send(open_call(1, grpc_encoding="gzip") + frame(0, 1, 1, framed))
        assert (await client.response(1))[0] == length_prefix(5) + b"hello"
        await client.send(open_call(3, grpc_encoding="br") + frame(0, 1, 3, framed))
        assert b"was not accepted" in (await client.response(3))[1]

    handlers.run(test)


@pytest.mark.parametrize(
    ("data", "details"),
    [
        (frame(0, 1, 1), b"no complete request"),
        (frame(0, 1, 1, b"\0\0\0"), b"no complete request"),
        (message(1, b"a", end=False) + message(1, b"b"), b"more than one request"),
        (frame(0, 1, 1, b"\7\0\0\0\0"), b"unknown flag"),
    ],
    ids=range(4),
)
def test_requests_that_are_no_unary_call(handlers: Handlers, data: bytes, details: bytes) -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()
        await client.send(open_call(1) + data)
        assert details in (await client.response(1))[1]
        await client.send(unary_call(3))
        assert (await client.response(3))[0][5:] == b"hi"

    handlers.run(test)


@pytest.mark.parametrize(
    ("fields", "trailers"),
    [
        ({"content_type": "text/plain"}, b"415"),
        ({":method": "GET"}, b"405"),
        ({"grpc_timeout": "soon"}, b"malformed grpc-timeout"),
    ],
    ids=range(3),
)
def test_requests_that_no_handler_gets(
    handlers: Handlers, fields: dict[str, str], trailers: bytes
) -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()
        await client.send(open_call(1, **fields))
        assert trailers in (await client.response(1))[1]
        assert await client.reset_code(1) == ErrorCode.NO_ERROR
        await client.send(message(1, b"late"))
        await client.send(unary_call(3))
        assert (await client.response(3))[0][5:] == b"hi"

    handlers.run(test)


def test_deadline_ends_a_call_and_its_handler(handlers: Handlers) -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()
        await client.send(open_call(1, "/t.T/Hold", grpc_timeout="50m") + message(1, b"x"))
        await client.send(open_call(3, "/t.T/Hold", grpc_timeout="99999999H") + message(3, b"x"))
        _, trailers = await client.response(1)
        assert b"grpc-status\x014" in trailers
        await handlers.cancelled.wait()
        remaining = [context.time_remaining for context in handlers.contexts]
        assert remaining[0] is not None
        assert remaining[0] <= 0.05
        handlers.released.set()
        assert (await client.response(3))[0][5:] == b"x"

    handlers.run(test)


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_that_goes_cancels_the_handler(handlers: Handlers, how: str) -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()
        await client.send(unary_call(1, path="/t.T/Hold"))
        await handlers.started.wait()
        if how == "reset":
            await client.send(frame(3, 0, 1, b"\0\0\0\x08"))
        else:
            await client.close()
        await handlers.cancelled.wait()

    handlers.run(test)


def test_a_call_that_ends_before_its_handler_runs_runs_nothing(handlers: Handlers) -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()
        await client.send(unary_call(1, path="/t.T/Hold") + frame(3, 0, 1, b"\0\0\0\x08"))
        await client.send(unary_call(3))
        await client.response(3)
        assert not handlers.contexts

    handlers.run(test)


def test_a_client_that_does_not_read_stops_the_handler(handlers: Handlers) -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()  # with windows of 64 KiB, which it does not renew
        await client.send(open_call(1, "/t.T/Count") + frame(0, 1, 1))
        received = 0
        while received < 65_535:
            received += len((await client.read_until(lambda f: f[0] == 0))[3])
        await client.send(frame(6, 0, 0, b"x" * 8))
        await client.read_until(lambda f: f[0] == 6)
        assert len(handlers.taken) <= 64, "one more than the window waits"
        await client.send(frame(8, 0, 0, (1 << 20).to_bytes(4, "big")))
        await client.send(frame(8, 0, 1, (1 << 20).to_bytes(4, "big")))
        while received < 1_000_000:
            received += len((await client.read_until(lambda f: f[0] == 0))[3])

    handlers.run(test)


def test_a_handler_that_does_not_read_stops_the_client(handlers: Handlers) -> None:
    async def test(server: TestServer) -> None:
        channel = with_channel(server)
        stream = channel.stream("/t.T/TakeSlowly", timeout=30)
        sent = 0

        async def send() -> None:
            nonlocal sent
            for _ in range(100):
                await stream.send(b"x" * 100_000)
                sent += 1
            await stream.finish_sending()

        task = asyncio.create_task(send())
        await channel.unary("/t.T/Echo", b"", timeout=10)
        await channel.unary("/t.T/Echo", b"", timeout=10)
        assert sent <= 12, "the window of 1 MiB"
        handlers.released.set()
        assert [part async for part in stream] == [b"100"]
        await task
        await channel.close()

    handlers.run(test)


def test_requests_may_end_later_than_the_last_message(handlers: Handlers) -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()
        await client.send(open_call(1, "/t.T/Stream") + message(1, b"a", end=False))
        await client.read_until(lambda f: f[0] == 0)
        await client.send(unary_call(3))
        await client.response(3)  # the handler waits for the next request meanwhile
        await client.send(frame(0, 1, 1))
        data, trailers = await client.response(1)
        assert data == length_prefix(1) + b"a"
        assert b"grpc-status\x010" in trailers

    handlers.run(test)


@pytest.mark.parametrize(
    "data", [frame(0, 0, 1, b"\7\0\0\0\0"), frame(0, 1, 1, b"\0\0\0"), message(1, b"x" * 1001)]
)
def test_an_invalid_message_cancels_the_handler_of_a_stream(
    handlers: Handlers, data: bytes
) -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()
        await client.send(open_call(1, "/t.T/HoldStream"))
        await handlers.started.wait()
        await client.send(data)
        await client.response(1)
        await handlers.cancelled.wait()

    handlers.run(test, max_message_size=1000)


def test_a_client_that_goes_away_gets_its_responses(handlers: Handlers) -> None:
    """The last stream of its GOAWAY is one that we opened: none (RFC 9113, 6.8)."""

    async def test(server: TestServer) -> None:
        client = await server.connect()
        await client.send(unary_call(1, path="/t.T/Hold"))
        await handlers.started.wait()
        await client.send(frame(7, 0, 0, b"\0" * 8) + frame(6, 0, 0, b"x" * 8))
        await client.read_until(lambda f: f[0] == 6)
        handlers.released.set()
        assert (await client.response(1))[0][5:] == b"hi"

    handlers.run(test)


def test_long_streams_leave_nothing_in_the_sum_of_waiting_bytes(handlers: Handlers) -> None:
    """Sixteen of the largest messages may wait; ten times as many pass, in frames of 16 KiB."""

    async def test(server: TestServer) -> None:
        channel = with_channel(server)
        stream = channel.stream("/t.T/Stream", timeout=30)
        for _ in range(160):
            await stream.send(b"x" * 40_000)
            assert await anext(stream) == b"x" * 40_000
        await channel.close()

    handlers.run(test, max_message_size=40_000)


def test_decompressed_bytes_count(handlers: Handlers) -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()
        bomb = gzip.compress(b"\0" * 99_000)
        framed = b"\1" + len(bomb).to_bytes(4, "big") + bomb
        for stream_id in range(1, 36, 2):
            await client.send(open_call(stream_id, "/t.T/TakeSlowly", grpc_encoding="gzip"))
            await client.send(frame(0, 0, stream_id, framed))
        assert b"too many bytes of requests wait" in (await client.response(33))[1]

    handlers.run(test, max_message_size=100_000)


def test_a_deadline_frees_a_response_that_nobody_reads(handlers: Handlers) -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()  # its window is 64 KiB
        await client.send(open_call(1, "/t.T/Big", grpc_timeout="100m") + message(1, b"1000000"))
        assert await client.reset_code(1) == ErrorCode.CANCEL

    handlers.run(test)


def test_a_stop_without_grace_says_goodbye(handlers: Handlers) -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()
        await client.send(unary_call(1))
        await client.response(1)
        await server.server.stop(0)
        assert await client.goaway_code() == ErrorCode.NO_ERROR

    handlers.run(test)


def test_an_early_end_stops_the_rest_of_the_request(handlers: Handlers) -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()
        await client.send(open_call(1, "/t.T/FailEarly") + message(1, b"a", end=False))
        _, trailers = await client.response(1)
        assert b"enough" in trailers
        assert await client.reset_code(1) == ErrorCode.NO_ERROR
        await client.send(message(1, b"x" * 60_000, end=False) * 20 + unary_call(3))
        assert (await client.response(3))[0][5:] == b"hi"

    handlers.run(test)


def test_bytes_that_wait_are_bounded_in_sum(handlers: Handlers) -> None:
    """Sixteen of the largest messages, over all calls of a connection."""

    async def test(server: TestServer) -> None:
        client = await server.connect()
        half = length_prefix(60_000) + b"x" * 30_000
        calls = range(1, 81, 2)
        for stream_id in calls:
            await client.send(open_call(stream_id) + frame(0, 0, stream_id, half))
        _, trailers = await client.response(63)  # the 32nd
        assert b"too many bytes of requests wait" in trailers
        await client.send(frame(3, 0, 3, b"\0\0\0\x08") + frame(0, 1, 1, b"x" * 30_000))
        assert len((await client.response(1))[0]) == 60_005, "those before are served"

    handlers.run(test, max_message_size=60_000)


def test_the_server_stops_without_losing_a_call(handlers: Handlers) -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()
        await client.send(unary_call(1, path="/t.T/Hold"))
        await handlers.started.wait()
        stopping = asyncio.create_task(server.server.stop(30))
        goaway = await client.read_until(lambda f: f[0] == 7)
        assert goaway[3][:8] == b"\0\0\0\1" + b"\0\0\0\0", "stream 1 is finished"
        await client.send(unary_call(3))  # it was on its way, and is ignored
        handlers.released.set()
        assert (await client.response(1))[0][5:] == b"hi"
        await stopping
        assert not any(f[2] == 3 for f in await client.read_to_end())

    handlers.run(test)


def test_the_server_cancels_calls_after_its_grace(handlers: Handlers) -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()
        await client.send(unary_call(1, path="/t.T/Hold"))
        await handlers.started.wait()
        await server.server.stop(0.01)
        assert handlers.cancelled.is_set()
        assert b"the server stops" in (await client.response(1))[1]

    handlers.run(test)


def test_connections_are_limited(handlers: Handlers) -> None:
    async def test(server: TestServer) -> None:
        first = await server.connect(START + unary_call(1))
        await first.response(1)
        second = await server.connect(START + unary_call(1))
        assert await second.read_to_end() == []
        await first.close()
        while True:
            third = await server.connect(START + unary_call(1))
            try:
                await third.response(1)
                break
            except (EOFError, ConnectionError):
                continue

    handlers.run(test, max_connections=1)
