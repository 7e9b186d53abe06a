"""Conversion of the members of a plain request to an envelope. Pure.

The envelope is validated and encoded as any other. What the validation reports of it is converted
back to plain members by `PlainApi.locate`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import pybase64

from config.options import GatewayOptions
from gateway.request import json_body
from rpc.bounded_cache import BoundedCache
from schemas.model import media_types, request_header
from schemas.model.errors import AseError
from schemas.model.plain import MemberKind, PlainApi, PlainMember
from schemas.model.service import Service
from schemas.model.session import FrameStatus
from schemas.model.suggestion import did_you_mean
from schemas.model.text import as_text, codec_of, value_of_text

_DATA_MEMBER: Final = "data"
_MAX_NAME_CHARS: Final = 64
_MAX_SCALAR_CHARS: Final = 400  # a number that JSON can carry is shorter
_MAX_CACHED_HEADS: Final = 64
_MAX_URL_HEAD_CHARS: Final = 256  # of a data URL, before its comma
_CONTAINER_TYPES: Final = ("object", "array")
_ONCE: Final = int(FrameStatus.ONCE)


_UrlEncodings = BoundedCache[tuple[str, str], str]


class PlainRequestError(Exception):
    """A plain request that cannot be converted: the `rule` that the member `name` breaks.

    `is_path`: the name is that of a member of a member, with a dot between the two.
    """

    def __init__(self, name: str, rule: str, *, is_path: bool = False) -> None:
        super().__init__(f"{name}: {rule}")
        self.name = name
        self.rule = rule
        self.is_path = is_path


@dataclass(frozen=True, slots=True)
class Blob:
    """The bytes of an input, with what its sender says of them: media type and file name."""

    data: bytes
    media_type: str = ""
    file_name: str = ""


@dataclass(frozen=True, slots=True)
class FormText:
    """A value that came as text: in a query, or in a field of a form."""

    text: str


@dataclass(frozen=True, slots=True)
class JsonText:
    """A value that came as a text of JSON."""

    text: str


class EnvelopeBuilder:
    """Builds the envelopes of one service from plain members."""

    def __init__(self, service: Service, api: PlainApi) -> None:
        self._service_id = service.id
        self._members = api.members
        self._app_id_names = request_header.app_id_names(service)
        self._status = request_header.build_status(service)
        self._url_encodings: _UrlEncodings = BoundedCache(_MAX_CACHED_HEADS)

    def build(
        self, values: Mapping[str, Any], app_id: str, options: GatewayOptions
    ) -> dict[str, Any]:
        """Return the envelope of a request: `values` by plain name.

        A value is JSON, or a `Blob`, `FormText` or `JsonText`; JSON in these has the limits of
        bodies, together.
        Raises PlainRequestError for a name that the service does not declare and for a value that
        no input can have.
        """
        header: dict[str, Any] = dict.fromkeys(self._app_id_names, app_id)
        header.update(self._status)
        payload: dict[str, Any] = {}
        parameter: dict[str, Any] = {}
        for name in values:
            self.check_name(name)
        self._check_json_size(values, options.max_nodes)
        for name, value in values.items():
            member = self._members[name]
            if isinstance(value, JsonText):
                value = parse_json(name, value.text.encode(), options)
            if member.data_key:
                payload[member.path[1]] = _payload(member, value, options, self._url_encodings)
            elif member.kind is MemberKind.HEADER:
                header[member.path[1]] = _parameter_value(member, value, options)
            else:
                nick = member.path[1]
                if nick not in parameter:
                    parameter[nick] = {}
                parameter[nick][member.path[2]] = _parameter_value(member, value, options)
        envelope = {"header": header, "payload": payload}
        if parameter:
            envelope["parameter"] = parameter
        return envelope

    def _check_json_size(self, values: Mapping[str, Any], max_nodes: int) -> None:
        """Raise AseError 10163 if all texts of JSON together have too many values."""
        texts: list[bytes] = []
        for name, value in values.items():
            if isinstance(value, JsonText):
                texts.append(value.text.encode())
            elif isinstance(value, FormText) and _takes_json(self._members[name]):
                texts.append(value.text.encode("utf-8", "surrogatepass"))
            elif isinstance(value, Blob) and _takes_json(self._members[name]):
                texts.append(value.data)
        if len(texts) > 1:
            json_body.check_total_nodes(texts, max_nodes)

    def check_name(self, name: str) -> None:
        """Raise PlainRequestError if the service declares no member of this name."""
        if name in self._members:
            return
        name = name[:_MAX_NAME_CHARS]
        if name in ("header", "payload"):
            hint = f"an envelope goes to /v1/private/{self._service_id}"
        else:
            hint = did_you_mean(name, self._members, or_list_all=True)
        raise PlainRequestError(name, f"is not known here; {hint}")


def _parameter_value(member: PlainMember, value: Any, options: GatewayOptions) -> Any:
    if isinstance(value, Blob):
        value = FormText(_decode_utf8(member.name, value.data))
    if not isinstance(value, FormText):
        return value
    text = value.text
    if "\0" in text:
        raise PlainRequestError(member.name, "has a NUL")
    kind = _form_type(member)
    if kind in _CONTAINER_TYPES:
        return parse_json(member.name, text.encode("utf-8", "surrogatepass"), options)
    if len(text) > _MAX_SCALAR_CHARS and kind != "string":
        return text  # the validation reports it
    typed = value_of_text(kind, text)
    return text if typed is None else typed  # a text is never null


def _form_type(member: PlainMember) -> str:
    """Return the type that a text stands for in a parameter."""
    kind = "object" if member.kind is MemberKind.OUTPUT_OPTIONS else member.schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    return str(next((name for name in kinds if name != "null"), None) or "string")


def _takes_json(member: PlainMember) -> bool:
    """Return whether a text or a file is read as JSON."""
    if member.data_key:
        return member.is_json
    return _form_type(member) in _CONTAINER_TYPES


def parse_json(name: str, data: bytes, options: GatewayOptions) -> Any:
    """Return the value of a JSON text. Raises PlainRequestError with the parser's words."""
    try:
        return json_body.parse_value(data, options.max_depth, options.max_nodes, options.max_names)
    except AseError as error:
        reason = str(error).removeprefix("request body").removeprefix(" must be json").strip(": ")
        raise PlainRequestError(name, f"must be JSON: {reason}") from None


def _payload(
    member: PlainMember, value: Any, options: GatewayOptions, url_encodings: _UrlEncodings
) -> dict[str, Any]:
    """Return the envelope's member of an input. Raises PlainRequestError."""
    attributes: dict[str, Any] = {}
    if isinstance(value, dict) and not member.is_json:
        attributes = {name: item for name, item in value.items() if name != _DATA_MEMBER}
        value = value.get(_DATA_MEMBER)
        for name in attributes:
            if name == member.data_key or name not in member.attributes:
                raise PlainRequestError(
                    f"{member.name}.{name[:64]}", "is not known here", is_path=True
                )
    if isinstance(value, FormText) and member.is_binary:
        value = value.text
    if type(value) is str and member.is_binary and value.startswith("data:"):
        text, encoding = _data_of_url(member, value, url_encodings)
    else:
        codec = codec_of(as_text(attributes.get("encoding", ""))) if attributes else "utf-8"
        text, encoding = _data(member, value, codec, options)
    stream: dict[str, Any] = {}
    if encoding:
        stream["encoding"] = encoding
    if "status" in member.attributes:
        stream["status"] = _ONCE
    if attributes:
        stream.update(attributes)
    stream[member.data_key] = text
    return stream


def _data(member: PlainMember, value: Any, codec: str, options: GatewayOptions) -> tuple[str, str]:
    """Return the data of an input in base64, and its encoding; "" if the schema declares none.

    `codec` is that of a text.
    """
    if isinstance(value, FormText):
        value = _value_of_form_text(member, value.text)
    if member.is_json:
        data = value.data if isinstance(value, Blob) else msgspec.json.encode(value)
        if isinstance(value, Blob):
            parse_json(member.name, data, options)
        return _to_base64(data), ""
    if isinstance(value, Blob):
        if not member.is_binary:
            _decode_utf8(member.name, value.data)
            return _to_base64(value.data), member.text_encoding
        encoding = _blob_encoding(member, value.media_type, value.file_name)
        return _to_base64(value.data), encoding
    if type(value) is not str:
        expected = "base64 or a data URL" if member.is_binary else "a text"
        raise PlainRequestError(member.name, f"must be {expected}")
    if not member.is_binary:
        try:
            return _to_base64(value.encode(codec)), member.text_encoding
        except UnicodeEncodeError:
            raise PlainRequestError(member.name, f"has a character that {codec} has not") from None
    return value, _only_encoding(member)


def _value_of_form_text(member: PlainMember, text: str) -> Any:
    if not member.is_json:
        return text
    return Blob(text.encode("utf-8", "surrogatepass"))


def _decode_utf8(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise PlainRequestError(name, f"must be UTF-8; byte {error.start} is not") from None


def _to_base64(data: bytes) -> str:
    return pybase64.b64encode(data).decode("ascii")


def _only_encoding(member: PlainMember) -> str:
    """Return the encoding of data whose media type is not known: the only one there is, or ""."""
    return member.encodings[0] if len(member.encodings) == 1 else ""


def _blob_encoding(member: PlainMember, media_type: str, file_name: str) -> str:
    """Return the encoding of a file by its media type, or else by its name.

    If the schema declares other encodings alone, the validation rejects the one returned.
    """
    if "encoding" not in member.attributes:
        return ""
    names = media_types.encodings(media_type, file_name)
    for name in names:
        if not member.encodings or name in member.encodings:
            return name
    return names[0] if names else _only_encoding(member)


def _data_of_url(member: PlainMember, url: str, url_encodings: _UrlEncodings) -> tuple[str, str]:
    """Return the base64 of a data URL (RFC 2397), and the encoding that its media type means.

    `url_encodings` caches encodings by member and by what is before the comma. Raises
    PlainRequestError for a URL of another form.
    """
    head, separator, text = url.partition(",")
    encoding = url_encodings.entries.get((member.name, head))
    if encoding is not None:
        return text, encoding
    parameters = head[len("data:") :].split(";") if len(head) <= _MAX_URL_HEAD_CHARS else []
    if not separator or "base64" not in parameters[1:]:
        raise PlainRequestError(
            member.name, "must be a data URL with base64: data:TYPE;base64,DATA"
        )
    encoding = _blob_encoding(member, parameters[0], "")
    url_encodings.add((member.name, head), encoding)
    return text, encoding
