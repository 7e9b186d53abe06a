"""Which calls are due, looked for when the first of them is: all others cost nothing. Pure."""

from collections.abc import Iterable
from math import inf
from typing import Final, Protocol, TypeVar

# A look is never sooner than this after the one before, in seconds: thousands of calls with
# deadlines of their own must not be looked through thousands of times a second.
MIN_CHECK_INTERVAL_S: Final = 0.01


class HasDeadline(Protocol):
    """What has a deadline, in seconds of some clock; or none."""

    @property
    def deadline(self) -> float | None:
        """Return it."""


Item = TypeVar("Item", bound=HasDeadline)


def find_expired(items: Iterable[Item], now: float) -> tuple[list[Item], float]:
    """Return the items that are due, and when to look again; `inf` when there is no need.

    `now` is in seconds of the clock of their deadlines.
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
