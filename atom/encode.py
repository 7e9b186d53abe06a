"""A validated envelope becomes a LoaderInput. Pure; made ready once per service.

The mapping is DESIGN's (section 3, "JSON -> LoaderInput"): `params` are the scalars of all nicks,
`expect` every declared accept whether asked for or not, `headers` the envelope's and the gateway's.
"""

from typing import Any, Final

import pybase64

from atom.wire import entry, sized, tag, varint
from schemas.errors import BAD_REQUEST, AseError
from schemas.service import DataType, Service
from schemas.text import as_text
from schemas.wire import LoaderInput, MetaDesc

_FIELDS: Final = {field.name: field.number for field in LoaderInput.DESCRIPTOR.fields}
_HEADERS: Final = tag(_FIELDS["headers"])
_PARAMS: Final = tag(_FIELDS["params"])
_EXPECT: Final = tag(_FIELDS["expect"])
_PAYLOAD: Final = tag(_FIELDS["pl"])
_SYNC: Final = varint(_FIELDS["sync_id"] << 3)
_META: Final = tag(1)
_DATA: Final = tag(2)
_ATTRIBUTE: Final = tag(MetaDesc.DESCRIPTOR.fields_by_name["attribute"].number)
_MOST: Final = 512  # entries of a map that are remembered
_LONGEST: Final = 128  # bytes of one
_NOTHING: Final[dict[str, Any]] = {}  # nobody writes to it


class Encoder:
    """Encodes the requests of one service."""

    def __init__(self, service: Service) -> None:
        self._nicks = {nick.name: nick.accepts for nick in service.nicks}
        name = service.nicks[0].name if service.nicks else service.id
        lead = LoaderInput(serviceId=service.id, serviceName=name, state=LoaderInput.ONCE)
        self._lead = lead.SerializeToString()
        lead.state = LoaderInput.STREAM
        self._stream_lead = lead.SerializeToString()
        self._accepts = {name: _meta(name, kind) for name, kind in service.accepts.items()}
        self._expect = b"".join(sized(_EXPECT, meta) for meta in self._accepts.values())
        self._inputs = {name: _Input(name, kind) for name, kind in service.inputs.items()}
        self._headers, self._params = _Entries(_HEADERS), _Entries(_PARAMS)
        self._attributes = _Entries(_ATTRIBUTE)

    def encode(self, body: dict[str, Any], facts: dict[str, str]) -> bytes:
        """Return the serialised frame of a request that its schema has found valid.

        `facts` are the gateway's own headers (sid, client_ip, service_id, route); they stand over
        members of the envelope's header with the same name. Raises AseError (10163) for payload
        data that is not canonical base64 and for members that the service does not declare.
        """
        pieces = [self._lead]
        self._head(pieces, body, facts)
        for name, told in _object(body, "payload").items():
            self._payload(pieces, name, told)
        return b"".join(pieces)

    def head(self, body: dict[str, Any], facts: dict[str, str]) -> bytes:
        """Return what a session's frame has beside its payload and its number.

        Of one header and one parameter it is always the same. Raises AseError (10163).
        """
        pieces = [self._stream_lead]
        self._head(pieces, body, facts)
        return b"".join(pieces)

    def frame(self, head: bytes, number: int, body: dict[str, Any]) -> bytes:
        """Return a session's serialised frame: its head, its number from 1, a body's payload.

        Raises AseError (10163).
        """
        pieces = [head, _SYNC, varint(number)]
        for name, told in _object(body, "payload").items():
            self._payload(pieces, name, told)
        return b"".join(pieces)

    def _head(self, pieces: list[bytes], body: dict[str, Any], facts: dict[str, str]) -> None:
        asked: dict[str, dict[str, Any]] = {}
        params: dict[str, Any] = {}
        for nick, told in _object(body, "parameter").items():
            accepts = self._nicks.get(nick)
            if accepts is None:
                raise _unknown("$.parameter", nick)
            for name, value in _members(told, f"$.parameter.{nick}").items():
                if name in accepts:
                    asked[name] = value if isinstance(value, dict) else {}
                else:
                    params[name] = value
        self._entries(pieces, self._headers, _object(body, "header"), facts)
        for name, text in facts.items():
            pieces.append(self._headers.entry(name, text))
        if params:
            self._entries(pieces, self._params, params, _NOTHING)
        if asked:
            for name, meta in self._accepts.items():
                described = self._described(meta, asked.get(name, _NOTHING), _NOTHING)
                pieces.append(sized(_EXPECT, described))
        else:
            pieces.append(self._expect)

    def _payload(self, pieces: list[bytes], name: str, told: Any) -> None:
        known = self._inputs.get(name)
        if known is None:
            raise _unknown("$.payload", name)
        if not isinstance(told, dict):
            raise AseError(BAD_REQUEST, f"$.payload.{name}: must be of type object")
        described = self._described(known.meta, told, known.without)
        data = _data(name, known.key, told.get(known.key, ""))
        head = _META + varint(len(described)) + described + _DATA + varint(len(data))
        pieces.append(_PAYLOAD + varint(len(head) + len(data)) + head)
        pieces.append(data)

    def _described(self, meta: bytes, told: dict[str, Any], without: dict[str, Any], /) -> bytes:
        """Return a MetaDesc; all members but those in `without` are its attributes."""
        pieces = [meta]
        self._entries(pieces, self._attributes, told, without)
        return b"".join(pieces)

    def _entries(
        self,
        pieces: list[bytes],
        entries: "_Entries",
        members: dict[str, Any],
        without: dict[str, Any],
        /,
    ) -> None:
        """Add the entries of a map, all members but those in `without`."""
        known = entries.known
        for name, value in members.items():
            if name in without:
                continue
            kind = type(value)
            text = value if kind is str or kind is int else as_text(value)
            told = known.get((name, text))
            pieces.append(entries.entry(name, text) if told is None else told)


class _Entries:
    """The entries of one map of a frame; those that requests repeat are remembered.

    They are kept by name and value, a string or an integer: True would find the entry of 1.
    """

    __slots__ = ("_key", "known")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.known: dict[tuple[str, str | int], bytes] = {}

    def entry(self, name: str, value: str | int) -> bytes:
        """Return an entry."""
        known = self.known.get((name, value))
        if known is None:
            known = entry(self._key, name.encode(), str(value).encode())
            if len(known) <= _LONGEST and name != "sid":  # no two have one sid
                if len(self.known) >= _MOST:
                    self.known.clear()
                self.known[name, value] = known
        return known


class _Input:
    """A declared input: the member that has its data, and its MetaDesc."""

    __slots__ = ("key", "meta", "without")

    def __init__(self, name: str, kind: DataType) -> None:
        self.key = kind.key
        self.meta = _meta(name, kind)
        self.without: dict[str, Any] = {kind.key: None}


def _meta(name: str, kind: DataType) -> bytes:
    return MetaDesc(name=name, dataType=int(kind)).SerializeToString()


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    return _members(body.get(name), f"$.{name}")


def _unknown(path: str, name: str) -> AseError:
    """Return the error of a member that is not declared; a log does not hold its name."""
    rule = "is not known here"
    return AseError(BAD_REQUEST, f"{path}.{name[:64]}: {rule}", f"{path}.*: {rule}")


def _members(value: Any, path: str) -> dict[str, Any]:
    """Return the members of an object; null has none. An open schema lets other types come here."""
    if isinstance(value, dict):
        return value
    if value is not None:
        raise AseError(BAD_REQUEST, f"{path}: must be of type object")
    return _NOTHING


def _data(name: str, key: str, text: Any) -> bytes:
    """Decode strict base64: the one canonical text of the bytes and nothing else."""
    try:
        data = pybase64.b64decode(text, None, True) if type(text) is str else None
    except ValueError:
        data = None
    if data is None:
        raise AseError(BAD_REQUEST, f"$.payload.{name}.{key}: must be a base64 string")
    size = len(data)
    exact = len(text) == (size + 2) // 3 * 4
    if exact and size % 3:
        # Decoders pass bits of the last group that are not zero; the group told again shows them.
        exact = text.endswith(pybase64.b64encode(data[size - size % 3 :]).decode())
    if not exact:
        words = f"$.payload.{name}.{key}: must be canonical base64 with its padding"
        raise AseError(BAD_REQUEST, words)
    return data
