"""Errors as gRPC clients get them: a status, and its details as a `google.rpc.Status`. Pure.

Sources: google.rpc.Code, whose comments relate the codes to HTTP; AIP-193 for the details.
"""

from typing import Final

from gateway.request.record import RequestRecord
from gateway.request.record_lines import format_ms
from gateway.request.response import PlainError, public_message
from rpc.metadata import STATUS_DETAILS, encode_status
from rpc.status import RpcError, Status
from schemas.model.errors import BAD_MODE, AseError
from schemas.wire import BadRequest, Duration, ErrorInfo, RequestInfo, RetryInfo, RpcStatus

Trailer = tuple[str, str | bytes]

_DOMAIN: Final = "athena-serving"
_TYPE_PREFIX: Final = "type.googleapis.com/google.rpc."
_RETRY_DELAY_S: Final = 1
# Clients take 8 KiB of metadata. A message is in it twice: percent-encoded, and in the details,
# where base64 adds a third.
_MAX_MESSAGE_BYTES: Final = 1536
_MAX_VIOLATION_BYTES: Final = 1536
_STATUS_BY_HTTP: Final = {
    401: Status.UNAUTHENTICATED, 403: Status.PERMISSION_DENIED, 404: Status.NOT_FOUND,
    408: Status.DEADLINE_EXCEEDED, 409: Status.ABORTED, 413: Status.RESOURCE_EXHAUSTED,
    429: Status.RESOURCE_EXHAUSTED, 499: Status.CANCELLED, 500: Status.INTERNAL,
    503: Status.UNAVAILABLE, 504: Status.DEADLINE_EXCEEDED,
}  # fmt: skip
_RETRIED_STATUSES: Final = (409, 429, 503)
_STREAMS_ALONE: Final = "this service streams: call ase.v1.Gateway/Session"


def status_of(error: AseError, http_status: int) -> Status:
    """Return the gRPC status of an error that has an HTTP status.

    An error of a loader, 502, is UNKNOWN: it comes from a space of codes that gRPC does not know.
    """
    if error.spec is BAD_MODE:
        return Status.FAILED_PRECONDITION
    if http_status in _STATUS_BY_HTTP:
        return _STATUS_BY_HTTP[http_status]
    return Status.INVALID_ARGUMENT if http_status < 500 else Status.UNKNOWN


def to_rpc_error(error: AseError, record: RequestRecord) -> tuple[RpcError, Trailer]:
    """Return the error of a call, and the trailer with its details; `record` is finished."""
    message = _cut(public_message(error))
    if error.spec is BAD_MODE and message == BAD_MODE.message:
        message = _STREAMS_ALONE
    status = status_of(error, record.status)
    details = RpcStatus(code=int(status), message=message)
    info = ErrorInfo(
        reason=error.spec.name.upper(),
        domain=_DOMAIN,
        metadata={"code": str(record.code), "sid": record.sid},
    )
    _add(details, "ErrorInfo", info)
    _add(details, "RequestInfo", RequestInfo(request_id=record.sid))
    if isinstance(error, PlainError):
        _add(details, "BadRequest", _violations(error))
    if record.status in _RETRIED_STATUSES:
        _add(details, "RetryInfo", RetryInfo(retry_delay=Duration(seconds=_RETRY_DELAY_S)))
    return RpcError(status, message), (STATUS_DETAILS, details.SerializeToString())


def trailers(record: RequestRecord) -> list[Trailer]:
    """Return what the headers of an HTTP response say of a request, as trailers."""
    fields: list[Trailer] = [
        ("x-ase-request-id", record.sid),
        ("x-ase-overhead-ms", format_ms(record.overhead_s)),
        ("x-ase-upstream-ms", format_ms(record.upstream_s)),
        ("x-ase-attempts", str(record.attempts)),
    ]
    return [*fields, ("x-ase-instance", record.instance)] if record.instance else fields


def _cut(message: str) -> str:
    """Return a message cut to what it may take in its encoded form."""
    while (size := len(encode_status(Status.UNKNOWN, message))) > _MAX_MESSAGE_BYTES:
        message = message[: len(message) * _MAX_MESSAGE_BYTES // size - 1]
    return message


def _violations(error: PlainError) -> BadRequest:
    """Return the members that break a rule, as far as they fit."""
    bad_request, size = BadRequest(), 0
    for name, _, rule in error.violations:
        size += len(name.encode()) + len(rule.encode())
        if size > _MAX_VIOLATION_BYTES:
            break
        bad_request.field_violations.add(field=name, description=rule)
    return bad_request


def _add(
    status: RpcStatus, name: str, detail: ErrorInfo | RequestInfo | BadRequest | RetryInfo
) -> None:
    status.details.add(type_url=f"{_TYPE_PREFIX}{name}", value=detail.SerializeToString())
