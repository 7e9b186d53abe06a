"""Load reports as values, and their conversion from and to the wire. Pure.

Design: `docs/load-balancing.md`. Counters are cumulative since the epoch began, so that a lost or
reordered report does no harm.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from schemas.model.service import SERVICE_ID
from schemas.wire import LoadReport

MAX_REQUESTS = 10_000
MAX_QUEUE = 1_000_000
MAX_SERVICE_MS = 3_600_000
MAX_GATEWAYS = 1_024
_MIN_SERVICE_MS = 0.001
_ADDR = re.compile(
    r"(?:\[[0-9a-fA-F:.%]{2,64}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?):([1-9]\d{0,4})"
)
_DIGEST = re.compile(r"(?:[0-9a-f]{64})?")
VERSION = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,126}[A-Za-z0-9])?)?")

InstanceKey = tuple[str, str, str]

# The environment variables by which whoever starts a loader names the version and the service of
# its reports.
VERSION_VARIABLE, SERVICE_VARIABLE = "ASE_LOADER_VERSION", "ASE_LOADER_SERVICE"

PROTOCOLS = {"native": 1, "xsf": 2}  # enum ase.v1.Protocol


class ServingState(IntEnum):
    """Serving state that a loader reports; the numbers are those of the wire.

    DRAINING: the loader finishes its requests and accepts no new ones. DOWN: it leaves.
    """

    DOWN = 0
    UP = 1
    DRAINING = 2


class ReportMode(IntEnum):
    """How the reports of an instance arrive; the numbers are those of the wire.

    ON_CHANGE: when something changed, so silence means that nothing did. PERIODIC: at intervals, so
    each report becomes stale. NONE: never.
    """

    ON_CHANGE = 0
    PERIODIC = 1
    NONE = 2


class InvalidReportError(Exception):
    """An invalid report; `str()` names the field and what it must be."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One loader process at one address, serving one service.

    `epoch` is a random number that identifies the process; 0 if it reports none. The loader accepts
    at most `total` requests at a time and runs `best` of them; the others are queued there. With a
    `max_batch` above 1 it runs them in batches of at most that many. `digest` is the sha256 of its
    schema document in hex; empty if it reports none. `version` says which version of the model it
    runs, and is empty if it does not.
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
    max_batch: int = 1
    version: str = ""

    @property
    def key(self) -> InstanceKey:
        """Return (svc, service, addr), which stays the same when the loader restarts."""
        return (self.svc, self.service, self.addr)


@dataclass(frozen=True, slots=True)
class Load:
    """The figures of a load report.

    `seq` increases within an epoch. `service_ms` is the mean time that a request occupies a slot in
    milliseconds; 0 means that it is not known yet. `served`, `errors` and `rejected` count since
    the epoch began. `requests_by_gateway` splits `running` + `queued` by gateway; None if the
    loader does not report it. A batch of n requests takes `batch_base_ms` + n * `batch_item_ms`
    milliseconds; both are 0 if there are no batches, or if that is not known yet.
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
    batch_base_ms: float = 0.0
    batch_item_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """One report; `document` is the canonical schema document in the first report of a stream."""

    instance: Instance
    load: Load
    document: bytes = b""


def protocol_name(number: int) -> str:
    """Return "xsf" or "native" for a number of the enum `ase.v1.Protocol`.

    Any number other than that of xsf means native.
    """
    return "xsf" if number == PROTOCOLS["xsf"] else "native"


def decode_report(message: LoadReport) -> Report:
    """Return the values of a report. Raises InvalidReportError if a field is out of bounds."""
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
        max_batch=message.max_batch or 1,
        version=message.version,
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
        batch_base_ms=message.batch_base_ms,
        batch_item_ms=message.batch_item_ms,
    )
    return Report(instance, load, message.schema.document)


def encode_report(report: Report) -> LoadReport:
    """Return the `LoadReport` message of a report."""
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
        max_batch=instance.max_batch if instance.max_batch > 1 else 0,
        batch_base_ms=load.batch_base_ms,
        batch_item_ms=load.batch_item_ms,
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
        version=instance.version,
    )
    if report.document:
        message.schema.digest = instance.digest
        message.schema.document = report.document
    return message


def check_names(svc: str, service: str, addr: str) -> None:
    """Raise InvalidReportError unless the names of an instance are valid; `svc` may be empty."""
    if not SERVICE_ID.fullmatch(service):
        raise InvalidReportError(
            "subsvc: must be a service id of letters, digits, '_', '.' and '-'"
        )
    if svc and not SERVICE_ID.fullmatch(svc):
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
    if message.max_batch > max(1, message.best or message.total):
        raise InvalidReportError("max_batch: must be no more than best")
    if not (
        0 <= message.batch_base_ms <= MAX_SERVICE_MS
        and 0 <= message.batch_item_ms <= MAX_SERVICE_MS
    ):
        raise InvalidReportError(
            f"batch_base_ms, batch_item_ms: must be milliseconds, 0 to {MAX_SERVICE_MS}"
        )
    if len(message.held) > MAX_GATEWAYS:
        raise InvalidReportError(f"held: must name at most {MAX_GATEWAYS} gateways")
    if not _DIGEST.fullmatch(message.schema_digest):
        raise InvalidReportError("schema_digest: must be a sha256 in lower-case hex, or empty")
    if not VERSION.fullmatch(message.version):
        raise InvalidReportError(
            "version: must be up to 128 letters, digits, '.', '_', ':' and '-', or empty"
        )
