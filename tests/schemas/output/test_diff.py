"""Two versions compared: what breaks a client, what does not, and why."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.model.document import DocumentError, service_from_document
from schemas.model.service import DataType
from schemas.output.diff import compare
from schemas.sources import declare
from tests.schemas.sources.test_declare import API

OLD = declare.declaration_to_document(API)
Tree = dict[str, Any]


def diff_after(change: Callable[[Tree], None]) -> list[str]:
    new = copy.deepcopy(OLD)
    change(new)
    return [str(difference) for difference in compare(OLD, new)]


def params(tree: Tree) -> Tree:
    properties: Tree = tree["schemainput"]["properties"]["parameter"]["properties"]["ocr"]
    return properties


def change_size_rules(**rules: Any) -> Callable[[Tree], None]:
    """Return a change of the rules of `size`: None takes one away."""

    def change(tree: Tree) -> None:
        size = params(tree)["properties"]["size"]
        for keyword, value in rules.items():
            size.pop(keyword, None)
            size |= {keyword: value} if value is not None else {}

    return change


def test_identical_documents_have_no_changes() -> None:
    assert compare(OLD, copy.deepcopy(OLD)) == []


PARAMS_PATH = "schemainput.properties.parameter.properties.ocr"
SIZE_PATH = f"{PARAMS_PATH}.properties.size"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda t: params(t)["properties"].pop("size"),
            [f"breaking    {SIZE_PATH}: is not known any more"],
        ),
        (
            lambda t: params(t)["properties"].update(new={}),
            [f"compatible  {PARAMS_PATH}.properties.new: is new"],
        ),
        (
            lambda t: (params(t)["properties"].update(new={}), params(t)["required"].append("new")),
            [f"breaking    {PARAMS_PATH}.properties.new: is new and required"],
        ),
        (
            lambda t: params(t)["required"].append("size"),
            [f"breaking    {SIZE_PATH}: is required now"],
        ),
        (
            lambda t: params(t)["required"].remove("lang"),
            [f"compatible  {PARAMS_PATH}.properties.lang: is not required any more"],
        ),
        (
            lambda t: params(t).update(additionalProperties=True),
            [f"compatible  {PARAMS_PATH}: members that are not declared are taken now"],
        ),
        (change_size_rules(minimum=3), [f"breaking    {SIZE_PATH}.minimum: 3 is asked now"]),
        (
            change_size_rules(type="number"),
            [f"compatible  {SIZE_PATH}.type: 'integer' became 'number'"],
        ),
        (
            change_size_rules(type="string"),
            [f"breaking    {SIZE_PATH}.type: 'integer' became 'string'"],
        ),
        (
            change_size_rules(type="integer|string"),
            [f"compatible  {SIZE_PATH}.type: 'integer' became 'integer|string'"],
        ),
        (change_size_rules(type=None), [f"compatible  {SIZE_PATH}.type: is not asked any more"]),
        (change_size_rules(description="other"), []),
        (
            change_size_rules(default=4),
            [f"compatible  {SIZE_PATH}.default: 3 became 4: a request is forwarded differently"],
        ),
        (change_size_rules(default=None), [f"compatible  {SIZE_PATH}.default: is gone"]),
        (
            change_size_rules(replaceKey="n"),
            [
                (
                    f"breaking    {SIZE_PATH}.replaceKey: nothing became 'n': "
                    "a request is forwarded differently"
                )
            ],
        ),
        (
            lambda t: params(t)["properties"]["lang"].update(enum=["en", "fr"]),
            [f"breaking    {PARAMS_PATH}.properties.lang.enum: zh is not among them any more"],
        ),
        (
            lambda t: params(t)["properties"]["lang"].update(enum=["en", "zh", "fr"]),
            [f"compatible  {PARAMS_PATH}.properties.lang.enum: has more"],
        ),
        (
            lambda t: t["schemainput"]["properties"]["header"]["properties"]["uid"].update(
                maxLength=9
            ),
            ["breaking    schemainput.properties.header.properties.uid.maxLength: 64 became 9"],
        ),
        (
            lambda t: t["schemaoutput"]["properties"]["payload"]["properties"].pop("words"),
            ["breaking    schemaoutput.properties.payload.properties.words: is not given any more"],
        ),
        (
            lambda t: t["meta"].update(session_timeout=3.0),
            ["compatible  meta.session_timeout: 9.0 became 3.0"],
        ),
        (
            lambda t: t["meta"].update(serviceId="b"),
            ["breaking    meta.serviceId: 'ocr' became 'b'"],
        ),
        (
            lambda t: t["meta"].update(codeMap={"1": 500}),
            ["breaking    meta.codeMap: codes have other statuses"],
        ),
    ],
)
def test_single_change(change: Callable[[Tree], Any], expected: list[str]) -> None:
    assert diff_after(change) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "json", "string", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "minimum", "properties", "size"]), inner, max_size=2
        )
    ),
    max_leaves=4,
)
# They tell people something and change nothing.
WITHOUT_EFFECT = {"title", "description", "comment", "$comment", "examples", "$schema"}


def locations(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values that have an effect, except of the tree itself."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    paths = []
    for key, value in items:
        if key in WITHOUT_EFFECT:
            continue
        paths.append((*path, key))
        if isinstance(value, dict | list):
            paths += locations(value, (*path, key))
    return paths


def effects(tree: Any) -> Any:
    """Return what a service is, without what has no effect."""
    if isinstance(tree, Mapping):
        return {key: effects(value) for key, value in tree.items() if key not in WITHOUT_EFFECT}
    return [effects(item) for item in tree] if isinstance(tree, list) else tree


@given(st.data())
def test_documents_that_differ_in_effect_never_compare_as_equal(data: st.DataObject) -> None:
    new = copy.deepcopy(OLD)
    *parents, last = data.draw(st.sampled_from(locations(OLD)))
    holder: Any = new
    for key in parents:
        holder = holder[key]
    if isinstance(holder, dict) and data.draw(st.booleans()):
        del holder[last]
    else:
        holder[last] = data.draw(JSON)
    try:
        before, after = service_from_document(OLD), service_from_document(new)
        changes, reverse_changes = compare(OLD, new), compare(new, OLD)
    except DocumentError:  # it is no schema any more
        return
    differs = replace(before, input={}, output={}) != replace(after, input={}, output={}) or (
        effects(before.input),
        effects(before.output),
    ) != (effects(after.input), effects(after.output))
    if differs and effects(OLD) != effects(new):
        assert changes != []
        assert reverse_changes != []


@pytest.mark.parametrize(
    ("root", "name", "changes"),
    [
        ("schemaoutput", "type", ("None is promised now", "is not promised any more")),
        (
            "schemainput",
            "constVal",
            ("nothing became None: a request is forwarded differently", "is gone"),
        ),
    ],
)
def test_null_is_not_the_same_as_absent(root: str, name: str, changes: tuple[str, str]) -> None:
    without = copy.deepcopy(OLD)
    extra = without[root]["properties"]["header"]["properties"]["extra"] = {"title": "x"}
    new = copy.deepcopy(without)
    new[root]["properties"]["header"]["properties"]["extra"] = extra | {name: None}
    for before, after, message in ((without, new, changes[0]), (new, without, changes[1])):
        (change,) = compare(before, after)
        assert str(change).endswith(f"properties.extra.{name}: {message}")


def test_stream_changes() -> None:
    inputs = (replace(API.inputs[0], data_type=DataType.AUDIO), API.inputs[1])
    new = declare.declaration_to_document(replace(API, inputs=inputs))
    lines = [str(difference) for difference in compare(OLD, new)]
    assert "breaking    meta.input.page: image became audio" in lines
    assert "breaking    meta.input.voice: is gone" in lines


def test_breaking_changes_come_first() -> None:
    def change(tree: Tree) -> None:
        change_size_rules(minimum=3)(tree)
        tree["meta"]["session_timeout"] = 1.0

    assert [line.split()[0] for line in diff_after(change)] == ["breaking", "compatible"]
