"""Our policy: the least expected delay of four, two of them with the least own load. Pure.

Own counts never go stale and differ from gateway to gateway, so gateways that act on the same
reports do not run to the same instance; reports tell what others have there. Two draws among the
members with the least own load follow the one, two among all the other (reference "load-balancing"
5.5 "mix"; figures in `docs/load-balancing.md`). It costs the same for any number of instances.
"""

from collections.abc import Collection, Iterable
from math import exp
from random import Random
from typing import Final

from lb.balancer.policy import StatelessPolicy
from lb.endpoints.candidates import Pool
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.report import ReportMode

# How many more are looked at when the best of the draw holds all it takes.
_EXTRA_DRAWS: Final = 16


class LeastExpectedDelay(StatelessPolicy):
    """Our default.

    `by_report` and `by_own` count what picks stood on: fresh reports, or own load alone.
    """

    __slots__ = ("_rng", "picks_by_own_load", "picks_by_report")

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.picks_by_report = self.picks_by_own_load = 0

    def choose(self, pool: Pool, now: float, exclude: Collection[str], /) -> Endpoint | None:
        """Return the least expected delay of four drawn."""
        if exclude:
            return self._choose_excluding(pool, now, exclude)
        members = pool.members
        size = len(members)
        if size < 2:
            return members[0] if size else None
        peers = pool.levels[pool.lowest_level]
        peer_count = len(peers)
        draw = self._rng.random() * peer_count
        index = int(draw)
        best = peers[index]
        if (
            best.report_mode is not ReportMode.ON_CHANGE
            and best.has_capacity(now)
            and not self._trusts_report(best, now)
        ):
            self.picks_by_own_load += 1
            return best
        self.picks_by_report += 1
        best_ms = best.expected_ms()
        draw = (draw - index) * peer_count
        index = int(draw)
        endpoint = peers[index]
        if endpoint is not best:
            expected_ms = endpoint.expected_ms()
            if expected_ms < best_ms:
                best_ms, best = expected_ms, endpoint
        for _ in range(2):
            draw = (draw - index) * size
            index = int(draw)
            endpoint = members[index]
            expected_ms = endpoint.expected_ms()
            if expected_ms < best_ms:
                best_ms, best = expected_ms, endpoint
        return (
            best if best.has_capacity(now) else self._choose_with_capacity(pool, best, best_ms, now)
        )

    def _trusts_report(self, endpoint: Endpoint, now: float) -> bool:
        """Return whether to stand on the report of an instance that reports at times.

        It is used with probability exp(-age/slot time): an old one ever more seldom (reference
        "load-balancing" 5.3).
        """
        if endpoint.report_mode is ReportMode.NONE:
            return False
        age = (now - endpoint.last_report_at) * 1000
        return self._rng.random() < exp(-age / max(endpoint.service_ms, 0.001))

    def _choose_with_capacity(
        self, pool: Pool, best: Endpoint, best_ms: float, now: float
    ) -> Endpoint:
        """Return one with room, of a few more; or the best of those that have none."""
        members = pool.members
        size = len(members)
        index = int(self._rng.random() * size)
        for _ in range(min(size, _EXTRA_DRAWS)):
            index = index + 1 if index + 1 < size else 0
            endpoint = members[index]
            if endpoint.has_capacity(now):
                return endpoint
            expected_ms = endpoint.expected_ms()
            if expected_ms < best_ms:
                best_ms, best = expected_ms, endpoint
        return best

    def _choose_excluding(
        self, pool: Pool, now: float, exclude: Collection[str]
    ) -> Endpoint | None:
        """Return the best of two that were not tried before."""
        eligible = [endpoint for endpoint in pool.members if endpoint.instance.addr not in exclude]
        if not eligible:
            return None
        first, second = self._rng.choice(eligible), self._rng.choice(eligible)
        if not first.has_capacity(now):
            first = next((endpoint for endpoint in eligible if endpoint.has_capacity(now)), first)
        return (
            second
            if second.has_capacity(now) and second.expected_ms() < first.expected_ms()
            else first
        )


def rank_by_delay(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """Return instances, the least expected delay first; equals keep their order."""
    return sorted(endpoints, key=Endpoint.expected_ms)
