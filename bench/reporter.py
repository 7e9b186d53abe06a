"""Reports to a hub for the backend of the bench, which cannot, so that the gateway has live state.

Usage: python -m bench.reporter HUB ADDR [ADDR ...]
"""

import asyncio
import sys
import time
from itertools import count
from random import SystemRandom

from bench.workload import SCHEMA
from lb.credentials import HubCredentials
from lb.endpoints.report import Instance, Load, Report
from lb.reporter.limiter import ConcurrencyLimiter
from lb.reporter.reporter import Reporter
from schemas.model import document


async def main(hub: str, addresses: list[str]) -> None:
    """Report an idle loader at each of `addresses` to `hub` until the process is stopped."""
    for addr in addresses:
        _start_reporter(hub, addr)
    await asyncio.Event().wait()


def _start_reporter(hub: str, addr: str) -> None:
    instance = Instance(
        "ase",
        "bench",
        addr,
        SystemRandom().getrandbits(63) | 1,
        digest=document.digest(SCHEMA),
        total=10_000,
        best=10_000,
    )
    sequence = count(1)
    idle_limiter = ConcurrencyLimiter(instance.total, lambda: None)

    def report(is_first: bool) -> Report:
        return Report(instance, Load(next(sequence), service_ms=0.1), SCHEMA if is_first else b"")

    Reporter(
        [hub],
        report,
        idle_limiter,
        clock=time.monotonic,
        rng=SystemRandom(),
        credentials=HubCredentials(),
    ).start()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
