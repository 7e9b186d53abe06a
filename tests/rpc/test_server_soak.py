"""Many calls to our server, some given up: nothing of them stays behind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop

from rpc.client import Channel
from rpc.server import CallContext, Server
from rpc.status import RpcError, Status
from tests.rpc.test_soak import CALLS, resident_kib


async def echo(data: bytes, _call: CallContext) -> bytes:
    return data


async def refuse(_data: bytes, _call: CallContext) -> bytes:
    raise RpcError(Status.FAILED_PRECONDITION, "no")


async def hold(_data: bytes, _call: CallContext) -> bytes:
    await asyncio.Event().wait()
    return b""


async def count(requests: AsyncIterator[bytes], _call: CallContext) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def one_of_each(channel: Channel, number: int) -> None:
    """Make a call that succeeds, fails, is cancelled, passes its deadline, or streams."""
    match number % 10:
        case 0:
            task = asyncio.ensure_future(channel.unary("/t.T/Hold", b"c", timeout=20))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        case 1:
            with contextlib.suppress(RpcError):
                await channel.unary("/t.T/Hold", b"d", timeout=0.001)
        case 2:
            with contextlib.suppress(RpcError):
                await channel.unary("/t.T/Refuse", b"r", timeout=20)
        case 3:
            stream = channel.stream("/t.T/Count", timeout=20)
            await stream.send(b"one")
            assert await anext(stream) == b"one"
            stream.cancel()  # without the end of the requests
        case _:
            assert await channel.unary("/t.T/Echo", b"x" * 200, timeout=20)


@pytest.mark.first
@pytest.mark.unmeasured
def test_calls_of_every_end_leak_nothing(tmp_path: Path) -> None:
    async def main() -> float:
        server = Server(
            unary={"/t.T/Echo": echo, "/t.T/Refuse": refuse, "/t.T/Hold": hold},
            stream={"/t.T/Count": count},
        )
        address = f"unix:{tmp_path}/s.sock"
        await server.start(address, 0)
        channel = Channel(address)

        async def worker(calls: int) -> None:
            for number in range(calls):
                await one_of_each(channel, number)

        async def run_calls(calls: int) -> None:
            await asyncio.gather(*(worker(calls // 50) for _ in range(50)))

        await run_calls(CALLS // 2)  # tables and pools have their size after that
        initial_kib = resident_kib()
        await run_calls(CALLS)
        await channel.unary("/t.T/Echo", b"last", timeout=20)
        growth_kib = resident_kib() - initial_kib
        (connection,) = server._connections
        assert not connection._connection.outbound.streams
        await channel.close()
        await server.stop(1)
        assert len(asyncio.all_tasks()) == 1, "this one"
        return growth_kib

    growth_kib = uvloop.run(main())
    assert growth_kib < 4096, f"{growth_kib:.0f} KiB more after {CALLS} calls"
