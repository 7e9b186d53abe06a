"""Why each instance of a service may be picked or not, for people. Pure.

The pick itself keeps none of this: it is read off the table when somebody asks, or when a request
has failed.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from lb.balancer.policy import Policy
from lb.endpoints.candidates import Pool
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointState
from lb.endpoints.outlier import EjectionState
from lb.endpoints.report import ReportMode
from lb.endpoints.table import EndpointTable

CANDIDATE = "candidate"
_SAMPLES = 500


@dataclass(frozen=True, slots=True)
class Candidate:
    """One instance of a service at a moment.

    `verdict` is `candidate` for one that may be picked, else why it is not: `full`, `draining`,
    `other schema`, `held back`, `suspect`, `ejected`, `unchecked`. `reason` is the cause of that,
    with its age.
    `expected_ms` is the delay that a request would have there, `report_age_ms` None without
    reports. `own` requests are this gateway's, `others` those of other clients; more than `limit`
    of both are refused. `share` is the part of the next requests that it would get, None if nobody
    asked.
    """

    instance: str
    verdict: str
    reason: str
    expected_ms: float
    report_age_ms: float | None
    own: int
    others: int
    slots: int
    limit: int
    share: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the members by name, without a share that nobody asked for."""
        members = {name: getattr(self, name) for name in self.__slots__}
        if self.share is None:
            del members["share"]
        return members


def explain_candidates(
    table: EndpointTable,
    service_id: str,
    digest: str,
    now: float,
    called: Collection[str] = (),
    limit: int | None = None,
) -> list[Candidate]:
    """Return the instances of a service for requests with the schema `digest`.

    Those that may be picked come first, the least expected delay before others. With a `limit`
    these are the `called` ones and others up to that number: half of them may be picked and half
    may not, as far as there are so many.
    """
    pool, endpoints = table.pool(service_id, digest), table.endpoints_of(service_id)
    if limit is not None and len(endpoints) > limit:
        endpoints = _select(endpoints, pool, called, limit)
    candidates = [_candidate(endpoint, pool, now) for endpoint in endpoints]
    return sorted(candidates, key=lambda c: (c.verdict != CANDIDATE, c.expected_ms, c.instance))


def _select(
    endpoints: list[Endpoint], pool: Pool, called: Collection[str], limit: int
) -> list[Endpoint]:
    selected = [endpoint for endpoint in endpoints if endpoint.instance.addr in called][:limit]
    others = [endpoint for endpoint in endpoints if endpoint.instance.addr not in called]
    pools = [pool, *(group for _, group in pool.groups)]
    outside = [endpoint for endpoint in others if endpoint.pool not in pools][: limit // 2]
    inside = [endpoint for endpoint in others if endpoint.pool in pools]
    return (selected + outside + inside)[:limit]


def preview_picks(
    table: EndpointTable,
    service_id: str,
    digest: str,
    new_policy: Callable[[], Policy],
    now: float,
) -> list[Candidate]:
    """Return what `explain_candidates` does, with the share of the next requests of each.

    The shares are those of 500 draws of a new policy at this moment. What a policy learns from its
    own requests, such as whose turn it is, is not known to a new one: the shares are right for the
    default policy, and a hint for others. The next requests go to untried instances first.
    """
    pool, policy = table.pool(service_id, digest), new_policy()
    counts: dict[str, int] = {}
    for sample in range(_SAMPLES):
        group = pool.group_of_key((sample + 0.5) / _SAMPLES)
        endpoint = policy.choose(group, now, ()) or policy.choose(pool, now, ())
        if endpoint is not None and endpoint.has_capacity(now):
            addr = endpoint.instance.addr
            counts[addr] = counts.get(addr, 0) + 1
    return [
        replace(candidate, share=counts.get(candidate.instance, 0) / _SAMPLES)
        for candidate in explain_candidates(table, service_id, digest, now)
    ]


def _candidate(endpoint: Endpoint, pool: Pool, now: float) -> Candidate:
    verdict, reason = _judge(endpoint, pool, now)
    has_reports = endpoint.report_mode is not ReportMode.NONE
    return Candidate(
        endpoint.instance.addr,
        verdict,
        reason,
        round(endpoint.expected_ms(), 3),
        round((now - endpoint.last_report_at) * 1000, 1) if has_reports else None,
        endpoint.inflight,
        endpoint.remote_load,
        endpoint.usable_slots,
        endpoint.limit,
    )


def _judge(endpoint: Endpoint, pool: Pool, now: float) -> tuple[str, str]:
    """Return the verdict on an endpoint and its reason, by the rules of `Pool.fill`."""
    detector = endpoint.outlier_detector
    ejection = f"{detector.cause.value}, for {now - detector.since:.1f} s"
    if endpoint.instance.digest not in ("", pool.digest):
        return "other schema", f"its schema is {endpoint.instance.digest[:12]}"
    if endpoint.state is EndpointState.DRAINING:
        return "draining", f"{endpoint.reason.value}, for {now - endpoint.state_since:.1f} s"
    version, reason = endpoint.instance.version, ""
    for share, group in pool.groups:
        if endpoint.pool is group or endpoint in group.trials:
            reason = f"version {version} gets {share:.0%} of the requests"
            if not share:
                return "held back", reason
            pool = group
    if endpoint in pool.trials:
        is_probe = detector.state is EjectionState.PROBING
        return CANDIDATE, ejection if is_probe else "untried: gets the next request"
    if endpoint.pool is pool:
        if not endpoint.has_capacity(now):
            return "full", f"{endpoint.outstanding()} requests of {endpoint.limit}"
        if detector.state is not EjectionState.ADMITTED:
            return CANDIDATE, f"for want of a better one: {ejection}"
        return CANDIDATE, reason
    if endpoint.state is EndpointState.SUSPECT and not endpoint.is_presumed_alive():
        return "suspect", f"{endpoint.reason.value}, for {now - endpoint.state_since:.1f} s"
    if detector.state is EjectionState.UNCHECKED:
        return "unchecked", ejection
    return "ejected", ejection
