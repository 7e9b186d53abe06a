"""Which calls are due, looked for when the first of them is: all others cost nothing. Pure."""

from collections.abc import Iterable
from math import inf
from typing import Final, Protocol, TypeVar

# A look is never sooner than this after the one before, in seconds: thousands of calls with
# deadlines of their own must not be looked through thousands of times a second.
TICK: Final = 0.01


class Due(Protocol):
    """What has a deadline, in seconds of some clock; or none."""

    @property
    def deadline(self) -> float | None:
        """Return it."""


Item = TypeVar("Item", bound=Due)


def due(items: Iterable[Item], now: float) -> tuple[list[Item], float]:
    """Return the items that are due, and when to look again; `inf` when there is no need.

    `now` is in seconds of the clock of their deadlines.
    """
    found, upcoming = [], inf
    for item in items:
        deadline = item.deadline
        if deadline is None:
            continue
        if deadline <= now:
            found.append(item)
        elif deadline < upcoming:
            upcoming = deadline
    return found, max(upcoming, now + TICK)
