"""What is decided before the schema: content type, app id, service, kind of answer. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

from gateway.access.identity import Identity
from gateway.request import content_coding
from gateway.request.interfaces import Limiter
from gateway.request.negotiation import accepts
from gateway.request.record import RequestRecord
from gateway.request.response import HttpError
from gateway.services.catalog import Catalog, Contract
from schemas.model import category
from schemas.model.errors import BAD_APP, NO_SUB_SERVICE, AseError
from schemas.model.request_header import APP_ID_NAMES
from schemas.model.service import Service, member_schema

_APP_ID_PATTERN: Final = re.compile(rb'"app_?id"[ \t\r\n]*:[ \t\r\n]*"([^"\\]{1,256})"')
_MAX_PEEK_BYTES: Final = 65536
_NO_APP_ID: Final = "$.header.app_id: appid cannot be empty"
_EVENT_STREAM_TYPE: Final = "text/event-stream"


def check_content_headers(headers: Mapping[bytes, bytes]) -> None:
    """Reject a body that is not `application/json` in UTF-8, plain or in gzip.

    `headers` have lower-case names. Raises HttpError 415.
    """
    content_type = headers.get(b"content-type", b"")
    if content_type != b"application/json":
        _check_media_type(content_type.decode("latin-1"))
    coding = headers.get(b"content-encoding")
    if coding is not None:
        content_coding.check_coding(coding)


def check_length(headers: Mapping[bytes, bytes], limit: int) -> None:
    """Reject a Content-Length of more than `limit` bytes before the body is read.

    Raises HttpError 413.
    """
    length = headers.get(b"content-length")
    if length is not None and int(length) > limit:
        raise HttpError(413, f"body is larger than {limit} bytes")


def check_body_size(body: bytes, limit: int) -> None:
    """Reject a body of more than `limit` bytes. Raises HttpError 413."""
    if len(body) > limit:
        raise HttpError(413, f"body is larger than {limit} bytes")


def _check_media_type(content_type: str) -> None:
    media_type, *parameters = content_type.split(";")
    parameter_values = dict(
        parameter.strip().lower().partition("=")[::2] for parameter in parameters
    )
    charset = parameter_values.get("charset", "").strip('"')
    if media_type.strip().lower() != "application/json" or charset not in ("", "utf-8", "utf8"):
        raise HttpError(415, "content-type must be application/json, in UTF-8")


def check_app_id(body: dict[str, Any], identity: Identity) -> str:
    """Return the app id of an envelope (`app_id`, or the older `appid`); reject a wrong one.

    Raises AseError 10313: status 400 if there is no app id, 403 if it is not that of the caller.
    """
    header, own_id = body.get("header"), identity.app_id
    first_id, is_own = "", True
    if isinstance(header, dict):
        for name in APP_ID_NAMES:
            if name in header:
                app_id = header[name]
                if type(app_id) is not str or not app_id:
                    raise AseError(BAD_APP, _NO_APP_ID)
                first_id, is_own = first_id or app_id, is_own and app_id == own_id
    if not first_id:
        raise AseError(BAD_APP, _NO_APP_ID)
    if own_id and not is_own:
        raise HttpError(403, "app_id and api_key does not match", BAD_APP)
    return first_id


def peek_app_id(body_start: bytes, identity: Identity) -> str:
    """Return the app id of a request before its body is parsed; "" if it is not found.

    It is that of the caller, else what looks like the app id in the start of the body. It decides
    only whose turn it is to wait, before `check_app_id` knows the true one.
    """
    if identity.app_id:
        return identity.app_id
    match = _APP_ID_PATTERN.search(body_start, 0, _MAX_PEEK_BYTES)
    return match[1].decode("utf-8", "replace") if match else ""


def affinity_key(body: dict[str, Any], path: tuple[str, ...]) -> str:
    """Return the string or integer at a path of object members, as text; "" if there is none."""
    value: Any = body
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def find_contract(catalog: Catalog, service_id: str, record: RequestRecord) -> Contract:
    """Return the contract of a service and note the service in `record`.

    Raises AseError as `Catalog.require` does.
    """
    contract = catalog.require(service_id)
    record.service, record.code_map = contract.service.id, contract.service.code_map
    return contract


def resolve_contract(
    contract: Contract, envelope: Mapping[str, Any], record: RequestRecord, catalog: Catalog
) -> tuple[Contract, dict[str, str]]:
    """Return the contract that serves an envelope, and the headers that the gateway adds for it.

    For a category this is the sub service that the envelope's values select. Raises AseError 10404.
    """
    route_headers: dict[str, str] = {}
    if contract.service.sub_routes:
        contract, route_headers = _resolve_sub_service(contract, envelope, record, catalog)
    return contract, {
        **record.tracing,
        **route_headers,
        "sid": record.sid,
        "client_ip": record.client_ip,
        "service_id": contract.service.id,
        "route": record.path,
    }


def admit_sub_service(
    contract: Contract, sub_contract: Contract, record: RequestRecord, limiter: Limiter
) -> None:
    """Count a request for the sub service that a category has selected for it.

    Raises LimitExceededError if the limits of the sub service refuse it.
    """
    if sub_contract.service.id != contract.service.id:
        record.admission = limiter.extend(
            record.admission, record.identity, sub_contract.service.id
        )


def _resolve_sub_service(
    contract: Contract, envelope: Mapping[str, Any], record: RequestRecord, catalog: Catalog
) -> tuple[Contract, dict[str, str]]:
    route = category.choose_sub_service(contract.service, envelope)
    if route is None:
        raise AseError(NO_SUB_SERVICE, "no category route fits")
    sub_contract = catalog.find(route.service_id)
    if sub_contract is None:
        raise AseError(NO_SUB_SERVICE, f"sub service not found: {route.service_id}")
    record.service, record.code_map = sub_contract.service.id, sub_contract.service.code_map
    return sub_contract, {"route_param": route.route_key, "routekey": route.route_key}


def accepts_event_stream(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether the Accept header names server-sent events, with another weight than 0."""
    return accepts(headers.get(b"accept", b"").decode("latin-1"), _EVENT_STREAM_TYPE)


def accepts_anything(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether the Accept header takes any media type, as those of curl and browsers do."""
    return accepts(headers.get(b"accept", b"").decode("latin-1"), "*/*")


def join_base64_lines(envelope: dict[str, Any], service: Service) -> None:
    """Remove the line breaks from the base64 texts of a payload, in place.

    Many encoders break lines after 76 characters (RFC 2045, 6.8), and the original accepts them.
    """
    payload = envelope.get("payload")
    if not isinstance(payload, dict):
        return
    for name, data_type in service.inputs.items():
        member = payload.get(name)
        if not isinstance(member, dict):
            continue
        text = member.get(data_type.key)
        if isinstance(text, str) and ("\n" in text or "\r" in text):
            member[data_type.key] = text.replace("\r", "").replace("\n", "")


def pop_stream_flag(envelope: dict[str, Any], service: Service) -> bool | None:
    """Remove `header.stream` from an envelope and return its value; None without one.

    If the service's own schema declares `header.stream`, the member is the service's and stays.
    """
    header = envelope.get("header")
    if isinstance(header, dict) and type(header.get("stream")) is bool:
        if member_schema(service.input, "header", "stream") is not None:
            return None
        flag: bool = header.pop("stream")
        return flag
    return None
