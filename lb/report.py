"""What a loader tells of itself, as values, to and from the wire: who it is, how it fares. Pure.

Design: reference "load-balancing" 6.2. Counters are cumulative since the epoch began, so that a
lost or reordered report does no harm.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from schemas.wire import LoadReport

MAX_TOTAL = 10_000
MAX_QUEUE = 1_000_000
MAX_SERVICE_MS = 3_600_000
MAX_HOLDERS = 1_024
_LEAST_MS = 0.001
_ADDR = re.compile(
    r"(?:\[[0-9a-fA-F:.%]{2,64}\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?):([1-9]\d{0,4})"
)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"(?:[0-9a-f]{64})?")

Key = tuple[str, str, str]

PROTOCOLS = {"native": 1, "xsf": 2}  # enum ase.v1.Protocol


class Live(IntEnum):
    """What a loader says of its own future; the numbers are the wire's."""

    DOWN = 0
    UP = 1
    DRAINING = 2


class Feed(IntEnum):
    """How the reports of an instance come; the numbers are the wire's.

    LIVE: when something changed, so silence says that nothing did. AT_TIMES: now and then, so that
    each fades. NONE: never.
    """

    LIVE = 0
    AT_TIMES = 1
    NONE = 2


class ReportError(Exception):
    """A report that cannot be believed; `str()` names the field and the cure."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One loader process behind one address, serving one service. `epoch` 0: it tells none.

    `total` and `best` are licences: the most requests it takes, and how many it works on at a time;
    what is beyond `best` waits there.
    """

    svc: str
    service: str
    addr: str
    epoch: int = 0
    protocol: str = "native"
    digest: str = ""
    total: int = 1
    best: int = 1
    feed: Feed = Feed.LIVE

    @property
    def key(self) -> Key:
        """Return what stays the same over restarts."""
        return (self.svc, self.service, self.addr)


@dataclass(frozen=True, slots=True)
class Load:
    """The moving figures. `service_ms` 0: not known yet.

    `held`: of `running` and `queued`, by gateway; None where that is not told.
    """

    seq: int = 0
    live: Live = Live.UP
    running: int = 0
    queued: int = 0
    service_ms: float = 0.0
    served: int = 0
    errors: int = 0
    rejected: int = 0
    held: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One report; `document` holds the canonical schema document in a stream's first one."""

    instance: Instance
    load: Load
    document: bytes = b""


def protocol_name(number: int) -> str:
    """Return "xsf" or "native" for a number of the enum `ase.v1.Protocol`."""
    return "xsf" if number == PROTOCOLS["xsf"] else "native"


def read(wire: LoadReport) -> Report:
    """Return the values of a report. Raises ReportError for what is out of bounds."""
    _check(wire)
    instance = Instance(
        svc=wire.svc or "ase",
        service=wire.subsvc,
        addr=wire.addr,
        epoch=wire.instance_epoch,
        protocol=protocol_name(wire.protocol),
        digest=wire.schema_digest,
        total=wire.total,
        best=wire.best or wire.total,
    )
    load = Load(
        seq=wire.seq,
        live=Live(wire.live),
        running=wire.running,
        queued=wire.queued,
        service_ms=max(wire.service_ms, _LEAST_MS) if wire.service_ms else 0.0,
        served=wire.served_total,
        errors=wire.error_total,
        rejected=wire.rejected_total,
        held=dict(wire.held) if wire.tells_held else None,
    )
    return Report(instance, load, wire.schema.document)


def write(report: Report) -> LoadReport:
    """Return the wire form of a report."""
    instance, load = report.instance, report.load
    wire = LoadReport(
        svc=instance.svc,
        subsvc=instance.service,
        addr=instance.addr,
        instance_epoch=instance.epoch,
        seq=load.seq,
        live=int(load.live),
        total=instance.total,
        best=instance.best,
        idle=instance.best - load.running - load.queued,
        running=load.running,
        queued=load.queued,
        service_ms=load.service_ms,
        served_total=load.served,
        error_total=load.errors,
        rejected_total=load.rejected,
        held=load.held,
        tells_held=load.held is not None,
        protocol=PROTOCOLS[instance.protocol],
        schema_digest=instance.digest,
    )
    if report.document:
        wire.schema.digest = instance.digest
        wire.schema.document = report.document
    return wire


def check_names(svc: str, service: str, addr: str) -> None:
    """Raise ReportError unless these can be names of an instance; `svc` may be empty."""
    if not _ID.fullmatch(service):
        raise ReportError("subsvc: must be a service id of letters, digits, '_', '.' and '-'")
    if svc and not _ID.fullmatch(svc):
        raise ReportError("svc: must be a name of letters, digits, '_', '.' and '-'")
    found = _ADDR.fullmatch(addr)
    if not found or not 0 < int(found[1]) < 65536:
        raise ReportError("addr: must be host:port that gateways can dial")


def _check(wire: LoadReport) -> None:
    check_names(wire.svc, wire.subsvc, wire.addr)
    if wire.instance_epoch == 0:
        raise ReportError("instance_epoch: must be a random number other than 0")
    if wire.live not in (0, 1, 2):
        raise ReportError("live: must be 0, 1 or 2")
    if not 1 <= wire.total <= MAX_TOTAL or wire.best > wire.total:
        raise ReportError(f"total: must be 1..{MAX_TOTAL}, and best no more than total")
    if max(wire.running, wire.queued) > MAX_QUEUE:
        raise ReportError(f"running, queued: must be at most {MAX_QUEUE}")
    if not 0 <= wire.service_ms <= MAX_SERVICE_MS:
        raise ReportError(f"service_ms: must be milliseconds, 0 to {MAX_SERVICE_MS}")
    if len(wire.held) > MAX_HOLDERS:
        raise ReportError(f"held: must name at most {MAX_HOLDERS} gateways")
    if not _DIGEST.fullmatch(wire.schema_digest):
        raise ReportError("schema_digest: must be a sha256 in lower-case hex, or empty")
