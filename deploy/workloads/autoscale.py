"""How many replicas a deployment needs for its load. Pure; `now` is in seconds.

The rule is that of Kubernetes' HorizontalPodAutoscaler: desired = ceil(replicas x usage / target),
nothing while usage is close to the target, up at once and down only after a while. Usage is what
loaders report: the requests that run and wait there, as a share of their slots.
"""

from collections import deque
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from deploy.workloads.members import (
    MAX_REPLICAS,
    Bounds,
    InvalidMemberError,
    check_number,
    read_object,
)

# The most replicas after one decision to add some: a moment of load must not start a hundred.
_MAX_GROWTH: Final = 2.0
_MIN_GROWTH: Final = 4
# Seconds between two looks after which what was known is too old.
_MAX_GAP_S: Final = 10.0
_MEMBERS: Final[dict[str, Bounds]] = {
    "minReplicas": (0.0, float(MAX_REPLICAS), True),
    "maxReplicas": (1.0, float(MAX_REPLICAS), True),
    "target": (0.05, 10.0, False),
    "tolerance": (0.0, 1.0, False),
    "window": (1.0, 3600.0, False),
    "scaleDownDelay": (0.0, 86_400.0, False),
}


@dataclass(frozen=True, slots=True)
class AutoscaleRule:
    """Between `least` and `most` replicas, so that `target` of their slots is in use.

    A usage that differs by up to `tolerance` of the target changes nothing. It is the mean of
    `window_s` seconds. Replicas are taken away when they were not needed for `delay_s` seconds; the
    last one, if `least` is 0, when there was no request meanwhile.
    """

    least: int = 1
    most: int = 1
    target: float = 0.7
    tolerance: float = 0.1
    window_s: float = 10.0
    delay_s: float = 120.0

    def to_json(self) -> dict[str, Any]:
        """Return the members that `read_autoscale` reads."""
        return {
            "minReplicas": self.least,
            "maxReplicas": self.most,
            "target": self.target,
            "tolerance": self.tolerance,
            "window": self.window_s,
            "scaleDownDelay": self.delay_s,
        }

    def clamp(self, replicas: int) -> int:
        """Return the nearest number of replicas that the rule allows."""
        return min(max(replicas, self.least), self.most)


def read_autoscale(tree: object) -> AutoscaleRule:
    """Return the rule of a JSON value. Raises InvalidMemberError."""
    own = read_object(tree, _MEMBERS, "{maxReplicas: 4}")
    if "maxReplicas" not in own:
        raise InvalidMemberError("maxReplicas", "is missing")
    members = AutoscaleRule().to_json() | own
    for name, value in members.items():
        check_number(name, value, _MEMBERS[name])
    if members["minReplicas"] > members["maxReplicas"]:
        raise InvalidMemberError("minReplicas", "must be no more than maxReplicas")
    return AutoscaleRule(
        int(members["minReplicas"]),
        int(members["maxReplicas"]),
        *(float(members[name]) for name in ("target", "tolerance", "window", "scaleDownDelay")),
    )


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """What `replicas` loaders report together.

    `requests` run and wait now, `slots` is how many may run, `served` how many have ended.
    """

    replicas: int = 0
    requests: int = 0
    slots: int = 0
    served: int = 0


class Scaling:
    """The load of one deployment of late, and what it asked for.

    `_requests` are (time, requests) of the window, `_wishes` (time, replicas) of the delay. Both
    begin anew at `_began_at`, after a time without reports. Requests are averaged, not usages:
    replicas that were added meanwhile change the usage, and not the load.
    """

    def __init__(self) -> None:
        self._requests: deque[tuple[float, int]] = deque()
        self._wishes: deque[tuple[float, int]] = deque()
        self._began_at = 0.0
        self._slots = 0
        self._served = 0

    def usage(self) -> float:
        """Return the mean requests of the window as a share of the slots of now, 0 without."""
        if not self._slots:
            return 0.0
        return sum(count for _, count in self._requests) / len(self._requests) / self._slots

    def decide(self, rule: AutoscaleRule, replicas: int, load: ReplicaLoad, now: float) -> int:
        """Return how many replicas there should be, of `replicas` that are wanted now.

        Without a replica or a report, and in the first window after that, nothing is changed but
        what is out of the bounds. More replicas are wanted at once. Fewer are wanted when no wish
        of the delay was for more.
        """
        self._slots = load.slots
        # Those that have ended since the last look count too: most are shorter than a second.
        is_used = load.requests > 0 or load.served > self._served
        self._served = load.served
        if not load.slots or not replicas:
            self._requests.clear()
            self._wishes.clear()
            return rule.clamp(replicas)
        if self._requests and now - self._requests[-1][0] > _MAX_GAP_S:
            self._requests.clear()  # nobody looked for a while: one look now decides nothing
            self._wishes.clear()
        if not self._requests:
            self._began_at = now
        self._requests.append((now, load.requests))
        while now - self._requests[0][0] > rule.window_s:
            self._requests.popleft()
        wish = rule.clamp(max(self._wish(rule, replicas, load), int(is_used)))
        self._wishes.append((now, wish))
        while now - self._wishes[0][0] > rule.delay_s:
            self._wishes.popleft()
        if now - self._began_at < rule.window_s:
            return rule.clamp(replicas)
        if wish > replicas:
            return wish
        if now - self._began_at < rule.delay_s:
            return rule.clamp(replicas)
        return rule.clamp(min(replicas, max(wish for _, wish in self._wishes)))

    def _wish(self, rule: AutoscaleRule, replicas: int, load: ReplicaLoad) -> int:
        """Return the replicas for the load; the loaders that report say how many slots one has."""
        needed = self.usage() / rule.target * load.replicas
        if abs(needed / replicas - 1.0) <= rule.tolerance:
            return replicas
        return min(ceil(needed - 1e-9), max(int(replicas * _MAX_GROWTH), replicas + _MIN_GROWTH))
