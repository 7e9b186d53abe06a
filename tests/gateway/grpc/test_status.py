"""Errors as gRPC clients get them."""

from typing import Any

import pytest

from gateway.grpc import status
from gateway.request.record import RequestRecord
from gateway.request.response import HttpError, PlainError, note_error
from rpc.metadata import encode_status
from rpc.status import Status
from schemas import wire
from schemas.model import errors
from schemas.model.errors import AseError
from schemas.wire import BadRequest, ErrorInfo, RequestInfo, RetryInfo, RpcStatus

SID = "a" * 32


def finished_record(error: AseError, **code_map: int) -> RequestRecord:
    record = RequestRecord(SID, 1.0)
    record.code_map = {int(code[1:]): http_status for code, http_status in code_map.items()}
    note_error(error, record, 2.0)
    return record


def details_of(error: AseError) -> tuple[RpcStatus, dict[str, Any]]:
    """Return the details of an error, and its messages by name."""
    _, (name, data) = status.to_rpc_error(error, finished_record(error))
    assert name == "grpc-status-details-bin"
    assert isinstance(data, bytes)
    rpc_status = RpcStatus.FromString(data)
    messages = {}
    for detail in rpc_status.details:
        prefix, _, full_name = detail.type_url.partition("/")
        assert prefix == "type.googleapis.com"
        messages[full_name.rpartition(".")[2]] = wire.message(full_name).FromString(detail.value)
    return rpc_status, messages


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AseError(errors.BAD_REQUEST), Status.INVALID_ARGUMENT),
        (AseError(errors.BAD_APP), Status.INVALID_ARGUMENT),
        (HttpError(403, "no", errors.BAD_APP), Status.PERMISSION_DENIED),
        (HttpError(413, "large"), Status.RESOURCE_EXHAUSTED),
        (AseError(errors.NO_SERVICE), Status.NOT_FOUND),
        (AseError(errors.NO_SUB_SERVICE), Status.NOT_FOUND),
        (AseError(errors.INPUT_REFUSED), Status.INVALID_ARGUMENT),
        (AseError(errors.BAD_MODE), Status.FAILED_PRECONDITION),
        (AseError(errors.NO_INSTANCE), Status.UNAVAILABLE),
        (AseError(errors.LOADER_FULL), Status.UNAVAILABLE),
        (AseError(errors.UNREACHABLE), Status.UNAVAILABLE),
        (AseError(errors.LOADER_LOST), Status.UNKNOWN),
        (AseError(errors.WRAPPER_RAISED), Status.UNKNOWN),
        (AseError(errors.BAD_OUTPUT), Status.UNKNOWN),
        (AseError(errors.DEADLINE), Status.DEADLINE_EXCEEDED),
        (AseError(errors.SESSION_READ_TIMEOUT), Status.INVALID_ARGUMENT),
        (AseError(errors.CLIENT_GONE), Status.CANCELLED),
        (AseError(errors.INTERNAL), Status.INTERNAL),
    ],
)
def test_status_follows_the_http_status(error: AseError, expected: Status) -> None:
    rpc_error, _ = status.to_rpc_error(error, finished_record(error))
    assert rpc_error.status is expected


@pytest.mark.parametrize(
    ("http_status", "expected"),
    [
        (401, Status.UNAUTHENTICATED),
        (408, Status.DEADLINE_EXCEEDED),
        (409, Status.ABORTED),
        (422, Status.INVALID_ARGUMENT),
        (429, Status.RESOURCE_EXHAUSTED),
        (501, Status.UNKNOWN),
    ],
)
def test_code_map_of_a_service_counts(http_status: int, expected: Status) -> None:
    error = AseError(errors.INPUT_REFUSED, "not this one")
    rpc_error, _ = status.to_rpc_error(error, finished_record(error, c10107=http_status))
    assert rpc_error.status is expected


def test_details_name_the_code_the_request_and_the_members() -> None:
    violations = [("width", "/width", "breaks maximum 9"), ("a.b", "/a/b", "is not known")]
    rpc_status, messages = details_of(PlainError(errors.BAD_REQUEST, violations))
    assert rpc_status.code == Status.INVALID_ARGUMENT
    assert rpc_status.message == "width: breaks maximum 9; a.b: is not known"
    assert messages == {
        "ErrorInfo": ErrorInfo(
            reason="BAD_REQUEST", domain="athena-serving", metadata={"code": "10163", "sid": SID}
        ),
        "RequestInfo": RequestInfo(request_id=SID),
        "BadRequest": BadRequest(
            field_violations=[
                BadRequest.FieldViolation(field="width", description="breaks maximum 9"),
                BadRequest.FieldViolation(field="a.b", description="is not known"),
            ]
        ),
    }


def test_overload_says_when_to_try_again() -> None:
    _, messages = details_of(AseError(errors.LOADER_FULL))
    assert messages["RetryInfo"] == RetryInfo(retry_delay=wire.Duration(seconds=1))
    assert "RetryInfo" in details_of(HttpError(409, "it runs"))[1]
    assert "RetryInfo" not in details_of(AseError(errors.DEADLINE))[1]


def test_service_that_only_streams_is_named_its_method() -> None:
    rpc_status, _ = details_of(AseError(errors.BAD_MODE))
    assert rpc_status.message == "this service streams: call ase.v1.Gateway/Session"
    assert details_of(AseError(errors.BAD_MODE, "other words"))[0].message == "other words"


def test_details_fit_into_the_metadata_that_clients_take() -> None:
    for text in ("x", "é", "模", "😀", "%"):
        violations = [(text * 60, "", text * 200)] * 1000
        error = PlainError(errors.BAD_REQUEST, violations)
        rpc_error, (_, data) = status.to_rpc_error(error, finished_record(error))
        message = encode_status(rpc_error.status, rpc_error.details)
        assert len(message) + len(data) * 4 / 3 < 7000
        assert rpc_error.details.startswith(text * 60)
        assert details_of(error)[0].message == rpc_error.details
        assert details_of(error)[1]["BadRequest"].field_violations


def test_trailers_are_those_of_a_response() -> None:
    record = RequestRecord(SID, 1.0)
    record.finish(200, 0, 1.5)
    fields = {
        "x-ase-request-id": SID, "x-ase-overhead-ms": "500.000", "x-ase-upstream-ms": "0.000",
        "x-ase-attempts": "0",
    }  # fmt: skip
    assert dict(status.trailers(record)) == fields
    record.instance = "10.0.0.1:1"
    assert dict(status.trailers(record)) == fields | {"x-ase-instance": "10.0.0.1:1"}
