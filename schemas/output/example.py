"""Generation of a valid example request from a schema. Pure.

A value that the schema gives as an example, default or enum is used; otherwise a minimal value is
generated.
"""

import base64
import copy
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from schemas.model import request_header
from schemas.model.media_types import media_type_of
from schemas.model.plain import MemberKind, PlainApi
from schemas.model.service import DataType, Service
from schemas.model.session import FrameStatus
from schemas.validation.compile import MAX_SCHEMA_NODES, count_nodes
from schemas.validation.request_validator import RequestValidator

# The pattern parser of `re`, which has no public name.
_parser: Any = re._parser  # type: ignore[attr-defined] # noqa: SLF001
_SAMPLE_DATA = {
    DataType.TEXT: b"hello",
    DataType.IMAGE: base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
    ),
    DataType.AUDIO: b"RIFF$\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00@\x1f\x00\x00"
    b"\x80>\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00",
    DataType.VIDEO: b"\x00\x00\x00\x18ftypmp42",
    DataType.OTHER: b"\x00",
}
_FORMAT_SAMPLES = {
    "date-time": "2026-01-01T00:00:00Z", "date": "2026-01-01", "time": "00:00:00Z",
    "email": "a@example.org", "hostname": "example.org", "ipv4": "192.0.2.1", "ipv6": "2001:db8::1",
    "uri": "https://example.org/", "uuid": "00000000-0000-4000-8000-000000000000",
    "duration": "P1D", "regex": "a", "json-pointer": "/a", "phone": "+8613800000000",
}  # fmt: skip
_APP_ID = "demo"
_MAX_TEXT_LENGTH = 4096  # characters of a generated string
_MAX_ITEMS = 100  # of a generated array
_MAX_DATA_BYTES = 64 * 1024  # of a generated payload


class NoExampleError(Exception):
    """No valid request could be generated for a schema; `str()` names the rule."""


def example_request(service: Service, validator: RequestValidator) -> dict[str, Any]:
    """Return a request that `validator` accepts, with the required members and every parameter.

    Raises NoExampleError if no value can be generated for a rule. The author can then add an
    example to the schema.
    """
    envelope = copy.deepcopy(_example_value(validator.schema, service, ("$",)))
    if not isinstance(envelope, dict):
        raise NoExampleError("the schema wants something else than an object")
    header = envelope.setdefault("header", {})
    if not isinstance(header, dict):
        raise NoExampleError("the schema wants something else than an object as header")
    for name in request_header.app_id_names(service):
        header[name] = header.get(name) or _APP_ID
    for name, data_type in service.inputs.items():
        stream = _object_member(envelope, "payload").get(name)
        if isinstance(stream, dict):
            rules = _member_schema(validator.schema, "payload", name, data_type.key)
            data = _sample_json(service, name, data_type) or _sample_bytes(data_type, rules)
            stream[data_type.key] = base64.b64encode(data).decode()
    if count_nodes(envelope) > MAX_SCHEMA_NODES:
        raise NoExampleError(f"the request has more than {MAX_SCHEMA_NODES} values")
    violations = validator.validate_and_transform(copy.deepcopy(envelope))
    if violations:
        raise NoExampleError("; ".join(map(str, violations)))
    _check_declared(envelope, service)
    return envelope


def plain_example(service: Service, envelope: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain request that an envelope of `example_request` stands for."""
    api, request = PlainApi(service), dict[str, Any]()
    for member in api.members.values():
        value: Any = envelope
        for name in member.path:
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is None:
            continue
        if member.kind is not MemberKind.INPUT:
            request[member.name] = value
            continue
        data = base64.b64decode(value[member.data_key])
        if member.is_json:
            request[member.name] = json.loads(data)
        elif member.is_binary and "encoding" in value:
            media_type = media_type_of(service.inputs[member.path[1]], value["encoding"])
            request[member.name] = f"data:{media_type};base64,{value[member.data_key]}"
        else:
            text = value[member.data_key] if member.is_binary else data.decode()
            request[member.name] = text
    return request


def _check_declared(envelope: dict[str, Any], service: Service) -> None:
    """Raise NoExampleError for a required member that no loader can get: `meta` has it nowhere."""
    nick_names = {nick.name for nick in service.nicks}
    for section, declared in (("parameter", nick_names), ("payload", service.inputs.keys())):
        for name in _object_member(envelope, section):
            if name not in declared:
                raise NoExampleError(f"$.{section}.{name}: is required, but `meta` declares none")


def _object_member(envelope: Mapping[str, Any], name: str) -> dict[str, Any]:
    member = envelope.get(name)
    return member if isinstance(member, dict) else {}


def _member_schema(schema: Any, *names: str) -> Mapping[str, Any]:
    """Return the schema of the member at the path `names`; an empty one if it is not declared."""
    for name in names:
        schema = schema.get("properties", {}).get(name, {})
    member_schema: Mapping[str, Any] = schema
    return member_schema


def _sample_json(service: Service, name: str, data_type: DataType) -> bytes:
    """Return a JSON value for an input that takes JSON, as its schema describes it; else b""."""
    rules = _member_schema(service.input, "payload", name, data_type.key)
    if rules.get("contentMediaType") != "application/json":
        return b""
    value = _example_value({"type": "object", **rules.get("contentSchema", {})}, service, ("$",))
    return json.dumps(value).encode()


def _sample_bytes(data_type: DataType, rules: Mapping[str, Any]) -> bytes:
    """Return a small sample of `data_type`.

    If the sample's size is outside the limits in `rules`, of the bytes or of their base64 text,
    return the smallest allowed number of zero bytes, at least one if the limits permit it.
    """
    data = _SAMPLE_DATA[data_type]
    min_size = max(rules.get("minB64DLen", 0), (rules.get("minLength", 0) + 3) // 4 * 3)
    max_text_length = rules.get("maxLength", 2 * _MAX_DATA_BYTES)
    max_size = min(rules.get("maxB64DLen", _MAX_DATA_BYTES), max_text_length // 4 * 3)
    if min_size <= len(data) <= max_size:
        return data
    if min_size > _MAX_DATA_BYTES:
        raise NoExampleError(f"a payload of {min_size} bytes: an example has {_MAX_DATA_BYTES}")
    return bytes(min(max(min_size, 1), max_size))


def _example_value(schema: Mapping[str, Any], service: Service, path: tuple[str, ...]) -> Any:
    given_values = [*schema.get("examples", ()), schema.get("default"), *schema.get("enum", ())]
    if _is_frame_status(path) and FrameStatus.ONCE in schema.get("enum", ()):
        given_values.insert(0, int(FrameStatus.ONCE))
    for value in given_values:
        if value is not None:
            return value
    merged = _merge_all_of(schema)
    declared = merged.get("type", ())
    types = [declared] if isinstance(declared, str) else [t for t in declared if t != "null"]
    type_name = types[0] if types else "object" if "properties" in merged else "string"
    match type_name:
        case "object":
            return dict(_example_members(merged, service, path))
        case "array":
            item_count = max(1, merged.get("minItems", 1))
            if item_count > _MAX_ITEMS:
                raise NoExampleError(f"minItems {item_count}: an example has at most {_MAX_ITEMS}")
            return [_example_value(merged.get("items", {}), service, (*path, "[]"))] * item_count
        case "integer" | "number":
            return _example_number(merged, is_integer=type_name == "integer")
        case "boolean":
            return True
        case _:
            return _example_string(merged)


def _is_frame_status(path: tuple[str, ...]) -> bool:
    """Return whether `path` is that of a frame's status, in the header or in a payload."""
    return path[1:] == ("header", "status") or (path[1:2], path[3:]) == (("payload",), ("status",))


def _merge_all_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with its `allOf` merged into it; of two bounds the stricter one is kept."""
    merged = dict(schema)
    for part in map(_merge_all_of, merged.pop("allOf", ())):
        for keyword, value in part.items():
            if keyword == "properties":
                merged[keyword] = value | _properties(merged)
            elif keyword.startswith("min") and keyword in merged:
                merged[keyword] = max(value, merged[keyword])
            elif keyword.startswith("max") and keyword in merged:
                merged[keyword] = min(value, merged[keyword])
            else:
                merged.setdefault(keyword, value)
    return merged


def _properties(schema: Mapping[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = schema.get("properties", {})
    return properties


def _example_members(
    schema: Mapping[str, Any], service: Service, path: tuple[str, ...]
) -> Iterator[tuple[str, Any]]:
    names = _members_to_generate(schema, service, path)
    for name, subschema in _properties(schema).items():
        if name in names:
            yield name, _example_value(subschema, service, (*path, name))


def _members_to_generate(
    schema: Mapping[str, Any], service: Service, path: tuple[str, ...]
) -> set[str]:
    """Return the members to generate: the required ones and every parameter.

    The expected outputs among the parameters are generated only if they are required.
    """
    required, declared = set(schema.get("required", ())), set(_properties(schema))
    match path:
        case ("$",):
            return required | {"header", "parameter"} | ({"payload"} if service.inputs else set())
        case ("$", "header"):
            return required | request_header.build_header(service, _APP_ID).keys()
        case ("$", "parameter"):
            return required | (declared & {nick.name for nick in service.nicks})
        case ("$", "payload"):
            # A streaming service requires none: send all.
            return required or (declared & service.inputs.keys())
        case ("$", "parameter", _):
            return required | (declared - set(service.accepts))
        case _:
            return required


def _example_number(schema: Mapping[str, Any], *, is_integer: bool) -> float:
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    step = schema.get("multipleOf", 1 if is_integer else 0)
    if "exclusiveMinimum" in schema:
        low += step or (1 if is_integer else 1e-6 * max(1.0, abs(low)))
    if step:
        low = -(-low // step) * step
    high = schema.get("maximum", low)
    value = min(low, high) if "minimum" not in schema and "exclusiveMinimum" not in schema else low
    return int(value) if is_integer or float(value).is_integer() else value


def _example_string(schema: Mapping[str, Any]) -> str:
    if schema.get("format") in _FORMAT_SAMPLES:
        return _FORMAT_SAMPLES[schema["format"]]
    if "pattern" in schema:
        return string_matching(schema["pattern"])
    min_length = min(schema.get("minLength", 0), _MAX_TEXT_LENGTH)
    return "text" if min_length <= 4 <= schema.get("maxLength", 4) else "a" * max(min_length, 1)


def string_matching(pattern: str) -> str:
    """Return a short string that matches `pattern`, of at most 4096 characters.

    Raises NoExampleError if the pattern uses a construct that is not supported.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # such as "Possible nested set"
            tree = _parser.parse(pattern)
        text = "".join(_matching_pieces(tree))
    except (re.error, KeyError, IndexError, OverflowError, RecursionError) as error:
        raise NoExampleError(f"no text could be made for the pattern {pattern[:64]!r}") from error
    return text[:_MAX_TEXT_LENGTH]


def _matching_pieces(tree: Any) -> Iterator[str]:
    for operator, argument in tree:
        match str(operator):
            case "LITERAL":
                yield chr(argument)
            case "NOT_LITERAL":
                yield "b" if argument == ord("a") else "a"
            case "ANY":
                yield "a"
            case "IN":
                yield _character_in_class(argument)
            case "MAX_REPEAT" | "MIN_REPEAT":
                low, high, inner = argument
                yield "".join(_matching_pieces(inner)) * min(max(low, 1), int(high), 64)
            case "SUBPATTERN":
                yield from _matching_pieces(argument[-1])
            case "BRANCH":
                yield from _matching_pieces(argument[1][0])
            case "AT":
                pass
            case unknown:
                raise KeyError(unknown)


_CATEGORIES = {"CATEGORY_DIGIT": "0", "CATEGORY_WORD": "a", "CATEGORY_SPACE": " "}


def _character_in_class(members: Any) -> str:
    if str(members[0][0]) == "NEGATE":
        excluded = {chr(a) for op, a in members[1:] if str(op) == "LITERAL"}
        excluded_ranges = [a for op, a in members[1:] if str(op) == "RANGE"]
        candidates = (chr(n) for n in range(33, 127))
        return next(
            c
            for c in candidates
            if c not in excluded and not any(lo <= ord(c) <= hi for lo, hi in excluded_ranges)
        )
    operator, argument = members[0]
    if str(operator) == "RANGE":
        return chr(argument[0])
    return chr(argument) if str(operator) == "LITERAL" else _CATEGORIES[str(argument)]
