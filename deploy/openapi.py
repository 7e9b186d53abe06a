"""The OpenAPI document of the deployer's HTTP API. Pure."""

import re
from typing import Any, Final

from deploy.workloads.canary import PROMOTIONS
from deploy.workloads.phases import DeploymentPhase

BASE_PATH: Final = "/api/v1/modserv"
_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_SPEC: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "serviceId": {**_TEXT, "description": "the name; of `deploy` without it, a random one"},
        "modelName": _TEXT,
        "wrapper": {**_TEXT, "description": "FILE:Class, below the folder of deployer.models"},
        "image": {**_TEXT, "description": "an image of asectl loader build"},
        "modelFile": {**_TEXT, "description": "a file or folder below deployer.models"},
        "modelFileDir": {**_TEXT, "description": "another name of modelFile"},
        "service": {**_TEXT, "description": "its id for clients, instead of the wrapper's"},
        "modelDigest": {**_TEXT, "description": "the SHA-256 of modelFile"},
        "replicaCount": _COUNT,
        "resourceRequirements": {
            "type": "object",
            "properties": {
                "acceleratorType": _TEXT,
                "acceleratorCount": _COUNT,
                "cpu": {**_TEXT, "description": "as 2 or 500m"},
                "memory": {**_TEXT, "description": "as 512Mi or 16Gi"},
            },
            "additionalProperties": False,
        },
        "contextLength": _COUNT,
        "env": {
            "type": "array",
            "items": {"type": "object", "properties": {"key": _TEXT, "value": _TEXT}},
        },
        "config": {"type": "object", "additionalProperties": _TEXT},
        "probes": _COUNT,
        "startTimeout": {"type": "number", "description": "seconds"},
        "canary": {
            "type": "object",
            "properties": {
                "share": {"description": "of the requests: a number to 1, or as 10%"},
                "promotion": {"type": "string", "enum": [*PROMOTIONS]},
                "requests": _COUNT,
                "errorTolerance": {"type": "number"},
                "slowdown": {"type": "number"},
            },
            "required": ["share"],
            "additionalProperties": False,
        },
        "autoscale": {
            "type": "object",
            "properties": {
                "minReplicas": _COUNT,
                "maxReplicas": _COUNT,
                "target": {"type": "number", "description": "the share of the slots in use"},
                "tolerance": {"type": "number"},
                "window": {"type": "number", "description": "seconds"},
                "scaleDownDelay": {"type": "number", "description": "seconds"},
            },
            "required": ["maxReplicas"],
            "additionalProperties": False,
        },
        "shimlet": _TEXT,
        "shimletName": _TEXT,
        "pipeline": _TEXT,
        "goalSetName": _TEXT,
    },
    "additionalProperties": False,
}
_STATUS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "serviceId": _TEXT,
        "status": {"type": "string", "enum": [phase.value for phase in DeploymentPhase]},
        "endpoint": _TEXT,
        "updateTime": {**_TEXT, "description": "YYYY-MM-DD HH:MM:SS, UTC"},
        "reason": _TEXT,
        "replicas": {"type": "array", "items": {"type": "object"}},
    },
}

# Method, path, summary, schema of the body, schema of `data`, query parameters.
_OPERATIONS: Final[tuple[tuple[str, str, str, Any, Any, tuple[str, ...]], ...]] = (
    ("POST", "/deploy", "Deploy a model", _SPEC, {"type": "object"}, ()),
    ("POST", "/plan", "What a specification would change", _SPEC, {"type": "object"}, ()),
    ("GET", "/list", "All deployments", None, {"type": "array", "items": _STATUS}, ()),
    ("GET", "/metrics", "Metrics for Prometheus", None, None, ()),
    ("GET", "/plugins", "The shimlets and pipelines that there are", None, {"type": "object"}, ()),
    ("GET", "/{id}", "How far a deployment is", None, _STATUS, ()),
    ("PUT", "/{id}", "Change a deployment", _SPEC, {"type": "object"}, ()),
    ("DELETE", "/{id}", "Delete a deployment", None, {"type": "object"}, ()),
    ("POST", "/{id}/scale", "Change the number of replicas",
     {"type": "object", "properties": {"replicaCount": _COUNT}}, {"type": "object"}, ()),
    ("POST", "/{id}/rollback", "Return to the revision before", None, {"type": "object"}, ()),
    ("POST", "/{id}/promote", "End the canary: all requests", None, {"type": "object"}, ()),
    ("GET", "/{id}/pipeline", "The steps and their results", None, {"type": "object"}, ()),
    ("GET", "/{id}/logs", "What a replica has written", None, None, ("replica", "lines")),
    ("GET", "/{id}/events", "Events, as server-sent events", None, None, ("after",)),
)  # fmt: skip


def build_openapi(version: str) -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, summary, body, data, query in _OPERATIONS:
        operation = _operation(path, summary, body, data, query)
        operation["operationId"] = method.lower() + re.sub(r"\W+", "_", path).rstrip("_")
        paths.setdefault(BASE_PATH + path, {})[method.lower()] = operation
    watch = _operation("/", "All events, as server-sent events", None, None, ("after",))
    paths["/api/v1/events"] = {"get": {**watch, "operationId": "get_all_events"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Deployer", "version": version},
        "paths": paths,
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"key": []}],
    }


def _operation(
    path: str, summary: str, body: Any, data: Any, query: tuple[str, ...]
) -> dict[str, Any]:
    parameters = [
        {"name": "id", "in": "path", "required": True, "schema": _TEXT}
        for _ in range(path.count("{id}"))
    ]
    parameters += [{"name": name, "in": "query", "schema": _TEXT} for name in query]
    content: dict[str, Any] = {"text/plain": {"schema": _TEXT}}
    if data is not None:
        properties = {"code": {"type": "integer"}, "message": _TEXT, "data": data}
        schema = {"type": "object", "properties": properties}
        content = {"application/json": {"schema": schema}}
    operation: dict[str, Any] = {
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "done, or begun", "content": content},
            "default": {"description": "refused: code, message", "content": content},
        },
    }
    if body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": body}},
        }
    return operation
