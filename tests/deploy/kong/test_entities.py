"""The changes between two sets of Kong's entities, against a model that applies them."""

import itertools
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from deploy.kong.entities import (
    DRAINED_TAG,
    KINDS,
    REGISTERED_TAG,
    Entity,
    apply_changes,
    compare,
    find_conflicts,
    flatten,
    nest,
)

DOCUMENTS = st.builds(
    lambda targets, routes, plugins: {
        "upstreams": [{"name": "u", "targets": [{"target": t, "weight": w} for t, w in targets]}],
        "services": [
            {
                "name": "s",
                "routes": [{"name": name, "paths": ["/a", "/b"]} for name in routes],
                "plugins": [{"name": name, "config": {"second": 1}} for name in plugins],
            }
        ],
    },
    st.dictionaries(st.sampled_from(["a:1", "b:1", "c:1"]), st.integers(0, 2)).map(dict.items),
    st.sets(st.sampled_from(["r1", "r2"])),
    st.sets(st.sampled_from(["cors", "rate-limiting"])),
)


def by_name(document: dict[str, Any]) -> dict[tuple[str, str], Entity]:
    return {entity.name: entity for entity in flatten(document)}


@given(DOCUMENTS, DOCUMENTS)
def test_changes_lead_from_any_file_to_any_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    changes = compare(flatten(new), by_name(old))
    applied = apply_changes(by_name(old), changes)
    assert {entity.name: entity.body for entity in applied} == {
        entity.name: entity.body for entity in flatten(new)
    }
    assert compare(flatten(new), {entity.name: entity for entity in applied}) == []
    if old == new:
        assert changes == []


@given(DOCUMENTS, DOCUMENTS)
def test_parents_come_first_and_go_last(old: dict[str, Any], new: dict[str, Any]) -> None:
    changes = compare(flatten(new), by_name(old))
    made = [KINDS.index(c.entity.kind) for c in changes if c.action == "create"]
    deleted = [KINDS.index(c.entity.kind) for c in changes if c.action == "delete"]
    assert all(a <= b for a, b in itertools.pairwise(made) if {a, b} != {3, 4})
    assert deleted == sorted(deleted, reverse=True)
    assert [c.action for c in changes] == sorted(
        (c.action for c in changes), key=lambda action: action == "delete"
    )


@given(DOCUMENTS)
def test_nesting_restores_a_file(document: dict[str, Any]) -> None:
    assert flatten(nest(flatten(document))) == flatten(document)


def test_order_and_unknown_members_of_kong_are_no_difference() -> None:
    ours = flatten({"services": [{"name": "s", "routes": [{"name": "r", "methods": ["A", "B"]}]}]})
    theirs = {
        ("services", "s"): Entity("services", "s", "", {"name": "s", "retries": 5}, "1"),
        ("routes", "r"): Entity("routes", "r", "s", {"name": "r", "methods": ["B", "A"]}, "2"),
    }
    assert compare(ours, theirs) == []


def test_update_names_the_members_and_keeps_the_id() -> None:
    ours = flatten({"upstreams": [{"name": "u", "healthchecks": {"threshold": 1, "active": {}}}]})
    body = {"name": "u", "healthchecks": {"threshold": 0, "active": {}}}
    (change,) = compare(ours, {("upstreams", "u"): Entity("upstreams", "u", "", body, "7")})
    assert str(change) == "update upstream u (healthchecks.threshold)"
    assert change.entity.entity_id == "7"


def test_registered_and_drained_targets_are_left_alone() -> None:
    ours = flatten({"upstreams": [{"name": "u", "targets": [{"target": "a:1", "weight": 5}]}]})
    drained = {"target": "a:1", "weight": 0, "tags": [DRAINED_TAG]}
    registered = {"target": "b:1", "weight": 9, "tags": [REGISTERED_TAG]}
    state = {
        ("upstreams", "u"): ours[0],
        ("targets", "u/a:1"): Entity("targets", "u/a:1", "u", drained),
        ("targets", "u/b:1"): Entity("targets", "u/b:1", "u", registered),
    }
    assert compare(ours, state) == []


def test_conflicts_are_creations_whose_name_is_taken() -> None:
    changes = compare(flatten({"services": [{"name": "s"}, {"name": "t"}]}), {})
    conflicts = find_conflicts(changes, {("services", "s"), ("routes", "t")})
    assert [entity.key for entity in conflicts] == ["s"]
