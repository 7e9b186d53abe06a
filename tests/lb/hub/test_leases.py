"""What the hub hands out, request by request; fleets are in tests/gateway/access/test_leases.py."""

from collections.abc import Iterator

import pytest

from lb.hub.leases import LEASE_S, MAX_GATEWAYS, MAX_USES, LeaseError, LimitLeases, fair_shares
from schemas.wire import Lease, LeaseRequest, LimitUse


def exchange(hub: LimitLeases, gateway: str, now: float = 0.0, **figures: float) -> Lease:
    """Exchange the use of one limit, "key k"."""
    use = LimitUse(name="key k", **figures)
    return hub.exchange(LeaseRequest(gateway=gateway, uses=[use]), now).leases[0]


def used(hub: LimitLeases, gateway: str, used: int, used_before: int = 0, now: float = 9.0) -> int:
    """Report the use of a quota of 1,000; return how many more the gateway may admit."""
    lease = exchange(
        hub, gateway, now, quota=1000, period_end=1, used=used, used_before=used_before
    )
    return lease.used - used


def test_quota_counts_what_a_host_has_used_before_once() -> None:
    """Workers of a host begin with the same count: that of their store of usage."""
    hub = LimitLeases()
    assert used(hub, "a1", 400, used_before=400) == 600
    used(hub, "a2", 400, used_before=400)
    used(hub, "a1", 400, used_before=400)
    assert used(hub, "a1", 400) + used(hub, "a2", 400) == 600
    used(hub, "a3", 450, used_before=450)
    used(hub, "a1", 400)
    left = [used(hub, "a1", 400), used(hub, "a2", 400), used(hub, "a3", 450)]
    assert sum(left) == pytest.approx(550, abs=3), "a worker that starts later knows of 50 more"


def test_new_hub_learns_what_was_used() -> None:
    hub = LimitLeases()
    used(hub, "a", 300, used_before=100, now=0.0)
    used(hub, "b", 150, used_before=100, now=0.1)
    used(hub, "a", 300, now=0.2)
    assert used(hub, "a", 300, now=0.3) + used(hub, "b", 150, now=0.4) == 1000 - 350


def test_quota_of_a_gateway_that_came_back_counts_once() -> None:
    hub = LimitLeases()
    used(hub, "a", 0)
    used(hub, "a", 300)
    hub.exchange(LeaseRequest(gateway="a"), 9.1)  # gives back
    assert used(hub, "a", 310) == 690


def test_late_clock_gets_nothing_of_a_new_period() -> None:
    hub = LimitLeases()
    exchange(hub, "a", quota=10, period_end=1, used=4)
    exchange(hub, "a", quota=10, period_end=2, used=1)
    assert exchange(hub, "b", quota=10, period_end=1, used=7).used == 7
    exchange(hub, "b", quota=10, period_end=2, used=0)
    exchange(hub, "a", quota=10, period_end=2, used=1)
    assert exchange(hub, "b", quota=10, period_end=2, used=0).used == 4


def test_slots_are_free_when_their_holder_says_so() -> None:
    hub = LimitLeases()
    assert exchange(hub, "a", concurrency=4).slots == 4
    assert exchange(hub, "b", concurrency=4, refused=1).slots == 0
    assert exchange(hub, "a", concurrency=4, slots=4).slots == 2
    assert exchange(hub, "b", concurrency=4).slots == 0, "it may not know yet"
    assert exchange(hub, "a", concurrency=4, slots=2).slots == 2
    assert exchange(hub, "b", concurrency=4).slots == 2


def test_new_hub_gives_no_slots_for_a_second() -> None:
    hub = LimitLeases()
    assert exchange(hub, "a", concurrency=4, slots=2).slots == 2
    assert exchange(hub, "a", LEASE_S + 0.1, concurrency=4, slots=2).slots == 4


def test_what_was_admitted_without_a_lease_is_deducted() -> None:
    hub = LimitLeases()
    limit = {"rate": 10.0, "burst": 40}
    first = exchange(hub, "a", **limit).admitted
    assert first == 40
    assert exchange(hub, "b", **limit, admitted=7, ahead=7.0).admitted == 7
    later = exchange(hub, "a", 1.0, **limit, admitted=40).admitted - first
    assert first + 7 + later == pytest.approx(50), "a burst, and what a second brings"


def test_forgotten_limits_are_the_oldest() -> None:
    hub = LimitLeases(max_limits=2)
    for name in ("a", "b", "c"):
        use = LimitUse(name=name, quota=10, period_end=1, used=4)
        hub.exchange(LeaseRequest(gateway=name, uses=[use]), 0.0)
    use = LimitUse(name="a", quota=10, period_end=1, used=0)
    assert hub.exchange(LeaseRequest(gateway="d", uses=[use]), 0.1).leases[0].used == 10


@pytest.mark.parametrize(
    ("stock", "wants", "parts"),
    [
        (10.0, [1.0, 20.0, 30.0], [1.0, 4.5, 4.5]),
        (10.0, [1.0, 2.0, 3.0], [7 / 3, 10 / 3, 13 / 3]),
        (9.0, [5.0, 5.0, 5.0], [3.0, 3.0, 3.0]),
        (0.0, [5.0, 0.0], [0.0, 0.0]),
        (-3.0, [5.0], [0.0]),
        (4.0, [0.0, 0.0], [2.0, 2.0]),
    ],
)
def test_fair_shares(stock: float, wants: list[float], parts: list[float]) -> None:
    assert fair_shares(stock, wants) == pytest.approx(parts)


def invalid_requests() -> Iterator[LeaseRequest]:
    yield LeaseRequest()
    yield LeaseRequest(gateway="g", uses=[LimitUse(name="key k")] * (MAX_USES + 1))
    yield LeaseRequest(gateway="g", uses=[LimitUse(rate=1.0)])
    for value in (float("nan"), float("inf"), -1.0, 1e300):
        yield LeaseRequest(gateway="g", uses=[LimitUse(name="key k", rate=value)])
        yield LeaseRequest(gateway="g", uses=[LimitUse(name="key k", ahead=value)])


@pytest.mark.parametrize("request_", list(invalid_requests()))
def test_invalid_request_is_refused(request_: LeaseRequest) -> None:
    hub = LimitLeases()
    with pytest.raises(LeaseError):
        hub.exchange(request_, 1.0)
    assert hub.exchange(LeaseRequest(gateway="g"), 1.0).gateways == 1


def test_gateways_are_bounded() -> None:
    hub = LimitLeases()
    for number in range(MAX_GATEWAYS):
        hub.exchange(LeaseRequest(gateway=f"g{number}"), 1.0)
    with pytest.raises(LeaseError):
        hub.exchange(LeaseRequest(gateway="one more"), 1.0)
    assert hub.exchange(LeaseRequest(gateway="g0"), 1.0).gateways == MAX_GATEWAYS
