"""Expiry of many deadlines with one timer, set to the earliest. Pure; `now` is a parameter.

A call that ends before its deadline costs no timer.
"""

from collections.abc import Iterable
from math import inf
from typing import Final, Protocol, TypeVar

# The least time between two checks, in seconds. A check scans all calls; without this limit,
# thousands of calls with distinct deadlines would cause thousands of scans per second.
MIN_CHECK_INTERVAL_S: Final = 0.01


class HasDeadline(Protocol):
    """An item with an optional deadline."""

    @property
    def deadline(self) -> float | None:
        """Return the deadline in seconds of the clock of `now`, or None."""


Item = TypeVar("Item", bound=HasDeadline)


def find_expired(items: Iterable[Item], now: float) -> tuple[list[Item], float]:
    """Return the items whose deadline has passed, and the time of the next check.

    `now` and the time are in seconds of the clock of the deadlines. The time is `inf` if no
    deadline is left.
    """
    expired, next_deadline = [], inf
    for item in items:
        deadline = item.deadline
        if deadline is None:
            continue
        if deadline <= now:
            expired.append(item)
        elif deadline < next_deadline:
            next_deadline = deadline
    return expired, max(next_deadline, now + MIN_CHECK_INTERVAL_S)
