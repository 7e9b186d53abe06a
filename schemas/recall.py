"""A schema document, as a declaration: the way back, and what is lost on it. Pure.

A document can say more than a declaration holds. What cannot be held is found by writing the
declaration again and comparing, so nothing is ever dropped without being named.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from schemas import declare, document
from schemas.declare import MAX_BYTES, Declaration, Param, Stream
from schemas.service import DataType, member

_ATTRIBUTES = {"encoding": "encodings", "format": "formats", "compress": "compress"}


def declaration(told: Mapping[str, Any]) -> tuple[Declaration, list[str]]:
    """Return the declaration of a schema document, and each place of the document that it loses.

    Raises DocumentError for what is no schema document.
    """
    service = document.read(told)
    meta = told["meta"]
    api = Declaration(
        id=service.id,
        version=service.version,
        sub=service.sub,
        description=service.description,
        deadline=service.deadline,
        idempotent=service.idempotent,
        streams=0 in _list((member(service.input, "header", "status") or {}).get("enum")),
        params=tuple(_params(service)),
        inputs=tuple(_inputs(service)),
        outputs=tuple(_outputs(service)),
        about=meta["about"] if isinstance(meta.get("about"), dict) else {},
    )
    return api, list(differences(dict(told), declare.document(api), ()))


def _at(tree: Any, *path: str) -> dict[str, Any]:
    """Return an object within objects; an empty one when it is not there."""
    for name in path:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return dict(tree) if isinstance(tree, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _params(service: Any) -> Iterator[Param]:
    for nick in service.nicks:
        told = _at(service.input, "properties", "parameter", "properties", nick.name)
        required = _list(told.get("required"))
        for name, rules in _at(told, "properties").items():
            if name not in nick.accepts and isinstance(rules, Mapping):
                yield Param(name, rules, name in required)


def _inputs(service: Any) -> Iterator[Stream]:
    payload = _at(service.input, "properties", "payload")
    for name, kind in service.inputs.items():
        told = _at(payload, "properties", name)
        rules = _at(told, "properties", kind.key)
        most = rules.get("maxB64DLen", MAX_BYTES)
        yield Stream(
            name,
            kind,
            max_bytes=most if isinstance(most, int) else MAX_BYTES,
            required=name in _list(payload.get("required")),
            **_attributes(told),
        )


def _outputs(service: Any) -> Iterator[Stream]:
    for nick in service.nicks:
        parameter = _at(service.input, "properties", "parameter", "properties", nick.name)
        for name, kind in nick.accepts.items():
            out = _at(service.output, "properties", "payload", "properties", name, "properties")
            formats = _list(_at(out, "format").get("enum")) or [""]
            yield Stream(
                name,
                kind,
                format=str(formats[0]),
                **_attributes(_at(parameter, "properties", name)),
            )


def _attributes(told: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        field: tuple(_list(_at(told, "properties", name).get("enum")))
        for name, field in _ATTRIBUTES.items()
    }
    return {**found, "description": str(told.get("description", ""))}


def differences(one: Any, other: Any, path: tuple[str, ...]) -> Iterator[str]:
    """Yield the places where two documents differ, each as high as it can stand."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other}):
            if name not in one or name not in other:
                yield ".".join((*path, name))
            else:
                yield from differences(one[name], other[name], (*path, name))
    elif one != other and not _same_names(path, one, other):
        yield ".".join(path) or "document"


def _same_names(path: tuple[str, ...], one: Any, other: Any) -> bool:
    """Return whether two lists of required members name the same, in whatever order."""
    lists = isinstance(one, list) and isinstance(other, list)
    return lists and path[-1:] == ("required",) and set(map(str, one)) == set(map(str, other))


def kind_of(word: str, shape: str) -> DataType | None:
    """Return the kind of a payload that a YAML calls `type: word`; None for what is no kind.

    `base64` is told by its format (`shape`): the bytes of a jpg are an image.
    """
    known = {kind.key: kind for kind in DataType} | {"vedio": DataType.VIDEO, "json": DataType.TEXT}
    if word != "base64":
        return known.get(word)
    for kind, shapes in _SHAPES.items():
        if shape.lower() in shapes:
            return kind
    return DataType.OTHER


_SHAPES = {
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
