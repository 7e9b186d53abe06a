"""The OpenAPI document of the registry's HTTP API. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

VERSION_PATH: Final = "/v1/versions/{project}/{group}/{service}/{version}"
_JSON: Final = "application/json"
_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "number"}
_GRAY: Final[dict[str, Any]] = {
    "type": "object",
    "description": "the instances that meet any of it",
    "properties": {
        "labels": {"type": "object", "additionalProperties": _TEXT},
        "addresses": {"type": "array", "items": _TEXT},
        "percentage": {"type": "number", "minimum": 0, "maximum": 100},
    },
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """One operation: its summary, query parameters with their descriptions, and body members.

    `content` is the media type of a body that is no JSON.
    """

    method: str
    path: str
    summary: str
    query: Mapping[str, str] | None = None
    body: Mapping[str, Mapping[str, Any]] | None = None
    content: str = ""


def _of_version(rest: str) -> str:
    return f"{VERSION_PATH}/{rest}"


OPERATIONS: Final = (
    ApiOperation("GET", "/v1/versions", "All versions that the caller may see"),
    ApiOperation("GET", VERSION_PATH, "A version, and the files of its draft"),
    ApiOperation(
        "GET", _of_version("files/{file}"), "A file", {"release": "a number; 0: the draft"}
    ),
    ApiOperation(
        "PUT",
        _of_version("files/{file}"),
        "Put a file into the draft; If-Match and If-None-Match: * are heeded",
        content="application/octet-stream",
    ),
    ApiOperation("DELETE", _of_version("files/{file}"), "Remove a file from the draft"),
    ApiOperation(
        "GET",
        _of_version("diff"),
        "What differs",
        {"from": "a release; the stable one", "to": "a release, or draft"},
    ),
    ApiOperation("GET", _of_version("releases"), "The releases, the newest first"),
    ApiOperation(
        "POST",
        _of_version("releases"),
        "Publish the draft",
        body={"comment": _TEXT, "gray": _GRAY, "force": {"type": "boolean"}},
    ),
    ApiOperation(
        "POST",
        _of_version("rollback"),
        "Publish the files of an earlier release again",
        body={"release": {"type": "integer", "minimum": 0}, "comment": _TEXT},
    ),
    ApiOperation(
        "PUT", _of_version("gray"), "Show the gray release to others", body=_GRAY["properties"]
    ),
    ApiOperation(
        "GET", _of_version("status"), "Who runs what", {"wait": "seconds, until all have answered"}
    ),
    ApiOperation("GET", _of_version("providers"), "The providers of a version"),
    ApiOperation(
        "PUT",
        _of_version("providers/{address}"),
        "Take a provider out, or bring it back",
        body={"state": {"enum": ["online", "offline", "isolated"]}, "comment": _TEXT},
    ),
    ApiOperation(
        "PUT", "/v1/projects/{project}", "Settings", body={"approval": {"type": "boolean"}}
    ),
    ApiOperation("GET", "/v1/consumers", "All instances that follow versions"),
    ApiOperation("GET", "/v1/providers", "All providers"),
    ApiOperation(
        "GET",
        "/v1/audit",
        "All that was done, in the order of time",
        {"after": "the `after` of the page before", "limit": "entries, 1000 at most"},
    ),
    ApiOperation(
        "GET",
        "/v1/watch",
        "The changes after a revision; as events with Accept: text/event-stream",
        {"after": "a revision", "wait": "seconds", "project": "one project; else all"},
    ),
    ApiOperation("POST", "/v1/backup", "Write a copy of the store beside it"),
    ApiOperation("POST", _of_version("discard"), "Forget the draft"),
    ApiOperation("POST", _of_version("promote"), "Show the gray release to all"),
    ApiOperation("POST", _of_version("withdraw"), "End the gray release"),
    ApiOperation("POST", _of_version("approve"), "Publish the release that waits for approval"),
    ApiOperation("POST", _of_version("reject"), "Give up the release that waits for approval"),
    ApiOperation("POST", _of_version("retire"), "Take the version out of service"),
    ApiOperation("POST", _of_version("restore"), "Bring the version back"),
)
_ERRORS: Final = {
    "400": "a name, a file or a member is wrong",
    "401": "no key, or one that is not valid",
    "403": "the key has not the role",
    "404": "there is none",
    "409": "not in this state, or clients of an API would break",
    "412": "somebody else has changed it",
    "413": "too large",
    "503": "the store cannot be written",
}


def build_openapi(version: str) -> dict[str, Any]:
    """Return the document (OpenAPI 3.1.0); `version` is that of the product."""
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Athena Serving registry", "version": version},
        "paths": paths,
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "properties": {"error": _TEXT, "cure": _TEXT, "kind": _TEXT},
                    "required": ["error"],
                }
            },
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _operation(operation: ApiOperation) -> dict[str, Any]:
    names = re.findall(r"\{(\w+)\}", operation.path)
    parameters = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in names]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": _TEXT, "description": text}
        for name, text in (operation.query or {}).items()
    ]
    error = {"content": {_JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}}
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": _operation_id(operation),
        "parameters": parameters,
        "responses": {
            "200": {"description": "done"},
            **{status: {"description": text, **error} for status, text in _ERRORS.items()},
        },
    }
    if operation.content:
        described["requestBody"] = {"required": True, "content": {operation.content: {}}}
    if operation.body is not None:
        schema = {
            "type": "object",
            "properties": dict(operation.body),
            "additionalProperties": False,
        }
        described["requestBody"] = {"content": {_JSON: {"schema": schema}}}
    return described


def _operation_id(operation: ApiOperation) -> str:
    parts = [
        part
        for part in operation.path.split("/")
        if part not in ("", "v1", "versions") and not part.startswith("{")
    ]
    scope = ["version"] if operation.path.startswith(VERSION_PATH) else []
    return "_".join([operation.method.lower(), *scope, *parts]) + (
        "_versions" if operation.path == "/v1/versions" else ""
    )
