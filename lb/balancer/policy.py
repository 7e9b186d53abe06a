"""What every policy is: a choice among the members of a pool, and what it may learn from. Pure.

One signature for all, none awaits: ours (`lb/balancer/least_expected_delay.py`), the rivals' and
the original's
(`lb/balancer/policies.py`).
"""

from collections.abc import Collection
from typing import Protocol

from lb.endpoints.candidates import Pool
from lb.endpoints.endpoint import Endpoint


class Policy(Protocol):
    """Chooses the instance of the next request."""

    def choose(self, pool: Pool, now: float, exclude: Collection[str], /) -> Endpoint | None:
        """Return the instance to send to, None when there is none.

        `exclude` are addresses tried before. An instance that holds all it takes may be returned
        when there is no better one: whoever asks, looks.
        """

    def record_result(
        self, endpoint: Endpoint, seconds: float, now: float, succeeded: bool, /
    ) -> None:
        """Learn from a request that ended after so many seconds."""


class StatelessPolicy:
    """The part of a policy that learns nothing from how requests end."""

    def record_result(
        self, endpoint: Endpoint, seconds: float, now: float, succeeded: bool, /
    ) -> None:
        """Learn nothing."""
