"""Decoding of a LoaderOutput to the payload of a response, as JSON bytes. Pure.

A decoder is prepared once per service. Rules: `docs/wire.md`. Data is base64 under the key of its
type. If the attribute `format` is "json" and the data is JSON, it is embedded unchanged; data that
is none loses that attribute. It proves nothing about the loader: a loader may return the attributes
that the client asked for. Attributes are strings on the wire; the service's `schemaoutput` gives
their JSON types.
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

from atom.wire import read_payloads, read_status
from rpc.bounded_cache import BoundedCache
from schemas.model.errors import BAD_OUTPUT, BAD_REPLY, AseError, loader_error_spec
from schemas.model.service import DataType, Service
from schemas.model.text import codec_of
from schemas.wire import LoaderOutput, MetaDesc

_NUMBER_PATTERN: Final = re.compile(r"[+-]?[0-9]{1,100}(?:\.[0-9]{1,100})?(?:[eE][+-]?[0-9]{1,3})?")
_Retyper = Callable[[str], str]
_MAX_CACHED_METAS: Final = 256  # entries
_MAX_CACHED_META_SIZE: Final = 1024  # bytes of a key


class DecodedOutput:
    """One output: its name, its kind, the `encoding` that the loader names, and its bytes.

    `is_json`: the data is JSON, and the loader says so. `quoted_name` is the name as JSON, `codec`
    that of a text with this encoding.
    """

    __slots__ = ("codec", "data", "data_type", "encoding", "is_json", "name", "quoted_name")

    def __init__(
        self,
        name: str,
        data_type: DataType,
        encoding: str,
        data: bytes,
        is_json: bool,
        quoted_name: bytes,
        codec: str,
    ) -> None:
        self.name = name
        self.codec = codec
        self.data_type = data_type
        self.encoding = encoding
        self.data = data
        self.is_json = is_json
        self.quoted_name = quoted_name


@dataclass(frozen=True, slots=True)
class _OutputTemplate:
    """The JSON around the data of an output, from its meta; what its meta says of it.

    `prefix` and `suffix` enclose the data. If `embeds_json`, data that is JSON is embedded
    unchanged. `unlabelled_suffix` is the suffix without that label, for data that is not.
    """

    name: str
    quoted_name: bytes
    data_type: DataType
    encoding: str
    codec: str
    prefix: bytes
    suffix: bytes
    unlabelled_suffix: bytes
    embeds_json: bool


class Decoder:
    """Decodes the outputs of one service.

    `_accepts` maps the declared outputs to their data types, `_attribute_types` maps (output,
    attribute) to a JSON type. `_templates` caches at most 256 templates by their serialized meta,
    if that has at most 1024 bytes.
    """

    def __init__(self, service: Service) -> None:
        self._accepts = {name: int(data_type) for name, data_type in service.accepts.items()}
        outputs = _get_path(service.output, "properties", "payload", "properties")
        self._attribute_types = {
            (name, attribute): str(
                _get_path(output_schema, "properties", attribute).get("type", "string")
            )
            for name, output_schema in outputs.items()
            for attribute in _get_path(output_schema, "properties")
        }
        self._templates: BoundedCache[bytes, _OutputTemplate] = BoundedCache(_MAX_CACHED_METAS)

    def decode(self, frame: bytes) -> bytes:
        """Return the `payload` object of a unary call's LoaderOutput as JSON.

        `frame` is the serialized LoaderOutput. Raises AseError: the loader's own code if that is
        not 0; 10106 for an output that is repeated, whose name or type the service does not
        declare, and if the service declares outputs and there is none; 10160 for a malformed frame.
        """
        payload = self._decode(frame)
        if payload == b"{}":
            self._check_any_output()
        return payload

    def decode_outputs(self, frame: bytes) -> list[DecodedOutput]:
        """Return the outputs of a unary call's LoaderOutput. Raises AseError as `decode` does."""
        outputs, _ = self.decode_result_outputs(frame)
        if not outputs:
            self._check_any_output()
        return outputs

    def decode_result_outputs(self, frame: bytes) -> tuple[list[DecodedOutput], int]:
        """Return the outputs of a session's result, which may be none, and its status, 0..3.

        Raises AseError as `decode` does.
        """
        payloads = read_payloads(frame)
        if payloads is None:
            payloads = _parse_payloads(frame)
        outputs: list[DecodedOutput] = []
        for meta, data in payloads:
            template = self._templates.entries.get(meta) or self._add_template(meta)
            if any(output.name == template.name for output in outputs):
                raise AseError(BAD_OUTPUT, "an output was given twice")
            is_json = template.embeds_json and _is_json(data)
            output = DecodedOutput(
                template.name,
                template.data_type,
                template.encoding,
                data,
                is_json,
                template.quoted_name,
                template.codec,
            )
            outputs.append(output)
        return outputs, read_status(frame) & 3

    def _check_any_output(self) -> None:
        """Raise AseError 10106 if the service declares outputs: the loader returned none."""
        if self._accepts:
            declared = ", ".join(repr(name) for name in list(self._accepts)[:8])
            raise AseError(BAD_OUTPUT, f"the loader returned no output; declared: {declared}")

    def _decode(self, frame: bytes) -> bytes:
        payloads = read_payloads(frame)
        if payloads is None:
            payloads = _parse_payloads(frame)
        members: dict[str, bytes] = {}
        for meta, data in payloads:
            template = self._templates.entries.get(meta) or self._add_template(meta)
            if template.name in members:
                raise AseError(BAD_OUTPUT, "an output was given twice")
            if template.embeds_json and _is_json(data):
                members[template.name] = template.prefix + data + template.suffix
            else:
                encoded = pybase64.b64encode(data)
                suffix = template.unlabelled_suffix if data else template.suffix
                members[template.name] = b'%b"%b"%b' % (template.prefix, encoded, suffix)
        return b"{%b}" % b",".join(members.values())

    def decode_result(self, frame: bytes) -> tuple[bytes, int]:
        """Return the payload of a session's result, which may be empty, and its status, 0..3.

        Raises AseError as `decode` does.
        """
        return self._decode(frame), read_status(frame) & 3

    def _add_template(self, meta: bytes) -> _OutputTemplate:
        """Create the template for a serialized meta and cache it: a loader repeats few metas.

        Raises AseError, see `decode`.
        """
        try:
            meta_desc = MetaDesc.FromString(meta)
        except DecodeError as error:
            raise AseError(BAD_REPLY) from error
        name, data_type = meta_desc.name, DataType.from_number(meta_desc.dataType)
        if self._accepts.get(name) != data_type:
            short_name = name if len(name) <= 64 else name[:64] + "..."
            raise AseError(
                BAD_OUTPUT, f"output {short_name!r} of type {data_type.key} is not declared"
            )
        attributes = dict(meta_desc.attribute)
        embeds_json = attributes.get("format") == "json"
        members = [
            (key, f",{_quote(key)}:{self._retype_attribute(name, key, attributes[key])}")
            for key in sorted(attributes)
            if key != data_type.key
        ]
        suffix = "".join([member for _, member in members]) + "}"
        unlabelled = [member for key, member in members if not (embeds_json and key == "format")]
        template = _OutputTemplate(
            name,
            _quote(name).encode(),
            data_type,
            attributes.get("encoding", ""),
            codec_of(attributes.get("encoding", "")),
            f'{_quote(name)}:{{"{data_type.key}":'.encode(),
            suffix.encode(),
            ("".join(unlabelled) + "}").encode(),
            embeds_json,
        )
        if len(meta) <= _MAX_CACHED_META_SIZE:
            self._templates.add(meta, template)
        return template

    def _retype_attribute(self, name: str, key: str, value: str) -> str:
        retyper = _RETYPERS.get(self._attribute_types.get((name, key), "string"), _quote)
        return retyper(value)


def _parse_payloads(frame: bytes) -> list[tuple[bytes, bytes]]:
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
    """Return the JSON number that a text represents; a text that is no number stays a string."""
    if not _NUMBER_PATTERN.fullmatch(text):
        return _quote(text)
    number = int(text) if text.lstrip("+-").isdigit() else float(text)
    return json.dumps(number) if isinstance(number, int) or math.isfinite(number) else _quote(text)


def _as_boolean(text: str) -> str:
    return text if text in ("true", "false") else _quote(text)


_RETYPERS: Final[dict[str, _Retyper]] = {
    "integer": _as_number,
    "number": _as_number,
    "boolean": _as_boolean,
    "bool": _as_boolean,
}


def _get_path(tree: Any, *path: str) -> Mapping[str, Any]:
    """Return the object at a path of a schema, or an empty one if there is none."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree if isinstance(tree, Mapping) else {}
