"""The original's LB interface: the meaning of its parameters, and its replies. Pure.

Parameters, codes and formats follow the original (`docs/wire.md` names the differences). Its
defects are not reproduced: `live=0` never adds a node, an address that is forced offline leaves at
once, and `all=1` returns `totalInst`.
"""

import json
import re
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
    NO_INSTANCE,
    NOT_ALLOWED,
    AseError,
    ErrorSpec,
)

_MAX_REQUESTS: Final = 10_000
# All reports of this interface have one epoch, because it has no such field. `seq` is the time of
# receipt.
_EPOCH: Final = 1
# The integers of the original, which is written in Go: no blanks, underscores or other digits.
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}")


def parse_reports(params: Mapping[str, str], seq: int) -> Iterator[Report]:
    """Yield the report of each service that a `setServer` call names.

    `seq` is the time of receipt in nanoseconds. Numbers out of range are moved into it: a loader of
    the original may report a `best` or an `idle` above `total`. Raises AseError 2007, 2008, 2009,
    2005, 20014, in the order of the original's checks.
    """
    addr, svc, services = _required(params, "addr"), _required(params, "svc"), _services(params)
    total = _parse_int(params, "total", BAD_TOTAL)
    idle = _parse_int(params, "idle", BAD_IDLE)
    best = _parse_int(params, "best", BAD_BEST)
    live_flag = _parse_int(params, "live", BAD_LIVE)
    inflight = min(max(total - idle, 0), 2 * _MAX_REQUESTS)
    total = min(max(total, 0), _MAX_REQUESTS)
    best = min(max(best, 0), total)
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


def _required(params: Mapping[str, str], name: str) -> str:
    """Return a parameter that may be empty. Raises AseError 2007 if it is absent."""
    if name not in params:
        raise AseError(BAD_ADDR)
    return params[name]


def _services(params: Mapping[str, str]) -> list[str]:
    services = [name for name in _required(params, "subsvc").split(",") if name]
    if not services:
        raise AseError(BAD_ADDR)
    return services


def pick_servers(
    params: Mapping[str, str], table: EndpointTable, policy: str, query_count: int
) -> list[bytes]:
    """Return the items of a `getServer` reply: one address each, best first.

    With `all=1` the reply is one item with the figures of all instances. `policy` is load, loadMini
    or poll; any other value means the least expected delay. `query_count` rotates the addresses of
    poll. If all instances report no capacity at all (`total` or `best` 0), load returns every one.
    Raises AseError 2006, 2007, 2011, 2012, 20002.
    """
    nbest = _parse_int(params, "nbest", BAD_NBEST)
    if nbest < 1:
        raise AseError(BAD_NBEST)
    if policy == "loadMini":
        nbest = 1
    endpoints, have_capacity = _available_endpoints(
        _required(params, "svc"), _required(params, "subsvc"), table
    )
    if not have_capacity and policy == "load":
        nbest = len(endpoints)
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


def set_offline(params: Mapping[str, str], blocked_addresses: set[str]) -> tuple[bool, str]:
    """Block an address (forceOffline=1) or unblock it (0).

    Returns whether it is blocked now, and the `status` of the reply. Changes `blocked_addresses`.
    Raises AseError 2007 or 20016 if a parameter is absent, 20017 for another value.
    """
    addr, flag = _required(params, "addr"), params.get("forceOffline")
    if flag is None:
        raise AseError(BAD_FORCE)
    if flag not in ("0", "1"):
        raise AseError(NOT_ALLOWED, "forceOffline must be 1 or 0")
    if flag == "1":
        blocked_addresses.add(addr)
        done = f"adding {addr} to"
    else:
        blocked_addresses.discard(addr)
        done = f"deleting {addr} from"
    blacklist = " ".join(sorted(blocked_addresses))
    return flag == "1", f"successfully {done} blacklist([{blacklist}])"


def monitor_json(query: Mapping[str, Any], table: EndpointTable) -> str:
    """Return the reply to the ToolBox command `query`: the nodes of one service, or of all.

    With `svc` and `subsvc` it is `{"AddrMap": ...}`, else `{"SubSvcMap": ...}`, both as JSON; for
    an unknown service it is a sentence.
    """
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
    if (svc or subsvc) and not services:
        return f"no instance of svc {svc!r}, subsvc {subsvc!r}"
    monitor = services[subsvc] if svc and subsvc else {"SubSvcMap": services}
    return json.dumps(monitor, separators=(",", ":"))


def _available_endpoints(
    svc: str, subsvc: str, table: EndpointTable
) -> tuple[list[Endpoint], bool]:
    """Return the endpoints to choose from, and whether they have capacity.

    Those that drain are returned only if no other is left, and if they are loaders of the original:
    they report a capacity of 0 and serve nevertheless. Raises AseError 2011, 2012, 20002.
    """
    in_service = table.endpoints_of(subsvc)
    if not in_service:
        all_endpoints: Collection[Endpoint] = list(table)
        is_unknown_svc = all(endpoint.instance.svc != svc for endpoint in all_endpoints)
        raise AseError(BAD_SVC if is_unknown_svc else BAD_SUBSVC)
    endpoints = [endpoint for endpoint in in_service if endpoint.instance.svc == svc]
    if not endpoints:
        raise AseError(BAD_SVC)
    available = table.admitted(
        subsvc,
        lambda endpoint: (
            endpoint.instance.svc == svc
            and endpoint.state is not EndpointState.DRAINING
            and (endpoint.state is EndpointState.UP or endpoint.is_presumed_alive())
        ),
    )
    if available:
        return available, True
    without_capacity = [
        endpoint
        for endpoint in endpoints
        if endpoint.state is EndpointState.DRAINING and endpoint.report_mode is ReportMode.PERIODIC
    ]
    if not without_capacity:
        raise AseError(NO_INSTANCE)
    return without_capacity, False


def _idle_count(endpoint: Endpoint) -> int:
    return endpoint.instance.total - endpoint.outstanding() - endpoint.advertised_count


def _figures_json(endpoint: Endpoint) -> str:
    figures = {
        "addr": endpoint.instance.addr,
        "bestInst": endpoint.instance.best,
        "idleInst": _idle_count(endpoint),
        "totalInst": endpoint.instance.total,
    }
    return json.dumps(figures, separators=(",", ":"))


def _parse_int(params: Mapping[str, str], name: str, error_spec: ErrorSpec) -> int:
    text = params.get(name, "")
    if not _INTEGER.fullmatch(text) or not -(2**63) <= int(text) < 2**63:
        raise AseError(error_spec)
    return int(text)
