"""HTTP responses: the only place that turns errors into statuses and results into envelopes.

The table of errors is in docs/architecture.md. Unary responses of services and all errors have the
envelope, rejections included. Pure: no I/O, no clock.
"""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from json.encoder import encode_basestring_ascii
from typing import Final

from gateway.access.meters import LimitExceededError
from gateway.request.record import RequestRecord
from schemas.model.errors import (
    BAD_REQUEST,
    CLIENT_GONE,
    CONCURRENCY_LIMITED,
    DEADLINE,
    NO_SERVICE,
    NO_SUB_SERVICE,
    ONCE_TIMEOUT,
    OUTPUT_TOO_LARGE,
    QUOTA_USED,
    RATE_LIMITED,
    REQUEST_TOO_LARGE,
    SERVICE_NOT_ALLOWED,
    UNAUTHENTICATED,
    UNREACHABLE,
    AseError,
    ErrorSource,
    ErrorSpec,
)

try:
    from gateway.request.record_lines_native import response_lines, success_body
except ImportError:  # not compiled
    from gateway.request.record_lines import response_lines, success_body

Headers = list[tuple[bytes, bytes]]

_MAX_MESSAGE_CHARS: Final = 2048  # some messages come from loaders

_STATUS_BY_SOURCE: Final = {
    ErrorSource.CALLER: 400,
    ErrorSource.LOADER: 502,
    ErrorSource.OVERLOAD: 503,
    ErrorSource.INTERNAL: 500,
}

_STATUS_BY_ERROR: Final = {
    UNAUTHENTICATED: 401,
    SERVICE_NOT_ALLOWED: 403,
    QUOTA_USED: 429,
    RATE_LIMITED: 429,
    CONCURRENCY_LIMITED: 429,
    NO_SERVICE: 404,
    NO_SUB_SERVICE: 404,
    UNREACHABLE: 503,
    DEADLINE: 504,
    ONCE_TIMEOUT: 504,
    CLIENT_GONE: 499,
    REQUEST_TOO_LARGE: 413,
    OUTPUT_TOO_LARGE: 502,
}

# After these, the rest of the request cannot be trusted or is too large to read: the connection is
# closed.
_CLOSING_STATUSES: Final = frozenset({400, 408, 413, 414, 431})


# A browser that shows a file of a loader runs nothing that is in it.
_FILE_LINES: Final = b"x-content-type-options: nosniff\r\ncontent-security-policy: sandbox\r\n"
_ERROR_TEMPLATE: Final = '{"header": {"code": %d, "message": %s, "sid": "%s"}}'
_REASON_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_STATUS_LINES: Final = {
    status: f"HTTP/1.1 {status} {_REASON_PHRASES.get(status, '')}\r\n".encode()
    for status in range(100, 1000)
}


class HttpError(AseError):
    """An error of the HTTP message itself, with its HTTP status and response headers.

    Statuses in `_CLOSING_STATUSES` add `connection: close`.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        spec: ErrorSpec = BAD_REQUEST,
        headers: Headers | None = None,
        log_message: str = "",
    ) -> None:
        super().__init__(spec, detail, log_message)
        self.status = status
        self.headers = list(headers or ())
        if status in _CLOSING_STATUSES:
            self.headers.append((b"connection", b"close"))


class PlainError(AseError):
    """An error of a plain request: the members that break a rule.

    Each of `violations` is the name of a member, the JSON pointer to it (RFC 6901) and the rule;
    name and pointer are "" for the request as a whole.
    """

    def __init__(
        self, spec: ErrorSpec, violations: Sequence[tuple[str, str, str]], log_message: str = ""
    ) -> None:
        messages = [f"{name}: {rule}" if name else rule for name, _, rule in violations]
        super().__init__(spec, "; ".join(messages), log_message)
        self.violations = violations


class HttpResponse:
    """A complete HTTP response; `head` are its header lines, each with its CRLF."""

    __slots__ = ("body", "head", "status")

    def __init__(self, status: int, head: bytes, body: bytes) -> None:
        self.status = status
        self.head = head
        self.body = body

    @property
    def headers(self) -> Headers:
        """Return the header fields as names and values."""
        return header_list(self.head)


def header_list(head: bytes) -> Headers:
    """Return the names and values of header lines, each of which ends with CRLF."""
    lines = head.split(b"\r\n")[:-1]
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


def status_of(error: AseError, code_map: Mapping[int, int]) -> int:
    """Return the HTTP status of an error; the service's `codeMap` overrides the default."""
    mapped = code_map.get(error.spec.code)
    if mapped is not None:
        return mapped
    if isinstance(error, HttpError):
        return error.status
    return _STATUS_BY_ERROR.get(error.spec) or _STATUS_BY_SOURCE[error.spec.source]


def finish_with_success(payload: bytes, record: RequestRecord, now: float) -> HttpResponse:
    """Finish the record and return a 200 response with the payload, a serialised JSON object.

    An empty payload, `{}`, is omitted from the envelope.
    """
    record.finish(200, 0, now)
    body = success_body(record.sid, payload)
    return HttpResponse(200, _response_head(record, len(body)), body)


def finish_with_body(
    content_type: str, body: bytes, record: RequestRecord, now: float
) -> HttpResponse:
    """Finish the record and return a 200 response with a body of any media type."""
    record.finish(200, 0, now)
    head = _response_head(record, len(body), content_type)
    if content_type != "application/json":
        head += _FILE_LINES
    return HttpResponse(200, head, body)


def finish_with_error(error: AseError, record: RequestRecord, now: float) -> HttpResponse:
    """Finish the record and return the envelope of an error; 429 and 503 get `retry-after`."""
    note_error(error, record, now)
    message = encode_basestring_ascii(public_message(error))
    body = (_ERROR_TEMPLATE % (record.code, message, record.sid)).encode()
    return _error_response(error, record, body, "application/json")


def finish_with_problem(error: AseError, record: RequestRecord, now: float) -> HttpResponse:
    """Finish the record and return the problem (RFC 9457) of an error.

    429 and 503 get `retry-after`.
    """
    note_error(error, record, now)
    return _error_response(error, record, problem(error, record), "application/problem+json")


def note_error(error: AseError, record: RequestRecord, now: float) -> None:
    """Finish the record of a request that is answered with an error."""
    record.finish(status_of(error, record.code_map), error.spec.code, now)
    record.error_name, record.detail = error.spec.name, error.log_message


def public_message(error: AseError) -> str:
    """Return the message of an error for its caller, cut to 2,048 characters."""
    return str(error)[:_MAX_MESSAGE_CHARS]


def _error_response(
    error: AseError, record: RequestRecord, body: bytes, content_type: str
) -> HttpResponse:
    head = _response_head(record, len(body), content_type)
    if record.status in (429, 503):
        wait = 1
        if isinstance(error, LimitExceededError):
            wait = error.retry_after
            head += error.header_lines.encode()
        head += b"retry-after: %d\r\n" % wait
    if isinstance(error, HttpError):
        head += b"".join(b"%s: %s\r\n" % header for header in error.headers)
    return HttpResponse(record.status, head, body)


def problem(error: AseError, record: RequestRecord) -> bytes:
    """Return the problem details (RFC 9457) of an error of a request.

    `errors` has the JSON pointer and the rule of each member that is wrong.
    """
    status = status_of(error, record.code_map)
    members: dict[str, object] = {
        "type": "about:blank",
        "title": _REASON_PHRASES.get(status, ""),
        "status": status,
        "detail": public_message(error),
        "code": error.spec.code,
        "sid": record.sid,
    }
    if isinstance(error, PlainError):
        members["errors"] = [
            {"pointer": pointer, "rule": rule} for _, pointer, rule in error.violations
        ]
    return json.dumps(members).encode()


class DefaultHeadersCache:
    """The serialised default headers of a server, cached while the list is the same object.

    uvicorn replaces the list once per second, for the Date header.
    """

    def __init__(self) -> None:
        self._headers: Headers = []
        self._lines = b""

    def encode(self, headers: Headers) -> bytes:
        """Return the header lines of a list that is never changed in place."""
        if headers is not self._headers:
            self._headers = headers
            self._lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        return self._lines


def serialize_response(response: HttpResponse, default_lines: bytes, close_line: bytes) -> bytes:
    """Return the bytes of a response.

    `default_lines` and `close_line` are header lines that precede and follow its own; each line
    ends with CRLF.
    """
    return b"".join(
        (
            _STATUS_LINES[response.status],
            default_lines,
            response.head,
            close_line,
            b"\r\n",
            response.body,
        )
    )


def _response_head(
    record: RequestRecord, body_size: int, content_type: str = "application/json"
) -> bytes:
    return response_lines(
        content_type,
        body_size,
        record.sid,
        record.overhead_s,
        record.upstream_s,
        record.attempts,
        record.admission.header_line,
        record.instance,
    )
