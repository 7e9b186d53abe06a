"""Statuses and envelopes: the table of docs/wire.md, row by row, and the headers."""

import json

import pytest

from gateway.request.record import RequestRecord
from gateway.request.response import (
    HttpError,
    HttpResponse,
    finish_with_error,
    finish_with_success,
    status_of,
)
from schemas.model import errors
from schemas.model.errors import AseError, ErrorSpec

STATUSES: list[tuple[ErrorSpec, int]] = [
    (errors.BAD_REQUEST, 400),
    (errors.BAD_APP, 400),
    (errors.NO_SERVICE, 404),
    (errors.NO_SUB_SERVICE, 404),
    (errors.INPUT_REFUSED, 400),
    (errors.NO_INSTANCE, 503),
    (errors.LOADER_FULL, 503),
    (errors.UNREACHABLE, 503),
    (errors.LOADER_LOST, 502),
    (errors.DEADLINE, 504),
    (errors.ONCE_TIMEOUT, 504),
    (errors.BAD_OUTPUT, 502),
    (errors.WRAPPER_RAISED, 502),
    (errors.BAD_REPLY, 502),
    (errors.loader_error_spec(4242), 502),
    (errors.INVALID_OP, 502),
    (errors.BAD_MODE, 400),
    (errors.BAD_FRAME, 502),
    (errors.INTERNAL, 500),
    (errors.CLIENT_GONE, 499),
]


@pytest.mark.parametrize(
    ("error_spec", "status"), STATUSES, ids=lambda v: getattr(v, "name", str(v))
)
def test_status(error_spec: ErrorSpec, status: int) -> None:
    assert status_of(AseError(error_spec), {}) == status
    assert status_of(AseError(error_spec), {error_spec.code: 299}) == 299


@pytest.mark.parametrize("status", [403, 405, 408, 413, 414, 415, 431])
def test_http_errors_keep_their_status(status: int) -> None:
    assert status_of(HttpError(status, "x"), {}) == status


def new_record() -> RequestRecord:
    record = RequestRecord("s" * 32, 1.0)
    record.body_received_at = 1.5
    for _ in range(2):
        record.attempt_started("a:1", 1.5)
        record.attempt_finished(1.625)
    return record


def decode_headers(response: HttpResponse) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in response.headers}


def test_a_success() -> None:
    response = finish_with_success(b'{"x":{"text":""}}', new_record(), 2.0)
    assert json.loads(response.body) == {
        "header": {"code": 0, "message": "success", "sid": "s" * 32},
        "payload": {"x": {"text": ""}},
    }
    assert decode_headers(response) == {
        "content-type": "application/json",
        "content-length": str(len(response.body)),
        "x-ase-request-id": "s" * 32,
        "x-ase-overhead-ms": "250.000",
        "x-ase-upstream-ms": "250.000",
        "x-ase-attempts": "2",
        "x-ase-instance": "a:1",
    }


def test_empty_payload_is_omitted() -> None:
    assert b"payload" not in finish_with_success(b"{}", new_record(), 2.0).body


def test_error_envelope_and_record() -> None:
    record = new_record()
    response = finish_with_error(AseError(errors.NO_INSTANCE, 'of "x"\n'), record, 2.0)
    assert response.status == 503
    assert json.loads(response.body) == {
        "header": {"code": 20002, "message": 'of "x"\n', "sid": "s" * 32}
    }
    assert decode_headers(response)["retry-after"] == "1"
    assert (record.status, record.code, record.error_name) == (503, 20002, "no_instance")


def test_mapped_429_has_retry_after() -> None:
    record = new_record()
    record.code_map = {10110: 429}
    response = finish_with_error(AseError(errors.LOADER_FULL), record, 2.0)
    assert response.status == 429
    assert "retry-after" in decode_headers(response)


@pytest.mark.parametrize(
    ("status", "closes"), [(413, True), (408, True), (415, False), (405, False)]
)
def test_connection_closes_when_the_body_is_unread(status: int, closes: bool) -> None:
    response = finish_with_error(HttpError(status, "x"), new_record(), 2.0)
    assert (decode_headers(response).get("connection") == "close") is closes
