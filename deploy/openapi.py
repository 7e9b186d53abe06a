"""The OpenAPI document of the deployer's HTTP API. Pure."""

import re
from typing import Any, Final

from deploy.positions.records import MODEL_MEMBERS, POSITION_MEMBERS, SWITCHED_MEMBERS
from deploy.workloads.canary import PROMOTIONS
from deploy.workloads.phases import DeploymentPhase

PREFIX: Final = "/api/v1"
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
        "modelUrl": {**_TEXT, "description": "below deployer.model_sources; needs modelDigest"},
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

_OBJECT: Final = {"type": "object"}
_ROWS: Final = {"type": "array", "items": _OBJECT}
_MODEL_ID: Final = {**_TEXT, "description": "NAME:VERSION, or best: the highest accuracy"}
_PROJECT: Final = {
    "type": "object",
    "properties": {"name": _TEXT, "description": _TEXT},
    "required": ["name"],
    "additionalProperties": False,
}
_APPLICATION: Final = {
    "type": "object",
    "properties": {"name": _TEXT, "project": _TEXT, "description": _TEXT},
    "required": ["name", "project"],
    "additionalProperties": False,
}
_MODEL: Final = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "version": {"description": "a text or a number"},
        "application": _TEXT,
        "description": _TEXT,
        "accuracy": {"type": "number", "minimum": 0, "maximum": 1},
        "source": {**_TEXT, "description": "the model that it was trained from, NAME:VERSION"},
        "accessToken": {**_TEXT, "description": "with which the file at modelUrl is asked for"},
        **{name: _SPEC["properties"][name] for name in MODEL_MEMBERS},
    },
    "required": ["name", "version", "application"],
    "additionalProperties": False,
}
_POSITION: Final = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "application": _TEXT,
        "model": _MODEL_ID,
        "description": _TEXT,
        **{name: _SPEC["properties"][name] for name in POSITION_MEMBERS},
    },
    "required": ["name", "application", "model"],
    "additionalProperties": False,
}
_SWITCH: Final = {
    "type": "object",
    "properties": {
        "model": _MODEL_ID,
        **{name: _SPEC["properties"][name] for name in SWITCHED_MEMBERS},
    },
    "required": ["model"],
    "additionalProperties": False,
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


# The same, below /api/v1.
_POSITION_OPERATIONS: Final[tuple[tuple[str, str, str, Any, Any, tuple[str, ...]], ...]] = (
    ("GET", "/projects", "The projects", None, _ROWS, ()),
    ("POST", "/projects", "Create a project", _PROJECT, _OBJECT, ()),
    ("DELETE", "/projects/{name}", "Delete a project without applications", None, _OBJECT, ()),
    ("GET", "/applications", "The applications", None, _ROWS, ()),
    ("POST", "/applications", "Create an application", _APPLICATION, _OBJECT, ()),
    ("DELETE", "/applications/{name}", "Delete an application", None, _OBJECT, ()),
    ("GET", "/applications/{name}/models", "The models of an application", None, _ROWS, ()),
    ("POST", "/models", "Publish a model of an application", _MODEL, _OBJECT, ()),
    ("DELETE", "/applications/{name}/models/{model}", "Delete a model", None, _OBJECT, ()),
    ("GET", "/subscriptions/events", "Applications and models as they come and go, as events",
     None, None, ("application", "after")),
    ("GET", "/positions", "The positions", None, _ROWS, ()),
    ("POST", "/positions", "Put a model into service", _POSITION, _OBJECT, ()),
    ("GET", "/positions/{name}", "How a position is", None, _OBJECT, ()),
    ("DELETE", "/positions/{name}", "End a position", None, _OBJECT, ()),
    ("POST", "/positions/{name}/switch", "Have another model in it", _SWITCH, _OBJECT, ()),
    ("POST", "/positions/{name}/scale", "Change the number of replicas",
     {"type": "object", "properties": {"replicaCount": _COUNT}}, _OBJECT, ()),
    ("GET", "/positions/{name}/usage", "CPU, memory and load", None, _OBJECT, ()),
)  # fmt: skip


def build_openapi(version: str) -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, dict[str, Any]] = {}
    for base, operations in ((BASE_PATH, _OPERATIONS), (PREFIX, _POSITION_OPERATIONS)):
        for method, path, summary, body, data, query in operations:
            operation = _operation(path, summary, body, data, query)
            operation["operationId"] = method.lower() + re.sub(r"\W+", "_", path).rstrip("_")
            paths.setdefault(base + path, {})[method.lower()] = operation
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
        {"name": name, "in": "path", "required": True, "schema": _TEXT}
        for name in re.findall(r"\{(\w+)\}", path)
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
