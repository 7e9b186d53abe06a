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


def entries(count: int = 16) -> list[Endpoint]:
    return [
        Endpoint(
            Instance("ase", "ocr", f"10.0.0.{n}:8240", 7, total=12, best=8),
            Load(),
            EndpointState.UP,
            0.0,
        )
        for n in range(count)
    ]


def order(fleet: list[Endpoint], key: str, exclude: tuple[str, ...] = ()) -> list[str]:
    return [entry.instance.addr for entry in rendezvous_candidates(fleet, key, exclude)]


def test_the_order_of_a_key_does_not_hang_on_who_was_heard_of_first() -> None:
    fleet = entries()
    shuffled = entries()
    Random(1).shuffle(shuffled)
    assert all(order(fleet, key) == order(shuffled, key) for key in KEYS)


def test_keys_are_spread_evenly_over_firsts_seconds_and_thirds() -> None:
    fleet = entries()
    for place in range(3):
        shares = Counter(order(fleet, key)[place] for key in KEYS)
        assert len(shares) == 16
        assert all(abs(share / 250 - 1) < 0.3 for share in shares.values())  # five sigma


def test_where_one_goes_only_its_keys_move() -> None:
    fleet = entries()
    gone = fleet[5].instance.addr
    for key in KEYS:
        before = order(fleet, key)
        after = order([entry for entry in fleet if entry.instance.addr != gone], key)
        stay = [addr for addr in before if addr != gone]
        assert after[: len(stay)] == stay


def test_who_was_tried_is_passed_over() -> None:
    fleet = entries()
    first, second, third = order(fleet, "k")
    assert order(fleet, "k", (first,))[:2] == [second, third]


@pytest.mark.parametrize(("count", "many"), [(0, 0), (1, 1), (2, 2), (3, 3), (9, 3)])
def test_of_few_instances_all_are_looked_at(count: int, many: int) -> None:
    assert len(order(entries(count), "k")) == many


@pytest.mark.parametrize(
    ("queues", "chosen"),
    [
        ((8, 0, 0), 0),  # an eighth longer
        ((9, 0, 0), 1),  # a quarter, and the more occupied one
        ((9, 9, 0), 2),
        ((9, 9, 9), 3),  # where it would go without a key
    ],
)
def test_a_delay_of_a_quarter_more_is_the_bound(queues: tuple[int, ...], chosen: int) -> None:
    fleet = entries()
    home = rendezvous_candidates(fleet, "k", ())
    for entry, queue in zip(home, queues, strict=True):
        entry.service_ms, entry.remote_load = 20.0, queue
    picked = next(entry for entry in fleet if entry not in home)
    picked.service_ms = 20.0
    assert prefer_affine(fleet, picked, "k", (), 0.0) is [*home, picked][chosen]


@pytest.mark.parametrize(("told_ms", "home"), [(0.2, True), (1.1, True), (1.3, False)])
def test_a_millisecond_is_nothing(told_ms: float, home: bool) -> None:
    fleet = entries()
    first = rendezvous_candidates(fleet, "k", ())[0]
    for entry in fleet:
        entry.service_ms = 0.2
    first.service_ms = told_ms
    picked = next(entry for entry in fleet if entry not in rendezvous_candidates(fleet, "k", ()))
    assert (prefer_affine(fleet, picked, "k", (), 0.0) is first) is home


def test_one_without_room_is_passed_over() -> None:
    fleet = entries()
    home = rendezvous_candidates(fleet, "k", ())
    for entry in fleet:
        entry.service_ms, entry.remote_load = 20.0, 7
    home[0].limit = 7
    picked = next(entry for entry in fleet if entry not in home)
    assert prefer_affine(fleet, picked, "k", (), 0.0) is home[1]


def test_a_balancer_keeps_a_key_at_home_and_lets_the_rest_go_round() -> None:
    fleet = Fleet(8)
    fleet.report(service_ms=20.0)

    def went(key: str) -> set[str]:
        gone = set()
        for _ in range(100):
            with fleet.balancer.acquire("ocr", "d", (), key) as ticket:
                gone.add(ticket.instance.addr)
        return gone

    assert all(went(key) == {order(list(fleet.table), key)[0]} for key in KEYS[:20])
    assert went("") == {f"a:{n}" for n in range(8)}


def test_a_key_need_not_be_text_that_can_be_sent() -> None:
    assert order(entries(), "\ud800") == order(entries(), "\ud800")
