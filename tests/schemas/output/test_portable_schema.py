"""Which schemas mean the same to every tool; in documents they are tried in test_openapi."""

from typing import Any

import pytest

from schemas.output.portable_schema import (
    has_unportable_pattern,
    portable_pattern,
    self_contained_schema,
    unportable_conditions,
)


@pytest.mark.parametrize("pattern", ["^[a-z]+$", r"\d{2}:\d{2}", "a|b"])
def test_portable_patterns(pattern: str) -> None:
    assert portable_pattern(pattern) == {"pattern": pattern}
    assert not has_unportable_pattern({"items": [{"pattern": pattern}]})


@pytest.mark.parametrize("pattern", [r"\p{L}", "(?i)a", "[a&&b]"])
def test_patterns_of_one_dialect(pattern: str) -> None:
    assert portable_pattern(pattern) == {}
    assert has_unportable_pattern({"items": [{"pattern": pattern}]})
    schema = {"not": {"pattern": pattern}, "if": {"type": "string"}}
    assert unportable_conditions(schema) == {"not"}


@pytest.mark.parametrize(
    ("schema", "published"),
    [
        ({"type": "object", "description": "raw JSON"}, {"type": "object"}),
        ({"type": "string", "description": "own"}, {"type": "string", "description": "own"}),
        ({"$ref": "#/x"}, {}),
        ({"items": {"pattern": "(?=a)"}}, {}),
        ({"type": "nothing"}, {}),
        ("no schema", {}),
        (None, {}),
    ],
)
def test_schema_of_an_author(schema: Any, published: dict[str, Any]) -> None:
    assert self_contained_schema(schema) == published
