"""The instances of one service that may be picked, arranged so that a pick costs no scan. Pure.

They stand in levels by own load: requests of this gateway there, weighed by how long such a request
holds an instance of that pace. A level is a list; who moves takes the last one's place.
"""

from collections.abc import Iterable
from math import inf

from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointState
from lb.endpoints.outlier import EjectionCause, EjectionState


class Pool:
    """What a policy chooses from.

    `members` may be picked; `levels[lowest]` are those with the least own load, never empty while
    there are members. `trials` get the next request, once: newcomers, and those whose ejection is
    over. `until` is when the pool has to be made anew (seconds of `now`), 0 at once.
    `panic`: so many are ejected that ejections are ignored.
    """

    __slots__ = (
        "digest",
        "expires_at",
        "is_panicking",
        "levels",
        "lowest_level",
        "members",
        "trials",
    )

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.members: list[Endpoint] = []
        self.levels: list[list[Endpoint]] = [[]]
        self.lowest_level = 0
        self.trials: list[Endpoint] = []
        self.expires_at = inf
        self.is_panicking = False

    def fill(self, endpoints: Iterable[Endpoint], now: float) -> None:
        """Take in the instances of a service, each in its place by its state and its health.

        Those that drain get nothing. Those that could not be reached, or whose report stream broke,
        get something only while nobody else is there: neither need be a dead loader. Those ejected
        for their answers, or with a broken stream, stand aside, unless they are more than the rest.
        """
        healthy: list[Endpoint] = []
        ejected: list[Endpoint] = []
        unreachable: list[Endpoint] = []
        disconnected: list[Endpoint] = []
        for endpoint in endpoints:
            if (
                endpoint.instance.digest not in ("", self.digest)
                or endpoint.state is EndpointState.DRAINING
            ):
                continue
            detector = endpoint.outlier_detector
            if detector.state is EjectionState.EJECTED:
                detector.try_start_probing(now)
            if detector.state is EjectionState.EJECTED:
                self.expires_at = min(self.expires_at, detector.ejected_until)
            if endpoint.state is EndpointState.SUSPECT and not endpoint.is_presumed_alive():
                disconnected.append(endpoint)
            elif detector.state is EjectionState.ADMITTED:
                healthy.append(endpoint)
            elif detector.state is EjectionState.PROBING:
                if not endpoint.inflight:  # one is under way
                    self.trials.append(endpoint)
            else:
                (unreachable if detector.cause is EjectionCause.UNREACHABLE else ejected).append(
                    endpoint
                )
        self.is_panicking = len(ejected) > len(healthy)
        if self.is_panicking:
            healthy += ejected
        if len(disconnected) > len(healthy) + len(
            self.trials
        ):  # more likely a hub's fault than theirs
            healthy += disconnected
        else:
            unreachable += disconnected
        for endpoint in healthy or self.trials or unreachable:
            self._add(endpoint)
        self.trials += [endpoint for endpoint in healthy if endpoint.is_untried()]

    def take_trial(self, now: float) -> Endpoint | None:
        """Return who gets this request whatever the policy says: it is to be tried, once.

        One without room waits for its turn; a newcomer that others asked meanwhile is not new.
        """
        for index, endpoint in enumerate(self.trials):
            if endpoint.outlier_detector.state is EjectionState.PROBING:
                if endpoint.has_capacity(now):
                    return self.trials.pop(index)
            elif endpoint.is_untried():
                return self.trials.pop(index)
        return None

    def clear(self) -> None:
        """Let go of everyone."""
        for endpoint in self.members:
            endpoint.pool = None
        self.members, self.trials, self.levels, self.lowest_level = [], [], [[]], 0

    def move(self, endpoint: Endpoint, level: int) -> None:
        """Put a member on another level."""
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
