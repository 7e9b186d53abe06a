"""A crowd around one hub: loaders that report by the product's own trigger, gateways that watch.

All in one process, told by one line of JSON on stdin: {"hub", "loaders", "gateways", "rate",
"seconds"}. It answers by one: reports and frames a second, and how old figures were when a gateway
had them, in milliseconds.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from random import Random
from typing import Any

from bench.lb.stats import quantile
from lb.access import HubCredentials
from lb.meter import ConcurrencyLimiter
from lb.report import Instance, Report
from lb.reporter import Reporter
from lb.watch import METHOD
from rpc.client import Channel
from rpc.status import RpcError
from rpc.streaming import stream_responses
from schemas.wire import Frame, WatchRequest

_SLOTS, _WORK_S = 4, 0.02
# One gateway of so many reads what its frames tell; all take them in.
_READS = 16


class Crowd:
    """Loaders, gateways, and what they counted since `count` was set."""

    def __init__(self, hub: str, rng: Random) -> None:
        self._hub = hub
        self._rng = rng
        self._tasks: list[asyncio.Task[None]] = []
        self._meters: list[ConcurrencyLimiter] = []
        self.counts = False
        self.reports = self.frames = 0
        self.ages: list[float] = []

    def join(self, number: int) -> None:
        """Let a loader report; `served` tells the time, in microseconds, in this bench alone."""
        addr = f"127.0.{number // 250}.{number % 250 + 1}:8240"
        instance = Instance("ase", "bench", addr, 7, total=2 * _SLOTS, best=_SLOTS)

        def report(_first: bool) -> Report:
            self.reports += self.counts
            meter.served = int(time.monotonic() * 1e6)
            return Report(instance, meter.next_load())

        meter = ConcurrencyLimiter(2 * _SLOTS, lambda: reporter.notify_change(), best=_SLOTS)  # noqa: PLW0108
        reporter = Reporter(
            [self._hub],
            report,
            meter,
            clock=time.monotonic,
            rng=self._rng,
            credentials=HubCredentials(),
        )
        reporter.start()
        self._meters.append(meter)

    def watch(self, number: int) -> None:
        """Let a gateway follow the hub."""
        self._tasks.append(asyncio.create_task(self._watched(number)))

    async def work(self, rate: float) -> None:
        """Let requests come to loaders by chance, so many a second, and end after a while."""
        loop, due = asyncio.get_running_loop(), time.monotonic()
        while True:
            now = time.monotonic()
            while due <= now:
                due += self._rng.expovariate(rate)
                number = int(self._rng.random() * 64)
                meter = self._meters[int(self._rng.random() * len(self._meters))]
                gateway = f"g{number}"
                if meter.try_acquire(gateway):
                    took = self._rng.expovariate(1 / _WORK_S)
                    end = partial(meter.release, gateway, took * 1000, succeeded=True)
                    loop.call_later(took, end)
            await asyncio.sleep(due - now)

    async def _watched(self, number: int) -> None:
        while True:
            channel = Channel(self._hub)
            try:
                async for data in stream_responses(
                    channel.stream(METHOD), self._wish(f"g{number}")
                ):
                    self._told(data, reads=number % _READS == 0)
            except RpcError as error:
                print(error, file=sys.stderr)
            await channel.close()
            await asyncio.sleep(0.1)

    def _told(self, data: bytes, *, reads: bool) -> None:
        now = time.monotonic()
        if self.counts:
            self.frames += 1
            if reads:
                loads = Frame.FromString(data).loads
                self.ages += [now - load.served_total / 1e6 for load in loads]

    async def _wish(self, name: str) -> AsyncIterator[bytes]:
        yield WatchRequest(gateway=name).SerializeToString()


async def crowded(told: dict[str, Any]) -> dict[str, float]:
    """Return what came of it."""
    crowd = Crowd(told["hub"], Random(1))  # noqa: S311 (a bench)
    for number in range(told["loaders"]):
        crowd.join(number)
        await asyncio.sleep(0)
    await asyncio.sleep(1.0)
    for number in range(told["gateways"]):
        crowd.watch(number)
    work = asyncio.create_task(crowd.work(told["rate"]))
    await asyncio.sleep(2.0 + told["loaders"] / 100)
    crowd.counts = True
    print("counts", flush=True)
    before, busy = time.monotonic(), time.process_time()
    await asyncio.sleep(told["seconds"])
    crowd.counts = False
    took, busy = time.monotonic() - before, time.process_time() - busy
    print("over", flush=True)
    work.cancel()
    ages = sorted(crowd.ages)
    return {
        "reports_per_second": crowd.reports / took,
        "frames_per_second": crowd.frames / took,
        "loads_told_per_second": len(ages) / took * min(_READS, told["gateways"]),
        "age_p50_ms": quantile(ages, 0.5) * 1000,
        "age_p99_ms": quantile(ages, 0.99) * 1000,
        "crowd_cpu": busy / took,
    }


def main() -> None:
    """Do what one line tells."""
    try:
        import uvloop

        runner: Any = uvloop.run
    except ImportError:
        runner = asyncio.run
    print(json.dumps(runner(crowded(json.loads(sys.stdin.readline())))), flush=True)


if __name__ == "__main__":
    main()
