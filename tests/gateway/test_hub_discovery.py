"""The hub in a gateway, whose loaders go to another process and back; hubs that come and go."""

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from config.options import LbOptions
from gateway.hub_discovery import EmbeddedHub, FollowedHubs
from lb.credentials import HubCredentials
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointState, StateChange
from lb.endpoints.report import Instance, Report
from lb.hub.admission import AdmissionPolicy
from lb.hub.counters import HubCounts
from lb.reporter.limiter import ConcurrencyLimiter
from lb.reporter.reporter import Reporter
from rpc.addresses import listen
from rpc.status import RpcError

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


class Gateway:
    """A gateway that follows the hubs of a registry; `list_hubs` stands for the registry."""

    def __init__(self) -> None:
        self._lists: asyncio.Queue[list[str]] = asyncio.Queue()
        self.changes: list[StateChange] = []
        self.hubs = FollowedHubs(
            LbOptions(hub="registry", ttl=0.05), HubCredentials(), "gateway", time.monotonic,
            random.Random(3), self.changes.append,
        )  # fmt: skip

    async def start(self) -> None:
        await self.hubs.start(None, self._list_changes())

    async def _list_changes(self) -> AsyncIterator[Sequence[str]]:
        while True:
            yield await self._lists.get()

    def list_hubs(self, *hubs: Fixture) -> None:
        self._lists.put_nowait([f"127.0.0.1:{hub.port}" for hub in hubs])

    def state(self) -> EndpointState:
        endpoint = self.hubs.table.get(INSTANCE.key)
        return EndpointState.GONE if endpoint is None else endpoint.state

    def seq(self) -> int:
        endpoint = self.hubs.table.get(INSTANCE.key)
        return 0 if endpoint is None else endpoint.load.seq


def test_hubs_are_followed_as_the_registry_lists_them() -> None:
    async def main() -> None:
        first, second, gateway = Fixture(), Fixture(), Gateway()
        for fixture in (first, second):
            await fixture.hub.start(fixture.socket)
        first.reporter.start()
        await gateway.start()
        assert not gateway.hubs.is_synced()
        with pytest.raises(RpcError, match="no hub is known yet"):
            await gateway.hubs.lease(b"")
        gateway.list_hubs(first)
        await until(lambda: gateway.state() is EndpointState.UP)
        # The loader follows the registry too. The one of the first hub is nobody's any more.
        first.reporter.set_hubs([f"127.0.0.1:{second.port}"])
        await until(lambda: second.endpoint() is not None)
        gateway.list_hubs(second)
        gateway.list_hubs()  # the hub restarts: it is kept
        await first.hub.stop()
        seq = gateway.seq()
        await until(lambda: gateway.seq() > seq)
        assert gateway.state() is EndpointState.UP
        assert EndpointState.GONE not in {change.after for change in gateway.changes}
        assert gateway.hubs.is_synced()
        await gateway.hubs.stop()
        await first.reporter.shutdown(0)
        await second.hub.stop()

    asyncio.run(main())


def test_what_only_a_hub_that_was_left_has_reported_expires() -> None:
    async def main() -> None:
        first, second, gateway = Fixture(), Fixture(), Gateway()
        for fixture in (first, second):
            await fixture.hub.start(fixture.socket)
        first.reporter.start()
        await gateway.start()
        gateway.list_hubs(first, second)
        await until(lambda: gateway.state() is EndpointState.UP)
        gateway.list_hubs(second)
        await until(lambda: gateway.state() is EndpointState.GONE)
        states = [change.after for change in gateway.changes]
        assert states == [EndpointState.UP, EndpointState.SUSPECT, EndpointState.GONE]
        await gateway.hubs.stop()
        await first.close()
        await second.hub.stop()

    asyncio.run(main())
