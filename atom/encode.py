"""Encoding of a validated envelope to a LoaderInput. Pure.

An encoder is prepared once per service. The mapping (`docs/wire.md`): `params` has the
scalar parameters of all nicks. `expect` has every declared accept, also if the request does not
name it. `headers` has the headers of the envelope and of the gateway.
"""

import re
from typing import Any, Final

import pybase64

from atom.wire import length_delimited, tag, varint
from schemas.model.errors import BAD_REQUEST, AseError
from schemas.model.service import DataType, Service
from schemas.wire import LoaderInput, MetaDesc

try:
    from atom.wire_native import map_entries, payload_head
except ImportError:  # not compiled
    from atom.wire import map_entries, payload_head

_FIELD_NUMBERS: Final = {field.name: field.number for field in LoaderInput.DESCRIPTOR.fields}
_HEADERS_TAG: Final = tag(_FIELD_NUMBERS["headers"])
_PARAMS_TAG: Final = tag(_FIELD_NUMBERS["params"])
_EXPECT_TAG: Final = tag(_FIELD_NUMBERS["expect"])
_PAYLOAD_TAG: Final = tag(_FIELD_NUMBERS["pl"])
_SYNC_ID_TAG: Final = varint(_FIELD_NUMBERS["sync_id"] << 3)
_ATTRIBUTE_TAG: Final = tag(MetaDesc.DESCRIPTOR.fields_by_name["attribute"].number)
_NOT_BASE64: Final = re.compile(r"[^A-Za-z0-9+/=]")
_EMPTY: Final[dict[str, Any]] = {}  # shared; never written


class Encoder:
    """Encodes the requests of one service.

    The parts of a frame that depend on the service alone are encoded at construction:
    `_once_prefix` and `_stream_prefix` (service id, name and state), `_accept_metas`,
    `_default_expect` (all accepts without options) and `_inputs`.
    """

    def __init__(self, service: Service) -> None:
        self._accepts_by_nick = {nick.name: dict(nick.accepts) for nick in service.nicks}
        name = service.nicks[0].name if service.nicks else service.id
        template = LoaderInput(serviceId=service.id, serviceName=name, state=LoaderInput.ONCE)
        self._once_prefix = template.SerializeToString()
        template.state = LoaderInput.STREAM
        self._stream_prefix = template.SerializeToString()
        self._accept_metas = {
            name: _encode_meta(name, data_type) for name, data_type in service.accepts.items()
        }
        self._default_expect = b"".join(
            length_delimited(_EXPECT_TAG, meta) for meta in self._accept_metas.values()
        )
        self._inputs = {
            name: _DeclaredInput(name, data_type) for name, data_type in service.inputs.items()
        }

    def encode(self, body: dict[str, Any], gateway_headers: dict[str, str]) -> bytes:
        """Return the serialized frame of a request whose envelope is valid by its schema.

        `gateway_headers` are the gateway's own headers (sid, client_ip, service_id, route). They
        override members of the envelope's header with the same name. Raises AseError (10163) for
        payload data that is not canonical base64 and for members that the service does not declare.
        """
        pieces = [self._once_prefix]
        self._append_prefix(pieces, body, gateway_headers)
        for name, value in _object_member(body, "payload").items():
            self._append_payload(pieces, name, value)
        return b"".join(pieces)

    def encode_frame_prefix(self, body: dict[str, Any], gateway_headers: dict[str, str]) -> bytes:
        """Return the fields of a session's frame without its payload and its sequence number.

        They depend only on `gateway_headers` and on the header and parameter of `body`, so the
        caller may reuse them while those are equal. Raises AseError (10163).
        """
        pieces = [self._stream_prefix]
        self._append_prefix(pieces, body, gateway_headers)
        return b"".join(pieces)

    def encode_frame(self, prefix: bytes, sync_id: int, body: dict[str, Any]) -> bytes:
        """Return a serialized frame of a session: `prefix`, number and the payload of `body`.

        `prefix` is from `encode_frame_prefix`; `sync_id` numbers the frames of a session from 1.
        Raises AseError (10163).
        """
        pieces = [prefix, _SYNC_ID_TAG, varint(sync_id)]
        for name, value in _object_member(body, "payload").items():
            self._append_payload(pieces, name, value)
        return b"".join(pieces)

    def _append_prefix(
        self, pieces: list[bytes], body: dict[str, Any], gateway_headers: dict[str, str]
    ) -> None:
        accept_options: dict[str, dict[str, Any]] = {}
        params = []
        for nick, value in _object_member(body, "parameter").items():
            accepts = self._accepts_by_nick.get(nick)
            if accepts is None:
                raise _unknown_member_error("$.parameter", nick)
            members = _as_object(value, "$.parameter.", nick)
            params.append(map_entries(_PARAMS_TAG, members, accepts))
            for name in accepts:
                if name in members:
                    options = members[name]
                    accept_options[name] = options if isinstance(options, dict) else _EMPTY
        pieces.append(map_entries(_HEADERS_TAG, _object_member(body, "header"), gateway_headers))
        pieces.append(map_entries(_HEADERS_TAG, gateway_headers, _EMPTY))
        pieces += params
        if accept_options:
            for name, meta in self._accept_metas.items():
                attributes = map_entries(_ATTRIBUTE_TAG, accept_options.get(name, _EMPTY), _EMPTY)
                pieces.append(length_delimited(_EXPECT_TAG, meta + attributes))
        else:
            pieces.append(self._default_expect)

    def _append_payload(self, pieces: list[bytes], name: str, value: Any) -> None:
        declared = self._inputs.get(name)
        if declared is None:
            raise _unknown_member_error("$.payload", name)
        if not isinstance(value, dict):
            raise AseError(BAD_REQUEST, f"$.payload.{name}: must be of type object")
        attributes = map_entries(_ATTRIBUTE_TAG, value, declared.excluded)
        data = _decode_base64(name, declared.key, value.get(declared.key, ""))
        pieces.append(payload_head(_PAYLOAD_TAG, declared.meta, attributes, len(data)))
        pieces.append(data)


class _DeclaredInput:
    """A declared input: `key` names the member with its data, `meta` is its encoded MetaDesc.

    `excluded` has `key` alone: the data is no attribute.
    """

    __slots__ = ("excluded", "key", "meta")

    def __init__(self, name: str, data_type: DataType) -> None:
        self.key = data_type.key
        self.meta = _encode_meta(name, data_type)
        self.excluded: dict[str, Any] = {data_type.key: None}


def _encode_meta(name: str, data_type: DataType) -> bytes:
    return MetaDesc(name=name, dataType=int(data_type)).SerializeToString()


def _object_member(body: dict[str, Any], name: str) -> dict[str, Any]:
    return _as_object(body.get(name), "$.", name)


def _unknown_member_error(path: str, name: str) -> AseError:
    """Return the error for an undeclared member. Its message for the log omits the name."""
    rule = "is not known here"
    return AseError(BAD_REQUEST, f"{path}.{name[:64]}: {rule}", f"{path}.*: {rule}")


def _as_object(value: Any, parent: str, name: str) -> dict[str, Any]:
    """Return an object's members; null has none. Its path is `parent` and `name`.

    Raises AseError for another type, which an open schema lets pass.
    """
    if isinstance(value, dict):
        return value
    if value is not None:
        raise AseError(BAD_REQUEST, f"{parent}{name}: must be of type object")
    return _EMPTY


def _decode_base64(name: str, key: str, text: Any) -> bytes:
    """Decode strict base64: accept only the canonical encoding of the bytes (RFC 4648, 3.5).

    `name` and `key` give the path in the message. Raises AseError (10163).
    """
    try:
        data = pybase64.b64decode(text, None, True) if type(text) is str else None
    except ValueError:
        data = None
    if data is None:
        reason = _describe_bad_base64(text)
        raise AseError(BAD_REQUEST, f"$.payload.{name}.{key}: must be a base64 string{reason}")
    size = len(data)
    canonical = len(text) == (size + 2) // 3 * 4
    if canonical and size % 3:
        # Decoders ignore non-zero pad bits in the last group. Encoding it again reveals them.
        canonical = text.endswith(pybase64.b64encode(data[size - size % 3 :]).decode())
    if not canonical:
        message = f"$.payload.{name}.{key}: must be canonical base64 with its padding"
        raise AseError(BAD_REQUEST, message)
    return data


def _describe_bad_base64(text: Any) -> str:
    """Return which character is none of base64, as text that follows a message; "" if none is.

    The character itself is quoted only if it belongs to another alphabet: it is data.
    """
    match = _NOT_BASE64.search(text) if isinstance(text, str) else None
    if match is None:
        return ""
    position = f": character {match.start() + 1} is none of it"
    return f"{position} (base64url is not accepted)" if match[0] in "-_" else position
