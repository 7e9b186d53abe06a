"""The original's interface to an LB: what its parameters mean, what it is answered. Pure.

Parameters, codes and formats: reference "ase-wire" 4.1 to 4.6; they are kept to the letter, its
faults (7, 13 to 20) are not: an absent `svc` is refused, `live=0` never adds a node, an address
that was forced offline leaves at once, `all=1` tells `totalInst`.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from lb.entry import Entry
from lb.life import State
from lb.pick import rank
from lb.report import Feed, Instance, Live, Load, Report, ReportError, check_names
from lb.table import Table
from schemas.errors import (
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

_MOST: Final = 10_000
# All that report in this way are of one life: there is no epoch, and `seq` is the time of receipt.
_EPOCH: Final = 1


def reports(params: Mapping[str, str], seq: int) -> Iterator[Report]:
    """Yield the report of each service that a `setServer` names.

    `seq`: when it was received, in nanoseconds. Raises AseError 2007, 2008, 2005, 2009, 20014.
    """
    addr, svc, listed = (params.get(name, "") for name in ("addr", "svc", "subsvc"))
    services = [name for name in listed.split(",") if name]
    if not addr or not svc or not services:
        raise AseError(BAD_ADDR)
    live = _number(params, "live", BAD_LIVE)
    total = _number(params, "total", BAD_TOTAL)
    best = _number(params, "best", BAD_BEST)
    idle = _number(params, "idle", BAD_IDLE)
    if not 0 <= total <= _MOST:
        raise AseError(BAD_TOTAL, f"input total must be 0 to {_MOST}")
    if not 0 <= best <= total:
        raise AseError(BAD_BEST, "input best must be 0 to total")
    if not -_MOST <= idle <= total:
        raise AseError(BAD_IDLE, f"input idle must be -{_MOST} to total")
    used = total - idle
    takes = total > 0 and best > 0
    for service in services:
        try:
            check_names(svc, service, addr)
        except ReportError as error:
            raise AseError(BAD_ADDR, str(error)) from None
        instance = Instance(
            svc, service, addr, _EPOCH, "xsf", "", max(1, total), max(1, best), Feed.AT_TIMES
        )
        state = Live.DOWN if live == 0 else Live.UP if takes else Live.DRAINING
        running = min(used, best)
        yield Report(instance, Load(seq, state, running=running, queued=used - running))


def servers(params: Mapping[str, str], table: Table, policy: str, turn: int) -> list[bytes]:
    """Return what `getServer` answers: one item per address, best first; or all in one.

    `policy` is load, loadMini, poll, or any other for the least expected delay; `turn` counts the
    queries (poll). Raises AseError 2006, 2046, 2011, 2012, 20002.
    """
    nbest = _number(params, "nbest", BAD_NBEST) if policy != "loadMini" else 1
    if nbest < 1:
        raise AseError(BAD_NBEST)
    if params.get("uid"):
        _number(params, "uid", BAD_UID)
    entries = _found(params, table)
    if params.get("all") == "1" and policy != "loadMini":
        return [";".join(map(_figures, entries)).encode()]
    if policy == "poll":
        chosen = [entries[(turn + n) % len(entries)] for n in range(min(nbest, len(entries)))]
    elif policy in ("load", "loadMini"):
        chosen = sorted(entries, key=_idle, reverse=True)[:nbest]
    else:
        chosen = rank(entries)[:nbest]
    if policy != "poll" and chosen[0].feed is not Feed.NONE:
        chosen[0].promised += 1  # until its next report, which tells of the request
    return [entry.instance.addr.encode() for entry in chosen]


def offline(params: Mapping[str, str], blocked: set[str]) -> str:
    """Take an address out (forceOffline=1) or let it back (0); return the `status` to answer.

    Raises AseError 2007 or 20016.
    """
    addr, told = params.get("addr", ""), params.get("forceOffline", "")
    if not addr:
        raise AseError(BAD_ADDR)
    if told == "1":
        blocked.add(addr)
        return "offline"
    if told == "0":
        blocked.discard(addr)
        return "online"
    raise AseError(BAD_FORCE)


def monitor(query: Mapping[str, Any], table: Table) -> str:
    """Return the JSON that `query` of the ToolBox answers: the nodes of a service, or of all."""
    svc, subsvc = str(query.get("svc", "")), str(query.get("subsvc", ""))
    services: dict[str, Any] = {}
    for entry in table:
        instance = entry.instance
        if (svc and instance.svc != svc) or (subsvc and instance.service != subsvc):
            continue
        nodes = services.setdefault(instance.service, {"AddrMap": {}})["AddrMap"]
        nodes[instance.addr] = {
            "Addr": instance.addr,
            "Timestamp": entry.load.seq if instance.feed is Feed.AT_TIMES else 0,
            "BestInst": instance.best,
            "IdleInst": _idle(entry),
            "TotalInst": instance.total,
        }
    return json.dumps({"SubSvcMap": services}, separators=(",", ":"))


def _found(params: Mapping[str, str], table: Table) -> list[Entry]:
    svc, subsvc = params.get("svc", ""), params.get("subsvc", "")
    known = table.service(subsvc)
    if not known:
        others: Collection[Entry] = list(table)
        unknown = all(entry.instance.svc != svc for entry in others)
        raise AseError(BAD_SVC if unknown else BAD_SUBSVC)
    entries = [entry for entry in known if entry.instance.svc == svc]
    if not entries:
        raise AseError(BAD_SVC)
    up = [entry for entry in entries if entry.state is State.UP or entry.is_only_silent()]
    live = [entry for entry in up if entry.state is not State.DRAINING]
    if not live:
        raise AseError(NO_INSTANCE)
    return live


def _idle(entry: Entry) -> int:
    return entry.instance.total - entry.queue() - entry.promised


def _figures(entry: Entry) -> str:
    told = {
        "addr": entry.instance.addr,
        "idleInst": _idle(entry),
        "bestInst": entry.instance.best,
        "totalInst": entry.instance.total,
    }
    return json.dumps(told, separators=(",", ":"))


def _number(params: Mapping[str, str], name: str, fault: ErrorSpec) -> int:
    try:
        return int(params.get(name, ""))
    except ValueError:
        raise AseError(fault) from None
