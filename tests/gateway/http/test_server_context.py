from dataclasses import replace

import pytest

from gateway.http.server_context import BODY_GRACE_S, Limits, slow_body_error

LIMITS = Limits(
    max_target=8192, max_header_bytes=65536, max_headers=100, header_timeout=5.0,
    max_body=1 << 20, body_timeout=30.0, min_body_rate=1000, min_chunk=16, stall_timeout=10.0,
    idle_timeout=75.0, max_connections=100,
)  # fmt: skip


@pytest.mark.parametrize(
    ("elapsed", "received_bytes", "message"),
    [
        (0.0, 0, ""),
        (BODY_GRACE_S, 0, ""),  # no rate is enforced yet
        (BODY_GRACE_S + 1.0, 999, "request body came at less than 1000 B/s"),
        (BODY_GRACE_S + 1.0, 1000, ""),
        (29.9, 24_900, ""),
        (30.0, 1 << 20, "request body took more than 30 s"),
        (30.0, 0, "request body took more than 30 s"),
    ],
)
def test_slow_body_error(elapsed: float, received_bytes: int, message: str) -> None:
    error = slow_body_error(LIMITS, elapsed, received_bytes)
    if not message:
        assert error is None
    else:
        assert error is not None
        assert (error.status, str(error)) == (408, message)


@pytest.mark.parametrize(
    ("limits", "elapsed", "message"),
    [
        (replace(LIMITS, body_timeout=2.0), 1.9, ""),
        (replace(LIMITS, body_timeout=2.0), 2.0, "request body took more than 2 s"),
        (replace(LIMITS, min_body_rate=0), 29.9, ""),
        (replace(LIMITS, min_body_rate=1), BODY_GRACE_S + 0.1,
         "request body came at less than 1 B/s"),
    ],
)  # fmt: skip
def test_error_of_a_silent_client(limits: Limits, elapsed: float, message: str) -> None:
    error = slow_body_error(limits, elapsed, 0)
    assert (str(error) if error is not None else "") == message
