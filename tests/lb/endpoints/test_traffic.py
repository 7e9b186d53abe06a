"""Rules of versions: read, merged by owner and revision, and applied to endpoints."""

from math import nan

import pytest

from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointState
from lb.endpoints.report import Instance, Load
from lb.endpoints.traffic import (
    MAX_OWNERS,
    MAX_SHARES,
    InvalidTrafficError,
    TrafficRules,
    TrafficTable,
    split_by_traffic,
)
from schemas.wire import Traffic, VersionShare


def make_endpoint(addr: str, version: str = "") -> Endpoint:
    instance = Instance("ase", "ocr", addr, 7, version=version)
    return Endpoint(instance, Load(1), EndpointState.UP, 0.0)


def make_message(owner: str = "d", version: str = "v2", share: float = 0.5) -> Traffic:
    return Traffic(owner=owner, revision=3, shares=[VersionShare(version=version, share=share)])


def addresses(endpoints: list[Endpoint]) -> list[str]:
    return [endpoint.instance.addr for endpoint in endpoints]


def test_rules_are_the_same_after_the_wire() -> None:
    rules = TrafficRules("host-1:8250", 9, {"v2": 0.25, "v3": 0.0})
    message = Traffic.FromString(rules.to_message().SerializeToString())
    assert TrafficRules.from_message(message) == rules


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (make_message(owner=""), "owner: must be a name"),
        (make_message(owner="two\nlines"), "owner: must be a name"),
        (make_message(version=""), "version: must be a name"),
        (make_message(version="v" * 129), "version: must be a name"),
        (make_message(share=-0.1), "share of v2: must be 0 to 1"),
        (make_message(share=1.1), "share of v2: must be 0 to 1"),
        (make_message(share=nan), "share of v2: must be 0 to 1"),
        (
            Traffic(owner="d", shares=[VersionShare(version="v")] * (MAX_SHARES + 1)),
            f"shares: must be at most {MAX_SHARES}",
        ),
    ],
)
def test_invalid_rules_name_the_member(message: Traffic, problem: str) -> None:
    with pytest.raises(InvalidTrafficError, match=problem):
        TrafficRules.from_message(message)


def test_newest_rules_of_each_owner_count() -> None:
    table = TrafficTable()
    assert table.apply(TrafficRules("one", 1, {"a": 0.1}))
    assert table.apply(TrafficRules("two", 5, {"b": 0.2}))
    assert table.apply(TrafficRules("one", 2, {"c": 0.3}))
    assert not table.apply(TrafficRules("one", 2, {"a": 1.0}))
    assert table.shares == {"b": 0.2, "c": 0.3}
    assert (table.revision_of("one"), table.revision_of("nobody")) == (2, 0)
    assert [rules.owner for rules in table.rules()] == ["one", "two"]


def test_owners_are_limited() -> None:
    table = TrafficTable()
    for number in range(MAX_OWNERS):
        table.apply(TrafficRules(f"o{number}", 1, {}))
    with pytest.raises(InvalidTrafficError, match=f"there are {MAX_OWNERS}"):
        table.apply(TrafficRules("another", 1, {}))
    assert table.apply(TrafficRules("o1", 2, {}))


@pytest.mark.parametrize(
    ("shares", "admitted"),
    [
        ({}, ["a", "b", "c"]),
        ({"unknown": 0.0}, ["a", "b", "c"]),
        ({"v2": 0.0}, ["a", "b"]),
        ({"v2": 0.1}, ["c", "a", "b"]),
        ({"v2": 1.0}, ["c"]),
        ({"v1": 0.0, "v2": 0.0}, ["a"]),
        ({"v1": 0.0, "v2": 0.0, "": 0.0}, ["a", "b", "c"]),
    ],
)
def test_endpoints_without_a_share_are_not_admitted_unless_none_has(
    shares: dict[str, float], admitted: list[str]
) -> None:
    endpoints = [make_endpoint("a"), make_endpoint("b", "v1"), make_endpoint("c", "v2")]
    assert addresses(split_by_traffic(endpoints, shares).admitted()) == admitted
