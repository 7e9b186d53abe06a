"""OpenAPI 3.1 of the services: what a client may send, and what comes back. Pure.

The schema of a request is what its judge asks for, in standard words: limits of decoded sizes as
lengths, base64 as the one text it is; and what the gateway asks for beside it: an app id.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.service import DataType, Service, member

VERSION = "3.1.0"
# The one base64 text of some bytes: the bits that a last group does not use are zero.
BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$"
_SID = {"type": "string", "pattern": "^[0-9a-f]{32}$", "description": "id of this request"}
_ERROR_HEADER = {
    "type": "object",
    "properties": {
        "code": {"type": "integer", "description": "what went wrong: the table of codes"},
        "message": {"type": "string"},
        "sid": _SID,
    },
    "required": ["code", "message", "sid"],
}
_WAYS = (
    "Streams: by WebSocket at this path (GET), a frame a message (header.status 0 begins, 1 goes "
    "on, 2 ends), its results come as they are made; or by POST with Accept: text/event-stream."
)
_STREAM = "true: the answer is server-sent events"
# As OpenAPI 3.2 has it, and tools read 3.1: the schema of each event.
_EVENT = {
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
    """A service and the JSON Schema its judge holds requests to; an example of a request."""

    service: Service
    schema: Mapping[str, Any]
    example: Mapping[str, Any] | None = None


def document(operations: Iterable[Operation], *, title: str, version: str) -> dict[str, Any]:
    """Return the OpenAPI document of some services, and of the gateway's own pages."""
    listed = list(operations)
    paths: dict[str, Any] = {
        f"/v1/private/{told.service.id}": {"post": _operation(told)} for told in listed
    }
    return {
        "openapi": VERSION,
        "info": {
            "title": title,
            "version": version,
            "description": "Lengths of texts are bytes in UTF-8. No text may have a NUL.",
        },
        "servers": [{"url": "./"}],
        "paths": paths | _PAGES,
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "properties": {"header": _ERROR_HEADER},
                    "required": ["header"],
                }
            },
            "responses": {
                "Error": _json("refused, or failed", {"$ref": "#/components/schemas/Error"})
            },
        },
    }


def _json(description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": dict(schema)}}}


def _operation(told: Operation) -> dict[str, Any]:
    service = told.service
    body: dict[str, Any] = {"schema": public(told.schema, service)}
    if told.example is not None:
        body["example"] = told.example
    summary = service.description.partition("\n")[0] or f"Call {service.id}"
    return {
        "operationId": f"call_{service.id}",
        "summary": summary,
        "description": f"{service.description}\n\n{_WAYS if service.streams else ''}".strip(),
        "tags": [service.id],
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {
            "200": {
                "description": "the service's answer, or with Accept: text/event-stream its events",
                "content": {
                    "application/json": {"schema": _answer(service)},
                    "text/event-stream": {"schema": _EVENT},
                },
            },
            "default": {"$ref": "#/components/responses/Error"},
        },
    }


def public(schema: Mapping[str, Any], service: Service) -> dict[str, Any]:
    """Return a compiled schema in standard words."""
    told: dict[str, Any] = _standard(schema)
    told.pop("$schema", None)
    members = told.get("properties", {})
    payload = members.get("payload", {}).get("properties", {})
    for name, kind in service.inputs.items():
        stream = payload.get(name, {})
        data = stream.get("properties", {}).get(kind.key)
        if isinstance(data, dict):
            data |= {"contentEncoding": "base64", "pattern": BASE64}
            _not_null(stream, data)
    needed = _needed(told)
    parameter = members.get("parameter", {})
    needed += _needed(parameter)
    for nick in parameter.get("properties", {}).values():
        needed += _needed(nick)
    header = members.get("header", {})
    named = [header.get("properties", {}).get(name) for name in ("app_id", "appid")]
    if "properties" in header:
        header["properties"].setdefault("stream", {"type": "boolean", "description": _STREAM})
    _not_null(told, header, *needed, *(told for told in named if isinstance(told, dict)))
    for app_id in named:
        if isinstance(app_id, dict):
            app_id["minLength"] = max(1, app_id.get("minLength", 1))
    return told


def _needed(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the required members of an object: a loader takes a null for nothing."""
    members = schema.get("properties", {})
    return [members[name] for name in schema.get("required", ()) if name in members]


def _not_null(*schemas: dict[str, Any]) -> None:
    for schema in schemas:
        if isinstance(schema.get("type"), list):
            names = [name for name in schema["type"] if name != "null"]
            schema["type"] = names[0] if len(names) == 1 else names
        if None in schema.get("enum", ()):
            schema["enum"] = [value for value in schema["enum"] if value is not None]


def _standard(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_standard(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    told: dict[str, Any] = {}
    for keyword, value in schema.items():
        change = _CHANGES.get(keyword)
        if change is not None:
            told |= change(value, told)
        elif keyword == "properties":
            told[keyword] = {name: _standard(below) for name, below in value.items()}
        elif keyword in ("default", "examples", "const", "enum"):
            told[keyword] = value
        else:
            told[keyword] = _standard(value)
    return told


def _most(value: int, told: Mapping[str, Any]) -> dict[str, Any]:
    longest = (value + 2) // 3 * 4
    return {"maxLength": min(longest, told.get("maxLength", longest))}


def _least(value: int, told: Mapping[str, Any]) -> dict[str, Any]:
    shortest = (value + 2) // 3 * 4
    return {"minLength": max(shortest, told.get("minLength", 0))}


_CHANGES: dict[str, Callable[[Any, Mapping[str, Any]], dict[str, Any]]] = {
    "maxB64DLen": _most,
    "minB64DLen": _least,
    "error": lambda value, _: {"not": {}, "description": value},
}


def _answer(service: Service) -> dict[str, Any]:
    """Return the schema of a good answer: open, for a loader may tell more than it declares."""
    header = {
        "type": "object",
        "properties": {"code": {"const": 0}, "message": {"type": "string"}, "sid": _SID},
        "required": ["code", "message", "sid"],
    }
    outputs = {name: _output(service, name, kind) for name, kind in service.accepts.items()}
    return {
        "type": "object",
        "properties": {"header": header, "payload": {"type": "object", "properties": outputs}},
        "required": ["header"],
    }


def _output(service: Service, name: str, kind: DataType) -> dict[str, Any]:
    words = (member(service.output, "payload", name, "format") or {}).get("enum")
    if words == ["json"]:
        data: dict[str, Any] = {"description": "JSON, as it is"}
    else:
        data = {"type": "string", "contentEncoding": "base64", "description": "the bytes in base64"}
        if not words:  # told with each answer: JSON is embedded
            data = {"description": "the bytes in base64; JSON as it is, where `format` is json"}
    return {
        "type": "object",
        "properties": {
            kind.key: data,
            "format": {"type": "string"},
            "encoding": {"type": "string"},
        },
    }


def _page(summary: str, schema: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    responses = {
        "200": _json(summary, schema),
        "default": {"$ref": "#/components/responses/Error"},
    }
    return {"get": {"summary": summary, "tags": ["gateway"], "responses": responses, **more}}


_STATUS = {
    "type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"],
}  # fmt: skip
_ID = {
    "name": "service_id", "in": "path", "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"},
}  # fmt: skip
_API = {
    "type": "object",
    "properties": {
        "service": {"type": "string"}, "version": {"type": "string"}, "route": {"type": "string"},
        "streams": {"type": "boolean"},
        "digest": {"type": "string"}, "source": {"enum": ["file", "report"]},
        "instances": {"type": "integer", "minimum": 0},
    },
    "required": ["service", "route", "digest", "instances"],
}  # fmt: skip
_READY = _page("whether traffic is welcome", _STATUS)
_READY["get"]["responses"]["503"] = _json("not now", _STATUS)
_PAGES: dict[str, Any] = {
    "/v1/apis": _page(
        "what services there are",
        {
            "type": "object",
            "properties": {"apis": {"type": "array", "items": _API}},
            "required": ["apis"],
        },
    ),
    "/v1/apis/{service_id}/schema": _page(
        "the schema document of a service", {"type": "object"}, parameters=[_ID]
    ),
    "/v1/apis/{service_id}/openapi.json": _page(
        "the OpenAPI document of a service", {"type": "object"}, parameters=[_ID]
    ),
    "/openapi.json": _page("this document", {"type": "object"}),
    "/docs": {
        "get": {
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
    "/livez": _page("whether the gateway lives", _STATUS),
    "/readyz": _READY,
}
