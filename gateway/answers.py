"""Errors become statuses, and results become envelopes: the one place for either. Pure.

The table is DESIGN's section 3. Every answer of the gateway has the envelope, refusals included.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.record import Record
from schemas.errors import (
    BAD_REQUEST,
    CLIENT_GONE,
    DEADLINE,
    NO_SERVICE,
    NO_SUB_SERVICE,
    TIMEOUT,
    UNREACHABLE,
    AseError,
    Blame,
    Fault,
)

Headers = list[tuple[bytes, bytes]]

_MESSAGE = 2048  # a loader words some of them

_BY_BLAME = {Blame.CALLER: 400, Blame.LOADER: 502, Blame.OVERLOAD: 503, Blame.HOUSE: 500}

_BY_FAULT = {
    NO_SERVICE: 404,
    NO_SUB_SERVICE: 404,
    UNREACHABLE: 503,
    DEADLINE: 504,
    TIMEOUT: 504,
    CLIENT_GONE: 499,
}

# The rest of such a message cannot be trusted, or is too much to read: the connection ends.
_CLOSING = frozenset({400, 408, 413, 414, 431})


class HttpError(AseError):
    """A fault of the HTTP message itself, with the status and headers that HTTP has for it."""

    def __init__(
        self, status: int, detail: str, fault: Fault = BAD_REQUEST, headers: Headers | None = None
    ) -> None:
        super().__init__(fault, detail)
        self.status = status
        self.headers = list(headers or ())
        if status in _CLOSING:
            self.headers.append((b"connection", b"close"))


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: Headers
    body: bytes


def status_of(error: AseError, code_map: Mapping[int, int]) -> int:
    """Return the HTTP status of an error; the service's `codeMap` stands over ours."""
    mapped = code_map.get(error.fault.code)
    if mapped is not None:
        return mapped
    if isinstance(error, HttpError):
        return error.status
    return _BY_FAULT.get(error.fault) or _BY_BLAME[error.fault.blame]


def success(payload: bytes, record: Record, now: float) -> Answer:
    """Return 200 with the payload, a JSON object as bytes; {} is left out of the envelope."""
    record.status, record.code, record.answered = 200, 0, now
    tail = b"" if payload == b"{}" else b',"payload":' + payload
    envelope = b'{"header":{"code":0,"message":"success","sid":"%s"}%s}'
    return Answer(200, _headers(record), envelope % (record.sid.encode(), tail))


def failure(error: AseError, record: Record, now: float) -> Answer:
    """Return the envelope of an error."""
    record.status, record.code = status_of(error, record.code_map), error.fault.code
    record.fault, record.detail, record.answered = error.fault.name, str(error), now
    header = {"code": record.code, "message": record.detail[:_MESSAGE], "sid": record.sid}
    headers = _headers(record)
    if record.status in (429, 503):
        headers.append((b"retry-after", b"1"))
    if isinstance(error, HttpError):
        headers += error.headers
    return Answer(record.status, headers, json.dumps({"header": header}).encode())


def _headers(record: Record) -> Headers:
    headers = [
        (b"content-type", b"application/json"),
        (b"x-ase-request-id", record.sid.encode()),
        (b"x-ase-overhead-ms", _ms(record.overhead)),
        (b"x-ase-upstream-ms", _ms(record.upstream)),
        (b"x-ase-attempts", b"%d" % record.attempts),
    ]
    if record.instance:
        headers.append((b"x-ase-instance", record.instance.encode()))
    return headers


def _ms(seconds: float) -> bytes:
    return b"%.3f" % (seconds * 1000)
