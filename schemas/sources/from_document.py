"""Conversion of a schema document back to a declaration, with a report of the losses. Pure.

A document can express more than a declaration. The losses are found by writing the declaration as a
document again and comparing the two, so that every lost member is reported.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from schemas.model import document
from schemas.model.service import DataType, member_schema
from schemas.sources import declare
from schemas.sources.declare import MAX_BYTES, Declaration, Param, PayloadStream
from schemas.validation.compile import parse_count

_ATTRIBUTE_FIELDS = {"encoding": "encodings", "format": "formats", "compress": "compress"}


def declaration_from_document(schema_document: Mapping[str, Any]) -> tuple[Declaration, list[str]]:
    """Return the declaration of `schema_document`, and the document paths that it loses.

    Raises DocumentError if `schema_document` is not a valid schema document.
    """
    service = document.service_from_document(schema_document)
    meta = schema_document["meta"]
    api = Declaration(
        id=service.id,
        version=service.version,
        sub=service.sub,
        description=service.description,
        deadline=service.deadline,
        idempotent=service.idempotent,
        streaming=0
        in _list_or_empty((member_schema(service.input, "header", "status") or {}).get("enum")),
        params=tuple(_params(service)),
        inputs=tuple(_inputs(service)),
        outputs=tuple(_outputs(service)),
        annotations=meta["about"] if isinstance(meta.get("about"), dict) else {},
    )
    return api, list(differences(dict(schema_document), declare.declaration_to_document(api), ()))


def _object_at(tree: Any, *path: str) -> dict[str, Any]:
    """Return a copy of the object at `path` below `tree`; an empty one if there is none."""
    for name in path:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return dict(tree) if isinstance(tree, Mapping) else {}


def _list_or_empty(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _params(service: Any) -> Iterator[Param]:
    for nick in service.nicks:
        nick_schema = _object_at(service.input, "properties", "parameter", "properties", nick.name)
        required = _list_or_empty(nick_schema.get("required"))
        for name, rules in _object_at(nick_schema, "properties").items():
            if name not in nick.accepts and isinstance(rules, Mapping):
                yield Param(name, rules, name in required)


def _inputs(service: Any) -> Iterator[PayloadStream]:
    payload = _object_at(service.input, "properties", "payload")
    for name, data_type in service.inputs.items():
        stream_schema = _object_at(payload, "properties", name)
        rules = _object_at(stream_schema, "properties", data_type.key)
        max_bytes = parse_count(rules.get("maxB64DLen"))
        yield PayloadStream(
            name,
            data_type,
            max_bytes=MAX_BYTES if max_bytes is None else max_bytes,
            required=name in _list_or_empty(payload.get("required")),
            value_schema=_object_at(rules, "contentSchema") or None,
            **_attributes(stream_schema),
        )


def _outputs(service: Any) -> Iterator[PayloadStream]:
    for nick in service.nicks:
        parameter = _object_at(service.input, "properties", "parameter", "properties", nick.name)
        for name, data_type in nick.accepts.items():
            output_properties = _object_at(
                service.output, "properties", "payload", "properties", name, "properties"
            )
            formats = _list_or_empty(_object_at(output_properties, "format").get("enum")) or [""]
            value_schema = dict(_object_at(output_properties, data_type.key))
            if value_schema.get("description") == "raw JSON":
                del value_schema["description"]
            yield PayloadStream(
                name,
                data_type,
                format=str(formats[0]),
                value_schema=(value_schema or None) if formats[0] == "json" else None,
                **_attributes(_object_at(parameter, "properties", name)),
            )


def _attributes(stream_schema: Mapping[str, Any]) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        field: tuple(_list_or_empty(_object_at(stream_schema, "properties", name).get("enum")))
        for name, field in _ATTRIBUTE_FIELDS.items()
    }
    return {**attributes, "description": str(stream_schema.get("description", ""))}


def differences(first: Any, second: Any, path: tuple[str, ...]) -> Iterator[str]:
    """Yield the dotted path of every difference between two documents.

    A member that only one side has is reported by its own path; arrays are compared as a whole.
    `path` is the location of `left` and `right` in the documents.
    """
    if isinstance(first, dict) and isinstance(second, dict):
        for name in sorted({*first, *second}):
            if name not in first or name not in second:
                yield ".".join((*path, name))
            else:
                yield from differences(first[name], second[name], (*path, name))
    elif first != second and not _same_required(path, first, second):
        yield ".".join(path) or "document"


def _same_required(path: tuple[str, ...], left: Any, right: Any) -> bool:
    """Return whether `path` is a `required` keyword and both lists have the same names."""
    are_lists = isinstance(left, list) and isinstance(right, list)
    return are_lists and path[-1:] == ("required",) and set(map(str, left)) == set(map(str, right))


def data_type_of(type_name: str, format_name: str) -> DataType | None:
    """Return the data type that an ApiSchema calls `type: type_name`; None if it is unknown.

    `base64` does not name a data type; `format_name` decides: the bytes of a jpg are an image.
    """
    data_types = {data_type.key: data_type for data_type in DataType} | {
        "vedio": DataType.VIDEO,
        "json": DataType.TEXT,
    }
    if type_name != "base64":
        return data_types.get(type_name)
    for data_type, formats in _FORMATS_BY_TYPE.items():
        if format_name.lower() in formats:
            return data_type
    return DataType.OTHER


_FORMATS_BY_TYPE = {
    DataType.IMAGE: {"jpg", "jpeg", "png", "bmp", "gif", "webp", "tiff", "tif"},
    DataType.AUDIO: {
        "wav",
        "mp3",
        "pcm",
        "raw",
        "speex",
        "speex-wb",
        "opus",
        "ogg",
        "flac",
        "amr",
        "lame",
    },
    DataType.VIDEO: {"mp4", "avi", "mkv", "mov", "webm", "flv"},
    DataType.TEXT: {"txt", "text", "plain", "json", "xml", "html", "csv"},
}
