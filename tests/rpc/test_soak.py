"""Many calls, some given up: nothing of them stays behind."""

import asyncio
import gc
import os
from pathlib import Path

import pytest
import uvloop

from rpc.client import Channel
from tests.rpc.test_oracle import run_oracle_server

# Enough to see a leak of one small object per call. A long soak sets a million.
CALLS = int(os.environ.get("ASE_SOAK_CALLS", "16000"))


def resident_kib() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


@pytest.mark.first
@pytest.mark.unmeasured
def test_calls_and_cancellations_leak_nothing() -> None:
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

        async def run_calls(calls: int) -> None:
            await asyncio.gather(*(worker(calls // 50) for _ in range(50)))

        await run_calls(CALLS // 4)  # tables and pools have their size after that
        initial_kib = resident_kib()
        await run_calls(CALLS)
        await channel.unary("/t.T/Echo", b"last", timeout=20)
        growth_kib = resident_kib() - initial_kib
        (transport,) = channel._transports
        assert not transport.connection.outbound.streams
        assert not channel._queued_calls
        await channel.close()
        return growth_kib

    with run_oracle_server() as addr:
        growth_kib = uvloop.run(main(addr))
    assert growth_kib < 4096, f"{growth_kib:.0f} KiB more after {CALLS} calls"
