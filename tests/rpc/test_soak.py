"""Many calls, some given up: nothing of them stays behind."""

import asyncio
import gc
import os
from pathlib import Path

import uvloop

from rpc.client import Channel
from tests.rpc.test_oracle import server

# The whole soak is a million; so many are enough to see a leak of a few bytes a call.
CALLS = int(os.environ.get("ASE_SOAK_CALLS", "40000"))


def held_kib() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def test_calls_and_cancels_leave_nothing() -> None:
    async def main(addr: str) -> float:
        channel = Channel(addr)

        async def worker(calls: int) -> None:
            for number in range(calls):
                if number % 10:
                    assert await channel.unary("/t.T/Echo", b"x" * 200, timeout=20)
                else:
                    task = asyncio.ensure_future(channel.unary("/t.T/Echo", b"c", timeout=20))
                    await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)

        async def many(calls: int) -> None:
            await asyncio.gather(*(worker(calls // 50) for _ in range(50)))

        await many(CALLS // 4)  # tables and pools have their size after that
        before = held_kib()
        await many(CALLS)
        await channel.unary("/t.T/Echo", b"last", timeout=20)
        grown = held_kib() - before
        (wire,) = channel._transports
        assert not wire.connection.outbound.streams
        assert not channel._queued_calls
        await channel.close()
        return grown

    with server() as addr:
        grown = uvloop.run(main(addr))
    assert grown < 4096, f"{grown:.0f} KiB more after {CALLS} calls"
