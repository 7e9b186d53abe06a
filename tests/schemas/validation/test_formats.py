"""Formats: those that are checked are known to the library, the others are not."""

import jsonschema_rs
import pytest

from schemas.validation.formats import CHECKED_FORMATS, OPENAPI_FORMATS


def is_valid(format_name: str, value: object) -> bool:
    schema = {"format": format_name}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True).is_valid(value)


@pytest.mark.parametrize("name", sorted(CHECKED_FORMATS))
def test_checked_format_rejects_something(name: str) -> None:
    # Any text is an iri-reference but for a few; this one has a broken escape and a blank.
    assert not all(is_valid(name, text) for text in ("no such thing\\ %zz", "{x", "[", "~"))


@pytest.mark.parametrize("name", sorted(OPENAPI_FORMATS))
def test_openapi_format_checks_nothing_by_itself(name: str) -> None:
    assert name not in CHECKED_FORMATS
    assert all(is_valid(name, value) for value in ("", "no such thing\\ %zz", 1e9, -5, None, []))
