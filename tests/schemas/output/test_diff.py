"""Two versions compared: what breaks a client, what does not, and why."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from schemas.model.service import DataType
from schemas.output.diff import compare
from schemas.sources import declare
from tests.schemas.sources.test_declare import API

OLD = declare.declaration_to_document(API)
Tree = dict[str, Any]


def changed(change: Callable[[Tree], None]) -> list[str]:
    new = copy.deepcopy(OLD)
    change(new)
    return [str(told) for told in compare(OLD, new)]


def params(tree: Tree) -> Tree:
    found: Tree = tree["schemainput"]["properties"]["parameter"]["properties"]["ocr"]
    return found


def ruled(**rules: Any) -> Callable[[Tree], None]:
    """Return a change of the rules of `size`: None takes one away."""

    def change(tree: Tree) -> None:
        size = params(tree)["properties"]["size"]
        for keyword, value in rules.items():
            size.pop(keyword, None)
            size |= {keyword: value} if value is not None else {}

    return change


def test_nothing_changed() -> None:
    assert compare(OLD, copy.deepcopy(OLD)) == []


AT = "schemainput.properties.parameter.properties.ocr"
SIZE = f"{AT}.properties.size"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda t: params(t)["properties"].pop("size"),
            [f"breaking    {SIZE}: is not known any more"],
        ),
        (
            lambda t: params(t)["properties"].update(new={}),
            [f"compatible  {AT}.properties.new: is new"],
        ),
        (
            lambda t: (params(t)["properties"].update(new={}), params(t)["required"].append("new")),
            [f"breaking    {AT}.properties.new: is new and required"],
        ),
        (lambda t: params(t)["required"].append("size"), [f"breaking    {SIZE}: is required now"]),
        (
            lambda t: params(t)["required"].remove("lang"),
            [f"compatible  {AT}.properties.lang: is not required any more"],
        ),
        (
            lambda t: params(t).update(additionalProperties=True),
            [f"compatible  {AT}: members that are not declared are taken now"],
        ),
        (ruled(minimum=3), [f"breaking    {SIZE}.minimum: 3 is asked now"]),
        (ruled(type="number"), [f"compatible  {SIZE}.type: 'integer' became 'number'"]),
        (ruled(type="string"), [f"breaking    {SIZE}.type: 'integer' became 'string'"]),
        (
            ruled(type="integer|string"),
            [f"compatible  {SIZE}.type: 'integer' became 'integer|string'"],
        ),
        (ruled(type=None), [f"compatible  {SIZE}.type: is not asked any more"]),
        (ruled(description="other"), []),
        (
            ruled(default=4),
            [f"compatible  {SIZE}.default: 3 became 4: a request goes on in another way"],
        ),
        (ruled(default=None), [f"compatible  {SIZE}.default: is gone"]),
        (
            ruled(replaceKey="n"),
            [f"breaking    {SIZE}.replaceKey: None became 'n': a request goes on in another way"],
        ),
        (
            lambda t: params(t)["properties"]["lang"].update(enum=["en", "fr"]),
            [f"breaking    {AT}.properties.lang.enum: zh is not among them any more"],
        ),
        (
            lambda t: params(t)["properties"]["lang"].update(enum=["en", "zh", "fr"]),
            [f"compatible  {AT}.properties.lang.enum: has more"],
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
def test_a_change(change: Callable[[Tree], Any], said: list[str]) -> None:
    assert changed(change) == said


def test_streams() -> None:
    inputs = (replace(API.inputs[0], data_type=DataType.AUDIO), API.inputs[1])
    new = declare.declaration_to_document(replace(API, inputs=inputs))
    said = [str(told) for told in compare(OLD, new)]
    assert "breaking    meta.input.page: image became audio" in said
    assert "breaking    meta.input.voice: is gone" in said


def test_what_breaks_comes_first() -> None:
    def change(tree: Tree) -> None:
        ruled(minimum=3)(tree)
        tree["meta"]["session_timeout"] = 1.0

    assert [line.split()[0] for line in changed(change)] == ["breaking", "compatible"]
