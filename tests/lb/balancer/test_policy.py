"""What all policies keep to, ours and the others': every law as a test over each of them."""

from collections.abc import Callable
from random import Random

import pytest

from lb.balancer.policies import policy_factories
from lb.balancer.policy import Policy
from lb.endpoints.candidates import Pool
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointState
from lb.endpoints.report import Instance, Load

POLICY_NAMES = list(policy_factories(Random(1), lambda *_: None))


def make_endpoints(count: int) -> list[Endpoint]:
    endpoints = []
    for index in range(count):
        instance = Instance("ase", "ocr", f"a:{index}", 7, total=4, best=4)
        endpoints.append(Endpoint(instance, Load(1, served=1), EndpointState.UP, 0.0))
    return endpoints


def make_pool(endpoints: list[Endpoint]) -> Pool:
    pool = Pool("")
    pool.fill(endpoints)
    return pool


@pytest.fixture(params=POLICY_NAMES)
def policy(request: pytest.FixtureRequest) -> Policy:
    def probe(endpoint: Endpoint, callback: Callable[[int, float], None]) -> None:
        callback(endpoint.outstanding(), 0.01)

    return policy_factories(Random(3), probe)[request.param]()


def test_empty_pool_yields_none(policy: Policy) -> None:
    assert policy.choose(make_pool([]), 0.0, ()) is None


def test_only_endpoint_is_chosen(policy: Policy) -> None:
    endpoints = make_endpoints(1)
    for _ in range(20):
        assert policy.choose(make_pool(endpoints), 0.0, ()) is endpoints[0]


def test_excluded_endpoints_are_not_chosen(policy: Policy) -> None:
    endpoints = make_endpoints(3)
    pool = make_pool(endpoints)
    for _ in range(50):
        assert policy.choose(pool, 0.0, ("a:0", "a:2")) is endpoints[1]
    assert policy.choose(pool, 0.0, ("a:0", "a:1", "a:2")) is None


def test_requests_are_spread_over_all_endpoints(policy: Policy) -> None:
    endpoints = make_endpoints(8)
    pool = make_pool(endpoints)
    counts = dict.fromkeys(endpoints, 0)
    for index in range(1600):
        chosen = policy.choose(pool, index / 1000, ())
        assert chosen is not None
        counts[chosen] += 1
        policy.record_result(chosen, 0.01, index / 1000, True)
    assert min(counts.values()) > 100
    assert max(counts.values()) < 300


def test_chosen_endpoint_is_in_the_current_pool(policy: Policy) -> None:
    endpoints = make_endpoints(6)
    pool = make_pool(endpoints)
    for index in range(30):
        policy.choose(pool, index / 10, ())
    pool.clear()
    smaller_pool = make_pool(endpoints[:3])
    for index in range(30):
        assert policy.choose(smaller_pool, 3 + index / 10, ()) in endpoints[:3]
