"""Rules of versions: read, merged by owner and revision, and applied to endpoints."""

from math import nan

import pytest

from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointState
from lb.endpoints.report import Instance, Load
from lb.endpoints.traffic import (
    LINGER_S,
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
        (Traffic(owner="d", revision=2**63), "revision: must be less than"),
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
    assert {rules.owner for rules in table.rules()} == {"one", "two"}


def test_owners_are_limited() -> None:
    table = TrafficTable()
    for number in range(MAX_OWNERS):
        table.apply(TrafficRules(f"o{number}", 1, {f"v{number}": 0.0}))
    with pytest.raises(InvalidTrafficError, match=f"there are {MAX_OWNERS}"):
        table.apply(TrafficRules("another", 1, {}))
    # One that limits nothing any more makes place.
    assert table.apply(TrafficRules("o1", 2, {}))
    assert table.apply(TrafficRules("another", 1, {"v": 0.5}))
    assert len(table.rules()) == MAX_OWNERS


def test_shares_of_all_owners_are_limited_together() -> None:
    table = TrafficTable()
    table.apply(TrafficRules("one", 1, {f"v{n}": 0.0 for n in range(MAX_SHARES - 1)}))
    with pytest.raises(InvalidTrafficError, match=f"of all owners must be at most {MAX_SHARES}"):
        table.apply(TrafficRules("two", 1, {"a": 0.0, "b": 0.0}))
    assert table.apply(TrafficRules("two", 1, {"a": 0.0}))
    assert table.apply(TrafficRules("one", 2, {}))


def test_of_two_owners_of_a_version_the_smaller_share_counts() -> None:
    for order in (("x", 0.0), ("y", 0.5)), (("y", 0.5), ("x", 0.0)):
        table = TrafficTable()
        for owner, share in order:
            table.apply(TrafficRules(owner, 1, {"v2": share}))
        assert table.shares == {"v2": 0.0}


def test_rules_that_no_hub_has_any_more_end_after_a_while() -> None:
    table = TrafficTable()
    rules = TrafficRules("d", 9, {"v2": 0.0})
    assert table.update_source("hub 1", [rules], 0.0, is_all=True)
    assert not table.update_source("hub 2", [rules], 1.0, is_all=True)
    assert not table.update_source("hub 1", [], 2.0, is_all=True)  # it has started again
    assert not table.expire(2.0 + LINGER_S)  # another hub has them
    assert not table.forget_source("hub 2", 20.0)
    assert table.shares == {"v2": 0.0}
    assert not table.expire(20.0 + LINGER_S - 0.1)
    assert table.expire(20.0 + LINGER_S)
    assert (table.shares, table.rules()) == ({}, [])


def test_older_rules_count_when_no_hub_has_the_newer_ones() -> None:
    table = TrafficTable()
    newer, older = TrafficRules("d", 9, {"v2": 0.0}), TrafficRules("d", 8, {})
    table.update_source("hub", [newer], 0.0, is_all=True)
    assert not table.update_source("other", [older], 0.0, is_all=True)
    assert table.update_source("hub", [older], 1.0, is_all=True)  # it restarted, under a new owner
    assert table.shares == {}


def test_changes_of_a_hub_leave_its_other_rules() -> None:
    table = TrafficTable()
    first = [TrafficRules("a", 1, {"v1": 0.0}), TrafficRules("b", 1, {"v2": 0.0})]
    table.update_source("hub", first, 0.0, is_all=True)
    assert table.update_source("hub", [TrafficRules("a", 2, {})], 0.0, is_all=False)
    assert table.shares == {"v2": 0.0}


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
