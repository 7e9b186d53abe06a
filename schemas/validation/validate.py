"""Validation of a body against a compiled schema. Pure, in time linear in the body."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from math import ceil, floor
from typing import Any, Final

import jsonschema_rs

from schemas.model.document import DocumentError, DocumentPath, Problem
from schemas.model.errors import BAD_REQUEST, AseError
from schemas.validation import cost, keywords
from schemas.validation.explain import Subschema, Violation

compile_rule: Callable[[Any], Any] | None
try:
    from schemas.validation.accept_native import compile_rule
except ImportError:  # not compiled: the library judges every body
    compile_rule = None

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


class InvalidBodyError(AseError):
    """The error of an invalid body (code 10163): all of `violations`."""

    def __init__(self, violations: Iterable[Violation]) -> None:
        self.violations = tuple(violations)
        title = "parameter schema validate error: "
        log_message = "; ".join(violation.log_message for violation in self.violations)
        message = "; ".join(map(str, self.violations))
        super().__init__(BAD_REQUEST, title + message, title + log_message)


class Validator:
    """The validators of one schema from `compile_input`.

    Patterns run in linear time and no reference is fetched. The dialect limits bytes and decoded
    base64 sizes, which needs a keyword in Python, and a call to Python costs as much as all other
    keywords together. So a body is first checked by a fast validator that limits characters:

    - `_ascii_validator` is for bodies in which every string is ASCII: characters are bytes.
    - `_unicode_validator` is for all bodies. It divides each `maxLength` by 4, the maximum number
      of bytes of a character. If a length occurs below `not` or `if`, where a stricter limit would
      accept more, it uses the exact keywords instead.
    - `_exact_schema` decides what a fast validator rejects, and finds the violations. It is
      compiled on first use.

    A fast validator is at least as strict as the schema: a body that it accepts is valid, a body
    that it rejects may be valid. So is the rule that comes before it (`_FastValidator`).

    `path` is the location of the schema in its document. Raises DocumentError if the library
    rejects the schema.
    """

    def __init__(self, schema: dict[str, Any], path: DocumentPath = ("schemainput",)) -> None:
        # Most bodies are ASCII. Narrowing turns limits on decoded sizes into limits on lengths.
        ascii_schema = _narrow_lengths(schema, ascii_only=True)
        self._ascii_validator = _FastValidator(ascii_schema, {}, path)
        unicode_schema = _narrow_lengths(schema, ascii_only=False)
        if _has_negated_length(schema):
            self._unicode_validator = _FastValidator(schema, _BYTE_LENGTH_KEYWORDS, path)
        else:
            self._unicode_validator = (
                self._ascii_validator
                if unicode_schema == ascii_schema
                else _FastValidator(unicode_schema, {}, path)
            )
        self._exact_schema = Subschema(schema, _build_exact_validator)

    def is_valid(self, body: object) -> bool:
        """Return whether `body` is valid."""
        return self._unicode_validator.is_valid(body) or self._exact_schema.is_valid(body)

    def violations(self, body: object, ascii_only: bool = False, /) -> tuple[Violation, ...]:
        """Return the first 20 violations of `body`; empty if it is valid.

        `ascii_only` states that every string in `body` is ASCII. A violation names the path and the
        rule, never the value.
        """
        fast_validator = self._ascii_validator if ascii_only else self._unicode_validator
        if fast_validator.is_valid(body) or self._exact_schema.is_valid(body):
            return ()
        violations = tuple(islice(self._exact_schema.violations(body), MAX_VIOLATIONS))
        return violations or (Violation("$", "breaks the schema"),)


class _FastValidator:
    """A validator of the library, after a rule that accepts most bodies in half of the time.

    There is no rule if the schema has keywords that rules do not know, `extra_keywords` among them,
    and where the product is not compiled.
    """

    __slots__ = ("_rule", "_validator")

    def __init__(
        self, schema: dict[str, Any], extra_keywords: dict[str, Any], path: DocumentPath
    ) -> None:
        self._validator = _build_validator(schema, extra_keywords, path)
        self._rule: Any = None
        if compile_rule is not None and not extra_keywords:
            self._rule = compile_rule(schema)

    def is_valid(self, body: object) -> bool:
        """Return whether `body` is valid."""
        rule = self._rule
        if rule is not None and rule.accepts(body):
            return True
        is_valid: bool = self._validator.is_valid(body)
        return is_valid


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
    """Return an equivalent schema that applies `pattern` and `format` only within `maxLength`.

    The library evaluates every keyword of a schema, even if another has failed, so a guard keeps a
    too long string from a costly keyword. `many_values` states that the schema applies to the
    items of an array or to undeclared members. Then the slow numeric keywords are replaced, too.
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
    """Remove the keywords that the library evaluates with fractions and yield replacements.

    A bound that is a whole float becomes an integer in place.
    """
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
    """Return a schema equivalent to an `enum` of `values` that include numbers.

    A few small integers become ranges of one value each; otherwise the keyword `among` looks the
    value up.
    """
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
    """Return whether `maxLength` or `minLength` occurs below a `not` or `if`."""
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
    """Return a schema, at least as strict as `schema`, that limits characters instead of bytes.

    A value that the result accepts is valid; a value that it rejects may be valid. Only subschemas
    whose success can make the parent succeed are narrowed. Below `not` and `if` a stricter
    subschema could make the parent accept more, so the exact keywords stay there.
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
        result["maxLength"] //= 4  # a character has at most four bytes in UTF-8
    # The decoded size is length * 3 // 4 - padding, where padding is 0 to 2.
    if "maxB64DLen" in result:
        longest = (4 * (result.pop("maxB64DLen") + 1) - 1) // 3
        result["maxLength"] = min(longest, result.get("maxLength", longest))
    if "minB64DLen" in result:
        shortest = -(-4 * (result.pop("minB64DLen") + 2) // 3)
        result["minLength"] = max(shortest, result.get("minLength", 0))
    return result
