"""A LoaderOutput becomes the payload of an answer, as JSON bytes. Pure; ready once per service.

Rules: reference "ase-wire" 1.4. Data is base64 under the key of its type, unless `format` is "json"
and the bytes are JSON: then they are embedded as they are. Attributes are re-typed by the
service's schemaoutput.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import jiter
import pybase64

from schemas.errors import BAD_OUTPUT, AseError, loader_fault
from schemas.service import DataType, Service
from schemas.wire import LoaderOutput, Payload

_NUMBER = re.compile(r"[+-]?[0-9]{1,100}(?:\.[0-9]{1,100})?(?:[eE][+-]?[0-9]{1,3})?")
_Retype = Callable[[str], str]


class Decoder:
    """Decodes the answers of one service."""

    def __init__(self, service: Service) -> None:
        self._accepts = service.accepts
        outputs = _dig(service.output, "properties", "payload", "properties")
        self._types = {
            (name, attribute): str(_dig(told, "properties", attribute).get("type", "string"))
            for name, told in outputs.items()
            for attribute in _dig(told, "properties")
        }

    def decode(self, output: LoaderOutput) -> bytes:
        """Return the `payload` object as JSON text; b"{}" when the loader gave none.

        Raises AseError with the loader's own code when it is not 0, and with 10106 for an output
        whose name or type the service does not declare.
        """
        if output.code != 0:
            raise AseError(loader_fault(output.code), output.err)
        names = [payload.meta.name for payload in output.pl]
        if len(set(names)) != len(names):
            raise AseError(BAD_OUTPUT, "an output was given twice")
        return b"{%s}" % b",".join(self._member(payload) for payload in output.pl)

    def _member(self, payload: Payload) -> bytes:
        name, kind = payload.meta.name, DataType.of(payload.meta.dataType)
        if self._accepts.get(name) != kind:
            shown = name if len(name) <= 64 else name[:64] + "..."
            raise AseError(BAD_OUTPUT, f"output {shown!r} of type {kind.key} is not declared")
        attributes = payload.meta.attribute
        members = [b'"%s":%s' % (kind.key.encode(), _data(payload.data, attributes))]
        members += [
            f"{_quote(key)}:{self._retyped(name, key, attributes[key])}".encode()
            for key in sorted(attributes)
            if key != kind.key
        ]
        return b"%s:{%s}" % (_quote(name).encode(), b",".join(members))

    def _retyped(self, name: str, key: str, value: str) -> str:
        retype = _RETYPES.get(self._types.get((name, key), "string"), _quote)
        return retype(value)


def _data(data: bytes, attributes: Mapping[str, str]) -> bytes:
    if attributes.get("format") == "json" and _is_json(data):
        return data
    return b'"%s"' % pybase64.b64encode(data)


def _is_json(data: bytes) -> bool:
    try:
        jiter.from_json(data, allow_inf_nan=False, cache_mode="none")
    except ValueError:
        return False
    return True


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _as_number(text: str) -> str:
    """Return the number a text holds as JSON; a text that holds none stays a string."""
    if not _NUMBER.fullmatch(text):
        return _quote(text)
    number = int(text) if text.lstrip("+-").isdigit() else float(text)
    return json.dumps(number) if isinstance(number, int) or math.isfinite(number) else _quote(text)


def _as_boolean(text: str) -> str:
    return text if text in ("true", "false") else _quote(text)


_RETYPES: dict[str, _Retype] = {
    "integer": _as_number,
    "number": _as_number,
    "boolean": _as_boolean,
    "bool": _as_boolean,
}


def _dig(tree: Any, *path: str) -> Mapping[str, Any]:
    """Return the object at a path of a schema; an empty one where there is none."""
    for member in path:
        tree = tree.get(member) if isinstance(tree, Mapping) else None
    return tree if isinstance(tree, Mapping) else {}
