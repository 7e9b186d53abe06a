"""Gateways' pickers in one process, each with its own hub stream, table, balancer and name.

They play the schedule of a cell, open-loop: each request has its time, and its latency counts from
that time, whatever the process does meanwhile. Told by one line of JSON on stdin, answers by one.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from random import Random
from typing import Any

from atom.caller import GrpcCaller
from bench.lb.cell import Cell, arrivals
from bench.lb.stats import quantile
from lb.access import HubCredentials
from lb.arms import policy_factories
from lb.balancer import Balancer
from lb.entry import Endpoint
from lb.table import EndpointTable
from lb.view import HubView
from lb.watch import Watch
from rpc.client import Channel
from rpc.status import RpcError
from schemas.errors import LOADER_FULL, UNREACHABLE, AseError
from schemas.wire import LoaderInput, MetaDesc

_SERVICE = "bench"
_PATIENCE_S = 60.0


class Attempt:
    """A call to a loader."""

    def __init__(self, target: Any, frame: bytes) -> None:
        self.target = target
        self.frame = frame
        self.handle = ""
        self.timeout = _PATIENCE_S


class Picker:
    """One gateway's picker, and its connections to the loaders."""

    def __init__(self, name: str, hub: str, policy: str, rng: Random) -> None:
        loop = asyncio.get_running_loop()
        self.table = EndpointTable(name, silence_timeout=None, ramp=0.0)
        made = policy_factories(rng, _no_probe)[policy]
        self.balancer = Balancer(
            self.table,
            made,
            clock=time.monotonic,
            rng=rng,
            call_later=loop.call_later,
            max_waiting=100_000,
        )
        self.caller = GrpcCaller(name)
        self.refused = 0
        self._digest = ""
        self._watch = Watch(
            hub,
            HubView(self.table, name),
            gateway=name,
            clock=time.monotonic,
            rng=rng,
            on_change=_nothing,
            credentials=HubCredentials(),
        )
        self._tasks = [
            asyncio.ensure_future(self._watch.run()),
            asyncio.ensure_future(self._watch.sweep()),
        ]

    async def ready(self, loaders: int) -> None:
        """Return when every loader is known."""
        while len(self.table) < loaders:  # noqa: ASYNC110 (a bench that waits to begin)
            await asyncio.sleep(0.05)
        self._digest = next(iter(self.table)).instance.digest

    async def serve(self, frame: bytes) -> None:
        """Send a request, as often as it is refused."""
        ahead = False
        while True:
            ticket = await self._ticket(ahead)
            done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            call = self.caller.start_call(Attempt(ticket.instance, frame), _set(done))
            await done
            try:
                call.outcome()
            except AseError as error:
                ticket.release(error.spec)
                if error.spec not in (LOADER_FULL, UNREACHABLE):
                    raise
                self.refused += 1
                ahead = True
            else:
                ticket.release()
                return

    async def _ticket(self, ahead: bool) -> Any:
        if not ahead:
            with suppress(AseError):
                return self.balancer.acquire(_SERVICE, self._digest, ())
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiter = self.balancer.wait(_SERVICE, self._digest, "", _PATIENCE_S, ahead, _set(done))
        await done
        return waiter.outcome()

    async def close(self) -> None:
        """Let everything go."""
        for task in self._tasks:
            task.cancel()
        await self.caller.close()


class Proxy:
    """A proxy that balances: one connection to it, nothing to pick."""

    def __init__(self, addr: str) -> None:
        self._channel = Channel(addr)
        self.refused = 0

    async def ready(self, _loaders: int) -> None:
        """Return when the proxy answers."""
        frame = _frame(0.0)
        while True:
            try:
                await self.serve(frame)
            except RpcError:
                await asyncio.sleep(0.1)
            else:
                return

    async def serve(self, frame: bytes) -> None:
        """Send a request."""
        await self._channel.unary("/ase.v1.Loader/Infer", frame, timeout=_PATIENCE_S)

    async def close(self) -> None:
        """Let it go."""
        await self._channel.close()


async def play(cell: Cell, seed: int, requests: int, warm: int, hub: str, proxy: str) -> Any:
    """Play a schedule; return times in milliseconds, and how late the player was."""
    rngs = [Random(seed * 7919 + 2000 + n) for n in range(cell.gateways)]  # noqa: S311
    doors: list[Any] = (
        [Proxy(proxy)]
        if proxy
        else [
            Picker(f"g{n}", hub, cell.policy.removesuffix("_unbounded"), rng)
            for n, rng in enumerate(rngs)
        ]
    )
    await asyncio.gather(*(door.ready(cell.loaders) for door in doors))
    responses: list[float] = []
    waits: list[float] = []
    lags: list[float] = []
    errors = 0
    tasks = set()
    start = time.monotonic() + 0.1

    async def one(due: float, work: float, speed_free: float, door: Any, *, counts: bool) -> None:
        nonlocal errors
        try:
            await door.serve(_frame(work * 1000))
        except (AseError, RpcError):
            errors += 1
            return
        if counts:
            took = time.monotonic() - due
            responses.append(took)
            waits.append(max(0.0, took - speed_free))

    for number, (at, work, door) in enumerate(islice(arrivals(cell, seed), warm + requests)):
        due = start + at
        pause = due - time.monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
        lags.append(max(0.0, time.monotonic() - due))
        counts = number >= warm
        task = asyncio.ensure_future(one(due, work, work, doors[door % len(doors)], counts=counts))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    refused = sum(door.refused for door in doors)
    for door in doors:
        await door.close()
    totals = {"refused_per_request": refused / (warm + requests), "errors": errors}
    return _quantiles(responses, waits, lags) | totals


def _quantiles(responses: list[float], waits: list[float], lags: list[float]) -> dict[str, Any]:
    """Return quantiles in milliseconds of lists in seconds, which are sorted in place."""
    for times in (responses, waits, lags):
        times.sort()
    return {
        "p50_ms": quantile(responses, 0.5) * 1000,
        "p99_ms": quantile(responses, 0.99) * 1000,
        "p999_ms": quantile(responses, 0.999) * 1000,
        "wait_p99_ms": quantile(waits, 0.99) * 1000,
        "lag_p99_ms": quantile(lags, 0.99) * 1000,
    }


def _frame(milliseconds: float) -> bytes:
    expect = [MetaDesc(name="done", dataType=0)]
    params = {"ms": f"{milliseconds:.4f}"}
    return LoaderInput(state=LoaderInput.ONCE, params=params, expect=expect).SerializeToString()


def _set(done: "asyncio.Future[Any]") -> Callable[[Any], None]:
    def call(told: Any) -> None:
        if not done.done():
            done.set_result(told)

    return call


def _nothing(_: Any) -> None:
    """Take in a change."""


def _no_probe(_entry: Endpoint, _answer: Any) -> None:
    """Ask nobody."""


if __name__ == "__main__":
    told = json.loads(sys.stdin.readline())
    made = Cell(speeds=tuple(told["cell"].pop("speeds")), **told["cell"])
    came = asyncio.run(
        play(made, told["seed"], told["requests"], told["warm"], told["hub"], told["proxy"])
    )
    print(json.dumps(came))
