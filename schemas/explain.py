"""Why a body is not valid: the first violations, found by going down only where something is wrong.

The validator's library tells all errors of a body at once: of a hundred thousand wrong items each
with all the ways it is wrong, for minutes. Here each part is asked whether it holds, which stops at
the first fault, and only the keywords of one place are asked what is wrong. Pure.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

MAX_NAME: Final = 64

# Kinds whose value is the schema's own, safe and helpful to repeat.
_RULES_WITH_VALUE: Final = frozenset({
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
    "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "pattern", "format",
    "const",
})  # fmt: skip
# What these hold is asked by itself; all others judge one value as it stands.
_PARTS: Final = frozenset({"properties", "items", "allOf", "anyOf", "not", "if", "then", "else"})
_CALLED: Final = frozenset({
    "maxB64DLen", "minB64DLen", "error", "uniqueItems", "multipleOf", "maxLength", "minLength",
})  # fmt: skip
_MADE = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: where in the body (`$.parameter.ocr.width`) and which rule."""

    path: str
    rule: str

    def __str__(self) -> str:
        return f"{self.path}: {self.rule}"


class Part:
    """A subschema and what it consists of; validators are made when first needed, and kept.

    `make` returns a validator of the library for a schema.
    """

    def __init__(self, schema: dict[str, Any], make: _MADE) -> None:
        self._schema = schema
        self._make = make
        self._whole: Any = None
        self._own: Any = None
        self._parts: dict[Any, Part] = {}

    def holds(self, value: object) -> bool:
        """Return whether a value is valid."""
        if self._whole is None:
            self._whole = self._make(self._schema)
        valid: bool = self._whole.is_valid(value)
        return valid

    def violations(self, value: object, path: str = "$") -> Iterator[Violation]:
        """Yield what is wrong with a value, one by one."""
        yield from self._of_this(value, path)
        schema = self._schema
        if isinstance(value, dict):
            yield from self._of_members(value, path)
        elif isinstance(value, list) and "items" in schema:
            items = self._part("items", schema["items"])
            for index in self._wrong(self._alone("items"), value, 0):
                yield from items.violations(value[index], f"{path}[{index}]")
        for index, told in enumerate(schema.get("allOf", ())):
            part = self._part(("allOf", index), told)
            if not part.holds(value):
                yield from part.violations(value, path)
        for keyword in ("anyOf", "not"):
            if keyword in schema and not self._alone(keyword).holds(value):
                yield Violation(path, f"breaks {keyword}")
        if "if" in schema:
            way = "then" if self._part("if", schema["if"]).holds(value) else "else"
            if way in schema and not self._part(way, schema[way]).holds(value):
                yield from self._part(way, schema[way]).violations(value, path)

    def _wrong(self, listed: "Part", items: list[Any], first: int) -> Iterator[int]:
        """Yield the numbers of the items that do not hold, by halves: most hold."""
        if listed.holds(items):
            return
        if len(items) == 1:
            yield first
            return
        middle = len(items) // 2
        yield from self._wrong(listed, items[:middle], first)
        yield from self._wrong(listed, items[middle:], first + middle)

    def _of_members(self, value: dict[str, Any], path: str) -> Iterator[Violation]:
        declared = self._schema.get("properties", {})
        for name, member in value.items():
            told = declared.get(name, self._schema.get("additionalProperties", True))
            if isinstance(told, dict):
                key = ("properties", name) if name in declared else "additionalProperties"
                part = self._part(key, told)
                if not part.holds(member):
                    yield from part.violations(member, member_path(path, name))

    def _of_this(self, value: object, path: str) -> Iterator[Violation]:
        """Tell what is wrong with the value itself, by the keywords that look no deeper."""
        if self._own is None:
            told = {key: v for key, v in self._schema.items() if key not in _PARTS}
            if isinstance(told.get("additionalProperties"), dict):
                del told["additionalProperties"]
            elif "additionalProperties" in told:  # it has to know which are declared
                told["properties"] = {name: {} for name in self._schema.get("properties", {})}
            self._own = self._make(told)
        if not self._own.is_valid(value):
            for error in self._own.iter_errors(value):
                yield from _told(error, path)

    def _part(self, key: Any, schema: dict[str, Any]) -> "Part":
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = Part(schema, self._make)
        return part

    def _alone(self, keyword: str) -> "Part":
        return self._part(("alone", keyword), {keyword: self._schema[keyword]})


def _told(error: Any, path: str) -> Iterator[Violation]:
    kind = error.kind
    match kind.name:
        case "additionalProperties":
            for name in kind.value:
                yield Violation(member_path(path, name), "is not known here")
        case "required":
            yield Violation(member_path(path, kind.value), "is required")
        case "type":
            yield Violation(path, f"must be of type {_listed(t for t in kind.value)}")
        case "enum":
            yield Violation(path, f"must be one of {_listed(kind.value)}")
        case name if name in _CALLED:
            yield Violation(path, str(kind.value))
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
        path = f"{path}[{part}]" if isinstance(part, int) else member_path(path, part)
    return path


def member_path(path: str, name: str) -> str:
    """Return the path of a member."""
    shown = name if len(name) <= MAX_NAME else name[:MAX_NAME] + "..."
    return f"{path}.{shown}" if shown.isidentifier() else f"{path}[{shown!r}]"
