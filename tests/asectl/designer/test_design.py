from typing import Any

import pytest
import yaml

from asectl.designer import design
from schemas.sources import declare

TREE: dict[str, Any] = {
    "apiVersion": "iflytek.com/v1alpha1",
    "kind": "ApiSchema",
    "metadata": {"serviceName": "detect", "version": "1.0.0"},
    "spec": {
        "request": {
            "parameters": {"properties": {"top": {"type": "integer", "minimum": 1}}},
            "payload": {"properties": {"image": {"type": "image"}}, "required": ["image"]},
        },
        "response": {"payload": {"properties": {"objects": {"type": "text"}}}},
    },
}


def with_value(tree: dict[str, Any], *path: str, value: Any) -> dict[str, Any]:
    """Return a copy of a tree with another value at a path."""
    key, *rest = path
    return {**tree, key: with_value(tree.get(key, {}), *rest, value=value) if rest else value}


def test_a_design_has_schema_yaml_and_example() -> None:
    checked = design.check(TREE)
    assert checked.problems == ()
    assert checked.service == "detect"
    assert yaml.safe_load(checked.yaml) == TREE
    assert '"route": "/v1/private/detect"' in checked.schema
    assert set(checked.example["payload"]) == {"image"}
    assert checked.to_json()["problems"] == []


@pytest.mark.parametrize(
    ("path", "value", "problem_path", "message"),
    [
        (("metadata", "serviceName"), "", ("metadata", "serviceName"), ""),
        (("metadata", "versoin"), "1", ("metadata", "versoin"), "unknown"),
        (("kind",), "Other", ("kind",), "must be ApiSchema"),
        (
            ("spec", "request", "parameters", "properties", "top", "minimum"),
            "one",
            ("spec", "request", "parameters", "properties", "top"),
            "",
        ),
        (
            ("spec", "request", "payload", "properties", "image", "type"),
            "picture",
            ("spec", "request", "payload", "properties", "image", "type"),
            "",
        ),
    ],
)
def test_each_problem_is_at_its_field(
    path: tuple[str, ...], value: Any, problem_path: tuple[str, ...], message: str
) -> None:
    problems = design.check(with_value(TREE, *path, value=value)).problems
    at_field = [p for p in problems if tuple(map(str, p.path))[: len(problem_path)] == problem_path]
    assert at_field, problems
    assert message in at_field[0].message


@pytest.mark.parametrize("tree", [None, [], "x", {}, {"spec": 1}])
def test_what_is_no_design_has_problems(tree: Any) -> None:
    checked = design.check(tree)
    assert checked.problems
    assert checked.schema == ""


def test_yaml_json_and_python_are_imported() -> None:
    checked = design.check(TREE)
    python = (
        "from aseloader import Wrapper, Integer, Input, Output\n"
        "class Detect(Wrapper):\n    service = 'detect'\n    version = '1.0.0'\n"
        "    top = Integer(minimum=1)\n    image = Input('image')\n    objects = Output('text')\n"
        "    def once(self, params, inputs, context): return {}\n"
    )
    for name, text in (("a.yaml", checked.yaml), ("a.json", checked.schema), ("a.py", python)):
        tree = design.import_declaration(name, text)
        assert tree["metadata"]["serviceName"] == "detect"
        assert set(tree["spec"]["request"]["payload"]["properties"]) == {"image"}
        assert design.check(tree).problems == ()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "kind: [", "a.yaml:1:8: error: not YAML"),
        ("a.yaml", "kind: Other", "must be ApiSchema"),
        ("a.json", "{", "not JSON"),
        ("a.py", "class X(", "a.py:1:"),
    ],
)
def test_what_cannot_be_imported_is_said(name: str, text: str, message: str) -> None:
    with pytest.raises(design.DeclarationImportError) as raised:
        design.import_declaration(name, text)
    assert message in str(raised.value)


def test_the_schema_is_that_of_api_create() -> None:
    from schemas.sources import api_schema

    declaration = api_schema.declaration_from_api_schema(TREE)
    assert yaml.safe_load(design.check(TREE).schema) == declare.declaration_to_document(declaration)
