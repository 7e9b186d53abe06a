"""The part of JSON Schema that means the same to every tool, and schemas reduced to it. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

import jsonschema_rs

from schemas.validation.compile import DIALECT, MAX_DEPTH

_CLASS_MEMBER: Final = r"(?:[^\[\]\\]|\\[dDwWsSbnrtfv.*+?^$|(){}\[\]\\/-]|\\u[0-9A-Fa-f]{4})"
# What Rust's regular expressions, ECMA-262's and Python's have in common, near to RFC 9485.
# Possessive quantifiers: it never goes back, so that its time is linear.
_PORTABLE_PATTERN: Final = re.compile(
    rf"(?:[^\[\](){{}}\\?*+]|\\[dDwWsSbBnrtfv.*+?^$|(){{}}\[\]\\/-]|\\u[0-9A-Fa-f]{{4}}"
    rf"|\[\^?+{_CLASS_MEMBER}++\]|\((?:\?:|(?!\?))|\)"
    r"|(?:[*+?]|\{[0-9]++(?:,[0-9]*+)?+\})\??+)*+"
)
_CLASS_OPERATORS: Final = ("&&", "--", "~~")  # of Rust


def unportable_conditions(schema: Mapping[str, Any]) -> frozenset[str]:
    """Return the keywords to omit because a pattern is left out of a condition.

    A condition without it would hold for more values, so that fewer would be valid.
    """
    omitted = {"not"} if has_unportable_pattern(schema.get("not")) else set()
    omitted |= {"if", "then", "else"} if has_unportable_pattern(schema.get("if")) else set()
    return frozenset(omitted)


def has_unportable_pattern(schema: Any) -> bool:
    """Return whether a pattern anywhere in a schema is not portable."""
    if isinstance(schema, list):
        return any(map(has_unportable_pattern, schema))
    if not isinstance(schema, Mapping):
        return False
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and not portable_pattern(pattern):
        return True
    return any(map(has_unportable_pattern, schema.values()))


def portable_pattern(pattern: str) -> dict[str, Any]:
    """Return the keyword `pattern` with a pattern that all tools read alike; else nothing."""
    is_portable = _PORTABLE_PATTERN.fullmatch(pattern) is not None
    has_operator = "[" in pattern and any(operator in pattern for operator in _CLASS_OPERATORS)
    return {"pattern": pattern} if is_portable and not has_operator else {}


def self_contained_schema(schema: Any) -> dict[str, Any]:
    """Return a schema that the author of a service wrote, if it is valid and means the same here.

    It must have no references or other keywords with "$", no pattern that other regular expressions
    read differently, and be nested 32 deep at most. Otherwise return a schema without rules. The
    description that all JSON outputs have is left out.
    """
    if not isinstance(schema, Mapping) or not _is_plain(schema, 2 * MAX_DEPTH):
        return {}
    if has_unportable_pattern(schema):
        return {}
    if not jsonschema_rs.meta.is_valid({**schema, "$schema": DIALECT}):
        return {}
    has_own_words = schema.get("description") != "raw JSON"
    return {key: value for key, value in schema.items() if key != "description" or has_own_words}


def _is_plain(value: Any, depth: int) -> bool:
    """Return whether a JSON value is nested `depth` deep at most and has no member with "$"."""
    if not isinstance(value, Mapping | list):
        return True
    if not depth:
        return False
    if isinstance(value, list):
        return all(_is_plain(item, depth - 1) for item in value)
    return all(
        not name.startswith("$") and _is_plain(item, depth - 1) for name, item in value.items()
    )
