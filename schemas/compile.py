"""The original's schema dialect, compiled to JSON Schema 2020-12. Pure.

The dialect (reference "ase-wire" 2.2) is not JSON Schema: objects are closed unless they say
otherwise, null passes `type` and `enum`, values compare as strings, `oneOf` means `anyOf`, lengths
are bytes. What changes a body instead of judging it is in `schemas/effects.py`. A keyword that is
not in the tables below is an error that names it, never ignored; `docs/schemas.md` has them all.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jsonschema_rs

from schemas import cost
from schemas.alike import alike
from schemas.document import DocumentError, Problem

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_DEPTH = 32
MAX_PARTS = 10_000
_MOST_COUNT = 2**53
_MOST_FORMAT = 64 * 1024  # bytes of a text that has a format and no length of its own
_MOST_NUMBER = 1e300

_Path = tuple[str | int, ...]

_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_COUNTS = ("minItems", "maxItems", "minProperties", "maxProperties", "maxB64DLen", "minB64DLen")
_LENGTHS = {"maxLength": "maxItems", "minLength": "minItems"}
_WORDS = ("title", "description", "$comment")
_IGNORED = ("comment", "$schema")
_BRANCHES = {"allOf": "allOf", "anyOf": "anyOf", "oneOf": "anyOf"}
# What they do to a body is judged and done elsewhere; as a judgement they always hold.
_EFFECTS = ("constVal", "replaceKey", "formatVal", "setVal", "delete")
_TYPES = {"string", "number", "integer", "boolean", "object", "array", "null"}
_FORMATS = frozenset({
    "date-time", "date", "time", "duration", "email", "idn-email", "hostname", "idn-hostname",
    "ipv4", "ipv6", "uri", "uri-reference", "iri", "iri-reference", "uuid", "uri-template",
    "json-pointer", "relative-json-pointer", "regex",
})  # fmt: skip
_FORMATS_OF_TEXTS = tuple(_FORMATS)  # it is asked for what need not be a text
# OpenAPI's own, of numbers and of how a text is shown: what can be judged of them.
_HINTS: dict[str, dict[str, Any]] = {
    "int32": {"minimum": -(2**31), "maximum": 2**31 - 1},
    "int64": {"minimum": -(2**63), "maximum": 2**63 - 1},
    "float": {}, "double": {}, "password": {}, "byte": {}, "binary": {},
    "phone": {"pattern": r"^\+?[0-9][0-9 -]{4,18}[0-9]$", "maxLength": 32},
}  # fmt: skip


def compile_input(tree: Mapping[str, Any], at: _Path = ("schemainput",)) -> dict[str, Any]:
    """Return the JSON Schema 2020-12 of a schemainput.

    Raises DocumentError with every unknown keyword, wrong type and `required` member that is not
    declared. Keywords `maxB64DLen`, `minB64DLen` and `error` stay as they are, and lengths are
    bytes: `validate.py` knows them.
    """
    problems: list[Problem] = []
    if parts_of(tree) > MAX_PARTS:
        raise DocumentError([Problem(at, f"has more than {MAX_PARTS} values")])
    schema = _compile(tree, at, problems)
    if problems:
        raise DocumentError(problems)
    return {"$schema": DIALECT, **schema}


def parts_of(tree: object) -> int:
    """Return how many values a schema consists of, or a little more than there may be."""
    count, level = 0, [tree]
    while level and count <= MAX_PARTS:
        count += len(level)
        below: list[object] = []
        for told in level:
            if isinstance(told, Mapping):
                below += told.values()
            elif isinstance(told, list):
                below += told
        level = below
    return count


def _compile(tree: object, at: _Path, problems: list[Problem]) -> dict[str, Any]:
    if isinstance(tree, list):  # the original reads a list as "any of these"
        return _many("anyOf")(tree, at, problems)
    if not isinstance(tree, Mapping):
        problems.append(Problem(at, "must be an object (a schema)"))
        return {}
    if len(at) > MAX_DEPTH * 2:
        problems.append(Problem(at, f"schemas may be nested {MAX_DEPTH} deep"))
        return {}
    parts: list[dict[str, Any]] = []
    for keyword, value in tree.items():
        if keyword in _IGNORED:
            continue
        compiler = _with_siblings(keyword, tree)
        if compiler is None:
            problems.append(_unknown(keyword, at))
        else:
            parts.append(compiler(value, (*at, keyword), problems))
    if tree.get("format") in _FORMATS_OF_TEXTS and not {"maxLength", "pattern"} & tree.keys():
        parts.append({"maxLength": _MOST_FORMAT})
    if "pattern" in tree and "maxLength" not in tree:
        parts.append({"maxLength": cost.most_bytes(str(tree["pattern"]))})
    if "properties" in tree and "additionalProperties" not in tree:
        parts.append({"additionalProperties": False})
    problems += _undeclared(tree, at)
    return _joined(parts)


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one schema; where two say the same keyword, both hold."""
    schema: dict[str, Any] = {}
    more: list[dict[str, Any]] = []
    for part in parts:
        if schema.keys() & part.keys():
            more.append(part)
        else:
            schema |= part
    if more:
        schema["allOf"] = [*schema.get("allOf", []), *more]
    return schema


def _unknown(keyword: str, at: _Path) -> Problem:
    if keyword in ("$ref", "$defs", "definitions", "$id", "$dynamicRef", "$anchor"):
        return Problem((*at, keyword), f"keyword {keyword!r} is not supported: write it out here")
    if keyword in ("case", "defaults"):
        return Problem((*at, keyword), f"keyword {keyword!r} needs a `switch` beside it")
    words = f"keyword {keyword!r} is not supported"
    return Problem((*at, keyword), words, _near(keyword, _COMPILERS))


def _near(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def _undeclared(tree: Mapping[str, Any], at: _Path) -> Iterator[Problem]:
    required, declared = tree.get("required", ()), tree.get("properties")
    open_to_all = tree.get("additionalProperties", False) is not False
    if _is_names(required) and isinstance(declared, Mapping) and not open_to_all:
        for name in required:
            if name not in declared:
                yield Problem((*at, "required"), f"{name!r} is not in properties")


_Compiler = Callable[[Any, _Path, list[Problem]], dict[str, Any]]


def _type(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
    told = value.split("|") if isinstance(value, str) else value
    names = [{"bool": "boolean"}.get(name, name) for name in told] if _is_names(told) else []
    if not names or not _TYPES.issuperset(names):
        wrong = next((name for name in names if name not in _TYPES), "")
        words = f"must be one of {', '.join(sorted(_TYPES))}"
        problems.append(Problem(at, words, _near(wrong, _TYPES)))
    return {"type": sorted({*names, "null"})}


def _enum(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(value, list) or not value:
        problems.append(Problem(at, "must be a list with at least one value"))
        return {}
    return {"enum": [*alike(value), None]}


def _const(value: Any, _at: _Path, _problems: list[Problem]) -> dict[str, Any]:
    return {"enum": alike([value])}


def _check(keyword: str, good: Callable[[Any], bool], wish: str) -> _Compiler:
    def compiler(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
        if not good(value):
            problems.append(Problem(at, f"must be {wish}"))
        return {keyword: value}

    return compiler


def _nothing(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:  # noqa: ARG001
    return {}


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) < _MOST_NUMBER


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_count(value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and 0 <= value < _MOST_COUNT


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _length(keyword: str, of_items: str) -> _Compiler:
    def compiler(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
        if not _is_count(value):
            problems.append(Problem(at, "must be a whole number >= 0"))
        return {keyword: value, of_items: value}

    return compiler


def _pattern(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(value, str):
        problems.append(Problem(at, "must be a text (a regular expression)"))
        return {}
    try:
        jsonschema_rs.Draft202012Validator(
            {"pattern": value}, pattern_options=jsonschema_rs.RegexOptions()
        )
    except ValueError:
        words = "is no pattern that can be matched in linear time"
        cure = "look-around and back-references are not supported, nor what is too large"
        problems.append(Problem(at, words, cure))
    return {"pattern": value}


def _format(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
    if isinstance(value, str) and value in _FORMATS:
        return {"format": value}
    if isinstance(value, str) and value in _HINTS:
        return {"format": value, **_HINTS[value]}
    known = sorted({*_FORMATS, *_HINTS})
    hint = _near(str(value), known) or f"known: {', '.join(known)}"
    problems.append(Problem(at, f"format {str(value)[:64]!r} is not known", hint))
    return {}


def _properties(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        problems.append(Problem(at, "must be an object"))
        return {}
    return {"properties": {k: _compile(v, (*at, k), problems) for k, v in value.items()}}


def _children(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
    """As properties, without closing the object."""
    return {"allOf": [_properties(value, at, problems)]}


def _additional(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"additionalProperties": value}
    return {"additionalProperties": _compile(value, at, problems)}


def _required(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
    if not _is_names(value):
        problems.append(Problem(at, "must be a list of names"))
        return {}
    return {"required": list(dict.fromkeys(value))}


def _dependencies(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(_is_names(names) for names in value.values()):
        problems.append(Problem(at, "must map a member to a list of members"))
        return {}
    return {"dependentRequired": {key: list(dict.fromkeys(v)) for key, v in value.items()}}


def _key_match(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
    """Members that must have these very values; one that is not there is null."""
    if not isinstance(value, Mapping):
        problems.append(Problem(at, "must be an object"))
        return {}
    rule = {
        "properties": {name: {"const": told} for name, told in value.items()},
        "required": [name for name, told in value.items() if told is not None],
    }
    return {"allOf": [rule]}


def _error(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(value, str):
        problems.append(Problem(at, "must be a text"))
        return {}
    return {"error": value[:200]}


def _one(keyword: str) -> _Compiler:
    def compiler(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
        return {keyword: _compile(value, at, problems)}

    return compiler


def _many(keyword: str) -> _Compiler:
    def compiler(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
        if not isinstance(value, list) or not value:
            problems.append(Problem(at, "must be a list with at least one schema"))
            return {}
        return {keyword: [_compile(v, (*at, i), problems) for i, v in enumerate(value)]}

    return compiler


def case_guard(member: str, values: list[str]) -> dict[str, Any]:
    """Return the JSON Schema of objects whose member is, as a string, one of the values."""
    return {
        "type": "object",
        "properties": {member: {"enum": alike(values)}},
        "required": [member],
    }


def _switch(tree: Mapping[str, Any]) -> _Compiler:
    """Compile `switch` with its siblings `case` and `default` (in later versions `defaults`)."""

    def compiler(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
        cases = tree.get("case", {})
        if not isinstance(value, str) or not isinstance(cases, Mapping):
            words = "must name a member, with `case`: an object of schemas, beside it"
            problems.append(Problem(at, words))
            return {}
        beside = at[:-1]
        rules = [
            {
                "if": case_guard(value, [name]),
                "then": _compile(schema, (*beside, "case", name), problems),
            }
            for name, schema in cases.items()
        ]
        keyword = switch_default(tree)
        if keyword:
            otherwise = _compile(tree[keyword], (*beside, keyword), problems)
            rules.append({"if": case_guard(value, list(cases)), "else": otherwise})
        return {"allOf": rules} if rules else {}

    return compiler


def switch_default(tree: Mapping[str, Any]) -> str:
    """Return the keyword that has the schema for when no case fits; "" when none has."""
    if "defaults" in tree:
        return "defaults"
    return "default" if isinstance(tree.get("default"), Mapping | list) else ""


def _with_siblings(keyword: str, tree: Mapping[str, Any]) -> _Compiler | None:
    """Return the compiler of a keyword, where its siblings may change what it means."""
    if keyword == "switch":
        return _switch(tree)
    if keyword in _LENGTHS and "array" not in str(tree.get("type", "array")):
        return _check(keyword, _is_count, "a whole number >= 0")
    if keyword in ("case", "defaults") or (keyword == "default" and "switch" in tree):
        return _nothing if "switch" in tree else None
    return _COMPILERS.get(keyword)


_COMPILERS: dict[str, _Compiler] = {
    "type": _type,
    "enum": _enum,
    "enums": _enum,
    "const": _const,
    "required": _required,
    "uniqueItems": _check("uniqueItems", lambda v: isinstance(v, bool), "true or false"),
    "multipleOf": _check("multipleOf", _is_positive, "a number > 0"),
    "pattern": _pattern,
    "format": _format,
    "properties": _properties,
    "children": _children,
    "additionalProperties": _additional,
    "dependencies": _dependencies,
    "keyMatch": _key_match,
    "error": _error,
    "switch": _nothing,
    "case": _nothing,
    "defaults": _nothing,
    "default": _check("default", lambda _: True, ""),
    "defaultVal": _check("default", lambda _: True, ""),
    "examples": _check("examples", lambda v: isinstance(v, list), "a list"),
    **dict.fromkeys(_EFFECTS, _nothing),
    **{keyword: _check(keyword, _is_number, "a number") for keyword in _NUMBERS},
    **{keyword: _check(keyword, _is_count, "a whole number >= 0") for keyword in _COUNTS},
    **{keyword: _length(keyword, of_items) for keyword, of_items in _LENGTHS.items()},
    **{keyword: _check(keyword, lambda v: isinstance(v, str), "a text") for keyword in _WORDS},
    **{keyword: _one(keyword) for keyword in ("items", "not", "if", "then", "else")},
    **{keyword: _many(standard) for keyword, standard in _BRANCHES.items()},
}
