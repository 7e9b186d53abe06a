"""What a schema does to a valid body: each effect, their order, branches, and what cannot be."""

import copy
from typing import Any

import pytest

from schemas.transforms import plan
from schemas.validation.compile import compile_input
from schemas.validation.validate import Validator


def applied(tree: dict[str, Any], body: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a body as it is changed, and what could not be."""
    assert Validator(compile_input(tree)).violations(body) == ()
    told, problems = plan.compile_transforms(tree)
    assert not problems
    body = copy.deepcopy(body)
    violations = told.apply_in_place(body)
    return body, [str(violation) for violation in violations]


def members(**told: Any) -> dict[str, Any]:
    return {"type": "object", "properties": told, "additionalProperties": True}


CASES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # schema, body, body as it goes on
    (members(a={"defaultVal": 1}), {}, {"a": 1}),
    (members(a={"default": 1}), {}, {"a": 1}),
    (members(a={"defaultVal": 1, "default": 2}), {}, {"a": 1}),
    (members(a={"defaultVal": 1}), {"a": None}, {"a": None}),
    (members(a={"defaultVal": 1}), {"a": 5}, {"a": 5}),
    (members(a={"constVal": 1}), {"a": 5}, {"a": 1}),
    (members(a={"constVal": 1}), {}, {"a": 1}),
    (members(a={"replaceKey": "b"}), {"a": 5}, {"b": 5}),
    (members(a={"replaceKey": "b"}), {"a": 5, "b": 6}, {"b": 6}),
    (members(a={"replaceKey": "b"}), {}, {}),
    (members(a={"formatVal": "string"}), {"a": 1.0}, {"a": "1"}),
    (members(a={"formatVal": "number"}), {"a": "1.5"}, {"a": 1.5}),
    (members(a={"formatVal": "number"}), {"a": "7"}, {"a": 7}),
    (members(a={"formatVal": "integer"}), {"a": "7.0"}, {"a": 7}),
    (members(a={"formatVal": "integer"}), {"a": 10**30}, {"a": 10**30}),
    (members(a={"formatVal": "bool"}), {"a": "true"}, {"a": True}),
    (members(a={"formatVal": "boolean"}), {"a": 0}, {"a": False}),
    (members(a={"formatVal": "lower"}), {"a": "AbC"}, {"a": "abc"}),
    (members(a={"formatVal": "upper"}), {"a": "AbC"}, {"a": "ABC"}),
    (members(a={"formatVal": "string"}), {"a": None}, {"a": None}),
    ({"setVal": {"b": 1}}, {"a": 2}, {"a": 2, "b": 1}),
    ({"setVal": {"b": "${a}"}}, {"a": 2}, {"a": 2, "b": 2}),
    ({"setVal": {"b": "${a.c}", "d": "${x.y}"}}, {"a": {"c": 1}},
     {"a": {"c": 1}, "b": 1, "d": None}),
    ({"setVal": {"$.a.b.c": 1}}, {"a": 2}, {"a": {"b": {"c": 1}}}),
    ({"delete": ["a", "x"]}, {"a": 2, "b": 1}, {"b": 1}),
    # in one object: default, const, rename, cast, set, delete
    (
        {**members(a={"defaultVal": "7", "formatVal": "integer", "replaceKey": "b"}),
         "setVal": {"c": "${b}"}, "delete": ["b"]},
        {},
        {"c": 7},
    ),
    # members before what holds them
    (members(a=members(b={"defaultVal": 1})), {"a": {}}, {"a": {"b": 1}}),
    (members(a=members(b={"defaultVal": 1})), {}, {}),
    (members(a={"items": members(b={"constVal": 1})}), {"a": [{}, None, {"b": 2}]},
     {"a": [{"b": 1}, None, {"b": 1}]}),
    ({"children": {"a": {"formatVal": "string"}}}, {"a": 1, "b": 2}, {"a": "1", "b": 2}),
    # branches
    ({"if": members(a={"const": "x"}), "then": {"setVal": {"b": 1}}, "else": {"delete": ["a"]}},
     {"a": "x"}, {"a": "x", "b": 1}),
    ({"if": members(a={"const": "x"}), "then": {"setVal": {"b": 1}}, "else": {"delete": ["a"]}},
     {"a": "y"}, {}),
    ({"switch": "a", "case": {"3": {"setVal": {"b": 1}}}, "default": {"setVal": {"b": 2}}},
     {"a": 3}, {"a": 3, "b": 1}),
    ({"switch": "a", "case": {"3": {"setVal": {"b": 1}}}, "defaults": {"setVal": {"b": 2}}},
     {}, {"b": 2}),
    ({"anyOf": [{"required": ["x"], "setVal": {"b": 1}}, {"setVal": {"b": 2}}, {"delete": ["a"]}]},
     {"a": 1}, {"a": 1, "b": 2}),
    ({"oneOf": [{"setVal": {"b": 1}}, {"setVal": {"b": 2}}]}, {}, {"b": 1}),
    ({"allOf": [{"setVal": {"b": 1}}, {"setVal": {"c": 2}}]}, {}, {"b": 1, "c": 2}),
    # what is asked is what was sent, not what an effect made of it
    ({**members(a={"constVal": "x"}), "if": {"keyMatch": {"a": "x"}}, "then": {"delete": ["b"]}},
     {"a": "y", "b": 1}, {"a": "x", "b": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "body", "after"), CASES, ids=str)
def test_a_body_is_changed(
    tree: dict[str, Any], body: dict[str, Any], after: dict[str, Any]
) -> None:
    assert applied(tree, body) == (after, [])


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("number", "seven", "$.a: must be a number, or a text that is one"),
        ("number", "1e999", "$.a: must be a number, or a text that is one"),
        ("number", [1], "$.a: must be a number, or a text that is one"),
        ("integer", "1.5", "$.a: must be a whole number, or a text that is one"),
        ("bool", "perhaps", "$.a: must be true or false, or a text that says so"),
        ("bool", {}, "$.a: must be true or false, or a text that says so"),
    ],
)
def test_what_cannot_be_cast_is_told(kind: str, value: Any, words: str) -> None:
    assert applied(members(a={"formatVal": kind}), {"a": value})[1] == [words]


def test_one_choice_does_not_end_another() -> None:
    tree: dict[str, Any] = {
        "anyOf": [{"setVal": {"x": 1}}, {"setVal": {"x": 2}}],
        "oneOf": [{"setVal": {"y": 1}}],
        "switch": "t", "case": {"a": {"setVal": {"z": 1}}},
    }  # fmt: skip
    assert applied(tree, {"t": "a"}) == ({"t": "a", "x": 1, "y": 1, "z": 1}, [])


def test_two_names_are_never_one_thing() -> None:
    """A body that held itself could not be written, and one copied over and over has no end."""
    tree = {"setVal": {"a.b": "${a}"}}
    assert applied(tree, {"a": {}})[1] == [
        "$['a.b']: cannot be set to ${a}: that is no text, number, true or false"
    ]


def test_a_default_is_fresh_each_time() -> None:
    told, _ = plan.compile_transforms(
        {**members(a={"defaultVal": {"b": []}}), "setVal": {"a.c": "${x}"}}
    )
    one: dict[str, Any] = {"x": 1}
    other: dict[str, Any] = {"x": 2}
    told.apply_in_place(one)
    told.apply_in_place(other)
    assert (one["a"], other["a"]) == ({"b": [], "c": 1}, {"b": [], "c": 2})


def test_a_default_does_not_stand_for_what_is_required() -> None:
    tree = {"properties": {"a": {"defaultVal": 1}}, "required": ["a"]}
    assert Validator(compile_input(tree)).violations({})


def test_no_effects_are_false_and_do_nothing() -> None:
    told, problems = plan.compile_transforms(members(a={"type": "string"}))
    assert not told
    assert not problems
    assert told.apply_in_place({}) == ()
    assert told.list_transforms() == []


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (members(a={"replaceKey": 3}), "properties.a.replaceKey: must be a text: the new name"),
        (members(a={"formatVal": "int"}), "properties.a.formatVal: must be one of string, number"),
        ({"setVal": 3}, "setVal: must be an object"),
        ({"setVal": {"a": {"func": "add", "args": []}}}, "setVal.a: functions are not supported"),
        ({"delete": "a"}, "delete: must be a list of names"),
        ({"not": members(a={"constVal": 1})}, "not: what changes a body must not stand where"),
        ({"if": {"delete": ["a"]}}, "if: what changes a body must not stand where it only asks"),
        ({"setVal": {f"m{n}": n for n in range(2000)}}, "has more than 1000 effects"),
        ({"items": {"formatVal": "string"}}, "items.formatVal: works for a member of `properties`"),
        ({"allOf": [{"replaceKey": "b"}]}, "allOf.0.replaceKey: works for a member of"),
        (
            {"additionalProperties": {"properties": {"x": {"defaultVal": 1}}}},
            "additionalProperties: what changes a body must stand under `properties`",
        ),
        (
            {"items": {"properties": {"x": {"default": [0] * 900}}}},
            "could cost",
        ),
        (
            {"items": {"switch": "k", "case": {str(n): {"delete": ["x"]} for n in range(9)}}},
            "could cost",
        ),
    ],
    ids=str,
)
def test_what_no_body_can_be_done_to(tree: dict[str, Any], words: str) -> None:
    _, problems = plan.compile_transforms(tree)
    assert words in "; ".join(map(str, problems))


def test_those_of_one_member_stand_apart_where_nothing_beside_it_counts() -> None:
    both = members(a=members(x={"constVal": 1}), b=members(y={"constVal": 2}))
    told, _ = plan.compile_transforms(both)
    of_a, of_c = told.for_member("a"), told.for_member("c")
    body: dict[str, Any] = {"a": {}, "b": {}}
    assert of_a is not None
    assert of_a.apply_in_place(body) == ()
    assert body == {"a": {"x": 1}, "b": {}}
    assert of_c is not None
    assert not of_c
    for more in ({"setVal": {"a": 1}}, {"allOf": [both]}):
        hanging, _ = plan.compile_transforms(both | more)
        assert hanging.for_member("a") is None
    none, _ = plan.compile_transforms(members(a={"type": "string"}))
    assert none.for_member("a") is none


def test_effects_are_listed_with_their_places() -> None:
    told, _ = plan.compile_transforms(
        members(a=members(b={"defaultVal": 1}), c={"items": {"delete": ["x"]}})
    )
    assert [(path, effect.kind, effect.member) for path, effect in told.list_transforms()] == [
        (("a",), "default", "b"),
        (("c", "*"), "delete", "x"),
    ]
