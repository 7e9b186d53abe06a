"""The clients of one hub in one process: loaders with the product's reporter, and gateways.

It reads one line of JSON from stdin: {"hub", "loaders", "gateways", "rate", "seconds"}. It prints
the line `counts` when it begins to measure and `over` when it ends. The last line is JSON: reports
and frames per second, and the age of the loads in milliseconds when a gateway received them.
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
from lb.client.watch import METHOD
from lb.credentials import HubCredentials
from lb.endpoints.report import Instance, Report
from lb.reporter.limiter import ConcurrencyLimiter
from lb.reporter.reporter import Reporter
from rpc.client import Channel
from rpc.message_stream import stream_responses
from rpc.status import RpcError
from schemas.wire import Frame, WatchRequest

_SLOTS, _WORK_S = 4, 0.02
# All gateways receive frames; one in _DECODE_EVERY also decodes them, to save processor time.
_DECODE_EVERY = 16


class HubClients:
    """The loaders and gateways, and their counters.

    `reports`, `frames` and `ages` count only while `is_counting`. `ages` are in seconds, from the
    gateways that decode frames. `_meters` are the limiters of the loaders.
    """

    def __init__(self, hub: str, rng: Random) -> None:
        self._hub = hub
        self._rng = rng
        self._tasks: list[asyncio.Task[None]] = []
        self._meters: list[ConcurrencyLimiter] = []
        self.is_counting = False
        self.reports = self.frames = 0
        self.ages: list[float] = []

    def add_loader(self, number: int) -> None:
        """Start the reporter of one loader.

        Its reports carry the time of sending in `served`, in microseconds of the monotonic clock,
        so that a gateway can compute their age.
        """
        addr = f"127.0.{number // 250}.{number % 250 + 1}:8240"
        instance = Instance("ase", "bench", addr, 7, total=2 * _SLOTS, best=_SLOTS)

        def report(_is_first: bool) -> Report:
            self.reports += self.is_counting
            limiter.served = int(time.monotonic() * 1e6)
            return Report(instance, limiter.next_load())

        limiter = ConcurrencyLimiter(2 * _SLOTS, lambda: reporter.notify_change(), best=_SLOTS)  # noqa: PLW0108
        reporter = Reporter(
            [self._hub],
            report,
            limiter,
            clock=time.monotonic,
            rng=self._rng,
            credentials=HubCredentials(),
        )
        reporter.start()
        self._meters.append(limiter)

    def add_gateway(self, number: int) -> None:
        """Start a gateway that watches the hub."""
        self._tasks.append(asyncio.create_task(self._watch_hub(number)))

    async def generate_load(self, rate: float) -> None:
        """Generate `rate` requests per second at random loaders, until cancelled.

        Arrivals are Poisson, from 64 gateways. A request ends after an exponential time with a mean
        of 20 ms. A loader that is full drops it.
        """
        loop, next_arrival = asyncio.get_running_loop(), time.monotonic()
        while True:
            now = time.monotonic()
            while next_arrival <= now:
                next_arrival += self._rng.expovariate(rate)
                number = int(self._rng.random() * 64)
                limiter = self._meters[int(self._rng.random() * len(self._meters))]
                gateway = f"g{number}"
                if limiter.try_acquire(gateway):
                    duration_s = self._rng.expovariate(1 / _WORK_S)
                    release = partial(limiter.release, gateway, duration_s * 1000, succeeded=True)
                    loop.call_later(duration_s, release)
            await asyncio.sleep(next_arrival - now)

    async def _watch_hub(self, number: int) -> None:
        while True:
            channel = Channel(self._hub)
            try:
                async for data in stream_responses(
                    channel.stream(METHOD), self._watch_requests(f"g{number}")
                ):
                    self._on_frame(data, decode=number % _DECODE_EVERY == 0)
            except RpcError as error:
                print(error, file=sys.stderr)
            await channel.close()
            await asyncio.sleep(0.1)

    def _on_frame(self, data: bytes, *, decode: bool) -> None:
        now = time.monotonic()
        if self.is_counting:
            self.frames += 1
            if decode:
                loads = Frame.FromString(data).loads
                self.ages += [now - load.served_total / 1e6 for load in loads]

    async def _watch_requests(self, name: str) -> AsyncIterator[bytes]:
        yield WatchRequest(gateway=name).SerializeToString()


async def measure_hub_clients(spec: dict[str, Any]) -> dict[str, float]:
    """Start the clients, warm them up, measure for `seconds` and return the figures.

    The keys of `spec` are documented in this module. `crowd_cpu` is the processor time of this
    process, in cores.
    """
    clients = HubClients(spec["hub"], Random(1))  # noqa: S311 (a bench)
    for number in range(spec["loaders"]):
        clients.add_loader(number)
        await asyncio.sleep(0)
    await asyncio.sleep(1.0)
    for number in range(spec["gateways"]):
        clients.add_gateway(number)
    load_task = asyncio.create_task(clients.generate_load(spec["rate"]))
    await asyncio.sleep(2.0 + spec["loaders"] / 100)
    clients.is_counting = True
    print("counts", flush=True)
    started_at, cpu_s = time.monotonic(), time.process_time()
    await asyncio.sleep(spec["seconds"])
    # An overloaded hub sends frames rarely; without one there is no figure.
    while not clients.ages:  # noqa: ASYNC110 (a bench)
        await asyncio.sleep(0.1)
    clients.is_counting = False
    elapsed, cpu_s = time.monotonic() - started_at, time.process_time() - cpu_s
    print("over", flush=True)
    load_task.cancel()
    ages = sorted(clients.ages)
    return {
        "reports_per_second": clients.reports / elapsed,
        "frames_per_second": clients.frames / elapsed,
        "loads_told_per_second": len(ages) / elapsed * min(_DECODE_EVERY, spec["gateways"]),
        "age_p50_ms": quantile(ages, 0.5) * 1000,
        "age_p99_ms": quantile(ages, 0.99) * 1000,
        "crowd_cpu": cpu_s / elapsed,
    }


def main() -> None:
    """Measure as the line on stdin specifies, on uvloop if it is installed."""
    try:
        import uvloop

        runner: Any = uvloop.run
    except ImportError:
        runner = asyncio.run
    print(json.dumps(runner(measure_hub_clients(json.loads(sys.stdin.readline())))), flush=True)


if __name__ == "__main__":
    main()
