"""What a schema does to a valid body: each effect, their order, branches, and what cannot be."""

import copy
from typing import Any

import pytest

from schemas.transforms import plan
from schemas.validation.compile import compile_input
from schemas.validation.validate import Validator


def apply_transforms(
    tree: dict[str, Any], body: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return a body as it is changed, and what could not be."""
    assert Validator(compile_input(tree)).violations(body) == ()
    transform_plan, problems = plan.compile_transforms(tree)
    assert not problems
    body = copy.deepcopy(body)
    violations = transform_plan.apply_in_place(body)
    return body, [str(violation) for violation in violations]


def object_schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": True}


CASES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # schema, body, body as it goes on
    (object_schema(a={"defaultVal": 1}), {}, {"a": 1}),
    (object_schema(a={"default": 1}), {}, {"a": 1}),
    (object_schema(a={"defaultVal": 1, "default": 2}), {}, {"a": 1}),
    (object_schema(a={"defaultVal": 1}), {"a": None}, {"a": None}),
    (object_schema(a={"defaultVal": 1}), {"a": 5}, {"a": 5}),
    (object_schema(a={"constVal": 1}), {"a": 5}, {"a": 1}),
    (object_schema(a={"constVal": 1}), {}, {"a": 1}),
    (object_schema(a={"replaceKey": "b"}), {"a": 5}, {"b": 5}),
    (object_schema(a={"replaceKey": "b"}), {"a": 5, "b": 6}, {"b": 6}),
    (object_schema(a={"replaceKey": "b"}), {}, {}),
    (object_schema(a={"formatVal": "string"}), {"a": 1.0}, {"a": "1"}),
    (object_schema(a={"formatVal": "number"}), {"a": "1.5"}, {"a": 1.5}),
    (object_schema(a={"formatVal": "number"}), {"a": "7"}, {"a": 7}),
    (object_schema(a={"formatVal": "integer"}), {"a": "7.0"}, {"a": 7}),
    (object_schema(a={"formatVal": "integer"}), {"a": 10**30}, {"a": 10**30}),
    (object_schema(a={"formatVal": "bool"}), {"a": "true"}, {"a": True}),
    (object_schema(a={"formatVal": "boolean"}), {"a": 0}, {"a": False}),
    (object_schema(a={"formatVal": "lower"}), {"a": "AbC"}, {"a": "abc"}),
    (object_schema(a={"formatVal": "upper"}), {"a": "AbC"}, {"a": "ABC"}),
    (object_schema(a={"formatVal": "string"}), {"a": None}, {"a": None}),
    ({"setVal": {"b": 1}}, {"a": 2}, {"a": 2, "b": 1}),
    ({"setVal": {"b": "${a}"}}, {"a": 2}, {"a": 2, "b": 2}),
    ({"setVal": {"b": "${a.c}", "d": "${x.y}"}}, {"a": {"c": 1}},
     {"a": {"c": 1}, "b": 1, "d": None}),
    ({"setVal": {"$.a.b.c": 1}}, {"a": 2}, {"a": {"b": {"c": 1}}}),
    ({"delete": ["a", "x"]}, {"a": 2, "b": 1}, {"b": 1}),
    # in one object: set, delete, default, const, rename, cast; as the priorities of the validator
    # of the original (github.com/seeadoog/jsonschema, `NewProp` and `Properties.Validate`)
    (
        {**object_schema(a={"defaultVal": "7", "formatVal": "integer", "replaceKey": "b"}),
         "setVal": {"c": "${a}"}, "delete": ["a"]},
        {"a": "5"},
        {"c": "5", "b": 7},
    ),
    ({**object_schema(a={"constVal": 1}, b={"defaultVal": 2}), "setVal": {"a": 3, "b": 4}}, {},
     {"a": 1, "b": 4}),
    ({**object_schema(a={"formatVal": "integer"}), "setVal": {"a": "3"}}, {}, {"a": 3}),
    ({**object_schema(a=object_schema(b={"constVal": 1})), "setVal": {"c": "${a.b}"}},
     {"a": {"b": 5}}, {"a": {"b": 1}, "c": 5}),
    ({**object_schema(a={"items": object_schema(b={"constVal": 1})}), "delete": ["a"]},
     {"a": [{}]}, {}),
    # otherwise members before what holds them
    (object_schema(a=object_schema(b={"defaultVal": 1})), {"a": {}}, {"a": {"b": 1}}),
    (object_schema(a=object_schema(b={"defaultVal": 1})), {}, {}),
    (object_schema(a={"items": object_schema(b={"constVal": 1})}), {"a": [{}, None, {"b": 2}]},
     {"a": [{"b": 1}, None, {"b": 1}]}),
    ({"children": {"a": {"formatVal": "string"}}}, {"a": 1, "b": 2}, {"a": "1", "b": 2}),
    # branches
    ({"if": object_schema(a={"const": "x"}), "then": {"setVal": {"b": 1}}, "else": {"delete":
    ["a"]}},
     {"a": "x"}, {"a": "x", "b": 1}),
    ({"if": object_schema(a={"const": "x"}), "then": {"setVal": {"b": 1}}, "else": {"delete":
    ["a"]}},
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
    ({**object_schema(a={"constVal": "x"}), "if": {"keyMatch": {"a": "x"}}, "then": {"delete":
    ["b"]}},
     {"a": "y", "b": 1}, {"a": "x", "b": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "body", "expected"), CASES, ids=str)
def test_body_is_transformed(
    tree: dict[str, Any], body: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert apply_transforms(tree, body) == (expected, [])


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("number", "seven", "$.a: must be a number, or a text that is one"),
        ("number", "1e999", "$.a: must be a number, or a text that is one"),
        ("number", [1], "$.a: must be a number, or a text that is one"),
        ("integer", "1.5", "$.a: must be a whole number, or a text that is one"),
        ("bool", "perhaps", "$.a: must be true or false, or a text that says so"),
        ("bool", {}, "$.a: must be true or false, or a text that says so"),
    ],
)
def test_failed_cast_is_a_violation(kind: str, value: Any, message: str) -> None:
    assert apply_transforms(object_schema(a={"formatVal": kind}), {"a": value})[1] == [message]


def test_choice_keywords_are_independent() -> None:
    tree: dict[str, Any] = {
        "anyOf": [{"setVal": {"x": 1}}, {"setVal": {"x": 2}}],
        "oneOf": [{"setVal": {"y": 1}}],
        "switch": "t", "case": {"a": {"setVal": {"z": 1}}},
    }  # fmt: skip
    assert apply_transforms(tree, {"t": "a"}) == ({"t": "a", "x": 1, "y": 1, "z": 1}, [])


def test_set_does_not_alias_values() -> None:
    """A body that held itself could not be written, and one copied over and over has no end."""
    tree = {"setVal": {"a.b": "${a}"}}
    assert apply_transforms(tree, {"a": {}})[1] == [
        "$['a.b']: cannot be set to ${a}: that is no text, number, true or false"
    ]


def test_default_is_copied_each_time() -> None:
    transform_plan, _ = plan.compile_transforms(
        object_schema(a={"defaultVal": {"b": []}}, c={"constVal": [1]})
    )
    bodies: list[dict[str, Any]] = [{}, {}]
    for body in bodies:
        transform_plan.apply_in_place(body)
        body["a"]["b"].append(1)
        body["c"].append(2)
    assert bodies == [{"a": {"b": [1]}, "c": [1, 2]}] * 2


def test_default_does_not_satisfy_required() -> None:
    tree = {"properties": {"a": {"defaultVal": 1}}, "required": ["a"]}
    assert Validator(compile_input(tree)).violations({})


def test_empty_plan_is_falsy_and_does_nothing() -> None:
    transform_plan, problems = plan.compile_transforms(object_schema(a={"type": "string"}))
    assert not transform_plan
    assert not problems
    assert transform_plan.apply_in_place({}) == ()
    assert transform_plan.list_transforms() == []


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            object_schema(a={"replaceKey": 3}),
            "properties.a.replaceKey: must be a text: the new name",
        ),
        (
            object_schema(a={"formatVal": "int"}),
            "properties.a.formatVal: must be one of string, number",
        ),
        ({"setVal": 3}, "setVal: must be an object"),
        ({"setVal": {"a": {"func": "add", "args": []}}}, "setVal.a: functions are not supported"),
        ({"delete": "a"}, "delete: must be a list of names"),
        (
            {"not": object_schema(a={"constVal": 1})},
            "not: a keyword that changes the body is not allowed in",
        ),
        (
            {"if": {"delete": ["a"]}},
            "if: a keyword that changes the body is not allowed in a condition",
        ),
        ({"setVal": {f"m{n}": n for n in range(2000)}}, "has more than 1000 effects"),
        ({"items": {"formatVal": "string"}}, "items.formatVal: works for a member of `properties`"),
        ({"allOf": [{"replaceKey": "b"}]}, "allOf.0.replaceKey: works for a member of"),
        (
            {"additionalProperties": {"properties": {"x": {"defaultVal": 1}}}},
            "additionalProperties: a keyword that changes the body must be under `properties`",
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
def test_invalid_transforms_are_problems(tree: dict[str, Any], message: str) -> None:
    _, problems = plan.compile_transforms(tree)
    assert message in "; ".join(map(str, problems))


def test_member_plan_exists_only_if_independent() -> None:
    tree = object_schema(a=object_schema(x={"constVal": 1}), b=object_schema(y={"constVal": 2}))
    transform_plan, _ = plan.compile_transforms(tree)
    plan_of_a, plan_of_c = transform_plan.for_member("a"), transform_plan.for_member("c")
    body: dict[str, Any] = {"a": {}, "b": {}}
    assert plan_of_a is not None
    assert plan_of_a.apply_in_place(body) == ()
    assert body == {"a": {"x": 1}, "b": {}}
    assert plan_of_c is not None
    assert not plan_of_c
    for dependent_rules in ({"setVal": {"a": 1}}, {"allOf": [tree]}):
        dependent_plan, _ = plan.compile_transforms(tree | dependent_rules)
        assert dependent_plan.for_member("a") is None
    empty_plan, _ = plan.compile_transforms(object_schema(a={"type": "string"}))
    assert empty_plan.for_member("a") is empty_plan


def test_transforms_are_listed_with_their_paths() -> None:
    transform_plan, _ = plan.compile_transforms(
        object_schema(a=object_schema(b={"defaultVal": 1}), c={"items": {"delete": ["x"]}})
    )
    assert [
        (path, transform.kind, transform.member)
        for path, transform in transform_plan.list_transforms()
    ] == [
        (("a",), "default", "b"),
        (("c", "*"), "delete", "x"),
    ]
