"""A declared API, as its schema document: the stock structure of the original. Pure.

What a model author declares, in Python (`aseloader.fields`, `schemas/scan.py`) or in YAML
(`schemas/api.py`), becomes one `Declaration`; this module writes it as {meta, schemainput,
schemaoutput} (reference "ase-wire" 1.3 and 2), and `schemas/recall.py` reads it back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.service import DataType

MAX_BYTES = 10 * 1024 * 1024
_TEXT = {"type": "string"}
_HEADER: dict[str, Any] = {
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
    """One parameter: its name, the rules of its value in the dialect, whether it must be there."""

    name: str
    rules: Mapping[str, Any]
    required: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """One payload, in or out.

    `encodings`, `formats` and `compress` are the values that its attribute may have (empty: any).
    """

    name: str
    kind: DataType
    encodings: tuple[str, ...] = ()
    format: str = ""
    max_bytes: int = MAX_BYTES
    required: bool = True
    formats: tuple[str, ...] = ()
    compress: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A whole API. `deadline` in seconds, None = the gateway's default.

    `streams`: its requests may come in many frames.

    `about`: what a YAML declaration says of itself and no gateway reads (group, region, ...).
    """

    id: str
    version: str = "v1"
    sub: str = "ase"
    description: str = ""
    deadline: float | None = None
    idempotent: bool = False
    streams: bool = False
    params: tuple[Param, ...] = ()
    inputs: tuple[Stream, ...] = ()
    outputs: tuple[Stream, ...] = field(default=())
    about: Mapping[str, Any] = field(default_factory=dict)


def document(api: Declaration) -> dict[str, Any]:
    """Return the schema document of a declared API; the one nick has the name of the service."""
    meta: dict[str, Any] = {
        "serviceId": api.id,
        "version": api.version,
        "service": [api.id],
        api.id: {
            "input": {stream.name: {"dataType": stream.kind.key} for stream in api.inputs},
            "accept": {stream.name: {"dataType": stream.kind.key} for stream in api.outputs},
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
    if api.about:
        meta["about"] = dict(api.about)
    return {"meta": meta, "schemainput": _input(api), "schemaoutput": _output(api)}


def _input(api: Declaration) -> dict[str, Any]:
    parameter = {param.name: dict(param.rules) for param in api.params}
    parameter |= {stream.name: _accept(stream) for stream in api.outputs}
    header = {name: dict(rules) for name, rules in _HEADER.items()}
    header["status"] = _status(api)
    needed = [stream.name for stream in api.inputs if stream.required and not api.streams]
    nick: dict[str, Any] = {"type": "object", "properties": parameter}
    required = [param.name for param in api.params if param.required]
    if required:
        nick["required"] = required
    outer = ["header"]
    outer += ["parameter"] if required else []
    outer += ["payload"] if needed else []
    return {
        "type": "object",
        "properties": {
            "header": {
                "type": "object",
                "properties": header,
                "required": ["app_id", "status"],
            },
            "parameter": {
                "type": "object",
                "properties": {api.id: nick},
                **({"required": [api.id]} if required else {}),
            },
            "payload": {
                "type": "object",
                "properties": {stream.name: _payload(stream, api) for stream in api.inputs},
                "required": needed,
            },
        },
        "required": outer,
    }


def _status(api: Declaration) -> dict[str, Any]:
    return {"type": "integer", "enum": [0, 1, 2, 3] if api.streams else [3]}


def _payload(stream: Stream, api: Declaration) -> dict[str, Any]:
    data = {"type": "string", "minLength": 0 if api.streams else 1}
    properties: dict[str, Any] = {
        **_attributes(stream),
        "status": _status(api),
        "seq": {"type": "integer", "minimum": 0, "maximum": 9999999},
        stream.kind.key: {**data, "maxB64DLen": stream.max_bytes},
    }
    told: dict[str, Any] = {"description": stream.description} if stream.description else {}
    if stream.kind is DataType.AUDIO:
        properties |= {
            name: {"type": "integer", "minimum": 0}
            for name in ("sample_rate", "channels", "bit_depth", "frame_size")
        }
    needed = [] if api.streams else [stream.kind.key]  # a last frame may bring nothing
    return {**told, "type": "object", "properties": properties, "required": needed}


def _accept(stream: Stream) -> dict[str, Any]:
    told: dict[str, Any] = {"description": stream.description} if stream.description else {}
    return {**told, "type": "object", "properties": _attributes(stream)}


def _attributes(stream: Stream) -> dict[str, Any]:
    told = {"encoding": stream.encodings, "compress": stream.compress, "format": stream.formats}
    return {
        name: {**_TEXT, **({"enum": list(words)} if words else {})} for name, words in told.items()
    }


def _output(api: Declaration) -> dict[str, Any]:
    def stream(told: Stream) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {
                "encoding": _TEXT,
                "compress": _TEXT,
                "format": {**_TEXT, **({"enum": [told.format]} if told.format else {})},
                "status": {"type": "integer"},
                "seq": {"type": "integer"},
                told.kind.key: _TEXT if told.format != "json" else {"description": "raw JSON"},
            },
        }

    return {
        "type": "object",
        "properties": {
            "header": {
                "type": "object",
                "properties": {"code": {"type": "integer"}, "message": _TEXT, "sid": _TEXT},
            },
            "payload": {
                "type": "object",
                "properties": {told.name: stream(told) for told in api.outputs},
            },
        },
    }
