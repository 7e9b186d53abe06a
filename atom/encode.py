"""A validated envelope becomes a LoaderInput. Pure; made ready once per service.

The mapping is DESIGN's (section 3, "JSON -> LoaderInput"): `params` are the scalars of all nicks,
`expect` every declared accept whether asked for or not, `headers` the envelope's and the gateway's.
"""

from collections.abc import Mapping
from typing import Any

import pybase64

from schemas.errors import BAD_REQUEST, AseError
from schemas.service import DataType, Service
from schemas.text import as_text
from schemas.wire import LoaderInput, MetaDesc, Payload


class Encoder:
    """Encodes the requests of one service."""

    def __init__(self, service: Service) -> None:
        self._service_id = service.id
        self._nicks = {nick.name: nick.accepts for nick in service.nicks}
        self._name = service.nicks[0].name if service.nicks else service.id
        self._accepts = service.accepts
        self._inputs = service.inputs

    def encode(self, body: Mapping[str, Any], facts: Mapping[str, str]) -> LoaderInput:
        """Return the frame of a body that its schema has found valid.

        `facts` are the gateway's own headers (sid, client_ip, service_id, route); they stand over
        members of the envelope's header with the same name. Raises AseError (10163) for payload
        data that is not canonical base64 and for members that the service does not declare.
        """
        asked: dict[str, dict[str, str]] = {}
        params: dict[str, str] = {}
        for nick, told in _object(body, "parameter").items():
            accepts = self._nicks.get(nick)
            if accepts is None:
                raise AseError(BAD_REQUEST, f"$.parameter.{nick[:64]}: is not known here")
            for name, value in _members(told, f"$.parameter.{nick}").items():
                if name in accepts:
                    asked[name] = _attributes(value)
                else:
                    params[name] = as_text(value)
        headers = {name: as_text(value) for name, value in _object(body, "header").items()}
        payload = _object(body, "payload")
        return LoaderInput(
            serviceId=self._service_id,
            serviceName=self._name,
            state=LoaderInput.ONCE,
            headers=headers | dict(facts),
            params=params,
            expect=[
                MetaDesc(name=name, dataType=int(kind), attribute=asked.get(name, {}))
                for name, kind in self._accepts.items()
            ],
            pl=[self._payload(name, told) for name, told in payload.items()],
        )

    def _payload(self, name: str, told: Any) -> Payload:
        kind = self._inputs.get(name)
        if kind is None:
            raise AseError(BAD_REQUEST, f"$.payload.{name[:64]}: is not known here")
        if not isinstance(told, dict):
            raise AseError(BAD_REQUEST, f"$.payload.{name}: must be of type object")
        attributes = {key: as_text(value) for key, value in told.items() if key != kind.key}
        return Payload(
            meta=MetaDesc(name=name, dataType=int(kind), attribute=attributes),
            data=_data(name, kind, told.get(kind.key, "")),
        )


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return _members(body.get(name), f"$.{name}")


def _members(value: Any, path: str) -> Mapping[str, Any]:
    """Return the members of an object; null has none. An open schema lets other types come here."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise AseError(BAD_REQUEST, f"{path}: must be of type object")
    return value


def _attributes(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {key: as_text(member) for key, member in value.items()}


def _data(name: str, kind: DataType, text: Any) -> bytes:
    """Decode strict base64: the one canonical text of the bytes and nothing else."""
    where = f"$.payload.{name}.{kind.key}"
    if not isinstance(text, str):
        raise AseError(BAD_REQUEST, f"{where}: must be a base64 string")
    try:
        data = pybase64.b64decode(text, validate=True)
    except ValueError:
        raise AseError(BAD_REQUEST, f"{where}: must be a base64 string") from None
    # Decoders pass surplus padding and non-zero last bits; the last group told again shows both.
    last = data[len(data) - (len(data) - 1) % 3 - 1 :] if data else b""
    exact = len(text) == (len(data) + 2) // 3 * 4
    if not exact or not text.endswith(pybase64.b64encode(last).decode()):
        raise AseError(BAD_REQUEST, f"{where}: must be canonical base64 with its padding")
    return data
