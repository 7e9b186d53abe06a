"""The endpoints of one service that may be picked, arranged so that a pick needs no scan. Pure.

They are grouped in levels by own load: the requests of this gateway there, weighted by how long a
request occupies an endpoint of that speed. Each level is an unordered list: removal swaps with the
last element.
"""

from collections.abc import Iterable
from random import Random
from typing import Final

from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointState
from lb.endpoints.outlier import EjectionCause, EjectionState
from lb.endpoints.traffic import TrafficSplit

# The most that a group which was full has left of its turns, and a group that has not begun.
_MAX_CREDIT: Final = 2.0
_NO_CREDIT: Final = -1.0


class Pool:
    """The endpoints that a policy chooses from.

    `members` may be picked. Each member is at `levels[load_level][level_index]` and has this pool
    as `pool`. `levels[lowest_level]` holds the members with the least own load and is not empty
    while there are members. `trials` get the next requests, one each: endpoints without any request
    so far, and endpoints to probe after an ejection. The latter are members only if no endpoint is
    healthy. If the pool `is_outdated`, the table rebuilds it at the next pick. `is_panicking`: more
    endpoints are ejected than healthy, so ejections are ignored. `has_healthy`: one is neither
    ejected nor suspect. `groups` are the pools of versions that get a share of the requests, each
    with its share (`lb/endpoints/traffic.py`); `version` is that of a group. Its `credit` grows by
    its share with each request of the service, and one request of its own costs 1.
    """

    __slots__ = (
        "credit",
        "digest",
        "groups",
        "has_healthy",
        "is_outdated",
        "is_panicking",
        "levels",
        "lowest_level",
        "members",
        "trials",
        "version",
    )

    def __init__(self, digest: str, version: str = "") -> None:
        self.digest = digest
        self.version = version
        self.members: list[Endpoint] = []
        self.levels: list[list[Endpoint]] = [[]]
        self.lowest_level = 0
        self.trials: list[Endpoint] = []
        self.is_outdated = False
        self.is_panicking = False
        self.has_healthy = False
        self.groups: list[tuple[float, Pool]] = []
        self.credit = _NO_CREDIT

    def fill_by_traffic(self, split: TrafficSplit) -> None:
        """Fill an empty pool, with a group for each version that has a share.

        If none of the unlimited endpoints is healthy, shares do not count. A group has its healthy
        endpoints alone, and trials: what it does not take goes to the others.
        """
        self.fill(split.unlimited)
        if not split.limited:
            return
        if not self.has_healthy:
            self.clear()
            self.fill([*split.unlimited, *(e for *_, group in split.limited for e in group)])
            return
        for version, share, endpoints in split.limited:
            group = Pool(self.digest, version)
            group.fill(filter(_may_answer, endpoints))
            if not group.has_healthy:
                trials = group.trials
                group.clear()
                group.trials = trials
            self.groups.append((share, group))

    def pools_in_turn(self, rng: Random) -> "list[Pool]":
        """Return the groups whose turn it is by the shares, the most due first, then this pool.

        A turn is taken by `count_pick` alone: a request that waits may ask as often as it likes,
        and a group that is full keeps no other one from its turn. Each begins somewhere in its
        first round, so that gateways do not move in step.
        """
        due: list[Pool] = []
        for share, group in self.groups:
            if group.credit == _NO_CREDIT:
                group.credit = rng.random()
            if share > 0.0 and group.credit + share >= 1.0:
                due.append(group)
        if len(due) > 1:
            due.sort(key=_credit_of, reverse=True)
        return [*due, self]

    def count_pick(self, picked: "Pool") -> None:
        """Count a request that has got a slot in its turn, of a group or of this pool."""
        for share, group in self.groups:
            group.credit = min(group.credit + share, _MAX_CREDIT)
        if picked is not self:
            picked.credit -= 1.0

    def group_of_key(self, draw: float) -> "Pool":
        """Return the pool of a key: `draw` is its number, at least 0 and less than 1.

        The numbers of a version stay the same as long as the shares and the other versions do.
        """
        for share, group in self.groups:
            if draw < share:
                return group
            draw -= share
        return self

    def fill(self, endpoints: Iterable[Endpoint]) -> None:
        """Fill an empty pool with the endpoints of a service, by their state and ejection state.

        Draining endpoints and endpoints with another schema are left out. Endpoints that are not
        known to answer, or that an operator has ejected, and endpoints with a broken report stream
        become members only if there is no other endpoint: none of it proves that the loader is
        dead. Endpoints ejected for failures are left out unless they outnumber the healthy ones.
        Endpoints with a broken stream count as healthy if they outnumber the healthy ones and the
        trials.
        """
        healthy: list[Endpoint] = []
        ejected: list[Endpoint] = []
        unanswering: list[Endpoint] = []
        disconnected: list[Endpoint] = []
        for endpoint in endpoints:
            if (
                endpoint.instance.digest not in ("", self.digest)
                or endpoint.state is EndpointState.DRAINING
            ):
                continue
            detector = endpoint.outlier_detector
            if endpoint.state is EndpointState.SUSPECT and not endpoint.is_presumed_alive():
                disconnected.append(endpoint)
            elif detector.state is EjectionState.ADMITTED:
                healthy.append(endpoint)
            elif detector.state is EjectionState.PROBING:
                if not endpoint.inflight:  # otherwise a probe is in flight
                    self.trials.append(endpoint)
            elif detector.is_answering() and detector.cause is not EjectionCause.OPERATOR:
                ejected.append(endpoint)
            else:
                unanswering.append(endpoint)
        self.has_healthy = bool(healthy)
        self.is_panicking = len(ejected) > len(healthy)
        if self.is_panicking:
            healthy += ejected
        if len(disconnected) > len(healthy) + len(
            self.trials
        ):  # more likely the hub failed than the loaders
            healthy += disconnected
        else:
            unanswering += disconnected
        for endpoint in healthy or self.trials or unanswering:
            self._add(endpoint)
        self.trials += [endpoint for endpoint in healthy if endpoint.is_untried()]

    def pop_trial(self, now: float) -> Endpoint | None:
        """Return the endpoint that gets this request regardless of the policy, None if none.

        A probed endpoint that is full stays in `trials`. An endpoint that got a request from
        another pick or another gateway in the meantime is not tried any more.
        """
        for index, endpoint in enumerate(self.trials):
            if endpoint.outlier_detector.state is EjectionState.PROBING:
                if endpoint.has_capacity(now):
                    return self.trials.pop(index)
            elif endpoint.is_untried():
                return self.trials.pop(index)
        return None

    def clear(self) -> None:
        """Remove all endpoints."""
        for endpoint in self.members:
            endpoint.pool = None
        self.members, self.trials, self.levels, self.lowest_level = [], [], [[]], 0
        for _, group in self.groups:
            group.clear()
        self.groups = []

    def move(self, endpoint: Endpoint, level: int) -> None:
        """Move a member to `level` and update `lowest_level`."""
        levels = self.levels
        peers = levels[endpoint.load_level]
        last = peers.pop()
        if last is not endpoint:
            peers[endpoint.level_index] = last
            last.level_index = endpoint.level_index
        while len(levels) <= level:
            levels.append([])
        self._append_to_level(endpoint, level)
        lowest_level = self.lowest_level
        if level < lowest_level:
            self.lowest_level = level
        elif not levels[lowest_level]:
            while not levels[lowest_level]:
                lowest_level += 1
            self.lowest_level = lowest_level

    def _add(self, endpoint: Endpoint) -> None:
        endpoint.pool = self
        self.members.append(endpoint)
        while len(self.levels) <= endpoint.load_level:
            self.levels.append([])
        if len(self.members) == 1 or endpoint.load_level < self.lowest_level:
            self.lowest_level = endpoint.load_level
        self._append_to_level(endpoint, endpoint.load_level)

    def _append_to_level(self, endpoint: Endpoint, level: int) -> None:
        peers = self.levels[level]
        endpoint.load_level, endpoint.level_index = level, len(peers)
        peers.append(endpoint)


def _credit_of(pool: Pool) -> float:
    return pool.credit


def _may_answer(endpoint: Endpoint) -> bool:
    """Return whether an endpoint is healthy, or is to be probed."""
    is_lost = endpoint.state is EndpointState.SUSPECT and not endpoint.is_presumed_alive()
    states = (EjectionState.ADMITTED, EjectionState.PROBING)
    return not is_lost and endpoint.outlier_detector.state in states
