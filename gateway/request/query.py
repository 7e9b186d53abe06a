"""The query of a GET request as an envelope: EventSource cannot send a body. Pure.

Each name is the path of a member: `header.NAME`, `parameter.NICK.NAME`, `payload.NAME` (its text,
which becomes base64) or `payload.NAME.MEMBER`. Source: WHATWG URL,
"application/x-www-form-urlencoded parsing".
"""

import base64
from typing import Any
from urllib.parse import parse_qsl

from gateway.request.response import HttpError
from schemas.model import request_header
from schemas.model.service import Service, member_schema
from schemas.model.session import FrameStatus
from schemas.model.text import value_of_text

_SERVICE_ID_NAME = "serviceId"  # it selects the service, and is no member
_DEPTHS = {"header": (2,), "parameter": (3,), "payload": (2, 3)}


def envelope_from_query(query: bytes, service: Service) -> dict[str, Any]:
    """Return the envelope of a request of one frame, with the statuses that the schema declares.

    Values have the types of the schema; what is no such value stays a text, which the validation
    rejects. Raises HttpError 400 for a name that is no path of a member or occurs twice, and for a
    query that is not UTF-8.
    """
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise HttpError(400, "the query is not UTF-8") from None
    envelope: dict[str, Any] = {"header": request_header.build_status(service)}
    seen: set[str] = set()
    for name, text in pairs:
        if name == _SERVICE_ID_NAME:
            continue
        path = tuple(name.split("."))
        if len(path) not in _DEPTHS.get(path[0], ()):
            raise HttpError(400, _no_path_message(name, service))
        if name in seen:
            raise HttpError(400, f"query: {name!a} occurs twice")
        seen.add(name)
        if path[0] == "payload" and path[1] in service.inputs:
            _set_payload(envelope, service, path, text)
        else:
            _set_member(envelope, path, _typed_value(service, path, text))
    return envelope


def _set_payload(
    envelope: dict[str, Any], service: Service, path: tuple[str, ...], text: str
) -> None:
    """Set the data of a payload member, or another member of it."""
    member_path = path[:2]
    if member_schema(service.input, *member_path, "status") is not None:
        _set_member(envelope, (*member_path, "status"), int(FrameStatus.ONCE))
    if len(path) == 2:
        data = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
        _set_member(envelope, (*member_path, service.inputs[path[1]].key), data)
    else:
        _set_member(envelope, path, _typed_value(service, path, text))


def _typed_value(service: Service, path: tuple[str, ...], text: str) -> Any:
    schema = member_schema(service.input, *path) or {}
    return value_of_text(schema.get("type", "string"), text)


def _set_member(envelope: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    members = envelope
    for name in path[:-1]:
        members = members.setdefault(name, {})
        if not isinstance(members, dict):
            raise HttpError(400, f"query: {'.'.join(path)!a} is below a member with a value")
    if isinstance(members.get(path[-1]), dict):
        raise HttpError(400, f"query: {'.'.join(path)!a} has members below it")
    members[path[-1]] = value


def _no_path_message(name: str, service: Service) -> str:
    nick = service.nicks[0].name if service.nicks else service.id
    paths = f"header.NAME, parameter.{nick}.NAME or payload.NAME"
    return f"query: {name!a} is no path of a member, as {paths}"
