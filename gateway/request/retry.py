"""The rule for retries: whether another attempt follows a failed one. Pure.

The retry budget (`lb.balancer.retry_budget`) limits the retries of all requests together; the
balancer is asked for it only after these rules allowed one and need it (`docs/load-balancing.md`).
"""

from typing import Final

from schemas.model.errors import LOADER_LOST, AseError

MAX_ATTEMPTS: Final = 2  # of one request or session


def may_retry(error: AseError, attempts: int, *, is_idempotent: bool, can_wait: bool) -> bool:
    """Return whether a request may be sent to another instance after `attempts` failed ones.

    It may if nothing ran at the instance, or if the connection was lost and running it twice does
    no harm (`is_idempotent`). It has at most two attempts; but attempts that ran nothing are not
    counted as long as the request may wait for a slot (`can_wait`): finding an instance that takes
    it is part of that wait. No instance is tried twice for it, unless it was full.
    """
    if error.spec.retryable:
        return can_wait or attempts < MAX_ATTEMPTS
    return is_idempotent and error.spec is LOADER_LOST and attempts < MAX_ATTEMPTS


def needs_retry_budget(error: AseError) -> bool:
    """Return whether a retry after an error is charged to the retry budget.

    What ran nothing adds no load. A full instance says nothing about a failing fleet: with several
    gateways, each sees the load of the others late, so rejections are frequent under full load. An
    unreachable one is ejected at once.
    """
    return not error.spec.retryable
