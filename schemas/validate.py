"""A compiled schema at work: a body in, the violations out. Pure and linear in the body."""

from collections.abc import Iterator
from itertools import islice
from math import ceil, floor
from typing import Any, Final

import jsonschema_rs

from schemas import cost, keywords
from schemas.document import DocumentError, Path, Problem
from schemas.explain import Part, Violation

MAX_VIOLATIONS: Final = 20

_CALLS: Final[dict[str, Any]] = {
    "maxB64DLen": keywords.MaxBase64,
    "minB64DLen": keywords.MinBase64,
    "uniqueItems": keywords.UniqueItems,
    "multipleOf": keywords.MultipleOf,
    "among": keywords.Among,
    "error": keywords.Error,
}
_PARTS: Final = frozenset({
    "properties", "items", "additionalProperties", "allOf", "anyOf", "not", "if", "then", "else",
})  # fmt: skip
_BYTES: Final[dict[str, Any]] = {"maxLength": keywords.MaxBytes, "minLength": keywords.MinBytes}


class Validator:
    """A schema of `compile_input` made ready: patterns in linear time, nothing fetched.

    Raises DocumentError when the schema itself is not one; `at` is where it stands.
    """

    def __init__(self, schema: dict[str, Any], at: Path = ("schemainput",)) -> None:
        # Of a body in ASCII, the usual one, characters are bytes. Limits on decoded sizes are asked
        # for as limits on lengths first: a call to Python costs as much as all the rest.
        narrow = _narrowed(schema, ascii_only=True)
        self._of_ascii = _compiled(narrow, {}, at)
        wide = _narrowed(schema, ascii_only=False)
        if _asks_lengths(schema):
            self._of_any = _compiled(schema, _BYTES, at)
        else:
            self._of_any = self._of_ascii if wide == narrow else _compiled(wide, {}, at)
        self._exact = Part(schema, _exactly)

    def holds(self, body: object) -> bool:
        """Return whether a body is valid."""
        return self._of_any.is_valid(body) or self._exact.holds(body)

    def violations(self, body: object, ascii_only: bool = False, /) -> tuple[Violation, ...]:
        """Return the first 20 violations of a body; empty when it is valid.

        `ascii_only`: no text in it has a character beyond ASCII. A violation tells the path and the
        rule, never the value.
        """
        first = self._of_ascii if ascii_only else self._of_any
        if first.is_valid(body) or self._exact.holds(body):
            return ()
        found = tuple(islice(self._exact.violations(body), MAX_VIOLATIONS))
        return found or (Violation("$", "breaks the schema"),)


def _compiled(schema: dict[str, Any], more: dict[str, Any], at: Path) -> Any:
    try:
        return jsonschema_rs.Draft202012Validator(
            _guarded(schema),
            validate_formats=True,
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(),
            keywords=_CALLS | more,
        )
    except ValueError as error:
        where = tuple(getattr(error, "instance_path", ()))
        said = str(error).partition("\n")[0]
        raise DocumentError([Problem((*at, *where), said)]) from error


def _guarded(schema: Any, many: bool = False) -> Any:
    """Return a schema in which a text that is too long is not looked at by a pattern, or a format.

    The library asks each keyword, whatever another has found. `many`: it is asked of many values;
    then numbers are looked up, as one by one it compares them slowly.
    """
    if not isinstance(schema, dict):
        return schema
    told = dict(schema)
    if "properties" in told:
        told["properties"] = {name: _guarded(v, many) for name, v in told["properties"].items()}
    for name in ("items", "additionalProperties"):
        if name in told:
            told[name] = _guarded(told[name], many=True)
    for name in ("not", "if", "then", "else"):
        if name in told:
            told[name] = _guarded(told[name], many)
    for name in ("allOf", "anyOf"):
        if name in told:
            told[name] = [_guarded(part, many) for part in told[name]]
    faster = list(_faster(told)) if many else []
    if faster:
        told["allOf"] = [*told.get("allOf", []), *faster]
    slow = {key: told.pop(key) for key in ("pattern", "format") if key in told}
    if slow and "maxLength" in told:
        guard = {"if": {"maxLength": told["maxLength"]}, "then": slow}
        told["allOf"] = [*told.get("allOf", []), guard]
    else:
        told |= slow
    return told


def _faster(told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what stands for the keywords that compare fractions; they are taken out."""
    if cost.has_numbers(told.get("enum")):
        yield _found_fast(told.pop("enum"))
    for keyword in [name for name in cost.BOUNDS if name in told]:
        value = told[keyword]
        if isinstance(value, float) and value.is_integer():
            told[keyword] = int(value)
        elif isinstance(value, float):
            least = keyword in ("minimum", "exclusiveMinimum")
            whole = {"minimum": ceil(value)} if least else {"maximum": floor(value)}
            yield {"if": {"type": "integer"}, "then": whole, "else": {keyword: told.pop(keyword)}}


def _found_fast(values: list[Any]) -> dict[str, Any]:
    """Return what holds of those values, numbers among them: each of a few is a range of one."""
    numbers = [told for told in values if cost.has_numbers(told)]
    if not cost.are_ranges(numbers):
        return {"among": values}
    ways = [{"type": "number", "minimum": told, "maximum": told} for told in numbers]
    return {"anyOf": [*ways, {"enum": [told for told in values if not cost.has_numbers(told)]}]}


def _exactly(schema: dict[str, Any]) -> Any:
    return _compiled(schema, _BYTES, ())


def _asks_lengths(schema: Any, asked: bool = False) -> bool:
    """Return whether a length stands where a value may be longer, or shorter, without harm."""
    if not isinstance(schema, dict):
        return isinstance(schema, list) and any(_asks_lengths(part, asked) for part in schema)
    if asked and ("maxLength" in schema or "minLength" in schema):
        return True
    for keyword, value in schema.items():
        parts = value.values() if keyword == "properties" else [value]
        below = asked or keyword in ("not", "if")
        if keyword in _PARTS and any(_asks_lengths(part, below) for part in parts):
            return True
    return False


def _narrowed(schema: Any, ascii_only: bool) -> Any:
    """Return a schema that asks for lengths in characters where bytes are meant.

    What it finds valid is valid; what it does not may be. Only subschemas that must hold for their
    parent to hold can be narrowed: under a "not" it would be the other way round, so there the
    exact keywords stay.
    """
    if not isinstance(schema, dict):
        return schema
    told = dict(schema)
    if "properties" in told:
        members = told["properties"].items()
        told["properties"] = {name: _narrowed(value, ascii_only) for name, value in members}
    for name in ("items", "additionalProperties", "then", "else"):
        if name in told:
            told[name] = _narrowed(told[name], ascii_only)
    for name in ("allOf", "anyOf"):
        if name in told:
            told[name] = [_narrowed(value, ascii_only) for value in told[name]]
    if not ascii_only and "maxLength" in told:
        told["maxLength"] //= 4  # a character has four bytes at most
    # A size is length * 3 // 4 - padding, and padding 0 to 2.
    if "maxB64DLen" in told:
        longest = (4 * (told.pop("maxB64DLen") + 1) - 1) // 3
        told["maxLength"] = min(longest, told.get("maxLength", longest))
    if "minB64DLen" in told:
        shortest = -(-4 * (told.pop("minB64DLen") + 2) // 3)
        told["minLength"] = max(shortest, told.get("minLength", 0))
    return told
