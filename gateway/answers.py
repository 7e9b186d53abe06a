"""Errors become statuses, and results become envelopes: the one place for either. Pure.

The table is DESIGN's section 3. Every answer of the gateway has the envelope, refusals included.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from gateway.record import Record
from schemas.errors import (
    BAD_REQUEST,
    CLIENT_GONE,
    DEADLINE,
    NO_SERVICE,
    NO_SUB_SERVICE,
    ONCE_TIMEOUT,
    UNREACHABLE,
    AseError,
    ErrorSource,
    ErrorSpec,
)

Headers = list[tuple[bytes, bytes]]

_MESSAGE: Final = 2048  # a loader words some of them

_BY_BLAME: Final = {
    ErrorSource.CALLER: 400,
    ErrorSource.LOADER: 502,
    ErrorSource.OVERLOAD: 503,
    ErrorSource.INTERNAL: 500,
}

_BY_FAULT: Final = {
    NO_SERVICE: 404,
    NO_SUB_SERVICE: 404,
    UNREACHABLE: 503,
    DEADLINE: 504,
    ONCE_TIMEOUT: 504,
    CLIENT_GONE: 499,
}

# The rest of such a message cannot be trusted, or is too much to read: the connection ends.
_CLOSING: Final = frozenset({400, 408, 413, 414, 431})


# Templates are filled in by one operation, compiled or not.
_HEAD: Final = (
    "content-type: application/json\r\ncontent-length: %d\r\nx-ase-request-id: %s\r\n"
    "x-ase-overhead-ms: %s\r\nx-ase-upstream-ms: %s\r\nx-ase-attempts: %d\r\n"
)

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_STATUS_LINES: Final = {
    status: f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n".encode()
    for status in range(100, 1000)
}


class HttpError(AseError):
    """A fault of the HTTP message itself, with the status and headers that HTTP has for it."""

    def __init__(
        self,
        status: int,
        detail: str,
        fault: ErrorSpec = BAD_REQUEST,
        headers: Headers | None = None,
        logged: str = "",
    ) -> None:
        super().__init__(fault, detail, logged)
        self.status = status
        self.headers = list(headers or ())
        if status in _CLOSING:
            self.headers.append((b"connection", b"close"))


class Answer:
    """A whole HTTP answer; `head` has its header lines, each with its end."""

    __slots__ = ("body", "head", "status")

    def __init__(self, status: int, head: bytes, body: bytes) -> None:
        self.status = status
        self.head = head
        self.body = body

    @property
    def headers(self) -> Headers:
        """Return names and values."""
        return header_list(self.head)


def header_list(head: bytes) -> Headers:
    """Return names and values of header lines, each with its end."""
    lines = head.split(b"\r\n")[:-1]
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


def status_of(error: AseError, code_map: Mapping[int, int]) -> int:
    """Return the HTTP status of an error; the service's `codeMap` stands over ours."""
    mapped = code_map.get(error.spec.code)
    if mapped is not None:
        return mapped
    if isinstance(error, HttpError):
        return error.status
    return _BY_FAULT.get(error.spec) or _BY_BLAME[error.spec.source]


def success(payload: bytes, record: Record, now: float) -> Answer:
    """Return 200 with the payload, a JSON object as bytes; {} is left out of the envelope."""
    record.close(200, 0, now)
    tail = b"" if payload == b"{}" else b',"payload":' + payload
    envelope = b'{"header":{"code":0,"message":"success","sid":"%s"}%s}'
    body = envelope % (record.sid.encode(), tail)
    return Answer(200, _head(record, len(body)), body)


def failure(error: AseError, record: Record, now: float) -> Answer:
    """Return the envelope of an error."""
    record.close(status_of(error, record.code_map), error.spec.code, now)
    record.fault, record.detail = error.spec.name, error.log_message
    header = {"code": record.code, "message": str(error)[:_MESSAGE], "sid": record.sid}
    body = json.dumps({"header": header}).encode()
    head = _head(record, len(body))
    if record.status in (429, 503):
        head += b"retry-after: 1\r\n"
    if isinstance(error, HttpError):
        head += b"".join(b"%s: %s\r\n" % header for header in error.headers)
    return Answer(record.status, head, body)


class Lines:
    """Headers as lines; those of a server stay the same for a second."""

    def __init__(self) -> None:
        self._headers: Headers = []
        self._lines = b""

    def of(self, headers: Headers) -> bytes:
        """Return the lines of a list that does not change."""
        if headers is not self._headers:
            self._headers = headers
            self._lines = b"".join([b"%b: %b\r\n" % told for told in headers])
        return self._lines


def written(answer: Answer, first: bytes, close: bytes) -> bytes:
    """Return the bytes of an answer; `first` and `close` are lines before and after its own."""
    return b"".join((_STATUS_LINES[answer.status], first, answer.head, close, b"\r\n", answer.body))


def _head(record: Record, size: int) -> bytes:
    lines = _HEAD % (size, record.sid, record.overhead_ms, record.upstream_ms, record.attempts)
    if record.instance:
        lines = f"{lines}x-ase-instance: {record.instance}\r\n"
    return lines.encode()
