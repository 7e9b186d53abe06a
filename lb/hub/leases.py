"""The limits of keys, applications and services, shared by all gateways of a hub. Pure.

Each limit is a stock: tokens that come in at a rate, slots for requests in progress, or the rest of
a quota. A gateway takes a part of it in advance, so it admits requests without asking. At each
exchange it says what it has used; the rest of its part comes back, and it gets a new part by what
it needs. The parts never sum up to more than the stock. A gateway that meets a limit for the first
time cannot wait for its part; what it admits until then is deducted afterwards.
"""

from collections.abc import Sequence
from math import ceil, floor
from typing import Final

from schemas.wire import Lease, LeaseReply, LeaseRequest, LimitUse

# A gateway that was not heard of for this time has lost its leases, in seconds. It stops using
# them itself after `LEASE_S`.
GATEWAY_TTL_S: Final = 3.0
LEASE_S: Final = 1.0
# A gateway takes in advance what it is expected to need for this time, in seconds.
_WANTED_S: Final = 0.3
_DEMAND_DECAY: Final = 0.5
MAX_GATEWAYS: Final = 1024
MAX_LIMITS: Final = 100_000
MAX_USES: Final = 10_000


class LeaseError(Exception):
    """A request that cannot be served: it is malformed, or there are too many gateways."""


def fair_shares(stock: float, wants: Sequence[float]) -> list[float]:
    """Divide a stock among those that want something of it, by max-min fairness.

    Nobody gets more than it wants while another one gets less. What is left is divided evenly.
    """
    left = max(0.0, stock)
    if sum(wants) <= left:
        spare = (left - sum(wants)) / len(wants)
        return [want + spare for want in wants]
    level = 0.0
    for position, want in enumerate(sorted(wants)):
        level = left / (len(wants) - position)
        if want > level:
            break
        left -= want
    return [min(want, level) for want in wants]


class _Holder:
    """What one gateway holds and uses of a limit.

    `admitted`, `refused`, `running` and `reported_slots` are as it said last, at `seen_at`.
    `demand` is in requests per second, `refused_of_late` decays. `granted` are the admissions that
    it may reach, `slots` likewise for the requests in progress, `held_quota` the requests of the
    quota that it may admit beyond those that it has reported.
    """

    __slots__ = (
        "admitted", "demand", "granted", "held_quota", "refused", "refused_of_late",
        "reported_slots", "running", "seen_at", "slots",
    )  # fmt: skip

    def __init__(self, use: LimitUse, now: float) -> None:
        self.granted = float(use.admitted)
        self.admitted, self.refused, self.running = use.admitted, use.refused, use.running
        # What it says to hold comes from the hub before this one.
        self.slots = self.reported_slots = use.slots
        self.held_quota = 0
        self.demand = self.refused_of_late = 0.0
        self.seen_at = now

    @property
    def held_slots(self) -> int:
        """Return the slots that nobody else can have.

        A gateway that gives slots back knows of it only when it reports that it has fewer.
        """
        return max(self.slots, self.reported_slots, self.running)

    @property
    def wanted_slots(self) -> float:
        """Return how many requests the gateway would have in progress without a limit."""
        return self.running + (ceil(self.refused_of_late) if self.refused_of_late > 0.1 else 0)

    def update(self, use: LimitUse, now: float) -> None:
        """Note what the gateway has used, and how much it needs."""
        elapsed = max(now - self.seen_at, 1e-3)
        refused = max(0, use.refused - self.refused)
        offered = max(0, use.admitted - self.admitted) + refused
        self.demand = max(offered / elapsed, self.demand * _DEMAND_DECAY)
        self.refused_of_late = max(float(refused), self.refused_of_late * _DEMAND_DECAY)
        self.admitted, self.refused, self.running = use.admitted, use.refused, use.running
        self.reported_slots, self.seen_at = use.slots, now


class _Limit:
    """One limit, and the gateways that use it.

    `tokens` are those that nobody holds, at `tokens_at`; they may be negative. `used` counts all
    requests of the quota's period, which ends at `period_end` (Unix time); `used_by_gateway` are
    the counts of the gateways that it includes, and `used_before` the largest count that one began
    with. Until `settled_at` gateways may still hold leases of a hub before this one.
    """

    def __init__(self, use: LimitUse, now: float) -> None:
        self.tokens = _max_tokens(use)
        self.tokens_at = now
        self.used = self.used_before = 0
        self.used_by_gateway: dict[str, int] = {}
        self.period_end = use.period_end
        self.settled_at = now + LEASE_S if use.slots or use.used > use.used_before else now
        self.holders: dict[str, _Holder] = {}

    def exchange(self, gateway: str, use: LimitUse, gateways: int, now: float) -> Lease:
        """Take back what a gateway does not use, and return its new lease.

        As long as fewer than all `gateways` use the limit, a part is kept for the next one.
        """
        holder = self.holders.get(gateway)
        if holder is None:
            holder = self.holders[gateway] = _Holder(use, now)
            self.tokens -= use.ahead  # admitted without a lease
        holder.update(use, now)
        lease = Lease(share=self._share(holder))
        if use.rate:
            lease.admitted = self._lease_tokens(holder, use, gateways, now)
        if use.concurrency:
            lease.slots = self._lease_slots(holder, use.concurrency, now)
        if use.quota:
            lease.used = self._lease_quota(gateway, holder, use, now)
            lease.used_up = self.used >= use.quota
        return lease

    def release(self, gateway: str) -> None:
        """Take back what a gateway holds."""
        holder = self.holders.pop(gateway, None)
        if holder is not None:
            self.tokens += holder.granted - holder.admitted

    def _share(self, holder: _Holder) -> float:
        demand = sum(other.demand for other in self.holders.values())
        return holder.demand / demand if demand else 1.0 / len(self.holders)

    def _lease_tokens(self, holder: _Holder, use: LimitUse, gateways: int, now: float) -> float:
        others_hold = sum(
            max(0.0, other.granted - other.admitted) for other in self._others(holder)
        )
        self.tokens += (now - self.tokens_at) * use.rate + holder.granted - holder.admitted
        self.tokens = min(self.tokens, max(0.0, _max_tokens(use) - others_hold))
        self.tokens_at = now
        wants = self._wanted_requests() + [0.0] * (len(self.holders) < gateways)
        parts = fair_shares(self.tokens + others_hold, wants)
        granted = max(0.0, min(parts[self._index(holder)], self.tokens))
        self.tokens -= granted
        holder.granted = holder.admitted + granted
        return holder.granted

    def _lease_slots(self, holder: _Holder, concurrency: int, now: float) -> int:
        others_hold = sum(other.held_slots for other in self._others(holder))
        wants = [other.wanted_slots for other in self.holders.values()]
        # Whole slots: those that rounding would lose go to the gateways that are first.
        parts = [floor(part + 1e-9) for part in fair_shares(concurrency, wants)]
        index = self._index(holder)
        part = parts[index] + (1 if index < concurrency - sum(parts) else 0)
        if now < self.settled_at:
            part = min(part, holder.reported_slots)
        holder.slots = max(0, min(part, concurrency - others_hold))
        return holder.slots

    def _lease_quota(self, gateway: str, holder: _Holder, use: LimitUse, now: float) -> int:
        if use.period_end > self.period_end:
            self._start_period(use)
        if use.period_end < self.period_end:  # the gateway's clock is late
            return use.used
        self._count_used(gateway, use, now)
        left = max(0, use.quota - self.used)
        others_hold = sum(other.held_quota for other in self._others(holder))
        wants = self._wanted_requests()
        parts = [floor(part + 1e-9) for part in fair_shares(left, wants)]
        parts[wants.index(max(wants))] += left - sum(parts)  # what rounding would lose
        holder.held_quota = max(0, min(parts[self._index(holder)], left - others_hold))
        return use.used + holder.held_quota

    def _count_used(self, gateway: str, use: LimitUse, now: float) -> None:
        counted = self.used_by_gateway.get(gateway)
        if counted is None:
            # What it began with was counted by the gateways of its host; not if the hub is new.
            counted = use.used_before
            if now < self.settled_at or not self.used_by_gateway:
                self.used += max(0, use.used_before - self.used_before)
                self.used_before = max(self.used_before, use.used_before)
            else:
                self.used = max(self.used, use.used_before)
        self.used += max(0, use.used - counted)
        self.used_by_gateway[gateway] = use.used

    def _start_period(self, use: LimitUse) -> None:
        """Begin a period of the quota: every gateway may use its share of it before it asks."""
        self.period_end = use.period_end
        self.used = self.used_before = 0
        self.used_by_gateway = dict.fromkeys(self.used_by_gateway, 0)
        for other in self.holders.values():
            other.held_quota = floor(use.quota * self._share(other))

    def _wanted_requests(self) -> list[float]:
        return [other.demand * _WANTED_S for other in self.holders.values()]

    def _others(self, holder: _Holder) -> list[_Holder]:
        return [other for other in self.holders.values() if other is not holder]

    def _index(self, holder: _Holder) -> int:
        return list(self.holders.values()).index(holder)


def _max_tokens(use: LimitUse) -> float:
    """Return how many tokens there can be: a burst, but no fewer than gateways take in advance."""
    return max(float(use.burst), use.rate * _WANTED_S)


class LimitLeases:
    """The limits that gateways share, by name, and when each gateway was heard of last.

    Of limits that no gateway uses, only quotas are remembered. If there are more than `max_limits`,
    the one that was used first is forgotten.
    """

    def __init__(self, max_limits: int = MAX_LIMITS) -> None:
        self._max_limits = max_limits
        self._limits: dict[str, _Limit] = {}
        self._names_by_gateway: dict[str, set[str]] = {}
        self._seen_at: dict[str, float] = {}

    def exchange(self, request: LeaseRequest, now: float) -> LeaseReply:
        """Return the leases of a gateway until its next exchange, which ends them.

        It gives back what it does not list. `now` is in seconds of a monotonic clock. Raises
        LeaseError for a request without a gateway, with figures that are no numbers, with too many
        limits, or of one gateway too many.
        """
        if len(request.uses) > MAX_USES:
            raise LeaseError(f"more than {MAX_USES} limits")
        if not request.gateway or not all(map(_is_valid, request.uses)):
            raise LeaseError("gateway and figures are necessary")
        if request.gateway not in self._seen_at and len(self._seen_at) >= MAX_GATEWAYS:
            raise LeaseError(f"there are {MAX_GATEWAYS} gateways already")
        self._seen_at[request.gateway] = now
        for gateway, seen_at in list(self._seen_at.items()):
            if now - seen_at > GATEWAY_TTL_S:
                del self._seen_at[gateway]
                self._release(gateway, self._names_by_gateway.pop(gateway, set()))
        names = {use.name for use in request.uses}
        held_names = self._names_by_gateway.get(request.gateway, set())
        self._release(request.gateway, held_names - names)
        self._names_by_gateway[request.gateway] = names
        leases = []
        for use in request.uses:
            limit = self._limits.get(use.name)
            if limit is None:
                if len(self._limits) >= self._max_limits:
                    self._forget_oldest()
                limit = self._limits[use.name] = _Limit(use, now)
            leases.append(limit.exchange(request.gateway, use, len(self._seen_at), now))
        return LeaseReply(gateways=len(self._seen_at), leases=leases)

    def _release(self, gateway: str, names: set[str]) -> None:
        for name in names:
            limit = self._limits[name]
            limit.release(gateway)
            if not limit.holders and not limit.period_end:  # a quota lasts for its period
                del self._limits[name]

    def _forget_oldest(self) -> None:
        name = next(iter(self._limits))
        for gateway in self._limits.pop(name).holders:
            self._names_by_gateway[gateway].discard(name)


def _is_valid(use: LimitUse) -> bool:
    """Return whether a use has a name, and its figures are numbers that can be counted with."""
    return bool(use.name) and all(0.0 <= value < 1e12 for value in (use.rate, use.ahead))
