"""The rule for retries: whether another attempt follows a failed one. Pure.

The retry budget (`lb.balancer.retry_budget`) limits the retries of all requests together; the
balancer is asked for it only after these rules allowed one and need it (`docs/load-balancing.md`).
"""

from typing import Final

from schemas.model.errors import LOADER_FULL, LOADER_LOST, AseError

MAX_ATTEMPTS: Final = 2  # of one request or session


def may_retry(error: AseError, attempts: int, *, is_idempotent: bool, can_wait: bool) -> bool:
    """Return whether a request may be sent to another instance after `attempts` failed ones.

    It may if nothing ran at the instance, or if the connection was lost and running it twice does
    no harm (`is_idempotent`). It has at most two attempts; but a rejection by a full instance is
    part of the wait for a slot, and not counted as long as the request can wait (`can_wait`).
    """
    is_safe = error.spec.retryable or (is_idempotent and error.spec is LOADER_LOST)
    if not is_safe:
        return False
    return attempts < MAX_ATTEMPTS or (can_wait and error.spec is LOADER_FULL)


def needs_retry_budget(error: AseError) -> bool:
    """Return whether a retry after an error is charged to the retry budget.

    A full instance has run nothing. With several gateways, each sees the load of the others late,
    so such rejections are frequent under full load and say nothing about a failing fleet.
    """
    return error.spec is not LOADER_FULL
