"""A compiled schema at work: a body in, the violations out. Pure and linear in the body."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import jsonschema_rs

from schemas.document import DocumentError, Problem

MAX_VIOLATIONS = 20
_MAX_NAME = 64

# Kinds whose value is the schema's own, safe and helpful to repeat.
_RULES_WITH_VALUE = frozenset({
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
    "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "pattern", "format",
    "const",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: where in the body (`$.parameter.ocr.width`) and which rule."""

    path: str
    rule: str

    def __str__(self) -> str:
        return f"{self.path}: {self.rule}"


class Validator:
    """A JSON Schema made ready: patterns in linear time, no `$ref` that leaves the document.

    Raises DocumentError when the schema itself is not one.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        try:
            self._exact = _compiled(schema)
        except ValueError as error:
            where = tuple(getattr(error, "instance_path", ()))
            said = str(error).partition("\n")[0]
            raise DocumentError([Problem(("schemainput", *where), said)]) from error
        narrow = _narrowed(schema)
        self._narrow = self._exact if _sizes_left(narrow) else _compiled(narrow)

    def violations(self, body: object) -> tuple[Violation, ...]:
        """Return the first 20 violations of a body; empty when it is valid.

        A violation tells the path and the rule, never the value.
        """
        if self._narrow.is_valid(body) or self._exact.is_valid(body):
            return ()
        found = (v for error in self._exact.iter_errors(body) for v in _tell(error))
        return tuple(islice(found, MAX_VIOLATIONS))


def _compiled(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        schema,
        validate_formats=True,
        offline=True,
        pattern_options=jsonschema_rs.RegexOptions(),
        keywords={"maxB64DLen": _Base64Limit, "minB64DLen": _Base64Floor},
    )


def _narrowed(schema: Any) -> Any:
    """Return a schema in whose subschemas the limits on decoded sizes are limits on lengths.

    What it finds valid is valid; what it does not may be. A limit in Python costs as much as all
    the rest of a validation, and nearly no body comes near one. Only subschemas that must hold for
    their parent to hold are narrowed: under a "not" it would be the other way round.
    """
    if not isinstance(schema, dict):
        return schema
    told = dict(schema)
    for name in ("properties", "patternProperties"):
        if isinstance(told.get(name), dict):
            told[name] = {key: _narrowed(value) for key, value in told[name].items()}
    for name in ("items", "additionalProperties"):
        if name in told:
            told[name] = _narrowed(told[name])
    for name in ("allOf", "anyOf", "prefixItems"):
        if isinstance(told.get(name), list):
            told[name] = [_narrowed(value) for value in told[name]]
    # A size is length * 3 // 4 - padding, and padding 0 to 2.
    if isinstance(told.get("maxB64DLen"), int):
        longest = (4 * (told.pop("maxB64DLen") + 1) - 1) // 3
        told["maxLength"] = min(longest, told.get("maxLength", longest))
    if isinstance(told.get("minB64DLen"), int):
        shortest = -(-4 * (told.pop("minB64DLen") + 2) // 3)
        told["minLength"] = max(shortest, told.get("minLength", 0))
    return told


def _sizes_left(schema: Any) -> bool:
    """Return whether a limit on decoded sizes is left somewhere, whatever it means there."""
    if isinstance(schema, dict):
        named = "maxB64DLen" in schema or "minB64DLen" in schema
        return named or any(_sizes_left(value) for value in schema.values())
    return isinstance(schema, list) and any(_sizes_left(value) for value in schema)


def _tell(error: jsonschema_rs.ValidationError) -> Iterator[Violation]:
    path = json_path(error.instance_path)
    kind = error.kind
    match kind.name:
        case "additionalProperties":
            for name in kind.value:
                yield Violation(_member(path, name), "is not known here")
        case "required":
            yield Violation(_member(path, kind.value), "is required")
        case "type":
            yield Violation(path, f"must be of type {_listed(t for t in kind.value)}")
        case "enum":
            yield Violation(path, f"must be one of {_listed(kind.value)}")
        case "maxB64DLen" | "minB64DLen":
            yield Violation(path, kind.value)
        case name if name in _RULES_WITH_VALUE:
            yield Violation(path, f"breaks {name} {kind.value}")
        case name:
            yield Violation(path, f"breaks {name}")


def _listed(values: Any) -> str:
    """List a schema's own values; null is understood, and of "3" and 3 one is enough."""
    texts = {str(value): None for value in values if value is not None and value != "null"}
    return ", ".join(texts)


def json_path(parts: Any) -> str:
    """Return `$.a.b[0]` for the members and indices of a path; long names are cut."""
    path = "$"
    for part in parts:
        path = f"{path}[{part}]" if isinstance(part, int) else _member(path, part)
    return path


def _member(path: str, name: str) -> str:
    shown = name if len(name) <= _MAX_NAME else name[:_MAX_NAME] + "..."
    return f"{path}.{shown}" if shown.isidentifier() else f"{path}[{shown!r}]"


class _Base64Limit:
    """Keyword `maxB64DLen`: the most bytes a base64 text may decode to."""

    def __init__(self, _parent: Any, value: int, _path: Any) -> None:
        self._limit = value

    def validate(self, instance: Any) -> None:
        if isinstance(instance, str) and _decoded_length(instance) > self._limit:
            raise ValueError(f"must decode to at most {self._limit} bytes")


class _Base64Floor:
    """Keyword `minB64DLen`: the fewest bytes a base64 text may decode to."""

    def __init__(self, _parent: Any, value: int, _path: Any) -> None:
        self._floor = value

    def validate(self, instance: Any) -> None:
        if isinstance(instance, str) and _decoded_length(instance) < self._floor:
            raise ValueError(f"must decode to at least {self._floor} bytes")


def _decoded_length(text: str) -> int:
    return len(text) * 3 // 4 - text[-2:].count("=")
