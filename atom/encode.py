"""A validated envelope becomes a LoaderInput. Pure; made ready once per service.

The mapping is DESIGN's (section 3, "JSON -> LoaderInput"): `params` are the scalars of all nicks,
`expect` every declared accept whether asked for or not, `headers` the envelope's and the gateway's.
"""

from typing import Any, Final

import pybase64

from atom.wire import length_delimited, map_entry, tag, varint
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
_MAX_CACHED_ENTRIES: Final = 512  # entries of a map that are remembered
_MAX_CACHED_ENTRY_SIZE: Final = 128  # bytes of one
_EMPTY: Final[dict[str, Any]] = {}  # nobody writes to it


class Encoder:
    """Encodes the requests of one service."""

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
        """Return the serialised frame of a request that its schema has found valid.

        `facts` are the gateway's own headers (sid, client_ip, service_id, route); they stand over
        members of the envelope's header with the same name. Raises AseError (10163) for payload
        data that is not canonical base64 and for members that the service does not declare.
        """
        pieces = [self._once_prefix]
        self._append_prefix(pieces, body, gateway_headers)
        for name, value in _object_member(body, "payload").items():
            self._append_payload(pieces, name, value)
        return b"".join(pieces)

    def encode_frame_prefix(self, body: dict[str, Any], gateway_headers: dict[str, str]) -> bytes:
        """Return what a session's frame has beside its payload and its number.

        Of one header and one parameter it is always the same. Raises AseError (10163).
        """
        pieces = [self._stream_prefix]
        self._append_prefix(pieces, body, gateway_headers)
        return b"".join(pieces)

    def encode_frame(self, prefix: bytes, sync_id: int, body: dict[str, Any]) -> bytes:
        """Return a session's serialised frame: its head, its number from 1, a body's payload.

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
        """Return a MetaDesc; all members but those in `without` are its attributes."""
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
        """Add the entries of a map, all members but those in `without`."""
        cache = entries.cache
        for name, value in members.items():
            if name in excluded:
                continue
            value_type = type(value)
            text = value if value_type is str or value_type is int else as_text(value)
            encoded = cache.get((name, text))
            pieces.append(entries.encode(name, text) if encoded is None else encoded)


class _EntryCache:
    """The entries of one map of a frame; those that requests repeat are remembered.

    They are kept by name and value, a string or an integer: True would find the entry of 1.
    """

    __slots__ = ("_field_tag", "cache")

    def __init__(self, field_tag: bytes) -> None:
        self._field_tag = field_tag
        self.cache: dict[tuple[str, str | int], bytes] = {}

    def encode(self, name: str, value: str | int) -> bytes:
        """Return an entry."""
        encoded = self.cache.get((name, value))
        if encoded is None:
            encoded = map_entry(self._field_tag, name.encode(), str(value).encode())
            if len(encoded) <= _MAX_CACHED_ENTRY_SIZE and name != "sid":  # no two have one sid
                if len(self.cache) >= _MAX_CACHED_ENTRIES:
                    self.cache.clear()
                self.cache[name, value] = encoded
        return encoded


class _DeclaredInput:
    """A declared input: the member that has its data, and its MetaDesc."""

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
    """Return the error of a member that is not declared; a log does not hold its name."""
    rule = "is not known here"
    return AseError(BAD_REQUEST, f"{path}.{name[:64]}: {rule}", f"{path}.*: {rule}")


def _as_object(value: Any, path: str) -> dict[str, Any]:
    """Return the members of an object; null has none. An open schema lets other types come here."""
    if isinstance(value, dict):
        return value
    if value is not None:
        raise AseError(BAD_REQUEST, f"{path}: must be of type object")
    return _EMPTY


def _decode_base64(name: str, key: str, text: Any) -> bytes:
    """Decode strict base64: the one canonical text of the bytes and nothing else."""
    try:
        data = pybase64.b64decode(text, None, True) if type(text) is str else None
    except ValueError:
        data = None
    if data is None:
        raise AseError(BAD_REQUEST, f"$.payload.{name}.{key}: must be a base64 string")
    size = len(data)
    canonical = len(text) == (size + 2) // 3 * 4
    if canonical and size % 3:
        # Decoders pass bits of the last group that are not zero; the group told again shows them.
        canonical = text.endswith(pybase64.b64encode(data[size - size % 3 :]).decode())
    if not canonical:
        message = f"$.payload.{name}.{key}: must be canonical base64 with its padding"
        raise AseError(BAD_REQUEST, message)
    return data
