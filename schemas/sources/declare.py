"""The declaration of an API, and its conversion to a schema document. Pure.

A model author declares an API in Python (`aseloader.fields`, `declaration_from_source`) or in YAML
(`declaration_from_api_schema`). Both become a `Declaration`. This module converts it to the
standard document structure of the original, {meta, schemainput, schemaoutput} (`docs/wire.md`);
`declaration_from_document` converts it back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.model.service import DataType

MAX_BYTES = 10 * 1024 * 1024
_STRING_SCHEMA = {"type": "string"}
_HEADER_PROPERTIES: dict[str, Any] = {
    "app_id": {"type": "string", "maxLength": 64},
    "appid": {"type": "string", "maxLength": 64},
    **{name: {"type": "string", "maxLength": 64} for name in ("uid", "did", "imei", "imsi", "mac")},
    "net_type": {"type": "string", "enum": ["wifi", "2G", "3G", "4G", "5G"]},
    "net_isp": {"type": "string", "enum": ["CMCC", "CUCC", "CTCC", "other"]},
    "status": {"type": "integer", "enum": [3]},
    "request_id": {"type": "string", "maxLength": 64},
    "res_id": {"type": "string", "maxLength": 1024},
}


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter: its name, the schema of its value in the dialect, whether it is required."""

    name: str
    rules: Mapping[str, Any]
    required: bool = False


@dataclass(frozen=True, slots=True)
class PayloadStream:
    """One payload stream, an input or an output.

    `encodings`, `formats` and `compress` are the allowed values of the attributes `encoding`,
    `format` and `compress`; empty means any. `format` is the format of an output; "json" embeds it
    as JSON in the response. `max_bytes` limits the decoded size of an input. `value_schema` is the
    JSON Schema of the values, if they are JSON of a known type.
    """

    name: str
    data_type: DataType
    encodings: tuple[str, ...] = ()
    format: str = ""
    max_bytes: int = MAX_BYTES
    required: bool = True
    formats: tuple[str, ...] = ()
    compress: tuple[str, ...] = ()
    description: str = ""
    value_schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Declaration:
    """The declaration of an API.

    `deadline` is in seconds; None means the gateway's default. `streaming` states whether a request
    may consist of several frames. `annotations` is metadata of a YAML declaration that no gateway
    reads (group, region, ...).
    """

    id: str
    version: str = "v1"
    sub: str = "ase"
    description: str = ""
    deadline: float | None = None
    idempotent: bool = False
    streaming: bool = False
    params: tuple[Param, ...] = ()
    inputs: tuple[PayloadStream, ...] = ()
    outputs: tuple[PayloadStream, ...] = field(default=())
    annotations: Mapping[str, Any] = field(default_factory=dict)


def declaration_to_document(api: Declaration) -> dict[str, Any]:
    """Return the schema document of `api`. Its only nick has the id of the service as its name."""
    meta: dict[str, Any] = {
        "serviceId": api.id,
        "version": api.version,
        "service": [api.id],
        api.id: {
            "input": {stream.name: {"dataType": stream.data_type.key} for stream in api.inputs},
            "accept": {stream.name: {"dataType": stream.data_type.key} for stream in api.outputs},
        },
        "route": f"/v1/private/{api.id}",
        "sub": api.sub,
    }
    if api.description:
        meta["description"] = api.description
    if api.deadline is not None:
        meta["session_timeout"] = api.deadline
    if api.idempotent:
        meta["idempotent"] = True
    if api.annotations:
        meta["about"] = dict(api.annotations)
    return {"meta": meta, "schemainput": _input_schema(api), "schemaoutput": _output_schema(api)}


def _input_schema(api: Declaration) -> dict[str, Any]:
    parameter = {param.name: dict(param.rules) for param in api.params}
    parameter |= {stream.name: _accept_schema(stream) for stream in api.outputs}
    header = {name: dict(rules) for name, rules in _HEADER_PROPERTIES.items()}
    header["status"] = _status_schema(api)
    required_inputs = [
        stream.name for stream in api.inputs if stream.required and not api.streaming
    ]
    nick_schema: dict[str, Any] = {"type": "object", "properties": parameter}
    required_params = [param.name for param in api.params if param.required]
    if required_params:
        nick_schema["required"] = required_params
    required_sections = ["header"]
    required_sections += ["parameter"] if required_params else []
    required_sections += ["payload"] if required_inputs else []
    return {
        "type": "object",
        "properties": {
            "header": {
                "type": "object",
                "properties": header,
                "required": ["app_id"],
            },
            "parameter": {
                "type": "object",
                "properties": {api.id: nick_schema},
                **({"required": [api.id]} if required_params else {}),
            },
            "payload": {
                "type": "object",
                "properties": {stream.name: _payload_schema(stream, api) for stream in api.inputs},
                "required": required_inputs,
            },
        },
        "required": required_sections,
    }


def _status_schema(api: Declaration) -> dict[str, Any]:
    return {"type": "integer", "enum": [0, 1, 2, 3] if api.streaming else [3]}


def _payload_schema(stream: PayloadStream, api: Declaration) -> dict[str, Any]:
    data_schema = {"type": "string", "minLength": 0 if api.streaming else 1}
    properties: dict[str, Any] = {
        **_attribute_schemas(stream),
        "status": _status_schema(api),
        "seq": {"type": "integer", "minimum": 0, "maximum": 9999999},
        stream.data_type.key: {
            **data_schema,
            "maxB64DLen": stream.max_bytes,
            **_content_keywords(stream),
        },
    }
    annotations: dict[str, Any] = {"description": stream.description} if stream.description else {}
    if stream.data_type is DataType.AUDIO:
        properties |= {
            name: {"type": "integer", "minimum": 0}
            for name in ("sample_rate", "channels", "bit_depth", "frame_size")
        }
    required = [] if api.streaming else [stream.data_type.key]  # a last frame may have no data
    return {**annotations, "type": "object", "properties": properties, "required": required}


def _content_keywords(stream: PayloadStream) -> dict[str, Any]:
    """Return the annotations of JSON Schema that describe JSON within a base64 string."""
    if stream.value_schema is None:
        return {}
    return {
        "contentEncoding": "base64",
        "contentMediaType": "application/json",
        "contentSchema": dict(stream.value_schema),
    }


def _accept_schema(stream: PayloadStream) -> dict[str, Any]:
    annotations: dict[str, Any] = {"description": stream.description} if stream.description else {}
    return {**annotations, "type": "object", "properties": _attribute_schemas(stream)}


def _attribute_schemas(stream: PayloadStream) -> dict[str, Any]:
    allowed_values = {
        "encoding": stream.encodings,
        "compress": stream.compress,
        "format": stream.formats,
    }
    return {
        name: {**_STRING_SCHEMA, **({"enum": list(values)} if values else {})}
        for name, values in allowed_values.items()
    }


def _output_schema(api: Declaration) -> dict[str, Any]:
    def stream_schema(stream: PayloadStream) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {
                "encoding": _STRING_SCHEMA,
                "compress": _STRING_SCHEMA,
                "format": {
                    **_STRING_SCHEMA,
                    **({"enum": [stream.format]} if stream.format else {}),
                },
                "status": {"type": "integer"},
                "seq": {"type": "integer"},
                stream.data_type.key: _STRING_SCHEMA
                if stream.format != "json"
                else {"description": "raw JSON", **(stream.value_schema or {})},
            },
        }

    return {
        "type": "object",
        "properties": {
            "header": {
                "type": "object",
                "properties": {
                    "code": {"type": "integer"},
                    "message": _STRING_SCHEMA,
                    "sid": _STRING_SCHEMA,
                },
            },
            "payload": {
                "type": "object",
                "properties": {stream.name: stream_schema(stream) for stream in api.outputs},
            },
        },
    }
