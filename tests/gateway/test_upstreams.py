"""The hub in a gateway, when its loaders go to another process and when they come back."""

import asyncio
import random
import socket
import time
from collections.abc import Callable

from config.options import LbOptions
from gateway.upstreams import EmbeddedHub
from lb.credentials import HubCredentials
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointState, StateChange
from lb.endpoints.report import Instance, Report
from lb.hub.admission import AdmissionPolicy
from lb.hub.counters import HubCounts
from lb.reporter.limiter import ConcurrencyLimiter
from lb.reporter.reporter import Reporter
from rpc.addresses import listen

INSTANCE = Instance("ase", "ocr", "127.0.0.1:9", 1, "native", "", 4, 4)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (a state, not an event)
            await asyncio.sleep(0.001)


class Fixture:
    """A hub, and the reporter of a loader; a second listener on the hub's socket is `takes`."""

    def __init__(self) -> None:
        self.changes: list[StateChange] = []
        self.socket: socket.socket = listen("127.0.0.1", 0)
        self.port = self.socket.getsockname()[1]
        options = LbOptions(silence=5.0, ttl=5.0)
        policy = AdmissionPolicy.from_options(options, {}, ())
        self.hub = EmbeddedHub(
            options, policy, None, HubCounts(), "gateway", time.monotonic, random.Random(1),
            self.changes.append,
        )  # fmt: skip
        limiter = ConcurrencyLimiter(4, lambda: None)
        self.reports = 0

        def make_report(_: bool) -> Report:
            self.reports += 1
            return Report(INSTANCE, limiter.next_load())

        credentials = HubCredentials.from_options(LbOptions(), None)  # type: ignore[arg-type]
        self.reporter = Reporter(
            [f"127.0.0.1:{self.port}"], make_report, limiter,
            clock=time.monotonic, rng=random.Random(2), credentials=credentials,
        )  # fmt: skip

    def endpoint(self) -> Endpoint | None:
        return self.hub.table.get(INSTANCE.key)

    async def close(self) -> None:
        await self.reporter.shutdown(0)
        await self.hub.stop()


def test_loader_that_goes_to_another_process_is_not_lost_and_may_come_back() -> None:
    async def main() -> None:
        fixture = Fixture()
        await fixture.hub.start(fixture.socket)
        fixture.reporter.start()
        await until(lambda: fixture.endpoint() is not None)
        endpoint = fixture.endpoint()
        assert endpoint is not None
        with fixture.socket.dup() as other_process:
            other_process.setblocking(False)
            await fixture.hub.hand_over()
            connection, _ = await asyncio.get_running_loop().sock_accept(other_process)
            connection.close()
            assert endpoint.state is EndpointState.UP
            seq = endpoint.load.seq
            await fixture.hub.take_back()
            await until(lambda: endpoint.load.seq > seq)
        assert [change.after for change in fixture.changes] == [EndpointState.UP]
        await fixture.close()

    asyncio.run(main())
