import pytest

from gateway.request.retry import MAX_ATTEMPTS, may_retry
from schemas.model.errors import (
    BAD_OUTPUT,
    DEADLINE,
    LOADER_FULL,
    LOADER_LOST,
    UNREACHABLE,
    AseError,
    ErrorSpec,
)


@pytest.mark.parametrize(
    ("spec", "attempts", "is_idempotent", "can_wait", "allowed"),
    [
        (UNREACHABLE, 1, False, False, True),  # nothing ran
        (UNREACHABLE, MAX_ATTEMPTS, True, False, False),
        (UNREACHABLE, 50, False, True, True),  # until one is found that takes it
        (LOADER_LOST, 1, False, True, False),  # it may have run
        (LOADER_LOST, 1, True, False, True),
        (LOADER_LOST, MAX_ATTEMPTS, True, True, False),
        (LOADER_FULL, 1, False, False, True),
        (LOADER_FULL, MAX_ATTEMPTS, False, False, False),
        (LOADER_FULL, 50, False, True, True),  # part of the wait for a slot
        (BAD_OUTPUT, 1, True, True, False),  # it ran
        (DEADLINE, 1, True, True, False),
    ],
)
def test_retry_rule(
    spec: ErrorSpec, attempts: int, is_idempotent: bool, can_wait: bool, allowed: bool
) -> None:
    error = AseError(spec)
    assert may_retry(error, attempts, is_idempotent=is_idempotent, can_wait=can_wait) is allowed
