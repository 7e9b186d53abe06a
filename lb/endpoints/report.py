"""What a loader tells of itself, as values, to and from the wire: who it is, how it fares. Pure.

Design: reference "load-balancing" 6.2. Counters are cumulative since the epoch began, so that a
lost or reordered report does no harm.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from schemas.wire import LoadReport

MAX_REQUESTS = 10_000
MAX_QUEUE = 1_000_000
MAX_SERVICE_MS = 3_600_000
MAX_GATEWAYS = 1_024
_MIN_SERVICE_MS = 0.001
_ADDR = re.compile(
    r"(?:\[[0-9a-fA-F:.%]{2,64}\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?):([1-9]\d{0,4})"
)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"(?:[0-9a-f]{64})?")

InstanceKey = tuple[str, str, str]

PROTOCOLS = {"native": 1, "xsf": 2}  # enum ase.v1.Protocol


class ServingState(IntEnum):
    """What a loader says of its own future; the numbers are the wire's."""

    DOWN = 0
    UP = 1
    DRAINING = 2


class ReportMode(IntEnum):
    """How the reports of an instance come; the numbers are the wire's.

    LIVE: when something changed, so silence says that nothing did. AT_TIMES: now and then, so that
    each fades. NONE: never.
    """

    ON_CHANGE = 0
    PERIODIC = 1
    NONE = 2


class InvalidReportError(Exception):
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
    report_mode: ReportMode = ReportMode.ON_CHANGE

    @property
    def key(self) -> InstanceKey:
        """Return what stays the same over restarts."""
        return (self.svc, self.service, self.addr)


@dataclass(frozen=True, slots=True)
class Load:
    """The moving figures. `service_ms` 0: not known yet.

    `held`: of `running` and `queued`, by gateway; None where that is not told.
    """

    seq: int = 0
    serving_state: ServingState = ServingState.UP
    running: int = 0
    queued: int = 0
    service_ms: float = 0.0
    served: int = 0
    errors: int = 0
    rejected: int = 0
    requests_by_gateway: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One report; `document` holds the canonical schema document in a stream's first one."""

    instance: Instance
    load: Load
    document: bytes = b""


def protocol_name(number: int) -> str:
    """Return "xsf" or "native" for a number of the enum `ase.v1.Protocol`."""
    return "xsf" if number == PROTOCOLS["xsf"] else "native"


def decode_report(message: LoadReport) -> Report:
    """Return the values of a report. Raises ReportError for what is out of bounds."""
    _check(message)
    instance = Instance(
        svc=message.svc or "ase",
        service=message.subsvc,
        addr=message.addr,
        epoch=message.instance_epoch,
        protocol=protocol_name(message.protocol),
        digest=message.schema_digest,
        total=message.total,
        best=message.best or message.total,
    )
    load = Load(
        seq=message.seq,
        serving_state=ServingState(message.live),
        running=message.running,
        queued=message.queued,
        service_ms=max(message.service_ms, _MIN_SERVICE_MS) if message.service_ms else 0.0,
        served=message.served_total,
        errors=message.error_total,
        rejected=message.rejected_total,
        requests_by_gateway=dict(message.held) if message.tells_held else None,
    )
    return Report(instance, load, message.schema.document)


def encode_report(report: Report) -> LoadReport:
    """Return the wire form of a report."""
    instance, load = report.instance, report.load
    message = LoadReport(
        svc=instance.svc,
        subsvc=instance.service,
        addr=instance.addr,
        instance_epoch=instance.epoch,
        seq=load.seq,
        live=int(load.serving_state),
        total=instance.total,
        best=instance.best,
        idle=instance.best - load.running - load.queued,
        running=load.running,
        queued=load.queued,
        service_ms=load.service_ms,
        served_total=load.served,
        error_total=load.errors,
        rejected_total=load.rejected,
        held=load.requests_by_gateway,
        tells_held=load.requests_by_gateway is not None,
        protocol=PROTOCOLS[instance.protocol],
        schema_digest=instance.digest,
    )
    if report.document:
        message.schema.digest = instance.digest
        message.schema.document = report.document
    return message


def check_names(svc: str, service: str, addr: str) -> None:
    """Raise ReportError unless these can be names of an instance; `svc` may be empty."""
    if not _ID.fullmatch(service):
        raise InvalidReportError(
            "subsvc: must be a service id of letters, digits, '_', '.' and '-'"
        )
    if svc and not _ID.fullmatch(svc):
        raise InvalidReportError("svc: must be a name of letters, digits, '_', '.' and '-'")
    match = _ADDR.fullmatch(addr)
    if not match or not 0 < int(match[1]) < 65536:
        raise InvalidReportError("addr: must be host:port that gateways can dial")


def _check(message: LoadReport) -> None:
    check_names(message.svc, message.subsvc, message.addr)
    if message.instance_epoch == 0:
        raise InvalidReportError("instance_epoch: must be a random number other than 0")
    if message.live not in (0, 1, 2):
        raise InvalidReportError("live: must be 0, 1 or 2")
    if not 1 <= message.total <= MAX_REQUESTS or message.best > message.total:
        raise InvalidReportError(f"total: must be 1..{MAX_REQUESTS}, and best no more than total")
    if max(message.running, message.queued) > MAX_QUEUE:
        raise InvalidReportError(f"running, queued: must be at most {MAX_QUEUE}")
    if not 0 <= message.service_ms <= MAX_SERVICE_MS:
        raise InvalidReportError(f"service_ms: must be milliseconds, 0 to {MAX_SERVICE_MS}")
    if len(message.held) > MAX_GATEWAYS:
        raise InvalidReportError(f"held: must name at most {MAX_GATEWAYS} gateways")
    if not _DIGEST.fullmatch(message.schema_digest):
        raise InvalidReportError("schema_digest: must be a sha256 in lower-case hex, or empty")
