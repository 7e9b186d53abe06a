"""Traffic rules at several hubs, through real sockets: hubs restart, are away, or know others."""

import asyncio
import time

from lb.client.traffic_sender import METHOD, TrafficSender
from lb.credentials import HubCredentials
from lb.endpoints.traffic import TrafficRules, TrafficTable
from rpc.server import CallContext, Server
from rpc.status import RpcError, Status
from schemas.wire import Traffic, TrafficReply
from tests.wire.test_faults import dead_address

TIMEOUT_S = 20.0
TOKEN = "secret"  # noqa: S105 (of a test)


class HubOfRules:
    """A hub that keeps rules; `forget` is what a restart does."""

    def __init__(self) -> None:
        self.table = TrafficTable()
        self.calls = 0
        self.called = asyncio.Event()
        self.server = Server(unary={METHOD: self.set_traffic})

    async def start(self) -> str:
        return f"127.0.0.1:{await self.server.start('127.0.0.1', 0)}"

    def forget(self) -> None:
        self.table = TrafficTable()

    async def next_shares(self) -> dict[str, float]:
        """Return the shares after the next call."""
        self.called.clear()
        async with asyncio.timeout(TIMEOUT_S):
            await self.called.wait()
        return self.table.shares

    async def set_traffic(self, request: bytes, call: CallContext) -> bytes:
        if dict(call.metadata)["authorization"] != "Bearer secret":
            raise RpcError(Status.UNAUTHENTICATED, "no token")
        self.calls += 1
        rules = TrafficRules.from_message(Traffic.FromString(request))
        self.table.apply(rules)
        self.called.set()
        revision = self.table.revision_of(rules.owner)
        return TrafficReply(revision=revision).SerializeToString()


class Owner:
    """Whose rules are sent; `is_leader`, or another process sends them."""

    def __init__(self, hubs: list[str], token: str = TOKEN, wall_ms: int = 1000) -> None:
        self.shares: dict[str, float] = {}
        self.is_leader = True
        self.sender = TrafficSender(hubs, HubCredentials(token), self.rules, lambda: wall_ms)

    def rules(self) -> TrafficRules | None:
        return TrafficRules("d", 0, dict(self.shares)) if self.is_leader else None


def test_rules_are_sent_once_where_they_are_known() -> None:
    async def main() -> None:
        hub = HubOfRules()
        owner = Owner([await hub.start()])
        owner.shares["v2"] = 0.0
        assert await owner.sender.settle() == ""
        assert await owner.sender.settle() == ""
        assert (hub.table.shares, hub.calls) == ({"v2": 0.0}, 1)
        owner.shares["v2"] = 0.5
        assert await owner.sender.settle() == ""
        assert hub.table.shares == {"v2": 0.5}
        await hub.server.stop(0)

    asyncio.run(main())


def test_hub_that_forgot_is_told_again() -> None:
    async def main() -> None:
        hub = HubOfRules()
        owner = Owner([await hub.start()])
        owner.shares["v2"] = 0.25
        sending = asyncio.ensure_future(owner.sender.run())
        for _ in range(2):
            assert await hub.next_shares() == {"v2": 0.25}
            hub.forget()
        owner.shares.clear()
        owner.sender.notify()
        assert await hub.next_shares() == {}
        assert hub.table.revision_of("d")
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await hub.server.stop(0)

    asyncio.run(main())


def test_later_rules_of_another_process_are_replaced() -> None:
    async def main() -> None:
        hub = HubOfRules()
        hub.table.apply(TrafficRules("d", 5_000, {"v1": 1.0}))  # its clock was ahead
        owner = Owner([await hub.start()], wall_ms=1000)
        owner.shares["v2"] = 0.0
        assert await owner.sender.settle() == ""
        assert (hub.table.shares, hub.table.revision_of("d")) == ({"v2": 0.0}, 5_001)
        owner.shares["v2"] = 1.0
        assert await owner.sender.settle() == ""
        assert hub.table.shares == {"v2": 1.0}
        await hub.server.stop(0)

    asyncio.run(main())


def test_one_hub_of_two_is_enough_and_none_is_named() -> None:
    async def main() -> None:
        hub = HubOfRules()
        dead = dead_address()
        address = await hub.start()
        assert await Owner([dead, address]).sender.settle() == ""
        problem = await Owner([dead]).sender.settle()
        assert problem.startswith(f"hub {dead}: ")
        refused = await Owner([address], token="wrong").sender.settle()
        assert "no token" in refused
        await hub.server.stop(0)

    asyncio.run(main())


def test_hub_that_is_listed_twice_is_one_and_must_answer() -> None:
    async def main() -> None:
        dead = dead_address()
        assert await Owner([dead, dead]).sender.settle() != ""

    asyncio.run(main())


def test_revision_that_nothing_can_follow_is_a_problem_and_ends_nothing() -> None:
    async def main() -> None:
        async def answer(_request: bytes, _call: CallContext) -> bytes:
            return TrafficReply(revision=2**64 - 1).SerializeToString()

        server = Server(unary={METHOD: answer})
        port = await server.start("127.0.0.1", 0)
        owner = Owner([f"127.0.0.1:{port}"])
        owner.shares["v2"] = 0.0
        problem = await owner.sender.settle()
        assert "out of range" in problem
        await server.stop(0)

    asyncio.run(main())


def test_only_the_leader_sends() -> None:
    async def main() -> None:
        hub = HubOfRules()
        owner = Owner([await hub.start()])
        owner.shares["v2"] = 0.0
        owner.is_leader = False
        assert await owner.sender.settle() == ""
        assert hub.calls == 0
        owner.is_leader = True
        await owner.sender.settle()
        owner.is_leader = False
        await owner.sender.settle()
        owner.is_leader = True
        hub.table.apply(TrafficRules("d", int(time.time() * 1000), {}))  # by who led meanwhile
        await owner.sender.settle()
        assert hub.table.shares == {"v2": 0.0}
        await hub.server.stop(0)

    asyncio.run(main())
