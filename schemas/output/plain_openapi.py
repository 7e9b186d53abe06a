"""OpenAPI description of plain requests: named schemas, forms, files, problems. Pure.

The schemas are those of the envelope's members (`openapi.to_standard_schema`), under their plain
names.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from schemas.model.media_types import media_type_of
from schemas.model.plain import MemberKind, PlainApi, PlainMember, PlainOutput
from schemas.model.service import DataType, Service, member_schema
from schemas.output.portable_schema import self_contained_schema

PROBLEM_SCHEMA: Final = {
    "type": "object",
    "description": "what went wrong (RFC 9457)",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "integer", "description": "the code in the table of errors"},
        "sid": {"type": "string", "description": "id of this request"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer to the member"},
                    "rule": {"type": "string"},
                },
                "required": ["pointer", "rule"],
            },
        },
    },
    "required": ["type", "title", "status", "detail", "code", "sid"],
}
PROBLEM_RESPONSE: Final = {
    "description": "refused, or failed",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_EVENT_SCHEMA: Final = {
    "type": "object",
    "description": "`result` with its id and an answer as data; then `end`, or `error` with a "
    "problem; a comment now and then",
    "properties": {
        "event": {"enum": ["result", "end", "error"]},
        "id": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
_FILE_SCHEMA: Final = {"type": "string", "format": "binary"}
_BINARY: Final = "application/octet-stream"
_SIZE_KEYWORDS: Final = ("maxLength", "minLength", "if", "then", "allOf")


def component_name(service_id: str) -> str:
    """Return the start of the names of a service's schemas: `VoiceActivity` of `voice-activity`."""
    parts = re.split(r"[^A-Za-z0-9]+", service_id)
    name = "".join(part[:1].upper() + part[1:] for part in parts)
    return name if name[:1].isalpha() else f"Service{name}"


def component_schemas(
    service: Service, standard_schema: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """Return the schemas of a service's requests and answers, by name.

    `standard_schema` is that of its envelopes, `name` that of `component_name`.
    """
    api = PlainApi(service)
    schemas = {
        f"{name}Request": _request_schema(api, standard_schema, is_form=False),
        f"{name}Answer": _answer_schema(api, service),
    }
    if any(member.is_binary for member in api.inputs()):
        schemas[f"{name}Form"] = _request_schema(api, standard_schema, is_form=True)
    return schemas


def operation(service: Service, name: str, example: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the operation of `POST /v1/{service}`; `name` is that of `component_name`.

    `example` is a plain request.
    """
    api = PlainApi(service)
    json_content: dict[str, Any] = {"schema": _reference(f"{name}Request")}
    if example is not None:
        json_content["example"] = dict(example)
    content = {"application/json": json_content}
    if any(member.is_binary for member in api.inputs()):
        content["multipart/form-data"] = {
            "schema": _reference(f"{name}Form"),
            "encoding": {
                member.name: {"contentType": ", ".join(media_types)}
                for member in api.inputs()
                if (media_types := list(dict.fromkeys(_input_types(member))))
            },
        }
    answers: dict[str, Any] = {"application/json": {"schema": _reference(f"{name}Answer")}}
    answers |= {media_type: {"schema": _FILE_SCHEMA} for media_type in _file_types(api)}
    answers["text/event-stream"] = {"schema": _EVENT_SCHEMA}
    summary = service.description.partition("\n")[0] or f"Call {service.id}"
    return {
        "operationId": service.id,
        "summary": summary,
        "description": service.description,
        "tags": [service.id],
        "parameters": [
            _APP_ID_PARAMETER,
            *([_IDEMPOTENCY_KEY_PARAMETER] if service.idempotent else []),
        ],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {"description": "the answer, in the form that Accept names", "content": answers},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _request_schema(
    api: PlainApi, standard_schema: Mapping[str, Any], *, is_form: bool
) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for member in api.members.values():
        section, *path = member.path
        parent = _descend(standard_schema, section, *path[:-1])
        rules = (parent.get("properties") or {}).get(path[-1], {})
        if path[-1] in parent.get("required", ()):
            required.append(member.name)
        is_input = member.kind is MemberKind.INPUT
        if is_input:
            properties[member.name] = _input_schema(member, rules, is_form)
        else:
            properties[member.name] = without_null(rules) if is_form else rules
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return {**schema, "additionalProperties": False}


def _descend(schema: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        schema = (schema.get("properties") or {}).get(name, {})
    return schema


def _input_schema(member: PlainMember, rules: Mapping[str, Any], is_form: bool) -> dict[str, Any]:
    """Return the schema of an input: text, any JSON, or base64; in a form a file.

    `rules` is the schema of its envelope member.
    """
    data = (rules.get("properties") or {}).get(member.data_key, {})
    described = {"description": rules["description"]} if "description" in rules else {}
    if member.is_json:
        return {**described, **data.get("contentSchema", {})}
    if not member.is_binary:
        return {**described, "type": "string", **_file_sizes(member, data)}
    if is_form:
        return {**described, **_FILE_SCHEMA, **_file_sizes(member, data)}
    media_types = [media_type_of(_kind(member), name) for name in member.encodings]
    media = {"contentMediaType": media_types[0]} if len(media_types) == 1 else {}
    sizes = {key: data[key] for key in _SIZE_KEYWORDS if key in data}
    default = {"description": "the bytes in base64, or a data URL"}
    base64_rules = {"type": "string", "contentEncoding": "base64", "pattern": data.get("pattern")}
    return {**default, **described, **base64_rules, **media, **sizes}


def without_null(rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rules of a parameter without null, which no field of a form can be."""
    result = dict(rules)
    if isinstance(result.get("type"), list):
        names = [name for name in result["type"] if name != "null"]
        result["type"] = names[0] if len(names) == 1 else names
    if isinstance(result.get("enum"), list):
        result["enum"] = [value for value in result["enum"] if value is not None]
    return result


def _file_sizes(member: PlainMember, data: Mapping[str, Any]) -> dict[str, int]:
    """Return the limits of a text or a file itself, from those of its base64.

    `data` is the standard schema of the base64.
    """
    limit = (member_schema(member.schema, member.data_key) or {}).get("maxB64DLen")
    sizes = {"minLength": min(1, int(data.get("minLength", 0)))}
    return sizes if limit is None else {**sizes, "maxLength": limit}


def _input_types(member: PlainMember) -> Iterator[str]:
    """Yield the media types of the encodings that a binary input may have."""
    if member.is_binary:
        for encoding in member.encodings:
            yield media_type_of(_kind(member), encoding)


def _kind(member: PlainMember) -> DataType:
    return member.data_type if member.data_type is not None else DataType.OTHER


def _answer_schema(api: PlainApi, service: Service) -> dict[str, Any]:
    """Return the schema of an answer; it is open, since a loader may leave outputs out."""
    return {
        "type": "object",
        "properties": {
            output.name: _output_schema(output, service) for output in api.outputs.values()
        },
    }


def _output_schema(output: PlainOutput, service: Service) -> dict[str, Any]:
    if output.is_json:
        value = member_schema(service.output, "payload", output.name, output.data_type.key)
        return {"description": "JSON", **self_contained_schema(value)}
    if output.data_type is DataType.TEXT:
        return {"type": "string"}
    media_types = [*_media_types(output)]
    media = {"contentMediaType": media_types[0]} if len(media_types) == 1 else {}
    return {"type": "string", "contentEncoding": "base64", **media}


def _media_types(output: PlainOutput) -> Iterator[str]:
    for encoding in output.encodings:
        media_type = media_type_of(output.data_type, encoding)
        if media_type != _BINARY:
            yield media_type


def _file_types(api: PlainApi) -> list[str]:
    """Return the media types of the one output that is neither text nor JSON, if there is one."""
    output = api.file_output()
    if output is None or output.data_type is DataType.TEXT:
        return []
    types = list(dict.fromkeys(_media_types(output))) or [f"{output.data_type.key}/*"]
    return [*types, _BINARY]  # a loader may name another encoding, or none


_IDEMPOTENCY_KEY_PARAMETER: Final = {
    "name": "idempotency-key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "description": "requests with the same key are one: it runs once, and has one answer",
}
_APP_ID_PARAMETER: Final = {
    "name": "x-app-id",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "the application that calls",
}
