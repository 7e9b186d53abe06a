"""A valid request, made from a schema: what its author gave as an example, else the least. Pure."""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

from schemas.judge import Judge
from schemas.service import DataType, Service

# `re`'s own reading of a pattern: it has no other name for it.
_parser: Any = re._parser  # type: ignore[attr-defined] # noqa: SLF001
_DATA = {
    DataType.TEXT: b"hello",
    DataType.IMAGE: base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
    ),
    DataType.AUDIO: b"RIFF$\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00@\x1f\x00\x00"
    b"\x80>\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00",
    DataType.VIDEO: b"\x00\x00\x00\x18ftypmp42",
    DataType.OTHER: b"\x00",
}
_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z", "date": "2026-01-01", "time": "00:00:00Z",
    "email": "a@example.org", "hostname": "example.org", "ipv4": "192.0.2.1", "ipv6": "2001:db8::1",
    "uri": "https://example.org/", "uuid": "00000000-0000-4000-8000-000000000000",
    "duration": "P1D", "regex": "a", "json-pointer": "/a", "phone": "+8613800000000",
}  # fmt: skip
_ONLY = 3  # header.status of a request that is one frame
_MOST = 4096  # characters of a made text


class NoExampleError(Exception):
    """A schema that no request could be made for; `str()` says at which rule."""


def request(service: Service, judge: Judge) -> dict[str, Any]:
    """Return a request that the judge finds valid: all that is required, and every parameter.

    Raises NoExampleError where a rule is beyond guessing: an example in the schema is the cure.
    """
    made = _made(judge.schema, service, ("$",))
    if not isinstance(made, dict):
        raise NoExampleError("the schema wants something else than an object")
    for name, kind in service.inputs.items():
        told = made.get("payload", {}).get(name)
        if isinstance(told, dict):
            rules = _at(judge.schema, "payload", name, kind.key)
            told[kind.key] = base64.b64encode(_data(kind, rules)).decode()
    words = _at(judge.schema, "header", "status").get("enum", ())
    if "status" in made.get("header", {}) and _ONLY in words:
        made["header"]["status"] = _ONLY
    found = judge.check(made)
    if found:
        raise NoExampleError("; ".join(map(str, found)))
    return made


def _at(schema: Any, *names: str) -> Mapping[str, Any]:
    """Return the schema of a member within members."""
    for name in names:
        schema = schema.get("properties", {}).get(name, {})
    found: Mapping[str, Any] = schema
    return found


def _data(kind: DataType, rules: Mapping[str, Any]) -> bytes:
    """Return a small thing of a kind, or as many bytes as may be."""
    data = _DATA[kind]
    most, least = rules.get("maxB64DLen", len(data)), rules.get("minB64DLen", 0)
    return data if least <= len(data) <= most else bytes(min(max(least, 1), most))


def _made(schema: Mapping[str, Any], service: Service, path: tuple[str, ...]) -> Any:
    for keyword in ("examples", "default", "enum"):
        if keyword in schema:
            value = schema[keyword]
            return value if keyword == "default" else value[0]
    merged = _merged(schema)
    types = [name for name in merged.get("type", ()) if name != "null"]
    kind = types[0] if types else "object" if "properties" in merged else "string"
    match kind:
        case "object":
            return dict(_object(merged, service, path))
        case "array":
            return [_made(merged.get("items", {}), service, path)] * max(
                1, merged.get("minItems", 1)
            )
        case "integer" | "number":
            return _number(merged, whole=kind == "integer")
        case "boolean":
            return True
        case _:
            return _text(merged)


def _merged(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with what stands under its `allOf`; of two bounds, the one that holds."""
    merged = dict(schema)
    for part in map(_merged, merged.pop("allOf", ())):
        for keyword, value in part.items():
            if keyword == "properties":
                merged[keyword] = value | _members(merged)
            elif keyword.startswith("min") and keyword in merged:
                merged[keyword] = max(value, merged[keyword])
            elif keyword.startswith("max") and keyword in merged:
                merged[keyword] = min(value, merged[keyword])
            else:
                merged.setdefault(keyword, value)
    return merged


def _members(schema: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema.get("properties", {})
    return found


def _object(
    schema: Mapping[str, Any], service: Service, path: tuple[str, ...]
) -> Iterator[tuple[str, Any]]:
    wanted = _wanted(schema, service, path)
    for name, told in _members(schema).items():
        if name in wanted:
            yield name, _made(told, service, (*path, name))


def _wanted(schema: Mapping[str, Any], service: Service, path: tuple[str, ...]) -> set[str]:
    """Return the members to make: the required ones, and every parameter that is no output."""
    required, declared = set(schema.get("required", ())), set(_members(schema))
    match path:
        case ("$",):
            return required | {"parameter"} | ({"payload"} if service.inputs else set())
        case ("$", "parameter"):
            return declared
        case ("$", "payload"):
            return required or declared  # of a service that streams none is, and one is sent
        case ("$", "parameter", _):
            return required | (declared - set(service.accepts))
        case _:
            return required


def _number(schema: Mapping[str, Any], *, whole: bool) -> float:
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    step = schema.get("multipleOf", 1 if whole else 0)
    if "exclusiveMinimum" in schema:
        low += step or (1 if whole else 1e-6 * max(1.0, abs(low)))
    if step:
        low = -(-low // step) * step
    high = schema.get("maximum", low)
    value = min(low, high) if "minimum" not in schema and "exclusiveMinimum" not in schema else low
    return int(value) if whole or float(value).is_integer() else value


def _text(schema: Mapping[str, Any]) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    if "pattern" in schema:
        return matching(schema["pattern"])
    least = min(schema.get("minLength", 0), _MOST)
    return "text" if least <= 4 <= schema.get("maxLength", 4) else "a" * max(least, 1)


def matching(pattern: str) -> str:
    """Return a short text that fits a pattern. Raises NoExampleError for one beyond guessing."""
    try:
        text = "".join(_pieces(_parser.parse(pattern)))
    except (re.error, KeyError, IndexError, OverflowError, RecursionError) as error:
        raise NoExampleError(f"no text could be made for the pattern {pattern[:64]!r}") from error
    return text[:_MOST]


def _pieces(tree: Any) -> Iterator[str]:
    for operator, argument in tree:
        match str(operator):
            case "LITERAL":
                yield chr(argument)
            case "NOT_LITERAL":
                yield "b" if argument == ord("a") else "a"
            case "ANY":
                yield "a"
            case "IN":
                yield _one_of(argument)
            case "MAX_REPEAT" | "MIN_REPEAT":
                low, high, inner = argument
                yield "".join(_pieces(inner)) * min(max(low, 1), int(high), 64)
            case "SUBPATTERN":
                yield from _pieces(argument[-1])
            case "BRANCH":
                yield from _pieces(argument[1][0])
            case "AT":
                pass
            case other:
                raise KeyError(other)


_CATEGORIES = {"CATEGORY_DIGIT": "0", "CATEGORY_WORD": "a", "CATEGORY_SPACE": " "}


def _one_of(members: Any) -> str:
    if str(members[0][0]) == "NEGATE":
        taken = {chr(a) for op, a in members[1:] if str(op) == "LITERAL"}
        spans = [a for op, a in members[1:] if str(op) == "RANGE"]
        free = (chr(n) for n in range(33, 127))
        return next(
            c for c in free if c not in taken and not any(lo <= ord(c) <= hi for lo, hi in spans)
        )
    operator, argument = members[0]
    if str(operator) == "RANGE":
        return chr(argument[0])
    return chr(argument) if str(operator) == "LITERAL" else _CATEGORIES[str(argument)]
