"""A compiled schema at work: a body in, the violations out. Pure and linear in the body."""

from collections.abc import Iterator
from itertools import islice
from math import ceil, floor
from typing import Any, Final

import jsonschema_rs

from schemas.model.document import DocumentError, DocumentPath, Problem
from schemas.validation import cost, keywords
from schemas.validation.explain import Subschema, Violation

MAX_VIOLATIONS: Final = 20

_CALLBACK_KEYWORDS: Final[dict[str, Any]] = {
    "maxB64DLen": keywords.MaxBase64,
    "minB64DLen": keywords.MinBase64,
    "uniqueItems": keywords.UniqueItems,
    "multipleOf": keywords.MultipleOf,
    "among": keywords.NumericEnum,
    "error": keywords.ErrorKeyword,
}
_APPLICATOR_KEYWORDS: Final = frozenset({
    "properties", "items", "additionalProperties", "allOf", "anyOf", "not", "if", "then", "else",
})  # fmt: skip
_BYTE_LENGTH_KEYWORDS: Final[dict[str, Any]] = {
    "maxLength": keywords.MaxBytes,
    "minLength": keywords.MinBytes,
}


class Validator:
    """A schema of `compile_input` made ready: patterns in linear time, nothing fetched.

    Raises DocumentError when the schema itself is not one; `at` is where it stands.
    """

    def __init__(self, schema: dict[str, Any], path: DocumentPath = ("schemainput",)) -> None:
        # Of a body in ASCII, the usual one, characters are bytes. Limits on decoded sizes are asked
        # for as limits on lengths first: a call to Python costs as much as all the rest.
        ascii_schema = _narrow_lengths(schema, ascii_only=True)
        self._ascii_validator = _build_validator(ascii_schema, {}, path)
        unicode_schema = _narrow_lengths(schema, ascii_only=False)
        if _has_negated_length(schema):
            self._unicode_validator = _build_validator(schema, _BYTE_LENGTH_KEYWORDS, path)
        else:
            self._unicode_validator = (
                self._ascii_validator
                if unicode_schema == ascii_schema
                else _build_validator(unicode_schema, {}, path)
            )
        self._exact_schema = Subschema(schema, _build_exact_validator)

    def is_valid(self, body: object) -> bool:
        """Return whether a body is valid."""
        return self._unicode_validator.is_valid(body) or self._exact_schema.is_valid(body)

    def violations(self, body: object, ascii_only: bool = False, /) -> tuple[Violation, ...]:
        """Return the first 20 violations of a body; empty when it is valid.

        `ascii_only`: no text in it has a character beyond ASCII. A violation tells the path and the
        rule, never the value.
        """
        fast_validator = self._ascii_validator if ascii_only else self._unicode_validator
        if fast_validator.is_valid(body) or self._exact_schema.is_valid(body):
            return ()
        violations = tuple(islice(self._exact_schema.violations(body), MAX_VIOLATIONS))
        return violations or (Violation("$", "breaks the schema"),)


def _build_validator(
    schema: dict[str, Any], extra_keywords: dict[str, Any], path: DocumentPath
) -> Any:
    try:
        return jsonschema_rs.Draft202012Validator(
            _add_guards(schema),
            validate_formats=True,
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(),
            keywords=_CALLBACK_KEYWORDS | extra_keywords,
        )
    except ValueError as error:
        error_path = tuple(getattr(error, "instance_path", ()))
        message = str(error).partition("\n")[0]
        raise DocumentError([Problem((*path, *error_path), message)]) from error


def _add_guards(schema: Any, many_values: bool = False) -> Any:
    """Return a schema in which a text that is too long is not looked at by a pattern, or a format.

    The library asks each keyword, whatever another has found. `many`: it is asked of many values;
    then numbers are looked up, as one by one it compares them slowly.
    """
    if not isinstance(schema, dict):
        return schema
    result = dict(schema)
    if "properties" in result:
        result["properties"] = {
            name: _add_guards(v, many_values) for name, v in result["properties"].items()
        }
    for name in ("items", "additionalProperties"):
        if name in result:
            result[name] = _add_guards(result[name], many_values=True)
    for name in ("not", "if", "then", "else"):
        if name in result:
            result[name] = _add_guards(result[name], many_values)
    for name in ("allOf", "anyOf"):
        if name in result:
            result[name] = [_add_guards(part, many_values) for part in result[name]]
    replacements = list(_pop_slow_keywords(result)) if many_values else []
    if replacements:
        result["allOf"] = [*result.get("allOf", []), *replacements]
    slow_keywords = {key: result.pop(key) for key in ("pattern", "format") if key in result}
    if slow_keywords and "maxLength" in result:
        guard = {"if": {"maxLength": result["maxLength"]}, "then": slow_keywords}
        result["allOf"] = [*result.get("allOf", []), guard]
    else:
        result |= slow_keywords
    return result


def _pop_slow_keywords(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what stands for the keywords that compare fractions; they are taken out."""
    if cost.has_numbers(schema.get("enum")):
        yield _fast_enum(schema.pop("enum"))
    for keyword in [name for name in cost.BOUND_KEYWORDS if name in schema]:
        value = schema[keyword]
        if isinstance(value, float) and value.is_integer():
            schema[keyword] = int(value)
        elif isinstance(value, float):
            is_lower = keyword in ("minimum", "exclusiveMinimum")
            integer_bound = {"minimum": ceil(value)} if is_lower else {"maximum": floor(value)}
            yield {
                "if": {"type": "integer"},
                "then": integer_bound,
                "else": {keyword: schema.pop(keyword)},
            }


def _fast_enum(values: list[Any]) -> dict[str, Any]:
    """Return what holds of those values, numbers among them: each of a few is a range of one."""
    numbers = [value for value in values if cost.has_numbers(value)]
    if not cost.prefer_ranges(numbers):
        return {"among": values}
    ranges = [{"type": "number", "minimum": value, "maximum": value} for value in numbers]
    return {
        "anyOf": [*ranges, {"enum": [value for value in values if not cost.has_numbers(value)]}]
    }


def _build_exact_validator(schema: dict[str, Any]) -> Any:
    return _build_validator(schema, _BYTE_LENGTH_KEYWORDS, ())


def _has_negated_length(schema: Any, negated: bool = False) -> bool:
    """Return whether a length stands where a value may be longer, or shorter, without harm."""
    if not isinstance(schema, dict):
        return isinstance(schema, list) and any(
            _has_negated_length(part, negated) for part in schema
        )
    if negated and ("maxLength" in schema or "minLength" in schema):
        return True
    for keyword, value in schema.items():
        subschemas = value.values() if keyword == "properties" else [value]
        child_negated = negated or keyword in ("not", "if")
        if keyword in _APPLICATOR_KEYWORDS and any(
            _has_negated_length(part, child_negated) for part in subschemas
        ):
            return True
    return False


def _narrow_lengths(schema: Any, ascii_only: bool) -> Any:
    """Return a schema that asks for lengths in characters where bytes are meant.

    What it finds valid is valid; what it does not may be. Only subschemas that must hold for their
    parent to hold can be narrowed: under a "not" it would be the other way round, so there the
    exact keywords stay.
    """
    if not isinstance(schema, dict):
        return schema
    result = dict(schema)
    if "properties" in result:
        members = result["properties"].items()
        result["properties"] = {name: _narrow_lengths(value, ascii_only) for name, value in members}
    for name in ("items", "additionalProperties", "then", "else"):
        if name in result:
            result[name] = _narrow_lengths(result[name], ascii_only)
    for name in ("allOf", "anyOf"):
        if name in result:
            result[name] = [_narrow_lengths(value, ascii_only) for value in result[name]]
    if not ascii_only and "maxLength" in result:
        result["maxLength"] //= 4  # a character has four bytes at most
    # A size is length * 3 // 4 - padding, and padding 0 to 2.
    if "maxB64DLen" in result:
        longest = (4 * (result.pop("maxB64DLen") + 1) - 1) // 3
        result["maxLength"] = min(longest, result.get("maxLength", longest))
    if "minB64DLen" in result:
        shortest = -(-4 * (result.pop("minB64DLen") + 2) // 3)
        result["minLength"] = max(shortest, result.get("minLength", 0))
    return result
