"""The judge: violations, or a body changed in place; what is wrong with a schema, all of it."""

from typing import Any

import pytest

from schemas.model.document import DocumentError
from schemas.validation.request_validator import RequestValidator

TREE = {
    "type": "object",
    "properties": {
        "lang": {"type": "string", "enum": ["en", "zh"], "defaultVal": "en"},
        "speed": {"type": "string|integer", "formatVal": "integer", "replaceKey": "spd"},
    },
}


def test_valid_body_is_transformed() -> None:
    body: dict[str, Any] = {"speed": "50"}
    assert RequestValidator(TREE).validate_and_transform(body) == ()
    assert body == {"lang": "en", "spd": 50}


def test_invalid_body_is_unchanged() -> None:
    body: dict[str, Any] = {"lang": "fr"}
    assert [
        str(violation) for violation in RequestValidator(TREE).validate_and_transform(body)
    ] == ["$.lang: must be one of en, zh"]
    assert body == {"lang": "fr"}


def test_failed_cast_is_a_violation() -> None:
    tree = {"properties": {"a": {"formatVal": "integer"}}}
    assert [
        str(violation) for violation in RequestValidator(tree).validate_and_transform({"a": "x"})
    ] == ["$.a: must be a whole number, or a text that is one"]


def test_independent_payload_is_transformed_alone() -> None:
    member = {"type": "object", "properties": {"n": {"type": "integer", "defaultVal": 1}}}
    validator = RequestValidator(
        {"type": "object", "properties": {"header": member, "payload": member}}
    )
    assert validator.has_independent_payload
    body: dict[str, Any] = {"header": {}, "payload": {}}
    assert validator.validate_and_transform_payload(body) == ()
    assert body == {"header": {}, "payload": {"n": 1}}
    assert [
        str(violation)
        for violation in validator.validate_and_transform_payload({"header": {"n": "x"}})
    ], "all of it is judged"
    assert not RequestValidator(
        {"type": "object", "setVal": {"payload": {}}}
    ).has_independent_payload


def test_body_is_unchanged_without_transforms() -> None:
    body = {"a": 1}
    assert (
        RequestValidator({"properties": {"a": {"type": "integer"}}}).validate_and_transform(body)
        == ()
    )
    assert body == {"a": 1}


@pytest.mark.parametrize("tree", [{"tpye": "x"}, {"pattern": "("}, {"delete": 3}])
def test_invalid_schema_is_rejected(tree: dict[str, Any]) -> None:
    with pytest.raises(DocumentError):
        RequestValidator(tree)
