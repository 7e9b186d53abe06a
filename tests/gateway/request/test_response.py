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


@pytest.mark.parametrize(("fault", "status"), STATUSES, ids=lambda v: getattr(v, "name", str(v)))
def test_status(fault: ErrorSpec, status: int) -> None:
    assert status_of(AseError(fault), {}) == status
    assert status_of(AseError(fault), {fault.code: 299}) == 299


@pytest.mark.parametrize("status", [403, 405, 408, 413, 414, 415, 431])
def test_http_has_statuses_of_its_own(status: int) -> None:
    assert status_of(HttpError(status, "x"), {}) == status


def record() -> RequestRecord:
    told = RequestRecord("s" * 32, 1.0)
    told.body_received_at = 1.5
    for _ in range(2):
        told.attempt_started("a:1", 1.5)
        told.attempt_finished(1.625)
    return told


def headers(answer: HttpResponse) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in answer.headers}


def test_a_success() -> None:
    answer = finish_with_success(b'{"x":{"text":""}}', record(), 2.0)
    assert json.loads(answer.body) == {
        "header": {"code": 0, "message": "success", "sid": "s" * 32},
        "payload": {"x": {"text": ""}},
    }
    assert headers(answer) == {
        "content-type": "application/json",
        "content-length": str(len(answer.body)),
        "x-ase-request-id": "s" * 32,
        "x-ase-overhead-ms": "250.000",
        "x-ase-upstream-ms": "250.000",
        "x-ase-attempts": "2",
        "x-ase-instance": "a:1",
    }


def test_an_empty_payload_is_left_out() -> None:
    assert b"payload" not in finish_with_success(b"{}", record(), 2.0).body


def test_a_failure_is_the_envelope_and_is_noted() -> None:
    noted = record()
    answer = finish_with_error(AseError(errors.NO_INSTANCE, 'of "x"\n'), noted, 2.0)
    assert answer.status == 503
    assert json.loads(answer.body) == {
        "header": {"code": 20002, "message": 'of "x"\n', "sid": "s" * 32}
    }
    assert headers(answer)["retry-after"] == "1"
    assert (noted.status, noted.code, noted.error_name) == (503, 20002, "no_instance")


def test_a_mapped_429_says_when_to_come_back_too() -> None:
    noted = record()
    noted.code_map = {10110: 429}
    answer = finish_with_error(AseError(errors.LOADER_FULL), noted, 2.0)
    assert answer.status == 429
    assert "retry-after" in headers(answer)


@pytest.mark.parametrize(
    ("status", "closes"), [(413, True), (408, True), (415, False), (405, False)]
)
def test_a_connection_ends_where_the_rest_cannot_be_read(status: int, closes: bool) -> None:
    answer = finish_with_error(HttpError(status, "x"), record(), 2.0)
    assert (headers(answer).get("connection") == "close") is closes
