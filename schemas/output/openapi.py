"""OpenAPI 3.1 description of the services: requests, responses and the gateway's own pages. Pure.

The request schema of a service is its compiled schema in standard JSON Schema: limits of decoded
sizes become lengths, base64 becomes a pattern for its canonical text. It also requires what the
gateway requires beyond the schema: a non-empty app id. Two things are left out, because generators
of clients fail on them: choices of another type than `type`, and patterns that mean something else,
or nothing, in other regular expressions than the gateway's.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.model.service import DataType, Service, member_schema
from schemas.output import plain_openapi
from schemas.output.portable_schema import (
    portable_pattern,
    self_contained_schema,
    unportable_conditions,
)
from schemas.output.security_schemes import security_requirements, security_schemes

OPENAPI_VERSION = "3.1.0"
# Canonical base64 (RFC 4648, section 3.5): the unused bits of the last group are zero.
BASE64_PATTERN = (
    "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$"
)
_SID_SCHEMA = {"type": "string", "pattern": "^[0-9a-f]{32}$", "description": "id of this request"}
_ERROR_HEADER_SCHEMA = {
    "type": "object",
    "properties": {
        "code": {"type": "integer", "description": "what went wrong: the table of codes"},
        "message": {"type": "string"},
        "sid": _SID_SCHEMA,
    },
    "required": ["code", "message", "sid"],
}
_STREAMING_DESCRIPTION = (
    "Streams: by WebSocket at this path (GET), a frame a message (header.status 0 begins, 1 goes "
    "on, 2 ends), its results come as they are made; or by POST with Accept: text/event-stream."
)
_STREAM_FLAG_DESCRIPTION = "true: the answer is server-sent events"
# The schema of one event, as OpenAPI 3.2 describes event streams. The document declares 3.1, the
# version that tools support.
_EVENT_SCHEMA = {
    "type": "object",
    "description": "`result` with its id, an answer as data; then `end` with header.status, or "
    "`error` with the header of an error; a comment now and then",
    "properties": {
        "event": {"enum": ["result", "end", "error"]},
        "id": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}


@dataclass(frozen=True, slots=True)
class Operation:
    """A service with the compiled JSON Schema of its requests and an optional example request.

    If `get_events`, it takes GET too; the query has the members of the request. `plain_example` is
    a request without an envelope.
    """

    service: Service
    schema: Mapping[str, Any]
    example: Mapping[str, Any] | None = None
    get_events: bool = False
    plain_example: Mapping[str, Any] | None = None


def build_document(
    operations: Iterable[Operation], *, title: str, version: str, auth_methods: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the OpenAPI document of `operations` and of the gateway's own pages.

    `auth_methods` are those of the gateway; its own pages need no credential.
    `title` and `version` become members of its `info` object. It has no `servers`: paths are
    appended to their URL, so only an absolute URL has the right result (`with_server`).
    """
    operation_list = list(operations)
    names = _component_names(operation_list)
    paths: dict[str, Any] = {
        f"/v1/{operation.service.id}": {
            "post": plain_openapi.operation(operation.service, name, operation.plain_example)
        }
        for operation, name in zip(operation_list, names, strict=True)
    }
    paths |= {
        f"/v1/private/{operation.service.id}": _service_path_item(operation)
        for operation in operation_list
    }
    requirements = security_requirements(auth_methods)
    if requirements:
        for item in paths.values():
            for service_operation in item.values():
                service_operation["security"] = requirements
    schemas: dict[str, Any] = {"Problem": plain_openapi.PROBLEM_SCHEMA}
    for operation, name in zip(operation_list, names, strict=True):
        standard = to_standard_schema(operation.schema, operation.service)
        schemas |= plain_openapi.component_schemas(operation.service, standard, name)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": title,
            "version": version,
            "description": "Lengths of texts are bytes in UTF-8. No text may have a NUL.",
        },
        "paths": paths | _GATEWAY_PATHS,
        "components": {
            **_security_components(auth_methods),
            "schemas": {
                **schemas,
                "Error": {
                    "type": "object",
                    "properties": {"header": _ERROR_HEADER_SCHEMA},
                    "required": ["header"],
                },
            },
            "responses": {
                "Problem": plain_openapi.PROBLEM_RESPONSE,
                "Error": _json_response(
                    "refused, or failed", {"$ref": "#/components/schemas/Error"}
                ),
            },
        },
    }


def _security_components(auth_methods: Sequence[str]) -> dict[str, Any]:
    schemes = security_schemes(auth_methods)
    return {"securitySchemes": schemes} if schemes else {}


def _component_names(operations: Sequence[Operation]) -> list[str]:
    """Return a name per service for its schemas; equal ones are numbered."""
    names: list[str] = []
    for operation in operations:
        name = plain_openapi.component_name(operation.service.id)
        count = sum(re.fullmatch(rf"{name}\d*", other) is not None for other in names)
        names.append(f"{name}{count + 1}" if count else name)
    return names


def with_server(serialized_document: bytes, url: str) -> bytes:
    """Return a serialized document of `build_document` with the server at `url`.

    `url` is absolute and has no trailing slash (OpenAPI 3.1, Server Object and Paths Object).
    """
    servers = json.dumps([{"url": url}]).encode()
    return b'{"servers":%s,%s' % (servers, serialized_document[1:])


def _json_response(description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": dict(schema)}}}


def _service_path_item(operation: Operation) -> dict[str, Any]:
    item = {"post": _operation_object(operation)}
    if operation.get_events:
        item["get"] = _events_operation_object(operation)
    return item


def _events_operation_object(operation: Operation) -> dict[str, Any]:
    """Return the operation of a request by GET: each member of the body is a query parameter."""
    service = operation.service
    schema = to_standard_schema(operation.schema, service)
    parameters = [
        {"name": path, "in": "query", "required": is_required, "schema": rules}
        for section, members in schema.get("properties", {}).items()
        for path, rules, is_required in _query_members(section, members, service)
    ]
    return {
        "operationId": f"stream_{service.id}",
        "summary": f"Events of {service.id}, for EventSource",
        "tags": [service.id],
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "the service's events",
                "content": {"text/event-stream": {"schema": _EVENT_SCHEMA}},
            },
            "default": {"$ref": "#/components/responses/Error"},
        },
    }


def _query_members(
    section: str, schema: Mapping[str, Any], service: Service
) -> Iterator[tuple[str, Any, bool]]:
    """Yield path, schema and whether it is required, of the members that a query may have.

    The gateway itself sets the statuses, and makes base64 of the text of a payload.
    """
    required = schema.get("required", ())
    for name, member in schema.get("properties", {}).items():
        if section == "parameter":
            for parameter, rules in member.get("properties", {}).items():
                is_required = parameter in member.get("required", ())
                yield f"parameter.{name}.{parameter}", rules, is_required
        elif section == "payload" and name in service.inputs:
            yield f"payload.{name}", {"type": "string"}, name in required
        elif section == "header" and name not in ("status", "stream"):
            yield f"header.{name}", member, name in required


def _operation_object(operation: Operation) -> dict[str, Any]:
    service = operation.service
    media_type: dict[str, Any] = {"schema": to_standard_schema(operation.schema, service)}
    if operation.example is not None:
        media_type["example"] = operation.example
    summary = service.description.partition("\n")[0] or f"Call {service.id}"
    streaming = _STREAMING_DESCRIPTION if service.streaming else ""
    return {
        "operationId": f"call_{service.id}",
        "summary": summary,
        "description": f"{service.description}\n\n{streaming}".strip(),
        "tags": [service.id],
        "requestBody": {"required": True, "content": {"application/json": media_type}},
        "responses": {
            "200": {
                "description": "the service's answer, or with Accept: text/event-stream its events",
                "content": {
                    "application/json": {"schema": _response_schema(service)},
                    "text/event-stream": {"schema": _EVENT_SCHEMA},
                },
            },
            "default": {"$ref": "#/components/responses/Error"},
        },
    }


def to_standard_schema(schema: Mapping[str, Any], service: Service) -> dict[str, Any]:
    """Return the compiled `schema` of a service's requests as standard JSON Schema 2020-12.

    Custom keywords are replaced by standard ones. Payload data is marked as base64. Null, which the
    dialect lets pass, is removed from the body, the header, the app id, the payload streams and all
    required members. `header` gets the member `stream`, and the app id must not be empty.
    """
    standard: dict[str, Any] = _standardize(schema)
    standard.pop("$schema", None)
    members = standard.get("properties", {})
    payload = members.get("payload", {}).get("properties", {})
    for name, data_type in service.inputs.items():
        stream_schema = payload.get(name, {})
        data_schema = stream_schema.get("properties", {}).get(data_type.key)
        if isinstance(data_schema, dict):
            data_schema |= {"contentEncoding": "base64", "pattern": BASE64_PATTERN}
            declared = member_schema(service.input, "payload", name, data_type.key) or {}
            content_schema = self_contained_schema(declared.get("contentSchema"))
            if content_schema:
                data_schema["contentMediaType"] = "application/json"
                data_schema["contentSchema"] = content_schema
            _remove_null(stream_schema, data_schema)
    required_members = _required_members(standard)
    parameter = members.get("parameter", {})
    required_members += _required_members(parameter)
    for nick_schema in parameter.get("properties", {}).values():
        required_members += _required_members(nick_schema)
    header = members.get("header", {})
    app_id_schemas = [header.get("properties", {}).get(name) for name in ("app_id", "appid")]
    if "properties" in header:
        header["properties"].setdefault(
            "stream", {"type": "boolean", "description": _STREAM_FLAG_DESCRIPTION}
        )
    _remove_null(
        standard,
        header,
        *required_members,
        *(standard for standard in app_id_schemas if isinstance(standard, dict)),
    )
    for app_id_schema in app_id_schemas:
        if isinstance(app_id_schema, dict):
            app_id_schema["minLength"] = max(1, app_id_schema.get("minLength", 1))
    return standard


def _required_members(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the schemas of the required members of an object schema.

    They must not be null, because a loader treats a null member as absent.
    """
    members = schema.get("properties", {})
    return [members[name] for name in schema.get("required", ()) if name in members]


def _remove_null(*schemas: dict[str, Any]) -> None:
    for schema in schemas:
        if isinstance(schema.get("type"), list):
            names = [name for name in schema["type"] if name != "null"]
            schema["type"] = names[0] if len(names) == 1 else names
        if None in schema.get("enum", ()):
            schema["enum"] = [value for value in schema["enum"] if value is not None]


def _standardize(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_standardize(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    result: dict[str, Any] = {}
    omitted = unportable_conditions(schema)
    for keyword, value in schema.items():
        if keyword in omitted:
            continue
        rewrite = _KEYWORD_REWRITES.get(keyword)
        if rewrite is not None:
            result |= rewrite(value)
        elif keyword == "properties":
            result[keyword] = {name: _standardize(subschema) for name, subschema in value.items()}
        elif keyword in ("default", "examples", "const", "enum"):
            result[keyword] = value
        else:
            result[keyword] = _standardize(value)
    _limit_decoded_size(schema, result)
    if "enum" in result:
        _keep_choices_of_type(result)
    return result


def _limit_decoded_size(schema: Mapping[str, Any], result: dict[str, Any]) -> None:
    """Express limits of decoded sizes by the length of the base64 text, exactly.

    Of the texts with the length at the limit, only those with enough padding are short enough, and
    only those with little enough are long enough.
    """
    max_size, min_size = schema.get("maxB64DLen"), schema.get("minB64DLen")
    if max_size is not None:
        length = (max_size + 2) // 3 * 4
        result["maxLength"] = min(length, schema.get("maxLength", length))
        if max_size % 3:
            padded = {"pattern": "==$" if max_size % 3 == 1 else "=$"}
            _add_condition(result, {"minLength": length}, padded)
    if min_size:
        length = (min_size + 2) // 3 * 4
        result["minLength"] = max(length, schema.get("minLength", 0))
        if min_size % 3 != 1:
            filled = {"pattern": "[^=].$" if min_size % 3 == 2 else "[^=]$"}
            _add_condition(result, {"maxLength": length}, filled)


def _add_condition(
    result: dict[str, Any], condition: dict[str, Any], consequence: dict[str, Any]
) -> None:
    """Add `if` and `then`; generators of clients pass over them, and fail on alternatives."""
    if "if" in result:
        parts = [*result.get("allOf", ()), {"if": condition, "then": consequence}]
        result["allOf"] = parts
    else:
        result |= {"if": condition, "then": consequence}


def _keep_choices_of_type(result: dict[str, Any]) -> None:
    """Drop the choices that `type` excludes: the dialect has each choice as a string too.

    Without a `type`, choices of several types become alternatives, each of one type.
    """
    types = result.get("type")
    if types is not None:
        allowed = {types} if isinstance(types, str) else set(types)
        choices = [value for value in result["enum"] if _json_types(value) & allowed]
        result["enum"] = choices or result["enum"]
        return
    by_type: dict[str, list[Any]] = {}
    for value in result["enum"]:
        by_type.setdefault(min(_json_types(value)), []).append(value)
    if len(by_type) > 1:
        del result["enum"]
        alternatives = [{"type": name, "enum": choices} for name, choices in by_type.items()]
        result["allOf"] = [*result.get("allOf", ()), {"anyOf": alternatives}]


def _json_types(value: Any) -> set[str]:
    """Return the names of the JSON Schema types that a value has."""
    match value:
        case None:
            return {"null"}
        case bool():
            return {"boolean"}
        case str():
            return {"string"}
        case int() | float():
            return {"number", "integer"} if value == int(value) else {"number"}
        case list():
            return {"array"}
    return {"object"}


# Each returns the standard keywords that replace one.
_KEYWORD_REWRITES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "maxB64DLen": lambda _: {},
    "minB64DLen": lambda _: {},
    "pattern": portable_pattern,
    "error": lambda message: {"not": {}, "description": message},
}


def _response_schema(service: Service) -> dict[str, Any]:
    """Return the schema of a successful response.

    Its objects are open, because a loader may return more members than it declares.
    """
    header = {
        "type": "object",
        "properties": {"code": {"const": 0}, "message": {"type": "string"}, "sid": _SID_SCHEMA},
        "required": ["code", "message", "sid"],
    }
    outputs = {
        name: _output_schema(service, name, data_type)
        for name, data_type in service.accepts.items()
    }
    return {
        "type": "object",
        "properties": {"header": header, "payload": {"type": "object", "properties": outputs}},
        "required": ["header"],
    }


def _output_schema(service: Service, name: str, data_type: DataType) -> dict[str, Any]:
    formats = (member_schema(service.output, "payload", name, "format") or {}).get("enum")
    if formats == ["json"]:
        value_schema = member_schema(service.output, "payload", name, data_type.key)
        data_schema: dict[str, Any] = {
            "description": "JSON, as it is",
            **self_contained_schema(value_schema),
        }
    else:
        data_schema = {
            "type": "string",
            "contentEncoding": "base64",
            "description": "the bytes in base64",
        }
        if not formats:  # each response has its own `format`: JSON is embedded
            data_schema = {
                "description": "the bytes in base64; JSON as it is, where `format` is json"
            }
    return {
        "type": "object",
        "properties": {
            data_type.key: data_schema,
            "format": {"type": "string"},
            "encoding": {"type": "string"},
        },
    }


def _path_item(
    operation_id: str, summary: str, schema: Mapping[str, Any], **extra: Any
) -> dict[str, Any]:
    responses = {
        "200": _json_response(summary, schema),
        "default": {"$ref": "#/components/responses/Error"},
    }
    operation = {"operationId": operation_id, "summary": summary, "tags": ["gateway"]}
    return {"get": {**operation, "responses": responses, **extra}}


_STATUS_SCHEMA = {
    "type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"],
}  # fmt: skip
_SERVICE_ID_PARAMETER = {
    "name": "service_id", "in": "path", "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"},
}  # fmt: skip
_API_SCHEMA = {
    "type": "object",
    "properties": {
        "service": {"type": "string"}, "version": {"type": "string"}, "route": {"type": "string"},
        "plain": {"type": "string"}, "curl": {"type": "string"},
        "streams": {"type": "boolean"},
        "digest": {"type": "string"}, "source": {"enum": ["file", "report"]},
        "instances": {"type": "integer", "minimum": 0},
    },
    "required": ["service", "route", "digest", "instances"],
}  # fmt: skip
_READYZ_PATH_ITEM = _path_item("get_readyz", "whether traffic is welcome", _STATUS_SCHEMA)
_READYZ_PATH_ITEM["get"]["responses"]["503"] = _json_response("not now", _STATUS_SCHEMA)
_GATEWAY_PATHS: dict[str, Any] = {
    "/v1/apis": _path_item(
        "list_apis",
        "what services there are",
        {
            "type": "object",
            "properties": {"apis": {"type": "array", "items": _API_SCHEMA}},
            "required": ["apis"],
        },
    ),
    "/v1/apis/{service_id}/schema": _path_item(
        "get_schema",
        "the schema document of a service",
        {"type": "object"},
        parameters=[_SERVICE_ID_PARAMETER],
    ),
    "/v1/apis/{service_id}/openapi.json": _path_item(
        "get_service_openapi",
        "the OpenAPI document of a service",
        {"type": "object"},
        parameters=[_SERVICE_ID_PARAMETER],
    ),
    "/openapi.json": _path_item("get_openapi", "this document", {"type": "object"}),
    "/docs": {
        "get": {
            "operationId": "get_docs",
            "summary": "a page to read this document and to try it",
            "tags": ["gateway"],
            "responses": {
                "200": {
                    "description": "the page",
                    "content": {"text/html": {"schema": {"type": "string"}}},
                },
                "default": {"$ref": "#/components/responses/Error"},
            },
        }
    },
    "/livez": _path_item("get_livez", "whether the gateway lives", _STATUS_SCHEMA),
    "/readyz": _READYZ_PATH_ITEM,
}
