"""Encoding of a validated envelope to a LoaderInput. Pure.

An encoder is prepared once per service. The mapping (`docs/wire.md`): `params` has the
scalar parameters of all nicks. `expect` has every declared accept, also if the request does not
name it. `headers` has the headers of the envelope and of the gateway.
"""

import re
from typing import Any, Final

import pybase64

from atom.wire import length_delimited, map_entry, tag, varint
from rpc.bounded_cache import BoundedCache
from schemas.model.errors import BAD_REQUEST, AseError
from schemas.model.service import DataType, Service
from schemas.model.text import as_text
from schemas.wire import LoaderInput, MetaDesc

_FIELD_NUMBERS: Final = {field.name: field.number for field in LoaderInput.DESCRIPTOR.fields}
_HEADERS_TAG: Final = tag(_FIELD_NUMBERS["headers"])
_PARAMS_TAG: Final = tag(_FIELD_NUMBERS["params"])
_EXPECT_TAG: Final = tag(_FIELD_NUMBERS["expect"])
_PAYLOAD_TAG: Final = tag(_FIELD_NUMBERS["pl"])
_SYNC_ID_TAG: Final = varint(_FIELD_NUMBERS["sync_id"] << 3)
_META_TAG: Final = tag(1)
_DATA_TAG: Final = tag(2)
_ATTRIBUTE_TAG: Final = tag(MetaDesc.DESCRIPTOR.fields_by_name["attribute"].number)
_MAX_CACHED_ENTRIES: Final = 512  # per map field
_MAX_CACHED_ENTRY_SIZE: Final = 128  # bytes of an encoded entry
# Headers whose values differ in each request: they are not cached.
_UNIQUE_NAMES: Final = frozenset({"sid", "traceparent", "tracestate", "x-request-id"})
_NOT_BASE64: Final = re.compile(r"[^A-Za-z0-9+/=]")
_EMPTY: Final[dict[str, Any]] = {}  # shared; never written


class Encoder:
    """Encodes the requests of one service.

    The parts of a frame that depend on the service alone are encoded at construction:
    `_once_prefix` and `_stream_prefix` (service id, name and state), `_accept_metas`,
    `_default_expect` (all accepts without options) and `_inputs`. Map entries that requests repeat
    are cached, see `_EntryCache`.
    """

    def __init__(self, service: Service) -> None:
        self._accepts_by_nick = {nick.name: nick.accepts for nick in service.nicks}
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
        self._header_entries, self._param_entries = (
            _EntryCache(_HEADERS_TAG),
            _EntryCache(_PARAMS_TAG),
        )
        self._attribute_entries = _EntryCache(_ATTRIBUTE_TAG)

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
        params: dict[str, Any] = {}
        for nick, nick_params in _object_member(body, "parameter").items():
            accepts = self._accepts_by_nick.get(nick)
            if accepts is None:
                raise _unknown_member_error("$.parameter", nick)
            for name, value in _as_object(nick_params, f"$.parameter.{nick}").items():
                if name in accepts:
                    accept_options[name] = value if isinstance(value, dict) else {}
                else:
                    params[name] = value
        self._append_entries(
            pieces, self._header_entries, _object_member(body, "header"), gateway_headers
        )
        for name, text in gateway_headers.items():
            pieces.append(self._header_entries.encode(name, text))
        if params:
            self._append_entries(pieces, self._param_entries, params, _EMPTY)
        if accept_options:
            for name, meta in self._accept_metas.items():
                meta_desc = self._encode_meta_desc(meta, accept_options.get(name, _EMPTY), _EMPTY)
                pieces.append(length_delimited(_EXPECT_TAG, meta_desc))
        else:
            pieces.append(self._default_expect)

    def _append_payload(self, pieces: list[bytes], name: str, value: Any) -> None:
        declared = self._inputs.get(name)
        if declared is None:
            raise _unknown_member_error("$.payload", name)
        if not isinstance(value, dict):
            raise AseError(BAD_REQUEST, f"$.payload.{name}: must be of type object")
        meta_desc = self._encode_meta_desc(declared.meta, value, declared.excluded)
        data = _decode_base64(name, declared.key, value.get(declared.key, ""))
        payload_prefix = (
            _META_TAG + varint(len(meta_desc)) + meta_desc + _DATA_TAG + varint(len(data))
        )
        pieces.append(_PAYLOAD_TAG + varint(len(payload_prefix) + len(data)) + payload_prefix)
        pieces.append(data)

    def _encode_meta_desc(
        self, meta: bytes, members: dict[str, Any], excluded: dict[str, Any], /
    ) -> bytes:
        """Return a MetaDesc: `meta`, and as attributes all members that are not in `excluded`."""
        pieces = [meta]
        self._append_entries(pieces, self._attribute_entries, members, excluded)
        return b"".join(pieces)

    def _append_entries(
        self,
        pieces: list[bytes],
        entries: "_EntryCache",
        members: dict[str, Any],
        excluded: dict[str, Any],
        /,
    ) -> None:
        """Append the entries of a map field: all members that are not in `excluded`."""
        cached = entries.cache.entries
        for name, value in members.items():
            if name in excluded:
                continue
            value_type = type(value)
            text = value if value_type is str or value_type is int else as_text(value)
            encoded = cached.get((name, text))
            pieces.append(entries.encode(name, text) if encoded is None else encoded)


class _EntryCache:
    """A cache of the encoded entries of one map field.

    Keys are (name, value). Values are strings or integers, never booleans, since True would find
    the entry of 1. At most 512 entries of at most 128 bytes each are cached.
    """

    __slots__ = ("_field_tag", "cache")

    def __init__(self, field_tag: bytes) -> None:
        self._field_tag = field_tag
        self.cache: BoundedCache[tuple[str, str | int], bytes] = BoundedCache(_MAX_CACHED_ENTRIES)

    def encode(self, name: str, value: str | int) -> bytes:
        """Return an encoded entry, from the cache if possible."""
        encoded = self.cache.entries.get((name, value))
        if encoded is None:
            encoded = map_entry(self._field_tag, name.encode(), str(value).encode())
            if len(encoded) <= _MAX_CACHED_ENTRY_SIZE and name not in _UNIQUE_NAMES:
                self.cache.add((name, value), encoded)
        return encoded


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
    return _as_object(body.get(name), f"$.{name}")


def _unknown_member_error(path: str, name: str) -> AseError:
    """Return the error for an undeclared member. Its message for the log omits the name."""
    rule = "is not known here"
    return AseError(BAD_REQUEST, f"{path}.{name[:64]}: {rule}", f"{path}.*: {rule}")


def _as_object(value: Any, path: str) -> dict[str, Any]:
    """Return an object's members; null has none.

    Raises AseError for another type, which an open schema lets pass.
    """
    if isinstance(value, dict):
        return value
    if value is not None:
        raise AseError(BAD_REQUEST, f"{path}: must be of type object")
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
