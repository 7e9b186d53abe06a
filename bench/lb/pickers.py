"""The pickers of several gateways in one process, each with a hub stream, a table and a balancer.

They play the schedule of a cell, open-loop: the latency of a request starts at its scheduled time,
even if this process is late. It reads one line of JSON from stdin and prints the figures as one
line of JSON.
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
from bench.lb.cell import Cell, iter_arrivals
from bench.lb.stats import quantile
from lb.balancer.balancer import Balancer
from lb.balancer.policies import policy_factories
from lb.client.view import HubView
from lb.client.watch import Watch
from lb.credentials import HubCredentials
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.sweep import sweep
from lb.endpoints.table import EndpointTable
from rpc.client import Channel
from rpc.status import RpcError
from schemas.model.errors import LOADER_FULL, UNREACHABLE, AseError
from schemas.wire import LoaderInput, MetaDesc

_SERVICE = "bench"
_PATIENCE_S = 60.0


class GatewayPicker:
    """The picker of one gateway, with its connections to the loaders.

    A watch of `hub` fills the table; it runs until `close`. `refusals` counts the attempts that
    ended with LOADER_FULL or UNREACHABLE. `_digest` is the schema digest of the loaders, set by
    `wait_until_ready`, which must be called before `send`.
    """

    def __init__(self, name: str, hub: str, policy: str, rng: Random) -> None:
        loop = asyncio.get_running_loop()
        self.table = EndpointTable(name, silence_timeout=None, ramp=0.0)
        policy_factory = policy_factories(rng, _no_probe)[policy]
        self.balancer = Balancer(
            self.table,
            policy_factory,
            clock=time.monotonic,
            rng=rng,
            call_later=loop.call_later,
            max_waiting=100_000,
        )
        self.caller = GrpcCaller(name)
        self.refusals = 0
        self._digest = ""
        self._watch = Watch(
            hub,
            HubView(self.table, name),
            gateway=name,
            clock=time.monotonic,
            rng=rng,
            on_change=_ignore_change,
            credentials=HubCredentials(),
        )
        self._tasks = [
            asyncio.ensure_future(self._watch.run()),
            asyncio.ensure_future(sweep(self.table, time.monotonic, lambda _: None)),
        ]

    async def wait_until_ready(self, loaders: int) -> None:
        """Wait until the table has `loaders` instances."""
        while len(self.table) < loaders:  # noqa: ASYNC110 (a bench may poll)
            await asyncio.sleep(0.05)
        self._digest = next(iter(self.table)).instance.digest

    async def send(self, frame: bytes) -> None:
        """Send a request, and send it again as long as a loader is full or unreachable.

        A request that is sent again waits at the front of the queue. Raises AseError for any other
        error, and if no loader has capacity within 60 s.
        """
        at_front = False
        while True:
            lease = await self._acquire_lease(at_front)
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            on_done = _set_result_callback(future)
            call = self.caller.start_call(lease.instance, frame, "", _PATIENCE_S, on_done)
            await future
            try:
                call.outcome()
            except AseError as error:
                lease.release(error.spec)
                if error.spec not in (LOADER_FULL, UNREACHABLE):
                    raise
                self.refusals += 1
                at_front = True
            else:
                lease.release()
                return

    async def _acquire_lease(self, at_front: bool) -> Any:
        if not at_front:
            with suppress(AseError):
                return self.balancer.acquire(_SERVICE, self._digest, ())
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        pending = self.balancer.wait(
            _SERVICE, self._digest, "", "", _PATIENCE_S, at_front, _set_result_callback(future)
        )
        await future
        return pending.outcome()

    async def close(self) -> None:
        """Stop the watch and close the connections."""
        for task in self._tasks:
            task.cancel()
        await self.caller.close()


class ProxyClient:
    """The client of a load-balancing proxy: one connection, no pick. `refusals` is always 0."""

    def __init__(self, addr: str) -> None:
        self._channel = Channel(addr)
        self.refusals = 0

    async def wait_until_ready(self, _loaders: int) -> None:
        """Wait until the proxy responds without an error."""
        frame = _encode_request(0.0)
        while True:
            try:
                await self.send(frame)
            except RpcError:
                await asyncio.sleep(0.1)
            else:
                return

    async def send(self, frame: bytes) -> None:
        """Send a request and wait for the response. Raises RpcError."""
        await self._channel.unary("/ase.v1.Loader/Infer", frame, timeout=_PATIENCE_S)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()


async def play_schedule(
    cell: Cell, seed: int, requests: int, warmup_requests: int, hub: str, proxy: str
) -> Any:
    """Play the schedule of a cell with a seed and return quantiles in milliseconds.

    The first `warmup_requests` requests are not measured. A wait is the latency without the work of
    the request. `lag_p99_ms` shows how late this process sent the requests. `errors` counts failed
    requests. With `proxy`, all requests go to that address instead of the loaders of `hub`.
    """
    clients: list[Any] = [ProxyClient(proxy)] if proxy else _gateway_pickers(cell, seed, hub)
    await asyncio.gather(*(client.wait_until_ready(cell.loaders) for client in clients))
    responses: list[float] = []
    waits: list[float] = []
    lags: list[float] = []
    errors = 0
    tasks = set()
    start = time.monotonic() + 0.1

    async def send_one(
        due: float, work: float, ideal_s: float, client: Any, *, is_measured: bool
    ) -> None:
        nonlocal errors
        try:
            await client.send(_encode_request(work * 1000))
        except (AseError, RpcError):
            errors += 1
            return
        if is_measured:
            latency_s = time.monotonic() - due
            responses.append(latency_s)
            waits.append(max(0.0, latency_s - ideal_s))

    for index, (arrival, work, gateway_index) in enumerate(
        islice(iter_arrivals(cell, seed), warmup_requests + requests)
    ):
        due = start + arrival
        delay = due - time.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)
        lags.append(max(0.0, time.monotonic() - due))
        is_measured = index >= warmup_requests
        task = asyncio.ensure_future(
            send_one(
                due, work, work, clients[gateway_index % len(clients)], is_measured=is_measured
            )
        )
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    refusals = sum(client.refusals for client in clients)
    for client in clients:
        await client.close()
    totals = {"refused_per_request": refusals / (warmup_requests + requests), "errors": errors}
    return _quantiles(responses, waits, lags) | totals


def _gateway_pickers(cell: Cell, seed: int, hub: str) -> list[Any]:
    policy = cell.policy.removesuffix("_unbounded")
    rngs = [Random(seed * 7919 + 2000 + n) for n in range(cell.gateways)]  # noqa: S311
    return [GatewayPicker(f"g{n}", hub, policy, rng) for n, rng in enumerate(rngs)]


def _quantiles(responses: list[float], waits: list[float], lags: list[float]) -> dict[str, Any]:
    """Return quantiles in milliseconds of lists in seconds; sorts the lists in place."""
    for times in (responses, waits, lags):
        times.sort()
    return {
        "p50_ms": quantile(responses, 0.5) * 1000,
        "p99_ms": quantile(responses, 0.99) * 1000,
        "p999_ms": quantile(responses, 0.999) * 1000,
        "wait_p99_ms": quantile(waits, 0.99) * 1000,
        "lag_p99_ms": quantile(lags, 0.99) * 1000,
    }


def _encode_request(milliseconds: float) -> bytes:
    expect = [MetaDesc(name="done", dataType=0)]
    params = {"ms": f"{milliseconds:.4f}"}
    return LoaderInput(state=LoaderInput.ONCE, params=params, expect=expect).SerializeToString()


def _set_result_callback(future: "asyncio.Future[Any]") -> Callable[[Any], None]:
    def set_result(value: Any) -> None:
        if not future.done():
            future.set_result(value)

    return set_result


def _ignore_change(_: Any) -> None:
    """Ignore a state change of an endpoint."""


def _no_probe(_endpoint: Endpoint, _on_answer: Any) -> None:
    """Send no probe."""


if __name__ == "__main__":
    spec = json.loads(sys.stdin.readline())
    cell = Cell(speeds=tuple(spec["cell"].pop("speeds")), **spec["cell"])
    result = asyncio.run(
        play_schedule(
            cell, spec["seed"], spec["requests"], spec["warm"], spec["hub"], spec["proxy"]
        )
    )
    print(json.dumps(result))
