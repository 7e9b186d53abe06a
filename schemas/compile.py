"""The original's schema dialect, compiled to JSON Schema 2020-12. Pure.

The dialect (reference "ase-wire" 2.2) is not JSON Schema: objects are closed unless they say
otherwise, null passes `type` and `enum`, enums compare as strings, `oneOf` means `anyOf`.
A keyword that is not in the tables below is an error that names it, never ignored.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from schemas.document import DocumentError, Problem

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_DEPTH = 32

_Path = tuple[str | int, ...]

_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_COUNTS = (
    "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
    "maxB64DLen", "minB64DLen",
)  # fmt: skip
_WORDS = ("title", "description", "$comment", "examples", "default", "format", "pattern")
_IGNORED = ("comment", "$schema")
_BRANCHES = {"allOf": "allOf", "anyOf": "anyOf", "oneOf": "anyOf"}
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_TYPES = {"string", "number", "integer", "boolean", "object", "array", "null"}


def compile_input(tree: Mapping[str, Any], at: _Path = ("schemainput",)) -> dict[str, Any]:
    """Return the JSON Schema 2020-12 of a schemainput.

    Raises DocumentError with every unknown keyword, wrong type and `required` member that is not
    declared. Keywords `maxB64DLen` and `minB64DLen` stay as they are: `validate.py` knows them.
    """
    problems: list[Problem] = []
    schema = _compile(tree, at, problems)
    if problems:
        raise DocumentError(problems)
    return {"$schema": DIALECT, **schema}


def _compile(tree: object, at: _Path, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        problems.append(Problem(at, "must be an object (a schema)"))
        return {}
    if len(at) > MAX_DEPTH * 2:
        problems.append(Problem(at, f"schemas may be nested {MAX_DEPTH} deep"))
        return {}
    schema: dict[str, Any] = {}
    for keyword, value in tree.items():
        if keyword in _IGNORED:
            continue
        compiler = _COMPILERS.get(keyword)
        if compiler is None:
            problems.append(Problem((*at, keyword), f"keyword {keyword!r} is not supported"))
        else:
            schema.update(compiler(value, (*at, keyword), problems))
    if "properties" in tree and "additionalProperties" not in tree:
        schema["additionalProperties"] = False
    problems += _undeclared(tree, at)
    return schema


def _undeclared(tree: Mapping[str, Any], at: _Path) -> Iterator[Problem]:
    required, declared = tree.get("required", ()), tree.get("properties", {})
    if _is_names(required) and isinstance(declared, Mapping):
        for name in required:
            if name not in declared:
                yield Problem((*at, "required"), f"{name!r} is not in properties")


_Compiler = Callable[[Any, _Path, list[Problem]], dict[str, Any]]


def _type(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
    told = value.split("|") if isinstance(value, str) else value
    names = [{"bool": "boolean"}.get(name, name) for name in told] if _is_names(told) else []
    if not names or not _TYPES.issuperset(names):
        problems.append(Problem(at, f"must be one of {', '.join(sorted(_TYPES))}"))
    return {"type": sorted({*names, "null"})}


def _enum(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(value, list) or not value:
        problems.append(Problem(at, "must be a list with at least one value"))
        return {}
    return {"enum": [*{repr(v): v for item in value for v in _alike(item)}.values(), None]}


def _alike(value: Any) -> list[Any]:
    """Return the values that are the same as a string: 3 and "3", true and "true"."""
    if isinstance(value, bool):
        return [value, str(value).lower()]
    if isinstance(value, int | float):
        return [value, f"{value:g}" if isinstance(value, float) else str(value)]
    if isinstance(value, str):
        if value in ("true", "false"):
            return [value, value == "true"]
        return [value, *([int(value)] if _WHOLE.fullmatch(value) else [])]
    return [value]


def _check(keyword: str, good: Callable[[Any], bool], wish: str) -> _Compiler:
    def compiler(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
        if not good(value):
            problems.append(Problem(at, f"must be {wish}"))
        return {keyword: value}

    return compiler


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _properties(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        problems.append(Problem(at, "must be an object"))
        return {}
    return {"properties": {k: _compile(v, (*at, k), problems) for k, v in value.items()}}


def _additional(value: Any, at: _Path, problems: list[Problem]) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"additionalProperties": value}
    return {"additionalProperties": _compile(value, at, problems)}


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


_COMPILERS: dict[str, _Compiler] = {
    "type": _type,
    "enum": _enum,
    "const": _check("const", lambda _: True, ""),
    "required": _check("required", _is_names, "a list of names"),
    "uniqueItems": _check("uniqueItems", lambda v: isinstance(v, bool), "true or false"),
    "properties": _properties,
    "additionalProperties": _additional,
    **{keyword: _check(keyword, _is_number, "a number") for keyword in _NUMBERS},
    **{keyword: _check(keyword, _is_count, "a whole number >= 0") for keyword in _COUNTS},
    **{keyword: _check(keyword, lambda _: True, "") for keyword in _WORDS},
    **{keyword: _one(keyword) for keyword in ("items", "not", "if", "then", "else")},
    **{keyword: _many(standard) for keyword, standard in _BRANCHES.items()},
}
