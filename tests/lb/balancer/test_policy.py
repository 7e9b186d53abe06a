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

NAMES = list(policy_factories(Random(1), lambda *_: None))


def fleet(count: int) -> list[Endpoint]:
    made = []
    for number in range(count):
        instance = Instance("ase", "ocr", f"a:{number}", 7, total=4, best=4)
        made.append(Endpoint(instance, Load(1, served=1), EndpointState.UP, 0.0))
    return made


def filled(entries: list[Endpoint]) -> Pool:
    pool = Pool("")
    pool.fill(entries, 0.0)
    return pool


@pytest.fixture(params=NAMES)
def policy(request: pytest.FixtureRequest) -> Policy:
    def probe(entry: Endpoint, answer: Callable[[int, float], None]) -> None:
        answer(entry.outstanding(), 0.01)

    return policy_factories(Random(3), probe)[request.param]()


def test_of_nobody_nobody_is_chosen(policy: Policy) -> None:
    assert policy.choose(filled([]), 0.0, ()) is None


def test_the_only_one_is_chosen(policy: Policy) -> None:
    entries = fleet(1)
    for _ in range(20):
        assert policy.choose(filled(entries), 0.0, ()) is entries[0]


def test_who_was_tried_is_left_out(policy: Policy) -> None:
    entries = fleet(3)
    pool = filled(entries)
    for _ in range(50):
        assert policy.choose(pool, 0.0, ("a:0", "a:2")) is entries[1]
    assert policy.choose(pool, 0.0, ("a:0", "a:1", "a:2")) is None


def test_everybody_gets_something_and_nobody_most(policy: Policy) -> None:
    entries = fleet(8)
    pool = filled(entries)
    counts = dict.fromkeys(entries, 0)
    for number in range(1600):
        chosen = policy.choose(pool, number / 1000, ())
        assert chosen is not None
        counts[chosen] += 1
        policy.record_result(chosen, 0.01, number / 1000, True)
    assert min(counts.values()) > 100
    assert max(counts.values()) < 300


def test_a_chosen_one_is_a_member_when_the_pool_changes(policy: Policy) -> None:
    entries = fleet(6)
    pool = filled(entries)
    for number in range(30):
        policy.choose(pool, number / 10, ())
    pool.clear()
    rest = filled(entries[:3])
    for number in range(30):
        assert policy.choose(rest, 3 + number / 10, ()) in entries[:3]
