"""Compilation of the original's schema dialect to JSON Schema 2020-12. Pure.

The dialect (`docs/wire.md`) differs from JSON Schema: an object with `properties` is closed unless
it sets `additionalProperties`, null passes `type` and `enum`, values compare as strings, `oneOf`
means `anyOf`, and lengths are bytes. Keywords that change a body are compiled by
`compile_transforms`. A keyword that is not in the tables below is reported as an error, never
ignored; `docs/schemas.md` lists all keywords.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jsonschema_rs

from schemas.model.document import DocumentError, Problem
from schemas.model.request_header import APP_ID_NAMES
from schemas.model.string_equality import with_string_equivalents
from schemas.model.suggestion import did_you_mean
from schemas.validation import cost
from schemas.validation.formats import CHECKED_FORMATS, OPENAPI_FORMATS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_DEPTH = 32
MAX_SCHEMA_NODES = 10_000
_MAX_COUNT = 2**53
_DEFAULT_FORMAT_MAX_LENGTH = 64 * 1024  # bytes of a string with `format` and no `maxLength`
_MAX_NUMBER = 1e300

_Path = tuple[str | int, ...]

_NUMERIC_BOUND_KEYWORDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_COUNT_KEYWORDS = ("minItems", "maxItems", "maxProperties", "maxB64DLen", "minB64DLen")
# They limit the items of an array too.
_ITEMS_KEYWORDS = {"maxLength": "maxItems", "minLength": "minItems", "minProperties": "minItems"}
_ANNOTATION_KEYWORDS = ("title", "description", "$comment")
# Of the original, JSON Schema and OpenAPI 3.0: they say nothing about which values are valid here.
# Null passes without `nullable`.
_IGNORED_KEYWORDS = frozenset({
    "comment", "$schema", "nullable", "readOnly", "writeOnly", "externalDocs", "xml",
    "contentEncoding", "contentMediaType", "contentSchema",
})  # fmt: skip
_EXTENSION_PREFIX = "x-"  # of OpenAPI
_APPLICATORS = {"allOf": "allOf", "anyOf": "anyOf", "oneOf": "anyOf"}
# They change a body: `compile_transforms` checks them. As assertions they always hold.
_TRANSFORM_KEYWORDS = ("constVal", "replaceKey", "formatVal", "setVal", "delete")
_TYPES = {"string", "number", "integer", "boolean", "object", "array", "null"}
_FORMAT_NAMES = tuple(CHECKED_FORMATS)  # for `in` with a value that may not be hashable
# Pairs of bounds: if the lower one is above the upper one, nothing is valid.
_BOUND_PAIRS = (
    ("minimum", "maximum"),
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
    ("minB64DLen", "maxB64DLen"),
)


def compile_input(tree: Mapping[str, Any], path: _Path = ("schemainput",)) -> dict[str, Any]:
    """Return the JSON Schema 2020-12 of the schemainput `tree`, whose location is `path`.

    The result has the custom keywords `maxB64DLen`, `minB64DLen` and `error`, and its `maxLength`
    and `minLength` count bytes; `Validator` implements them. Raises DocumentError with every
    unknown keyword, keyword value of a wrong type, and `required` member that is not declared.
    """
    problems: list[Problem] = []
    if count_nodes(tree) > MAX_SCHEMA_NODES:
        raise DocumentError([Problem(path, f"has more than {MAX_SCHEMA_NODES} values")])
    schema = _compile_schema(tree, path, problems)
    if problems:
        raise DocumentError(problems)
    _allow_gateway_members(schema)
    return {"$schema": DIALECT, **schema}


def _allow_gateway_members(schema: dict[str, Any]) -> None:
    """Add to a closed header the members that the gateway itself reads, if they are not declared.

    Without an app id no request could pass it, and without a status no frame of a session. A header
    that is not declared at all is open.
    """
    headers: list[dict[str, Any]] = []
    for part in _parts_of(schema):
        if part.get("additionalProperties") is False:
            part.setdefault("properties", {}).setdefault("header", {"type": ["null", "object"]})
        header = part.get("properties", {}).get("header")
        headers += _parts_of(header) if header is not None else ()
    declared = {name for header in headers for name in header.get("properties", {})}
    names = [name for name in APP_ID_NAMES if name in declared] or [APP_ID_NAMES[0]]
    for header in headers:
        if header.get("additionalProperties", True) is not True:
            members = header.setdefault("properties", {})
            for name in names:
                members.setdefault(name, {"type": ["null", "string"]})
            members.setdefault("status", {"type": ["integer", "null"], "enum": [0, 1, 2, 3, None]})


def _parts_of(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a schema and those that apply to the same value: all of them, or one of several."""
    parts = [part for key in ("allOf", "anyOf") for part in schema.get(key, ())]
    return [schema, *(nested for part in parts for nested in _parts_of(part))]


def count_nodes(tree: object) -> int:
    """Return the number of values in `tree`.

    Counting stops at the first level that exceeds MAX_SCHEMA_NODES; the result is then only known
    to be greater than that.
    """
    count, level = 0, [tree]
    while level and count <= MAX_SCHEMA_NODES:
        count += len(level)
        next_level: list[object] = []
        for node in level:
            if isinstance(node, Mapping):
                next_level += node.values()
            elif isinstance(node, list):
                next_level += node
        level = next_level
    return count


def _compile_schema(tree: object, path: _Path, problems: list[Problem]) -> dict[str, Any]:
    if isinstance(tree, list):  # the original reads a list as "any of these"
        return _subschema_list("anyOf")(tree, path, problems)
    if not isinstance(tree, Mapping):
        problems.append(Problem(path, "must be an object (a schema)"))
        return {}
    if len(path) > MAX_DEPTH * 2:
        problems.append(Problem(path, f"schemas may be nested {MAX_DEPTH} deep"))
        return {}
    parts: list[dict[str, Any]] = []
    for keyword, value in tree.items():
        if keyword in _IGNORED_KEYWORDS or keyword.startswith(_EXTENSION_PREFIX):
            continue
        compiler = _compiler_for(keyword, tree)
        if compiler is None:
            problems.append(_unknown_keyword(keyword, path))
        else:
            parts.append(compiler(value, (*path, keyword), problems))
    if tree.get("format") in _FORMAT_NAMES and not {"maxLength", "pattern"} & tree.keys():
        parts.append({"maxLength": _DEFAULT_FORMAT_MAX_LENGTH})
    if "pattern" in tree and "maxLength" not in tree:
        parts.append({"maxLength": cost.max_pattern_text_bytes(str(tree["pattern"]))})
    if "properties" in tree and "additionalProperties" not in tree:
        parts.append({"additionalProperties": False})
    problems += _undeclared_required(tree, path)
    problems += _empty_ranges(tree, path)
    return _merge_parts(parts)


def _empty_ranges(tree: Mapping[str, Any], path: _Path) -> Iterator[Problem]:
    for lower, upper in _BOUND_PAIRS:
        low: Any = tree.get(lower)
        high: Any = tree.get(upper)
        if _is_number(low) and _is_number(high) and low > high:
            yield Problem((*path, lower), f"{low} is above {upper} {high}: nothing is valid")


def _merge_parts(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one schema that requires all `parts`; parts with equal keywords go into `allOf`."""
    schema: dict[str, Any] = {}
    conflicting: list[dict[str, Any]] = []
    for part in parts:
        if schema.keys() & part.keys():
            conflicting.append(part)
        else:
            schema |= part
    if conflicting:
        schema["allOf"] = [*schema.get("allOf", []), *conflicting]
    return schema


def _unknown_keyword(keyword: str, path: _Path) -> Problem:
    if keyword in ("$ref", "$defs", "definitions", "$id", "$dynamicRef", "$anchor"):
        return Problem((*path, keyword), f"keyword {keyword!r} is not supported: write it out here")
    if keyword in ("case", "defaults"):
        return Problem((*path, keyword), f"keyword {keyword!r} needs a `switch` beside it")
    message = f"keyword {keyword!r} is not supported"
    return Problem((*path, keyword), message, did_you_mean(keyword, _COMPILERS))


def _undeclared_required(tree: Mapping[str, Any], path: _Path) -> Iterator[Problem]:
    required, declared = tree.get("required", ()), tree.get("properties")
    allows_additional = tree.get("additionalProperties", False) is not False
    if _is_name_list(required) and isinstance(declared, Mapping) and not allows_additional:
        for name in required:
            if name not in declared:
                yield Problem((*path, "required"), f"{name!r} is not in properties")


_KeywordCompiler = Callable[[Any, _Path, list[Problem]], dict[str, Any]]


def _compile_type(value: Any, path: _Path, problems: list[Problem]) -> dict[str, Any]:
    raw_names = value.split("|") if isinstance(value, str) else value
    names = (
        [{"bool": "boolean"}.get(name, name) for name in raw_names]
        if _is_name_list(raw_names)
        else []
    )
    if not names or not _TYPES.issuperset(names):
        unknown_name = next((name for name in names if name not in _TYPES), "")
        message = f"must be one of {', '.join(sorted(_TYPES))}"
        problems.append(Problem(path, message, did_you_mean(unknown_name, _TYPES)))
    return {"type": sorted({*names, "null"})}


def _compile_enum(value: Any, path: _Path, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(value, list) or not value:
        problems.append(Problem(path, "must be a list with at least one value"))
        return {}
    return {"enum": [*with_string_equivalents(value), None]}


def _compile_const(value: Any, _path: _Path, _problems: list[Problem]) -> dict[str, Any]:
    is_empty = value is None or value == ""  # the text of null is empty
    return {"enum": [None, ""] if is_empty else with_string_equivalents([value])}


def _verbatim(keyword: str, is_valid: Callable[[Any], bool], expectation: str) -> _KeywordCompiler:
    def compiler(value: Any, path: _Path, problems: list[Problem]) -> dict[str, Any]:
        if not is_valid(value):
            problems.append(Problem(path, f"must be {expectation}"))
        return {keyword: value}

    return compiler


def _omit(value: Any, path: _Path, problems: list[Problem]) -> dict[str, Any]:  # noqa: ARG001
    return {}


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < _MAX_NUMBER


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def parse_count(value: Any) -> int | None:
    """Return a number of bytes, items or members; None if `value` is none. 2.0 is 2, as in JSON."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value < _MAX_COUNT and value == int(value) else None


def _is_name_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _bound(keyword: str) -> _KeywordCompiler:
    def compiler(value: Any, path: _Path, problems: list[Problem]) -> dict[str, Any]:
        if not _is_number(value):
            is_draft_4 = isinstance(value, bool) and keyword.startswith("exclusive")
            plain = "minimum" if keyword == "exclusiveMinimum" else "maximum"
            hint = f"OpenAPI 3.0 has it beside `{plain}`: write the number here instead of there"
            problems.append(Problem(path, "must be a number", hint if is_draft_4 else ""))
        return {keyword: value}

    return compiler


def _count(*keywords: str) -> _KeywordCompiler:
    """Return the compiler of a keyword whose value is a count; it becomes each of `keywords`."""

    def compiler(value: Any, path: _Path, problems: list[Problem]) -> dict[str, Any]:
        count = parse_count(value)
        if count is None:
            problems.append(Problem(path, "must be a whole number >= 0"))
        return dict.fromkeys(keywords, count)

    return compiler


def _compile_pattern(value: Any, path: _Path, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(value, str):
        problems.append(Problem(path, "must be a text (a regular expression)"))
        return {}
    try:
        jsonschema_rs.Draft202012Validator(
            {"pattern": value}, pattern_options=jsonschema_rs.RegexOptions()
        )
    except ValueError:
        message = "is no pattern that can be matched in linear time"
        hint = "look-around and back-references are not supported, nor what is too large"
        problems.append(Problem(path, message, hint))
    return {"pattern": value}


def _compile_format(value: Any, path: _Path, problems: list[Problem]) -> dict[str, Any]:
    if isinstance(value, str) and value in CHECKED_FORMATS:
        return {"format": value}
    if isinstance(value, str) and value in OPENAPI_FORMATS:
        return {"format": value, **OPENAPI_FORMATS[value]}
    known_formats = sorted({*CHECKED_FORMATS, *OPENAPI_FORMATS})
    hint = did_you_mean(str(value), known_formats, or_list_all=True)
    problems.append(Problem(path, f"format {str(value)[:64]!r} is not known", hint))
    return {}


def _compile_properties(value: Any, path: _Path, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        problems.append(Problem(path, "must be an object"))
        return {}
    return {"properties": {k: _compile_schema(v, (*path, k), problems) for k, v in value.items()}}


def _compile_children(value: Any, path: _Path, problems: list[Problem]) -> dict[str, Any]:
    """Compile `children`: as `properties`, but the object stays open."""
    return {"allOf": [_compile_properties(value, path, problems)]}


def _compile_additional_properties(
    value: Any, path: _Path, problems: list[Problem]
) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"additionalProperties": value}
    return {"additionalProperties": _compile_schema(value, path, problems)}


def _compile_required(value: Any, path: _Path, problems: list[Problem]) -> dict[str, Any]:
    if not _is_name_list(value):
        problems.append(Problem(path, "must be a list of names"))
        return {}
    return {"required": list(dict.fromkeys(value))}


def _compile_dependencies(value: Any, path: _Path, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(_is_name_list(names) for names in value.values()):
        problems.append(Problem(path, "must map a member to a list of members"))
        return {}
    return {"dependentRequired": {key: list(dict.fromkeys(v)) for key, v in value.items()}}


def _compile_key_match(value: Any, path: _Path, problems: list[Problem]) -> dict[str, Any]:
    """Compile `keyMatch`: members that must have exactly these values.

    An absent member counts as null.
    """
    if not isinstance(value, Mapping):
        problems.append(Problem(path, "must be an object"))
        return {}
    rule = {
        "properties": {name: {"const": expected} for name, expected in value.items()},
        "required": [name for name, expected in value.items() if expected is not None],
    }
    return {"allOf": [rule]}


def _compile_error(value: Any, path: _Path, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(value, str):
        problems.append(Problem(path, "must be a text"))
        return {}
    return {"error": value[:200]}


def _subschema(keyword: str) -> _KeywordCompiler:
    def compiler(value: Any, path: _Path, problems: list[Problem]) -> dict[str, Any]:
        return {keyword: _compile_schema(value, path, problems)}

    return compiler


def _subschema_list(keyword: str) -> _KeywordCompiler:
    def compiler(value: Any, path: _Path, problems: list[Problem]) -> dict[str, Any]:
        if not isinstance(value, list) or not value:
            problems.append(Problem(path, "must be a list with at least one schema"))
            return {}
        return {keyword: [_compile_schema(v, (*path, i), problems) for i, v in enumerate(value)]}

    return compiler


def case_guard(member: str, values: list[str]) -> dict[str, Any]:
    """Return the JSON Schema of objects with a `member` whose string form is in `values`."""
    return {
        "type": "object",
        "properties": {member: {"enum": with_string_equivalents(values)}},
        "required": [member],
    }


def _switch_compiler(tree: Mapping[str, Any]) -> _KeywordCompiler:
    """Return the compiler of `switch` and its siblings `case` and `default`.

    Later versions of the dialect call the latter `defaults`.
    """

    def compiler(value: Any, path: _Path, problems: list[Problem]) -> dict[str, Any]:
        cases = tree.get("case", {})
        if not isinstance(value, str) or not isinstance(cases, Mapping):
            message = "must name a member, with `case`: an object of schemas, beside it"
            problems.append(Problem(path, message))
            return {}
        parent_path = path[:-1]
        rules = [
            {
                "if": case_guard(value, [name]),
                "then": _compile_schema(schema, (*parent_path, "case", name), problems),
            }
            for name, schema in cases.items()
        ]
        keyword = switch_default_keyword(tree)
        if keyword:
            else_schema = _compile_schema(tree[keyword], (*parent_path, keyword), problems)
            rules.append({"if": case_guard(value, list(cases)), "else": else_schema})
        return {"allOf": rules} if rules else {}

    return compiler


def switch_default_keyword(tree: Mapping[str, Any]) -> str:
    """Return the keyword with the schema that applies if no case matches; "" if there is none."""
    if "defaults" in tree:
        return "defaults"
    return "default" if isinstance(tree.get("default"), Mapping | list) else ""


def _compiler_for(keyword: str, tree: Mapping[str, Any]) -> _KeywordCompiler | None:
    """Return the compiler of a keyword, or None if it is unknown.

    The meaning of some keywords depends on their siblings in `tree`.
    """
    if keyword == "switch":
        return _switch_compiler(tree)
    if keyword in _ITEMS_KEYWORDS and "array" not in str(tree.get("type", "array")):
        return _count(keyword)
    if keyword in ("case", "defaults") or (keyword == "default" and "switch" in tree):
        return _omit if "switch" in tree else None
    return _COMPILERS.get(keyword)


_COMPILERS: dict[str, _KeywordCompiler] = {
    "type": _compile_type,
    "enum": _compile_enum,
    "enums": _compile_enum,
    "const": _compile_const,
    "required": _compile_required,
    "uniqueItems": _verbatim("uniqueItems", lambda v: isinstance(v, bool), "true or false"),
    "multipleOf": _verbatim("multipleOf", _is_positive, "a number > 0"),
    "pattern": _compile_pattern,
    "format": _compile_format,
    "properties": _compile_properties,
    "children": _compile_children,
    "additionalProperties": _compile_additional_properties,
    "dependencies": _compile_dependencies,
    "keyMatch": _compile_key_match,
    "error": _compile_error,
    "switch": _omit,
    "case": _omit,
    "defaults": _omit,
    "default": _verbatim("default", lambda _: True, ""),
    "defaultVal": _verbatim("default", lambda _: True, ""),
    "examples": _verbatim("examples", lambda v: isinstance(v, list), "a list"),
    "example": lambda value, _path, _problems: {"examples": [value]},
    "deprecated": _verbatim("deprecated", lambda v: isinstance(v, bool), "true or false"),
    **dict.fromkeys(_TRANSFORM_KEYWORDS, _omit),
    **{keyword: _bound(keyword) for keyword in _NUMERIC_BOUND_KEYWORDS},
    **{keyword: _count(keyword) for keyword in _COUNT_KEYWORDS},
    **{
        keyword: _count(keyword, items_keyword)
        for keyword, items_keyword in _ITEMS_KEYWORDS.items()
    },
    **{
        keyword: _verbatim(keyword, lambda v: isinstance(v, str), "a text")
        for keyword in _ANNOTATION_KEYWORDS
    },
    **{keyword: _subschema(keyword) for keyword in ("items", "not", "if", "then", "else")},
    **{keyword: _subschema_list(standard) for keyword, standard in _APPLICATORS.items()},
}
