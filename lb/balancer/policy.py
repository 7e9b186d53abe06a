"""The interface of a policy: choose a member of a pool and learn from results. Pure.

All policies have the same signature and none awaits: the default policy
(`lb/balancer/least_expected_delay.py`), and the policies of other products and of the original
(`lb/balancer/policies.py`).
"""

from collections.abc import Collection
from typing import Protocol

from lb.endpoints.candidates import Pool
from lb.endpoints.endpoint import Endpoint


class Policy(Protocol):
    """Chooses the instance of the next request."""

    def choose(self, pool: Pool, now: float, exclude: Collection[str], /) -> Endpoint | None:
        """Return the endpoint for the next request, None if there is none.

        `exclude` are addresses tried before. A full endpoint may be returned if there is no better
        one, so the caller must check `has_capacity`.
        """

    def record_result(
        self, endpoint: Endpoint, seconds: float, now: float, succeeded: bool, /
    ) -> None:
        """Learn from a request that ended after `seconds`."""


class StatelessPolicy:
    """Base class of policies that learn nothing from results."""

    def record_result(
        self, endpoint: Endpoint, seconds: float, now: float, succeeded: bool, /
    ) -> None:
        """Ignore the result."""
