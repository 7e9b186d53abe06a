"""A LoaderOutput becomes the payload of an answer, as JSON bytes. Pure; ready once per service.

Rules: reference "ase-wire" 1.4. Data is base64 under the key of its type, unless `format` is "json"
and the bytes are JSON: then they are embedded as they are. Attributes are re-typed by the
service's schemaoutput.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any, Final

import jiter
import pybase64
from google.protobuf.message import DecodeError

from atom.wire import payloads, status
from schemas.errors import BAD_OUTPUT, BAD_REPLY, AseError, loader_error_spec
from schemas.service import DataType, Service
from schemas.wire import LoaderOutput, MetaDesc

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,100}(?:\.[0-9]{1,100})?(?:[eE][+-]?[0-9]{1,3})?")
_Retype = Callable[[str], str]
_MOST: Final = 256  # metas that are remembered
_LONGEST: Final = 1024  # bytes of one


@dataclass(frozen=True, slots=True)
class _Output:
    """What the meta of an output says: its name, and the JSON before and after its data.

    `embeds`: the data may be JSON that is embedded as it is.
    """

    name: str
    begin: bytes
    end: bytes
    embeds: bool


class Decoder:
    """Decodes the answers of one service."""

    def __init__(self, service: Service) -> None:
        self._accepts = {name: int(kind) for name, kind in service.accepts.items()}
        outputs = _dig(service.output, "properties", "payload", "properties")
        self._types = {
            (name, attribute): str(_dig(told, "properties", attribute).get("type", "string"))
            for name, told in outputs.items()
            for attribute in _dig(told, "properties")
        }
        self._known: dict[bytes, _Output] = {}

    def decode(self, frame: bytes) -> bytes:
        """Return the `payload` object of a serialised LoaderOutput as JSON text; b"{}" for none.

        Raises AseError with the loader's own code when it is not 0, with 10106 for an output whose
        name or type the service does not declare, with 10160 for bytes that are no frame.
        """
        told = payloads(frame)
        if told is None:
            told = _read(frame)
        members: dict[str, bytes] = {}
        for meta, data in told:
            output = self._known.get(meta) or self._output(meta)
            if output.name in members:
                raise AseError(BAD_OUTPUT, "an output was given twice")
            if output.embeds and _is_json(data):
                members[output.name] = output.begin + data + output.end
            else:
                text = pybase64.b64encode(data)
                members[output.name] = b'%b"%b"%b' % (output.begin, text, output.end)
        return b"{%b}" % b",".join(members.values())

    def result(self, frame: bytes) -> tuple[bytes, int]:
        """Return the payload of a session's result, as `decode` does, and its status, 0 to 3."""
        payload = self.decode(frame)
        return payload, status(frame) & 3

    def _output(self, meta: bytes) -> _Output:
        """Return what a meta says; a loader repeats its few, so they are remembered."""
        try:
            told = MetaDesc.FromString(meta)
        except DecodeError as error:
            raise AseError(BAD_REPLY) from error
        name, kind = told.name, DataType.from_number(told.dataType)
        if self._accepts.get(name) != kind:
            shown = name if len(name) <= 64 else name[:64] + "..."
            raise AseError(BAD_OUTPUT, f"output {shown!r} of type {kind.key} is not declared")
        attributes = dict(told.attribute)
        rest = "".join(
            f",{_quote(key)}:{self._retyped(name, key, attributes[key])}"
            for key in sorted(attributes)
            if key != kind.key
        )
        begin = f'{_quote(name)}:{{"{kind.key}":'.encode()
        output = _Output(name, begin, f"{rest}}}".encode(), attributes.get("format") == "json")
        if len(meta) <= _LONGEST:
            if len(self._known) >= _MOST:
                del self._known[next(iter(self._known))]
            self._known[meta] = output
        return output

    def _retyped(self, name: str, key: str, value: str) -> str:
        retype = _RETYPES.get(self._types.get((name, key), "string"), _quote)
        return retype(value)


def _read(frame: bytes) -> list[tuple[bytes, bytes]]:
    try:
        output = LoaderOutput.FromString(frame)
    except DecodeError as error:
        raise AseError(BAD_REPLY) from error
    if output.code != 0:
        raise AseError(loader_error_spec(output.code), output.err)
    return [(payload.meta.SerializeToString(), payload.data) for payload in output.pl]


def _is_json(data: bytes) -> bool:
    try:
        jiter.from_json(data, allow_inf_nan=False, cache_mode="none")
    except ValueError:
        return False
    return True


def _quote(text: str) -> str:
    return encode_basestring(text)


def _as_number(text: str) -> str:
    """Return the number a text holds as JSON; a text that holds none stays a string."""
    if not _NUMBER.fullmatch(text):
        return _quote(text)
    number = int(text) if text.lstrip("+-").isdigit() else float(text)
    return json.dumps(number) if isinstance(number, int) or math.isfinite(number) else _quote(text)


def _as_boolean(text: str) -> str:
    return text if text in ("true", "false") else _quote(text)


_RETYPES: Final[dict[str, _Retype]] = {
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
