"""Whether and where a stream of events resumes."""

import pytest

from gateway.request.response import HttpError
from gateway.request.resumption import is_over, received_results

NONE_OF_OURS = ["", "0", "-1", "+1", "1.5", "x", "1 2", "1" * 10, "²", "End"]


@pytest.mark.parametrize("last_id", NONE_OF_OURS)
@pytest.mark.parametrize("is_idempotent", [False, True])
def test_id_that_is_none_of_ours_starts_anew(last_id: str, *, is_idempotent: bool) -> None:
    headers = {b"last-event-id": last_id.encode()}
    assert received_results(headers, is_idempotent=is_idempotent) == 0
    assert not is_over(headers, is_idempotent=is_idempotent)
    assert received_results({}, is_idempotent=is_idempotent) == 0


def test_stream_of_an_idempotent_service_resumes() -> None:
    headers = {b"last-event-id": b"17"}
    assert received_results(headers, is_idempotent=True) == 17
    assert not is_over(headers, is_idempotent=True)
    assert is_over(headers, is_idempotent=False)
    with pytest.raises(HttpError) as caught:
        received_results(headers, is_idempotent=False)
    assert caught.value.status == 409


def test_stream_that_has_ended_is_over() -> None:
    for is_idempotent in (False, True):
        assert is_over({b"last-event-id": b"end"}, is_idempotent=is_idempotent)
