"""The original's LB interface: the meaning of its parameters, and its replies. Pure.

Parameters, codes and formats follow the original (`docs/wire.md` names the differences). Its
defects are not reproduced: an absent `svc` is rejected, `live=0` never adds a node, an address
that is forced offline leaves at once, and `all=1` returns `totalInst`.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from lb.balancer.least_expected_delay import rank_by_delay
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointState
from lb.endpoints.report import (
    Instance,
    InvalidReportError,
    Load,
    Report,
    ReportMode,
    ServingState,
    check_names,
)
from lb.endpoints.table import EndpointTable
from schemas.model.errors import (
    BAD_ADDR,
    BAD_BEST,
    BAD_FORCE,
    BAD_IDLE,
    BAD_LIVE,
    BAD_NBEST,
    BAD_SUBSVC,
    BAD_SVC,
    BAD_TOTAL,
    BAD_UID,
    NO_INSTANCE,
    AseError,
    ErrorSpec,
)

_MAX_REQUESTS: Final = 10_000
# All reports of this interface have one epoch, because it has no such field. `seq` is the time of
# receipt.
_EPOCH: Final = 1


def parse_reports(params: Mapping[str, str], seq: int) -> Iterator[Report]:
    """Yield the report of each service that a `setServer` call names.

    `seq` is the time of receipt in nanoseconds. Raises AseError 2007, 2008, 2005, 2009, 20014.
    """
    addr, svc, service_list = (params.get(name, "") for name in ("addr", "svc", "subsvc"))
    services = [name for name in service_list.split(",") if name]
    if not addr or not svc or not services:
        raise AseError(BAD_ADDR)
    live_flag = _parse_int(params, "live", BAD_LIVE)
    total = _parse_int(params, "total", BAD_TOTAL)
    best = _parse_int(params, "best", BAD_BEST)
    idle = _parse_int(params, "idle", BAD_IDLE)
    if not 0 <= total <= _MAX_REQUESTS:
        raise AseError(BAD_TOTAL, f"input total must be 0 to {_MAX_REQUESTS}")
    if not 0 <= best <= total:
        raise AseError(BAD_BEST, "input best must be 0 to total")
    if not -_MAX_REQUESTS <= idle <= total:
        raise AseError(BAD_IDLE, f"input idle must be -{_MAX_REQUESTS} to total")
    inflight = total - idle
    is_accepting = total > 0 and best > 0
    for service in services:
        try:
            check_names(svc, service, addr)
        except InvalidReportError as error:
            raise AseError(BAD_ADDR, str(error)) from None
        instance = Instance(
            svc, service, addr, _EPOCH, "xsf", "", max(1, total), max(1, best), ReportMode.PERIODIC
        )
        serving_state = (
            ServingState.DOWN
            if live_flag == 0
            else ServingState.UP
            if is_accepting
            else ServingState.DRAINING
        )
        running = min(inflight, best)
        yield Report(instance, Load(seq, serving_state, running=running, queued=inflight - running))


def pick_servers(
    params: Mapping[str, str], table: EndpointTable, policy: str, query_count: int
) -> list[bytes]:
    """Return the items of a `getServer` reply: one address each, best first.

    With `all=1` the reply is one item with the figures of all instances. `policy` is load, loadMini
    or poll; any other value means the least expected delay. `query_count` rotates the addresses of
    poll. Raises AseError 2006, 2046, 2011, 2012, 20002.
    """
    nbest = _parse_int(params, "nbest", BAD_NBEST) if policy != "loadMini" else 1
    if nbest < 1:
        raise AseError(BAD_NBEST)
    if params.get("uid"):
        _parse_int(params, "uid", BAD_UID)
    endpoints = _available_endpoints(params, table)
    if params.get("all") == "1" and policy != "loadMini":
        return [";".join(map(_figures_json, endpoints)).encode()]
    if policy == "poll":
        chosen = [
            endpoints[(query_count + n) % len(endpoints)] for n in range(min(nbest, len(endpoints)))
        ]
    elif policy in ("load", "loadMini"):
        chosen = sorted(endpoints, key=_idle_count, reverse=True)[:nbest]
    else:
        chosen = rank_by_delay(endpoints)[:nbest]
    if policy != "poll" and chosen[0].report_mode is not ReportMode.NONE:
        chosen[0].advertised_count += 1  # until its next report, which includes the request
    return [endpoint.instance.addr.encode() for endpoint in chosen]


def set_offline(params: Mapping[str, str], blocked_addresses: set[str]) -> str:
    """Block an address (forceOffline=1) or unblock it (0); return the `status` of the reply.

    Changes `blocked_addresses`. Raises AseError 2007 or 20016.
    """
    addr, flag = params.get("addr", ""), params.get("forceOffline", "")
    if not addr:
        raise AseError(BAD_ADDR)
    if flag == "1":
        blocked_addresses.add(addr)
        return "offline"
    if flag == "0":
        blocked_addresses.discard(addr)
        return "online"
    raise AseError(BAD_FORCE)


def monitor_json(query: Mapping[str, Any], table: EndpointTable) -> str:
    """Return the JSON reply to the ToolBox command `query`: the nodes of one service or of all."""
    svc, subsvc = str(query.get("svc", "")), str(query.get("subsvc", ""))
    services: dict[str, Any] = {}
    for endpoint in table:
        instance = endpoint.instance
        if (svc and instance.svc != svc) or (subsvc and instance.service != subsvc):
            continue
        nodes = services.setdefault(instance.service, {"AddrMap": {}})["AddrMap"]
        nodes[instance.addr] = {
            "Addr": instance.addr,
            "Timestamp": endpoint.load.seq if instance.report_mode is ReportMode.PERIODIC else 0,
            "BestInst": instance.best,
            "IdleInst": _idle_count(endpoint),
            "TotalInst": instance.total,
        }
    return json.dumps({"SubSvcMap": services}, separators=(",", ":"))


def _available_endpoints(params: Mapping[str, str], table: EndpointTable) -> list[Endpoint]:
    svc, subsvc = params.get("svc", ""), params.get("subsvc", "")
    in_service = table.endpoints_of(subsvc)
    if not in_service:
        all_endpoints: Collection[Endpoint] = list(table)
        is_unknown_svc = all(endpoint.instance.svc != svc for endpoint in all_endpoints)
        raise AseError(BAD_SVC if is_unknown_svc else BAD_SUBSVC)
    endpoints = [endpoint for endpoint in in_service if endpoint.instance.svc == svc]
    if not endpoints:
        raise AseError(BAD_SVC)
    usable = [
        endpoint
        for endpoint in endpoints
        if endpoint.state is EndpointState.UP or endpoint.is_presumed_alive()
    ]
    available = [endpoint for endpoint in usable if endpoint.state is not EndpointState.DRAINING]
    if not available:
        raise AseError(NO_INSTANCE)
    return available


def _idle_count(endpoint: Endpoint) -> int:
    return endpoint.instance.total - endpoint.outstanding() - endpoint.advertised_count


def _figures_json(endpoint: Endpoint) -> str:
    figures = {
        "addr": endpoint.instance.addr,
        "idleInst": _idle_count(endpoint),
        "bestInst": endpoint.instance.best,
        "totalInst": endpoint.instance.total,
    }
    return json.dumps(figures, separators=(",", ":"))


def _parse_int(params: Mapping[str, str], name: str, error_spec: ErrorSpec) -> int:
    try:
        return int(params.get(name, ""))
    except ValueError:
        raise AseError(error_spec) from None
