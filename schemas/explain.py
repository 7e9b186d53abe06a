"""Why a body is not valid: the first violations, found by going down only where something is wrong.

The validator's library tells all errors of a body at once, each with the whole value it is of: for
a hundred thousand wrong items it takes minutes. Here each place is asked for yes or no. Pure.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.errors import BAD_REQUEST, AseError
from schemas.text import as_text

MAX_NAME: Final = 64
# How deep arrays in arrays are asked through: each level may judge all below it once more.
MAX_ASKED: Final = 3
_WAYS: Final = 16

# What judges one value by itself, and looks no deeper.
_ALONE: Final = frozenset({
    "type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "minProperties",
    "maxProperties", "pattern", "format", "uniqueItems", "maxB64DLen", "minB64DLen", "error",
})  # fmt: skip
_MADE = Callable[[dict[str, Any]], Any]
# What is not looked at where these do not hold: it costs more than they do.
_GATES: Final[dict[str, tuple[str, ...]]] = {
    "pattern": ("maxLength",),
    "format": ("maxLength",),
    "uniqueItems": ("maxItems",),
    "items": ("maxItems",),
    "additionalProperties": ("maxProperties",),
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: where in the body (`$.parameter.ocr.width`) and which rule.

    `declared_path` is the path with `*` for a member that the schema does not declare; "" where it
    equals `path`. A caller's own names may be secrets, so a log holds this one.
    """

    path: str
    rule: str
    declared_path: str = field(default="", compare=False)

    @property
    def logged(self) -> str:
        """Return the sentence that a log may hold."""
        return f"{self.declared_path or self.path}: {self.rule}"

    def __str__(self) -> str:
        return f"{self.path}: {self.rule}"


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a body: its path as the caller reads it, and as a log may hold it."""

    path: str
    declared_path: str

    def member(self, name: str, *, declared: bool = True) -> "Place":
        """Return the place of a member; a log shows no name that the schema does not declare."""
        known = member_path(self.declared_path, name) if declared else f"{self.declared_path}.*"
        return Place(member_path(self.path, name), known)

    def item(self, index: int) -> "Place":
        """Return the place of an item of an array."""
        return Place(f"{self.path}[{index}]", f"{self.declared_path}[{index}]")

    def violation(self, rule: str) -> Violation:
        """Return the violation of a rule at this place."""
        return Violation(self.path, rule, self.declared_path)


ROOT: Final = Place("$", "$")


class Part:
    """A subschema and what it consists of; validators are made when first needed, and kept.

    `make` returns a validator of the library for a schema.
    """

    def __init__(self, schema: dict[str, Any], make: _MADE) -> None:
        self._schema = schema
        self._make = make
        self._whole: Any = None
        self._parts: dict[Any, Part] = {}

    def holds(self, value: object) -> bool:
        """Return whether a value is valid."""
        if self._whole is None:
            self._whole = self._make(self._schema)
        valid: bool = self._whole.is_valid(value)
        return valid

    def violations(self, value: object, path: Place = ROOT, asked: int = 0) -> Iterator[Violation]:
        """Yield what is wrong with a value, one by one.

        `asked`: how many arrays, and members without a name, around it were asked through.
        """
        yield from self._of_this(value, path)
        schema = self._schema
        if isinstance(value, dict):
            yield from self._of_members(value, path, asked)
        elif isinstance(value, list) and "items" in schema and self._gate("items", value):
            yield from self._of_items(value, path, asked)
        for index, told in enumerate(schema.get("allOf", ())):
            yield from self._part(("allOf", index), told).violations(value, path, asked)
        for keyword in ("anyOf", "not"):
            if keyword in schema and not self._alone(keyword).holds(value):
                yield path.violation(f"breaks {keyword}")
        if "if" in schema:
            way = "then" if self._part("if", schema["if"]).holds(value) else "else"
            if way in schema:
                yield from self._part(way, schema[way]).violations(value, path, asked)

    def _of_items(self, value: list[Any], path: Place, asked: int) -> Iterator[Violation]:
        listed, part = self._alone("items"), self._part("items", self._schema["items"])
        if asked == MAX_ASKED:
            if not listed.holds(value):
                yield path.violation("has a wrong item")
            return

        def holds(start: int, end: int) -> bool:
            return listed.holds(value[start:end])

        for index in _wrong(0, len(value), holds):
            yield from part.violations(value[index], path.item(index), asked + 1)

    def _of_members(self, value: dict[str, Any], path: Place, asked: int) -> Iterator[Violation]:
        declared = self._schema.get("properties", {})
        for name, told in declared.items():
            if name in value:
                part = self._part(("properties", name), told)
                yield from part.violations(value[name], path.member(name), asked)
        others = self._schema.get("additionalProperties", True)
        if not isinstance(others, dict) or not self._gate("additionalProperties", value):
            return
        named = self._part("named", {"additionalProperties": others})
        part = self._part("additionalProperties", others)
        rest = [(name, member) for name, member in value.items() if name not in declared]
        if asked == MAX_ASKED:
            if not named.holds(dict(rest)):
                yield path.violation("has a wrong member")
            return

        def holds(start: int, end: int) -> bool:
            return named.holds(dict(rest[start:end]))

        for index in _wrong(0, len(rest), holds):
            name, member = rest[index]
            yield from part.violations(member, path.member(name, declared=False), asked + 1)

    def _of_this(self, value: object, path: Place) -> Iterator[Violation]:
        """Tell what is wrong with the value itself, by the keywords that look no deeper.

        Each is asked for yes or no: to tell more, the library would write the whole value out.
        """
        for keyword, told in self._schema.items():
            if not self._gate(keyword, value):
                continue
            if keyword in _OF_MEMBERS:
                if isinstance(value, dict):
                    yield from _OF_MEMBERS[keyword](told, value, path, self._schema)
            elif keyword in _ALONE and not self._alone(keyword).holds(value):
                yield path.violation(_said(keyword, told))

    def _gate(self, keyword: str, value: object) -> bool:
        """Return whether a value is worth being looked at by a keyword."""
        first = {k: self._schema[k] for k in _GATES.get(keyword, ()) if k in self._schema}
        if keyword == "uniqueItems" and "type" in self._schema.get("items", {}):
            first["items"] = {"type": self._schema["items"]["type"]}
        return not first or self._part(("gate", keyword), first).holds(value)

    def _part(self, key: Any, schema: dict[str, Any]) -> "Part":
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = Part(schema, self._make)
        return part

    def _alone(self, keyword: str) -> "Part":
        return self._part(("alone", keyword), {keyword: self._schema[keyword]})


def invalid_body(violations: Iterable[Violation]) -> AseError:
    """Return the error (10163) of a body that breaks its schema, with every violation."""
    told = list(violations)
    title = "parameter schema validate error: "
    logged = "; ".join(violation.logged for violation in told)
    return AseError(BAD_REQUEST, title + "; ".join(map(str, told)), title + logged)


def _wrong(start: int, end: int, holds: Callable[[int, int], bool]) -> Iterator[int]:
    """Yield which of so many do not hold, asking for a sixteenth at a time: most hold.

    One alone is not asked for: to go down and find nothing costs no more.
    """
    if end - start == 1:
        yield start
        return
    step = max(1, -(-(end - start) // _WAYS))
    for at in range(start, end, step):
        to = min(at + step, end)
        if not holds(at, to):
            yield from _wrong(at, to, holds)


def _required(
    names: list[str], value: dict[str, Any], path: Place, _: dict[str, Any]
) -> Iterator[Violation]:
    for name in names:
        if name not in value:
            yield path.member(name).violation("is required")


def _closed(
    told: object, value: dict[str, Any], path: Place, schema: dict[str, Any]
) -> Iterator[Violation]:
    if told is False:
        declared = schema.get("properties", {})
        for name in value:
            if name not in declared:
                yield path.member(name, declared=False).violation("is not known here")


def _dependent(
    told: dict[str, list[str]], value: dict[str, Any], path: Place, schema: dict[str, Any]
) -> Iterator[Violation]:
    for name, names in told.items():
        if name in value:
            yield from _required(names, value, path, schema)


_OF_MEMBERS: Final[dict[str, Any]] = {
    "required": _required,
    "additionalProperties": _closed,
    "dependentRequired": _dependent,
}


def _said(keyword: str, told: Any) -> str:
    """Return the words for a rule that was broken."""
    match keyword:
        case "type":
            return f"must be of type {_listed(told)}"
        case "enum":
            return f"must be one of {_listed(told)}"
        case "maxB64DLen":
            return f"must decode to at most {told} bytes"
        case "minB64DLen":
            return f"must decode to at least {told} bytes"
        case "uniqueItems":
            return "breaks uniqueItems"
        case "error":
            return str(told)
        case _:
            return f"breaks {keyword} {told}"


def _listed(values: Any) -> str:
    """List a schema's own values; null is understood, and of "3" and 3 one is enough."""
    told = [values] if isinstance(values, str) else values
    texts = {as_text(value): None for value in told if value is not None and value != "null"}
    return ", ".join(texts) or "null"


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
