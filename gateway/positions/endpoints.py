"""Certificates for clients of positions, and the times that they report, in MITLab's form.

Answers are `{"status": "success", ...}` and `{"status": "error", "message": ...}`.
"""

import json
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from gateway.http.asgi_scope import caller_head
from gateway.http.head_validation import combine_headers
from gateway.request.interfaces import CallerIdentifier
from gateway.request.response import HttpError, public_message, status_of
from gateway.services.catalog import Catalog
from gateway.telemetry.metrics import Metrics
from schemas.model.errors import BAD_REQUEST, CLIENT_GONE, AseError

CERTIFICATE_PATH: Final = "/certificate"
CLOSED_LOOP_PATH: Final = "/closed-loop-{service_id}"
_MAX_BODY_BYTES: Final = 16 * 1024
_MAX_LOOP_S: Final = 86_400.0


class PositionEndpoints:
    """The two endpoints. `metrics` has the times of the clients' loops."""

    def __init__(self, authenticator: CallerIdentifier, catalog: Catalog, metrics: Metrics) -> None:
        self._authenticator = authenticator
        self._catalog = catalog
        self._metrics = metrics

    async def certificate(self, request: Request) -> Response:
        """Issue a certificate to an application that has a key (`auth: certificate`)."""
        try:
            body = await _read_members(request)
            certificate = self._authenticator.issue_certificate(
                _text(body, "application_uid"),
                _text(body, "inference_client_name"),
                _text(body, "position_uid"),
                _text(body, "application_token"),
            )
        except AseError as error:
            return _refusal(error)
        success = {
            "status": "success",
            "certificate": certificate.value,
            "key": certificate.key_id,
            "expires_at": certificate.expires_at,
        }
        return JSONResponse(success, headers={"cache-control": "no-store"})

    async def closed_loop(self, request: Request) -> Response:
        """Take the seconds that a client's loop took, from one who may call the position."""
        headers = combine_headers(request.scope["headers"])
        try:
            identity = self._authenticator.identify(caller_head(request.scope, headers))
            contract = self._catalog.require(request.path_params["service_id"])
            identity.check_service(contract.service.id)
            seconds = _loop_seconds((await _read_members(request)).get("value"))
        except AseError as error:
            return _refusal(error)
        self._metrics.count_closed_loop(contract.service.id, seconds)
        return JSONResponse({"status": "success"})


async def _read_members(request: Request) -> dict[str, Any]:
    """Return the JSON object of a body. Raises AseError."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_BODY_BYTES:
                raise HttpError(413, f"body is larger than {_MAX_BODY_BYTES} bytes")
    except ClientDisconnect:
        raise AseError(CLIENT_GONE) from None
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise HttpError(400, "request body must be a json object", BAD_REQUEST)
    return members


def _text(members: dict[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not value or not _is_text(value):
        raise HttpError(400, f"{name}: must be a text", BAD_REQUEST)
    return value


def _is_text(value: str) -> bool:
    """Return whether a text can be written: JSON may have half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _loop_seconds(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MAX_LOOP_S:
        return float(value)
    raise HttpError(400, f"value: must be seconds, 0 to {_MAX_LOOP_S:g}", BAD_REQUEST)


def _refusal(error: AseError) -> Response:
    status = status_of(error, {})
    message = {"status": "error", "message": public_message(error)}
    headers = error.headers if isinstance(error, HttpError) else ()
    response = JSONResponse(message, status)
    response.raw_headers += headers
    return response
