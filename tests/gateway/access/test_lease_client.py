"""The exchange of leases in virtual time: intervals, a hub that is away, a hub that is back."""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from gateway.access.identity import CallerLimits, Identity
from gateway.access.lease_client import share_limits
from gateway.access.leases import ALONE_INTERVAL_S, SHARING_INTERVAL_S, LimitShares
from gateway.access.limits import UsageLimiter
from gateway.access.meters import LimitExceededError
from lb.hub.leases import LEASE_S, LeaseError
from rpc.status import RpcError, Status
from schemas.wire import Lease, LeaseReply, LeaseRequest
from tests.inprocess import VirtualLoop


class Client:
    """A gateway that shares the limits of a service with `gateways` others at most.

    `times` are those of the exchanges. While `hub_is_up` is False they fail with `error`.
    """

    def __init__(self, gateways: int) -> None:
        self.loop = VirtualLoop()
        self.gateways = gateways
        self.hub_is_up = True
        self.error: Exception = RpcError(Status.UNAVAILABLE, "no hub")
        self.times: list[float] = []
        limits = CallerLimits(rate=10.0)
        self.limiter = UsageLimiter(
            {}, {"ocr": limits}, self.loop.time, lambda: 1_800_000_000 + self.loop.time()
        )
        self.shares = LimitShares(self.limiter, "g0", self.loop.time)
        self.is_requested = asyncio.Event()
        self.task = self.loop.create_task(
            share_limits(self.shares, self.exchange, self.is_requested, self.loop.time)
        )

    async def exchange(self, data: bytes) -> bytes:
        self.times.append(self.loop.time())
        request = LeaseRequest.FromString(data)
        if not self.hub_is_up:
            raise self.error
        leases = [Lease(admitted=use.admitted + 5, share=0.5) for use in request.uses]
        return LeaseReply(gateways=self.gateways, leases=leases).SerializeToString()

    def intervals(self, seconds: float) -> list[float]:
        """Run for some seconds; return the times between exchanges."""
        self.times.clear()
        self.loop.sleep(seconds)
        return [round(b - a, 3) for a, b in zip(self.times, self.times[1:], strict=False)]

    def close(self) -> None:
        self.task.cancel()
        self.loop.run_until_complete(asyncio.gather(self.task, return_exceptions=True))
        self.loop.close()


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    client = Client(getattr(request, "param", 3))
    yield client
    client.close()


def test_interval_while_limits_are_shared(client: Client) -> None:
    assert set(client.intervals(2.0)) == {SHARING_INTERVAL_S}


@pytest.mark.parametrize("client", [1], indirect=True)
def test_interval_of_a_gateway_without_others(client: Client) -> None:
    assert set(client.intervals(5.0)) == {ALONE_INTERVAL_S}


@pytest.mark.parametrize("client", [1], indirect=True)
def test_first_use_of_a_key_is_exchanged_at_once(client: Client) -> None:
    client.intervals(1.5)
    client.limiter.on_new_meter = client.is_requested.set
    identity = Identity("app", "k1", method="key", limits=CallerLimits(rate=5.0))
    client.limiter.admit(identity, "other")
    client.times.clear()
    client.loop.settle()
    assert len(client.times) == 1


def test_hub_that_is_away_is_logged_once_and_the_share_counts(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ase.gateway")
    client.loop.sleep(1.0)
    client.hub_is_up = False
    client.loop.sleep(LEASE_S + 10 * SHARING_INTERVAL_S)
    client.loop.sleep(5.0)
    (meter,) = client.limiter.shared_meters()
    assert meter.lease is not None
    assert not meter.lease.is_current
    admitted = 0
    for _ in range(100):
        client.loop.sleep(0.1)
        with contextlib.suppress(LimitExceededError):
            client.limiter.admit(Identity(), "ocr").release()
            admitted += 1
    assert 50 <= admitted <= 56, "half of 10 requests per second"
    client.hub_is_up = True
    client.loop.sleep(1.0)
    assert meter.lease.is_current
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "limits are shared",
        "limits are not shared; the last share counts",
        "limits are shared",
    ]


@pytest.mark.parametrize("error", [LeaseError("too many limits"), ZeroDivisionError()], ids=repr)
def test_no_error_ends_the_exchange(
    client: Client, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    client.loop.sleep(1.0)
    client.hub_is_up, client.error = False, error
    client.loop.sleep(2.0)
    assert caplog.records
    client.hub_is_up = True
    client.loop.sleep(1.0)
    (meter,) = client.limiter.shared_meters()
    assert meter.lease is not None
    assert meter.lease.is_current
