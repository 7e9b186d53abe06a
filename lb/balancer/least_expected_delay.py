"""Our policy: the least expected delay of four draws, two of them by least own load. Pure.

The counts of a gateway's own requests are never stale and differ between gateways, so gateways that
read the same reports do not all choose the same instance. Reports show the requests of other
gateways. Two draws among the members with the least own load use the counts, two draws among all
members use the reports (figures in `docs/load-balancing.md`). The cost of a pick does not depend on
the number of instances.
"""

from collections.abc import Collection, Iterable
from math import exp
from random import Random
from typing import Final

from lb.balancer.policy import StatelessPolicy
from lb.endpoints.candidates import Pool
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.report import ReportMode

# Members examined in addition if the best of the draw is full.
_EXTRA_DRAWS: Final = 16


class LeastExpectedDelay(StatelessPolicy):
    """The default policy.

    `picks_by_report` and `picks_by_own_load` count picks by their basis: reports, or own load alone
    because the report was too old or missing.
    """

    __slots__ = ("_rng", "picks_by_own_load", "picks_by_report")

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.picks_by_report = self.picks_by_own_load = 0

    def choose(self, pool: Pool, now: float, exclude: Collection[str], /) -> Endpoint | None:
        """Return the endpoint with the least expected delay of four draws.

        The fraction that remains of one random number gives the next index, so that four draws cost
        one call of the generator. If the first draw has capacity, but does not report every change
        and its report is not trusted, it is returned without a comparison.
        """
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
        """Return whether to use the report of an endpoint that does not report every change.

        A report is used with probability exp(-age / service time), so that an older report is used
        less frequently (`docs/load-balancing.md`).
        """
        if endpoint.report_mode is ReportMode.NONE:
            return False
        age = (now - endpoint.last_report_at) * 1000
        return self._rng.random() < exp(-age / max(endpoint.service_ms, 0.001))

    def _choose_with_capacity(
        self, pool: Pool, best: Endpoint, best_ms: float, now: float
    ) -> Endpoint:
        """Return the first with capacity of at most 16 members, or the best of the full ones."""
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
        """Return the better of two random members that are not in `exclude`.

        If the first has no capacity, the first member with capacity replaces it.
        """
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
    """Return the endpoints, the least expected delay first; equal ones keep their order."""
    return sorted(endpoints, key=Endpoint.expected_ms)
