"""Requests of one key: the same few instances at every gateway, if it delays them little."""

from collections import Counter
from random import Random

import pytest

from lb.balancer.affinity import prefer_affine, rendezvous_candidates
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointState
from lb.endpoints.report import Instance, Load
from tests.lb.balancer.test_balancer import Fleet

KEYS = [f"user-{n}" for n in range(4000)]


def make_endpoints(count: int = 16) -> list[Endpoint]:
    return [
        Endpoint(
            Instance("ase", "ocr", f"10.0.0.{n}:8240", 7, total=12, best=8),
            Load(),
            EndpointState.UP,
            0.0,
        )
        for n in range(count)
    ]


def candidate_addrs(
    endpoints: list[Endpoint], key: str, exclude: tuple[str, ...] = ()
) -> list[str]:
    return [endpoint.instance.addr for endpoint in rendezvous_candidates(endpoints, key, exclude)]


def test_order_does_not_depend_on_discovery_order() -> None:
    endpoints = make_endpoints()
    shuffled = make_endpoints()
    Random(1).shuffle(shuffled)
    assert all(candidate_addrs(endpoints, key) == candidate_addrs(shuffled, key) for key in KEYS)


def test_keys_are_spread_evenly_over_all_ranks() -> None:
    endpoints = make_endpoints()
    for rank in range(3):
        shares = Counter(candidate_addrs(endpoints, key)[rank] for key in KEYS)
        assert len(shares) == 16
        assert all(abs(share / 250 - 1) < 0.3 for share in shares.values())  # five sigma


def test_removed_endpoint_moves_only_its_own_keys() -> None:
    endpoints = make_endpoints()
    removed_addr = endpoints[5].instance.addr
    for key in KEYS:
        before = candidate_addrs(endpoints, key)
        after = candidate_addrs(
            [endpoint for endpoint in endpoints if endpoint.instance.addr != removed_addr], key
        )
        expected = [addr for addr in before if addr != removed_addr]
        assert after[: len(expected)] == expected


def test_excluded_endpoint_is_skipped() -> None:
    endpoints = make_endpoints()
    first, second, third = candidate_addrs(endpoints, "k")
    assert candidate_addrs(endpoints, "k", (first,))[:2] == [second, third]


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (1, 1), (2, 2), (3, 3), (9, 3)])
def test_candidate_count_is_bounded(count: int, expected: int) -> None:
    assert len(candidate_addrs(make_endpoints(count), "k")) == expected


@pytest.mark.parametrize(
    ("queues", "chosen_index"),
    [
        ((8, 0, 0), 0),  # an eighth longer
        ((9, 0, 0), 1),  # a quarter, and the more occupied one
        ((9, 9, 0), 2),
        ((9, 9, 9), 3),  # where it would go without a key
    ],
)
def test_affinity_allows_a_quarter_more_delay(queues: tuple[int, ...], chosen_index: int) -> None:
    endpoints = make_endpoints()
    candidates = rendezvous_candidates(endpoints, "k", ())
    for endpoint, queue in zip(candidates, queues, strict=True):
        endpoint.service_ms, endpoint.remote_load = 20.0, queue
    default = next(endpoint for endpoint in endpoints if endpoint not in candidates)
    default.service_ms = 20.0
    assert prefer_affine(endpoints, default, "k", (), 0.0) is [*candidates, default][chosen_index]


@pytest.mark.parametrize(("service_ms", "is_preferred"), [(0.2, True), (1.1, True), (1.3, False)])
def test_delays_below_a_millisecond_are_ignored(service_ms: float, is_preferred: bool) -> None:
    endpoints = make_endpoints()
    nearest = rendezvous_candidates(endpoints, "k", ())[0]
    for endpoint in endpoints:
        endpoint.service_ms = 0.2
    nearest.service_ms = service_ms
    default = next(
        endpoint
        for endpoint in endpoints
        if endpoint not in rendezvous_candidates(endpoints, "k", ())
    )
    assert (prefer_affine(endpoints, default, "k", (), 0.0) is nearest) is is_preferred


def test_full_candidate_is_skipped() -> None:
    endpoints = make_endpoints()
    candidates = rendezvous_candidates(endpoints, "k", ())
    for endpoint in endpoints:
        endpoint.service_ms, endpoint.remote_load = 20.0, 7
    candidates[0].limit = 7
    default = next(endpoint for endpoint in endpoints if endpoint not in candidates)
    assert prefer_affine(endpoints, default, "k", (), 0.0) is candidates[1]


def test_balancer_keeps_key_affinity_and_spreads_keyless_requests() -> None:
    fleet = Fleet(8)
    fleet.report(service_ms=20.0)

    def addrs_for_key(key: str) -> set[str]:
        addrs = set()
        for _ in range(100):
            with fleet.balancer.acquire("ocr", "d", (), key) as lease:
                addrs.add(lease.instance.addr)
        return addrs

    assert all(
        addrs_for_key(key) == {candidate_addrs(list(fleet.table), key)[0]} for key in KEYS[:20]
    )
    assert addrs_for_key("") == {f"a:{n}" for n in range(8)}


def test_unencodable_key_is_accepted() -> None:
    assert candidate_addrs(make_endpoints(), "\ud800") == candidate_addrs(
        make_endpoints(), "\ud800"
    )
