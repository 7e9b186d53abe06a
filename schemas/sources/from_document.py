"""A schema document, as a declaration: the way back, and what is lost on it. Pure.

A document can say more than a declaration holds. What cannot be held is found by writing the
declaration again and comparing, so nothing is ever dropped without being named.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from schemas.model import document
from schemas.model.service import DataType, member_schema
from schemas.sources import declare
from schemas.sources.declare import MAX_BYTES, Declaration, Param, PayloadStream

_ATTRIBUTE_FIELDS = {"encoding": "encodings", "format": "formats", "compress": "compress"}


def declaration_from_document(schema_document: Mapping[str, Any]) -> tuple[Declaration, list[str]]:
    """Return the declaration of a schema document, and each place of the document that it loses.

    Raises DocumentError for what is no schema document.
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
    """Return an object within objects; an empty one when it is not there."""
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
        max_bytes = rules.get("maxB64DLen", MAX_BYTES)
        yield PayloadStream(
            name,
            data_type,
            max_bytes=max_bytes if isinstance(max_bytes, int) else MAX_BYTES,
            required=name in _list_or_empty(payload.get("required")),
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
            yield PayloadStream(
                name,
                data_type,
                format=str(formats[0]),
                **_attributes(_object_at(parameter, "properties", name)),
            )


def _attributes(stream_schema: Mapping[str, Any]) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        field: tuple(_list_or_empty(_object_at(stream_schema, "properties", name).get("enum")))
        for name, field in _ATTRIBUTE_FIELDS.items()
    }
    return {**attributes, "description": str(stream_schema.get("description", ""))}


def differences(left: Any, right: Any, path: tuple[str, ...]) -> Iterator[str]:
    """Yield the places where two documents differ, each as high as it can stand."""
    if isinstance(left, dict) and isinstance(right, dict):
        for name in sorted({*left, *right}):
            if name not in left or name not in right:
                yield ".".join((*path, name))
            else:
                yield from differences(left[name], right[name], (*path, name))
    elif left != right and not _same_required(path, left, right):
        yield ".".join(path) or "document"


def _same_required(path: tuple[str, ...], left: Any, right: Any) -> bool:
    """Return whether two lists of required members name the same, in whatever order."""
    are_lists = isinstance(left, list) and isinstance(right, list)
    return are_lists and path[-1:] == ("required",) and set(map(str, left)) == set(map(str, right))


def data_type_of(type_name: str, format_name: str) -> DataType | None:
    """Return the kind of a payload that a YAML calls `type: word`; None for what is no kind.

    `base64` is told by its format (`shape`): the bytes of a jpg are an image.
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
