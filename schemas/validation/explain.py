"""Search for the first violations of an invalid body, descending only into invalid parts. Pure.

The library reports all errors of a body at once, each with a copy of the invalid value, which takes
minutes for 100,000 invalid items. Here the library only decides whether a value is valid, and the
search locates the violations.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.model.text import as_text

MAX_NAME_LENGTH: Final = 64
# How many nested levels of arrays, or of objects with undeclared members, are searched. Each level
# may validate everything below it once more.
MAX_SEARCH_DEPTH: Final = 3
_SPLIT_FACTOR: Final = 16

# Keywords that check one value and do not apply subschemas.
_ASSERTION_KEYWORDS: Final = frozenset({
    "type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "minProperties",
    "maxProperties", "pattern", "format", "uniqueItems", "maxB64DLen", "minB64DLen", "error",
})  # fmt: skip
_MakeValidator = Callable[[dict[str, Any]], Any]
# A keyword is not evaluated if one of its preconditions fails: it costs more than they do.
_PRECONDITIONS: Final[dict[str, tuple[str, ...]]] = {
    "pattern": ("maxLength",),
    "format": ("maxLength",),
    "uniqueItems": ("maxItems",),
    "items": ("maxItems",),
    "additionalProperties": ("maxProperties",),
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: `path` in the body (such as `$.parameter.ocr.width`), and the `rule`.

    `declared_path` is the path with `*` for each member that the schema does not declare; "" means
    the same as `path`. Logs use it, because the names that a caller chooses may be secrets.
    """

    path: str
    rule: str
    declared_path: str = field(default="", compare=False)

    @property
    def log_message(self) -> str:
        """Return the message for logs, without undeclared member names."""
        return f"{self.declared_path or self.path}: {self.rule}"

    def __str__(self) -> str:
        return f"{self.path}: {self.rule}"


@dataclass(frozen=True, slots=True)
class InstanceLocation:
    """A location in a body: `path` for the caller, and `declared_path` for logs."""

    path: str
    declared_path: str

    def member(self, name: str, *, declared: bool = True) -> "InstanceLocation":
        """Return the location of a member; `declared_path` has `*` if it is not declared."""
        declared_path = (
            member_path(self.declared_path, name) if declared else f"{self.declared_path}.*"
        )
        return InstanceLocation(member_path(self.path, name), declared_path)

    def item(self, index: int) -> "InstanceLocation":
        """Return the location of an array item."""
        return InstanceLocation(f"{self.path}[{index}]", f"{self.declared_path}[{index}]")

    def violation(self, rule: str) -> Violation:
        """Return the violation of `rule` at this location."""
        return Violation(self.path, rule, self.declared_path)


ROOT_LOCATION: Final = InstanceLocation("$", "$")


class Subschema:
    """A subschema with the validators of its parts, which are built on first use and kept.

    `make_validator` builds a validator of the library for a schema. `_subschemas` caches the parts:
    true subschemas, schemas of a single keyword, and the preconditions of a keyword. Their number
    depends on the schema, not on the bodies.
    """

    def __init__(self, schema: dict[str, Any], make_validator: _MakeValidator) -> None:
        self._schema = schema
        self._make_validator = make_validator
        self._validator: Any = None
        self._subschemas: dict[Any, Subschema] = {}

    def is_valid(self, value: object) -> bool:
        """Return whether `value` is valid."""
        if self._validator is None:
            self._validator = self._make_validator(self._schema)
        result: bool = self._validator.is_valid(value)
        return result

    def violations(
        self, value: object, location: InstanceLocation = ROOT_LOCATION, depth: int = 0
    ) -> Iterator[Violation]:
        """Yield the violations of `value` lazily; none if it is valid.

        `location` is that of `value`. `depth` is how many arrays, and objects by their undeclared
        members, the search has descended through; at MAX_SEARCH_DEPTH it reports the array or
        object as a whole.
        """
        yield from self._own_violations(value, location)
        schema = self._schema
        if isinstance(value, dict):
            yield from self._member_violations(value, location, depth)
        elif (
            isinstance(value, list)
            and "items" in schema
            and self._preconditions_hold("items", value)
        ):
            yield from self._item_violations(value, location, depth)
        for index, subschema in enumerate(schema.get("allOf", ())):
            yield from self._subschema(("allOf", index), subschema).violations(
                value, location, depth
            )
        for keyword in ("anyOf", "not"):
            if keyword in schema and not self._single_keyword(keyword).is_valid(value):
                yield location.violation(f"breaks {keyword}")
        if "if" in schema:
            branch = "then" if self._subschema("if", schema["if"]).is_valid(value) else "else"
            if branch in schema:
                yield from self._subschema(branch, schema[branch]).violations(
                    value, location, depth
                )

    def _item_violations(
        self, value: list[Any], location: InstanceLocation, depth: int
    ) -> Iterator[Violation]:
        items_only, item_schema = (
            self._single_keyword("items"),
            self._subschema("items", self._schema["items"]),
        )
        if depth == MAX_SEARCH_DEPTH:
            if not items_only.is_valid(value):
                yield location.violation("has a wrong item")
            return

        def all_valid(start: int, end: int) -> bool:
            return items_only.is_valid(value[start:end])

        for index in _failing_indices(0, len(value), all_valid):
            yield from item_schema.violations(value[index], location.item(index), depth + 1)

    def _member_violations(
        self, value: dict[str, Any], location: InstanceLocation, depth: int
    ) -> Iterator[Violation]:
        declared = self._schema.get("properties", {})
        for name, member_schema in declared.items():
            if name in value:
                subschema = self._subschema(("properties", name), member_schema)
                yield from subschema.violations(value[name], location.member(name), depth)
        additional = self._schema.get("additionalProperties", True)
        if not isinstance(additional, dict) or not self._preconditions_hold(
            "additionalProperties", value
        ):
            return
        additional_only = self._subschema("named", {"additionalProperties": additional})
        subschema = self._subschema("additionalProperties", additional)
        undeclared = [(name, member) for name, member in value.items() if name not in declared]
        if depth == MAX_SEARCH_DEPTH:
            if not additional_only.is_valid(dict(undeclared)):
                yield location.violation("has a wrong member")
            return

        def all_valid(start: int, end: int) -> bool:
            return additional_only.is_valid(dict(undeclared[start:end]))

        for index in _failing_indices(0, len(undeclared), all_valid):
            name, member = undeclared[index]
            yield from subschema.violations(
                member, location.member(name, declared=False), depth + 1
            )

    def _own_violations(self, value: object, location: InstanceLocation) -> Iterator[Violation]:
        """Yield the violations of the keywords that do not apply subschemas.

        Each keyword is checked alone with `is_valid`: an error of the library would contain the
        whole value as text.
        """
        for keyword, keyword_value in self._schema.items():
            if not self._preconditions_hold(keyword, value):
                continue
            if keyword in _OBJECT_KEYWORDS:
                if isinstance(value, dict):
                    yield from _OBJECT_KEYWORDS[keyword](
                        keyword_value, value, location, self._schema
                    )
            elif keyword in _ASSERTION_KEYWORDS and not self._single_keyword(keyword).is_valid(
                value
            ):
                yield location.violation(_rule_message(keyword, keyword_value))

    def _preconditions_hold(self, keyword: str, value: object) -> bool:
        """Return whether `value` meets the preconditions of `keyword`."""
        preconditions = {
            k: self._schema[k] for k in _PRECONDITIONS.get(keyword, ()) if k in self._schema
        }
        if keyword == "uniqueItems" and "type" in self._schema.get("items", {}):
            preconditions["items"] = {"type": self._schema["items"]["type"]}
        return not preconditions or self._subschema(("gate", keyword), preconditions).is_valid(
            value
        )

    def _subschema(self, key: Any, schema: dict[str, Any]) -> "Subschema":
        subschema = self._subschemas.get(key)
        if subschema is None:
            subschema = self._subschemas[key] = Subschema(schema, self._make_validator)
        return subschema

    def _single_keyword(self, keyword: str) -> "Subschema":
        return self._subschema(("alone", keyword), {keyword: self._schema[keyword]})


def _failing_indices(start: int, end: int, all_valid: Callable[[int, int], bool]) -> Iterator[int]:
    """Yield the indices from `start` up to `end` whose elements are invalid.

    `all_valid(start, end)` checks a range. Each range is split into 16 parts and only the invalid
    parts are searched, because most elements are valid. A range of one element is yielded without a
    check: the caller then finds no violation in a valid element, which costs no more.
    """
    if end - start == 1:
        yield start
        return
    step = max(1, -(-(end - start) // _SPLIT_FACTOR))
    for chunk_start in range(start, end, step):
        chunk_end = min(chunk_start + step, end)
        if not all_valid(chunk_start, chunk_end):
            yield from _failing_indices(chunk_start, chunk_end, all_valid)


def _required_violations(
    names: list[str], value: dict[str, Any], location: InstanceLocation, _: dict[str, Any]
) -> Iterator[Violation]:
    for name in names:
        if name not in value:
            yield location.member(name).violation("is required")


def _additional_violations(
    additional: object, value: dict[str, Any], location: InstanceLocation, schema: dict[str, Any]
) -> Iterator[Violation]:
    if additional is False:
        declared = schema.get("properties", {})
        for name in value:
            if name not in declared:
                yield location.member(name, declared=False).violation("is not known here")


def _dependent_violations(
    dependencies: dict[str, list[str]],
    value: dict[str, Any],
    location: InstanceLocation,
    schema: dict[str, Any],
) -> Iterator[Violation]:
    for name, names in dependencies.items():
        if name in value:
            yield from _required_violations(names, value, location, schema)


_OBJECT_KEYWORDS: Final[dict[str, Any]] = {
    "required": _required_violations,
    "additionalProperties": _additional_violations,
    "dependentRequired": _dependent_violations,
}


def _rule_message(keyword: str, keyword_value: Any) -> str:
    """Return the message for a broken rule."""
    match keyword:
        case "type":
            return f"must be of type {_format_values(keyword_value)}"
        case "enum":
            return f"must be one of {_format_values(keyword_value)}"
        case "maxB64DLen":
            return f"must decode to at most {keyword_value} bytes"
        case "minB64DLen":
            return f"must decode to at least {keyword_value} bytes"
        case "uniqueItems":
            return "breaks uniqueItems"
        case "error":
            return str(keyword_value)
        case _:
            return f"breaks {keyword} {keyword_value}"


def _format_values(values: Any) -> str:
    """Return the values of `type` or `enum` as a list for a message.

    Null is omitted, since it always passes, and equal string forms such as "3" and 3 appear once.
    """
    items = [values] if isinstance(values, str) else values
    texts = {as_text(value): None for value in items if value is not None and value != "null"}
    return ", ".join(texts) or "null"


def json_path(parts: Any) -> str:
    """Return the path of members and indices `parts` as text, such as `$.a.b[0]`.

    A name of more than 64 characters is cut.
    """
    path = "$"
    for part in parts:
        path = f"{path}[{part}]" if isinstance(part, int) else member_path(path, part)
    return path


def member_path(path: str, name: str) -> str:
    """Return the path of the member `name` of the object at `path`.

    A name that is not an identifier is quoted in brackets; one of more than 64 characters is cut.
    """
    shortened = name if len(name) <= MAX_NAME_LENGTH else name[:MAX_NAME_LENGTH] + "..."
    return f"{path}.{shortened}" if shortened.isidentifier() else f"{path}[{shortened!r}]"
