"""Which close code tells what."""

import pytest

from gateway.request.shutdown import drain_timeout_error, shutdown_error
from gateway.streaming.close_codes import (
    close_code,
    close_code_and_reason,
    truncate_reason,
)
from schemas.model import errors
from schemas.model.errors import AseError, ErrorSpec
from schemas.model.session import SessionEvent


@pytest.mark.parametrize(
    ("error_spec", "code"),
    [
        (errors.BAD_REQUEST, 1008), (errors.BAD_APP, 1008), (errors.INPUT_REFUSED, 1008),
        (errors.UNAUTHENTICATED, 1008), (errors.QUOTA_USED, 1013), (errors.RATE_LIMITED, 1013),
        (errors.CONCURRENCY_LIMITED, 1013),
        (errors.SESSION_READ_TIMEOUT, 3008), (errors.SESSION_TIMEOUT, 3008),
        (errors.DEADLINE, 3008), (errors.LOADER_FULL, 1013), (errors.NO_INSTANCE, 1013),
        (errors.SESSION_OVERFLOW, 1008), (errors.LOADER_LOST, 1014), (errors.BAD_OUTPUT, 1014),
        (errors.WRAPPER_RAISED, 1014), (errors.UNREACHABLE, 1014), (errors.INTERNAL, 1011),
        (errors.loader_error_spec(77), 1014),
    ],
)  # fmt: skip
def test_close_code_of_errors(error_spec: ErrorSpec, code: int) -> None:
    assert close_code(AseError(error_spec)) == code
    assert close_code_and_reason(SessionEvent.FAILED, AseError(error_spec, "words"))[1] == "words"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (SessionEvent.LAST_RESULT, 1000), (SessionEvent.CLIENT_GONE, 1000),
        (SessionEvent.DRAIN, 1001), (SessionEvent.DRAIN_TIMEOUT, 1001),
        (SessionEvent.RESULT, 1001),
    ],
)  # fmt: skip
def test_close_code_of_events_without_an_error(event: SessionEvent, code: int) -> None:
    assert close_code_and_reason(event, None)[0] == code
    if code == 1001:
        assert (
            close_code_and_reason(event, drain_timeout_error())[0]
            == close_code_and_reason(event, shutdown_error())[0]
            == 1001
        )


def test_reason_is_truncated_to_valid_utf8() -> None:
    assert len(truncate_reason("é" * 200).encode()) <= 123
    assert set(truncate_reason("é" * 200)) == {"é"}
