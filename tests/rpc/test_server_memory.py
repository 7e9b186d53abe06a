"""What all connections of a server hold together is counted, bounded, and released."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rpc.frames import DATA, ErrorCode, frame, rst_stream
from rpc.messages import length_prefix
from rpc.server import CallContext
from rpc.server_memory import ServerMemory
from tests.rpc.raw_client import RawClient, TestServer, message, open_call, run_with_server


async def big(data: bytes, _: CallContext) -> bytes:
    return b"x" * int(data)


async def hold(_data: bytes, _: CallContext) -> bytes:
    await asyncio.Event().wait()
    raise AssertionError("it is cancelled")


def run(test: Any, **limits: int) -> None:
    async def checked(server: TestServer) -> None:
        await test(server)
        for client in server._clients:
            await client.close()
        memory = server.server._limits.memory
        while memory._connections:  # noqa: ASYNC110 (the server has no such event)
            await asyncio.sleep(0)
        assert (memory.received, memory.unsent) == (0, 0)

    run_with_server(checked, {"/t.T/Big": big, "/t.T/Hold": hold}, **limits)


async def open_part(client: RawClient, size: int) -> None:
    """Send a part of a message of 30,000 bytes."""
    await client.send(open_call(1) + frame(DATA, 0, 1, length_prefix(30_000) + b"x" * size))


async def reach(server: TestServer, name: str, size: int) -> None:
    """Wait until the server holds so many bytes; the event loop is shared with it."""
    while getattr(server.server._limits.memory, name) < size:  # noqa: ASYNC110
        await asyncio.sleep(0)


def test_connection_that_holds_most_of_the_requests_is_closed() -> None:
    async def test(server: TestServer) -> None:
        largest, small, last = [await server.connect() for _ in range(3)]
        for client, size, total in ((largest, 28_000, 28_000), (small, 10_000, 38_000)):
            await open_part(client, size)
            await reach(server, "received", total)
        await open_part(last, 12_000)
        await largest.read_to_end()
        assert server.server._limits.memory.cuts == 1
        for client, rest in ((small, 20_000), (last, 18_000)):
            await client.send(frame(DATA, 1, 1, b"x" * rest))
            data, _ = await client.response(1)
            assert len(data) == 30_005

    run(test, max_received=45_000)


def test_request_counts_until_its_handler_has_ended() -> None:
    async def test(server: TestServer) -> None:
        larger, other = await server.connect(), await server.connect()
        await larger.send(open_call(1, "/t.T/Hold") + message(1, b"x" * 16_000))
        await reach(server, "received", 16_000)
        await larger.send(open_call(3, "/t.T/Hold") + message(3, b"x" * 16_000))
        await reach(server, "received", 32_000)
        await other.send(open_call(1, "/t.T/Hold") + message(1, b"x" * 10_000))
        await larger.read_to_end()
        await other.send(rst_stream(1, ErrorCode.CANCEL) + open_call(3) + message(3, b"on"))
        assert (await other.response(3))[0] == length_prefix(2) + b"on"

    run(test, max_received=40_000)


def test_connection_that_leaves_most_unread_is_closed() -> None:
    async def test(server: TestServer) -> None:
        largest, other = await server.connect(), await server.connect()
        await largest.send(open_call(1, "/t.T/Big") + message(1, b"120000"))
        await reach(server, "unsent", 120_000)
        await other.send(open_call(1, "/t.T/Big") + message(1, b"100000"))
        await largest.read_to_end()
        window = frame(8, 0, 0, (1 << 20).to_bytes(4, "big"))
        await other.send(window + frame(8, 0, 1, (1 << 20).to_bytes(4, "big")))
        data, _ = await other.response(1)
        assert len(data) == 100_005
        assert server.server._limits.memory.unsent == 0

    run(test, max_unsent=150_000)


def test_response_that_is_reset_is_released() -> None:
    async def test(server: TestServer) -> None:
        client = await server.connect()
        await client.send(open_call(1, "/t.T/Big") + message(1, b"120000"))
        await reach(server, "unsent", 120_000)
        window = frame(8, 0, 0, (1 << 20).to_bytes(4, "big"))
        reset = rst_stream(1, ErrorCode.CANCEL) + window
        await client.send(reset + open_call(3) + message(3, b"on"))
        await client.response(3)
        assert server.server._limits.memory.unsent == 0

    run(test)


def test_calls_that_come_with_what_causes_the_cut_end_too() -> None:
    """They are in the same read: the connection is closed after its calls have begun."""
    running: set[str] = set()

    async def hold_named(data: bytes, _: CallContext) -> bytes:
        running.add(data.decode())
        try:
            return await hold(data, _)
        finally:
            running.discard(data.decode())

    async def hold_stream(requests: AsyncIterator[bytes], call: CallContext) -> Any:
        yield await hold_named(b"stream", call)

    async def test(server: TestServer) -> None:
        client = await server.connect()
        part = open_call(1) + frame(DATA, 0, 1, length_prefix(30_000) + b"x" * 10_000)
        calls = open_call(3, "/t.T/HoldStream") + open_call(5, "/t.T/Named") + message(5, b"unary")
        incomplete = open_call(7) + frame(DATA, 0, 7, length_prefix(9000) + b"x" * 5000)
        await client.send(part + calls + incomplete)
        await client.read_to_end()
        memory = server.server._limits.memory
        assert (memory.received, memory.unsent, memory.cuts) == (0, 0, 1)
        while running:  # noqa: ASYNC110
            await asyncio.sleep(0)

    unary = {"/t.T/Named": hold_named}
    run_with_server(test, unary, {"/t.T/HoldStream": hold_stream}, max_received=9000)


@pytest.mark.parametrize("name", ["received", "unsent"])
def test_only_connection_is_closed_too(name: str) -> None:
    aborted = []
    memory = ServerMemory(10, 10)
    connection = memory.add_connection(lambda: aborted.append(name))
    add = connection.add_received if name == "received" else connection.add_unsent
    add(10)
    assert not aborted
    add(1)
    assert aborted == [name]
    assert (memory.received, memory.unsent, memory.cuts) == (0, 0, 1)
    add(100)  # of a connection that is ending
    add(-111)
    assert (memory.received, memory.unsent, memory.cuts) == (0, 0, 1)
