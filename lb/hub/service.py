"""The hub: receives reports of loaders and sends changes to gateways. Its table has the state."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import islice
from math import inf
from random import Random

from google.protobuf.message import DecodeError

from lb.balancer.affinity import prefer_affine
from lb.balancer.least_expected_delay import rank_by_delay
from lb.endpoints.lifecycle import EndpointEvent, EndpointState, StateChange
from lb.endpoints.report import (
    PROTOCOLS,
    Instance,
    InstanceKey,
    InvalidReportError,
    Report,
    ServingState,
    decode_report,
)
from lb.endpoints.sweep import sweep
from lb.endpoints.table import EndpointTable
from lb.endpoints.traffic import InvalidTrafficError, TrafficRules
from lb.hub.admission import AdmissionPolicy, RateLimiter, RejectReason, ReportRejectedError
from lb.hub.broadcast import Broadcaster
from lb.hub.counters import HubCounts
from lb.hub.leases import LeaseError, LimitLeases
from lb.hub.peer_quota import PeerQuota
from lb.reporter.schedule import IDLE_KEEPALIVE_S, KEEPALIVE_S, REPORT_GAP_S
from rpc.bounded_cache import BoundedCache
from rpc.server import CallContext, StreamHandler, UnaryHandler, first_request
from rpc.status import RpcError, Status
from schemas.model import document
from schemas.model.document import DocumentError
from schemas.model.errors import NO_INSTANCE
from schemas.validation.request_validator import RequestValidator
from schemas.wire import (
    Candidate,
    LeaseRequest,
    LoadReport,
    PickReply,
    PickRequest,
    ReportControl,
    Traffic,
    TrafficReply,
    WatchRequest,
)

_logger = logging.getLogger("ase.lb")

MAX_DOCUMENT_BYTES = 256 * 1024
MAX_DOCUMENTS_BYTES = 8 * 1024 * 1024  # all of them travel in one snapshot

# Limit of the keep-alives per second of all instances together. The keep-alive interval grows with
# the instances to keep it, up to _MAX_KEEPALIVE_S (1,000 instances).
_MAX_KEEPALIVES_PER_S = 1000
_MAX_KEEPALIVE_S = 1.0
# Instances that went without a DOWN report, for the original's monitor: at most 256, for 300 s.
_MAX_LOST_RECORDS, _LOST_RECORD_S = 256, 300.0
_MAX_LOGGED_SHARES = 20
# Revisions of traffic rules grow with the wall clock: one of the far future would be the last.
_MAX_REVISION_LEAD_MS = 86_400_000
_REJECTION_LOG_INTERVAL_S, _MAX_LOGGED_REJECTIONS = 10.0, 1024

_STATUS_BY_REASON = {
    RejectReason.UNAUTHENTICATED: Status.UNAUTHENTICATED,
    RejectReason.ADDRESS: Status.PERMISSION_DENIED,
    RejectReason.PAST_EPOCH: Status.PERMISSION_DENIED,
    RejectReason.CAP: Status.RESOURCE_EXHAUSTED,
    RejectReason.RATE: Status.RESOURCE_EXHAUSTED,
}

OnChange = Callable[[StateChange], None]


class Hub:
    """Serves `ase.v1.LoadBalancer` over a table.

    `admission_policy` decides which reports are accepted. `clock` returns monotonic seconds.
    `on_change` is called with every state change; at that time `documents` has the schema document
    that came with the instance. `keepalive` is the least interval between keep-alives and
    `frame_gap` the least time between two frames to one gateway, both in seconds. `wall_ms` returns
    the Unix time in milliseconds.

    `documents` has the schema documents by digest. A document that no instance uses is dropped.
    `blocked_addresses` are forced offline: their reports are rejected. `_stream_owners` maps each
    instance to the token of the stream that reports it. `_rate_limiters` is for instances that
    report without a stream. `_rejections_logged_at` is when a rejected report was logged, by the
    peer's host and the message. While `is_handed_over` is set the loaders report to another
    process: the end of a stream says nothing of its loader.
    """

    def __init__(
        self,
        table: EndpointTable,
        admission_policy: AdmissionPolicy,
        *,
        clock: Callable[[], float],
        rng: Random,
        on_change: OnChange,
        counts: HubCounts,
        keepalive: float = KEEPALIVE_S,
        frame_gap: float = 0.002,
        wall_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self._wall_ms = wall_ms
        self._table = table
        self._admission_policy = admission_policy
        self._clock = clock
        self._rng = rng
        self._on_change = on_change
        self._counts = counts
        self._keepalive = keepalive
        # Only the owner's reports count: after a reconnect, the end of the old stream is ignored.
        self._stream_owners: dict[InstanceKey, object] = {}
        self._rejections_logged_at: BoundedCache[tuple[str, str], float] = BoundedCache(
            _MAX_LOGGED_REJECTIONS
        )
        self._peer_quota = PeerQuota(admission_policy.max_instances_per_peer)
        self._rate_limiters: dict[InstanceKey, RateLimiter] = {}
        self._lost_records: deque[tuple[float, str, str]] = deque(maxlen=_MAX_LOST_RECORDS)
        self._limit_leases = LimitLeases()
        self.blocked_addresses: set[str] = set()
        self.is_handed_over = False
        self.documents: dict[str, bytes] = {}
        epoch = rng.getrandbits(63) | 1
        self._broadcaster = Broadcaster(
            table, self.documents, epoch=epoch, clock=clock, gap=frame_gap, counts=counts
        )

    def unary_methods(self) -> dict[str, UnaryHandler]:
        """Return the unary methods by path."""
        return {
            "/ase.v1.LoadBalancer/Pick": self.pick,
            "/ase.v1.LoadBalancer/Lease": self.lease,
            "/ase.v1.LoadBalancer/SetTraffic": self.set_traffic,
        }

    def stream_methods(self) -> dict[str, StreamHandler]:
        """Return the streaming methods by path."""
        return {
            "/ase.v1.LoadBalancer/Report": self.report,
            "/ase.v1.LoadBalancer/Watch": self.watch,
        }

    async def run(self) -> None:
        """Expire endpoints of the table and send changes to gateways, forever."""
        await asyncio.gather(
            sweep(self._table, self._clock, self._publish), self._broadcaster.run()
        )

    async def report(
        self, requests: AsyncIterator[bytes], call: CallContext
    ) -> AsyncIterator[bytes]:
        """Serve `Report`: one loader, from its first report until its stream ends.

        Reports beyond the rate limit are dropped and answered with a longer gap; the first report
        of a stream and reports of a state other than UP are always applied. Raises RpcError:
        UNAUTHENTICATED or PERMISSION_DENIED if the loader may not report this, INVALID_ARGUMENT for
        an invalid report or schema, RESOURCE_EXHAUSTED at a cap, ABORTED if the instance was
        removed while its stream was open.
        """
        last_report: Report | None = None
        stream_token = object()
        rejection: tuple[RejectReason, str] | None = None
        rate_limiter, sent_control = RateLimiter(self._admission_policy.max_rate), ReportControl()
        try:
            async for data in requests:
                report = self._admit(data, last_report, call)
                is_allowed = (
                    rate_limiter.try_acquire(self._clock())
                    or report.load.serving_state is not ServingState.UP
                )
                if last_report is not None and not is_allowed:
                    self._counts.count_rejection(RejectReason.RATE)
                    yield self._slow_down_control(report).SerializeToString()
                    continue
                is_first = last_report is None
                self._claim_stream(report, stream_token, is_first=is_first)
                last_report = report  # from here on, the end of the stream means a lost instance
                self._apply_report(report, call.peer)
                control = self._next_control()
                if is_first or control != sent_control:
                    sent_control = control
                    reply = ReportControl(seq=report.load.seq)
                    reply.MergeFrom(control)
                    yield reply.SerializeToString()
        except InvalidReportError as error:
            rejection = (RejectReason.BOUNDS, str(error))
        except ReportRejectedError as error:
            rejection = (error.reason, str(error))
        finally:
            if (
                last_report is not None
                and self._stream_owners.get(last_report.instance.key) is stream_token
            ):
                del self._stream_owners[last_report.instance.key]
                if not self.is_handed_over:
                    self._mark_lost(last_report.instance)
        if rejection is not None:
            # Raised outside the `except` block: there, the traceback of the caught exception would
            # keep the report alive until a garbage collection.
            reason, message = rejection
            self.reject_report(call, reason, message)
            raise RpcError(_STATUS_BY_REASON.get(reason, Status.INVALID_ARGUMENT), message)

    def apply_single_report(self, report: Report, call: CallContext) -> None:
        """Apply a report that arrived outside a stream. Raises ReportRejectedError."""
        try:
            key = report.instance.key
            self._admission_policy.check_token(call.metadata, report.instance.service)
            self._admission_policy.check_address(report.instance.addr, call.peer)
            current = self._table.get(key)
            if current is None:
                if report.load.serving_state is ServingState.DOWN:
                    return
                self._check_capacity(call.peer)
            elif key in self._stream_owners:
                raise ReportRejectedError(
                    RejectReason.ADDRESS, "addr: a loader reports it by a stream"
                )
            else:  # `seq` is wall time: a clock set back must not make a report look stale
                seq = max(report.load.seq, current.load.seq + 1)
                report = replace(report, load=replace(report.load, seq=seq))
            if not self._rate_limiters.setdefault(
                key, RateLimiter(self._admission_policy.max_rate)
            ).try_acquire(self._clock()):
                raise ReportRejectedError(RejectReason.RATE, "too many reports")
        except ReportRejectedError as error:
            self.reject_report(call, error.reason, str(error))
            raise
        self._apply_report(self._admission_policy.with_capped_requests(report), call.peer)

    def reject_report(self, call: CallContext, reason: RejectReason, message: str) -> None:
        """Count a rejected report, and log it unless the peer's host did the same in the last 10 s.

        A loader reports every second, and a misconfigured one is rejected every second.
        """
        self._counts.count_rejection(reason)
        now, key = self._clock(), (call.peer.rpartition(":")[0], message)
        if now - self._rejections_logged_at.entries.get(key, -inf) < _REJECTION_LOG_INTERVAL_S:
            return
        self._rejections_logged_at.add(key, now)
        log_fields = {"peer": call.peer, "kind": reason.value, "reason": message}
        _logger.warning("report refused", extra=log_fields)

    def remove_address(self, addr: str) -> None:
        """Remove every instance at an address."""
        for endpoint in self._table:
            if endpoint.instance.addr == addr:
                epoch = endpoint.instance.epoch
                self._publish(
                    self._table.remove(endpoint.instance.key, epoch, EndpointEvent.REPORTED_DOWN)
                )

    def lost_instances(self) -> list[tuple[float, str, str]]:
        """Return (age in seconds, service, address) of instances lost in the last 300 s."""
        now = self._clock()
        records = [(now - lost_at, service, addr) for lost_at, service, addr in self._lost_records]
        return [record for record in records if record[0] <= _LOST_RECORD_S]

    def _apply_report(self, report: Report, peer: str) -> None:
        current = self._table.get(report.instance.key)
        epoch, seq = report.instance.epoch, report.load.seq
        if current is not None and current.instance.epoch == epoch and seq <= current.load.seq:
            self._counts.count_rejection(RejectReason.STALE)
            return
        self._counts.reports += 1
        self._publish(self._table.apply(report, self._clock()))
        if self._table.get(report.instance.key) is not None:
            self._peer_quota.add(report.instance.key, peer)
        self._broadcaster.mark_changed(report.instance)
        if report.document:
            self._prune_document(report.instance.digest)

    def _next_control(self) -> ReportControl:
        """Return the report settings for a loader.

        The keep-alive interval grows with the number of loaders that report by a stream, since only
        they send keep-alives; the gap between two reports grows with the overload level.
        """
        streams = len(self._stream_owners)
        keepalive = min(_MAX_KEEPALIVE_S, max(self._keepalive, streams / _MAX_KEEPALIVES_PER_S))
        self._table.raise_timeouts(keepalive)
        gap = self._broadcaster.overload.scale_interval(REPORT_GAP_S)
        return ReportControl(
            keepalive_ms=round(keepalive * 1000),
            idle_keepalive_ms=round(max(keepalive, IDLE_KEEPALIVE_S) * 1000),
            gap_ms=round(gap * 1000),
        )

    def _slow_down_control(self, report: Report) -> ReportControl:
        """Return the control message for a loader whose report exceeded the rate limit."""
        gap = max(round(REPORT_GAP_S * 1000) + 1, round(2000 / self._admission_policy.max_rate))
        return ReportControl(seq=report.load.seq, gap_ms=gap, code=1, message="too many reports")

    async def watch(
        self, requests: AsyncIterator[bytes], call: CallContext
    ) -> AsyncIterator[bytes]:
        """Serve `Watch`: a snapshot, then a frame after each change, or each second without one.

        Raises RpcError UNAUTHENTICATED if the token is missing or wrong, INVALID_ARGUMENT without a
        request.
        """
        self._check_token(call)
        request = WatchRequest.FromString(await first_request(requests))
        async for frame in self._broadcaster.subscribe(request):
            yield frame

    def _check_token(self, call: CallContext) -> None:
        try:
            self._admission_policy.check_token(call.metadata)
        except ReportRejectedError as error:
            self._counts.count_rejection(error.reason)
            raise RpcError(Status.UNAUTHENTICATED, str(error)) from None

    async def lease(self, data: bytes, call: CallContext) -> bytes:
        """Serve `Lease`: the part of each limit that a gateway may use.

        Raises RpcError UNAUTHENTICATED or INVALID_ARGUMENT.
        """
        self._check_token(call)
        try:
            return self.lease_limits(data)
        except (DecodeError, LeaseError) as error:
            raise RpcError(Status.INVALID_ARGUMENT, f"not a LeaseRequest: {error}") from None

    def lease_limits(self, data: bytes) -> bytes:
        """Return the reply to a LeaseRequest. Raises DecodeError or LeaseError."""
        request = LeaseRequest.FromString(data)
        return self._limit_leases.exchange(request, self._clock()).SerializeToString()

    async def set_traffic(self, data: bytes, call: CallContext) -> bytes:
        """Serve `SetTraffic`: the shares of an owner's versions; return which revision counts.

        Only who may force instances offline may do it. Raises RpcError UNAUTHENTICATED or
        INVALID_ARGUMENT.
        """
        try:
            self._admission_policy.check_admin(call.metadata, call.peer)
            rules = TrafficRules.from_message(Traffic.FromString(data))
            if rules.revision > self._wall_ms() + _MAX_REVISION_LEAD_MS:
                raise InvalidTrafficError("revision: is a day or more ahead of this hub's clock")
            if self._table.set_traffic(rules):
                shares = dict(islice(rules.shares.items(), _MAX_LOGGED_SHARES))
                fields = {"owner": rules.owner, "count": len(rules.shares), "shares": shares}
                _logger.info("traffic shares set", extra={**fields, "peer": call.peer})
                self._broadcaster.mark_traffic_changed()
        except ReportRejectedError as error:
            self._counts.count_rejection(error.reason)
            raise RpcError(Status.UNAUTHENTICATED, str(error)) from None
        except (DecodeError, InvalidTrafficError) as error:
            raise RpcError(Status.INVALID_ARGUMENT, f"not traffic rules: {error}") from None
        revision = self._table.traffic.revision_of(rules.owner)
        return TrafficReply(revision=revision).SerializeToString()

    async def pick(self, data: bytes, call: CallContext) -> bytes:
        """Serve `Pick`: addresses of a service, best first, for clients without a picker.

        The reply has code 20002 if no instance is UP. Raises RpcError UNAUTHENTICATED or
        INVALID_ARGUMENT.
        """
        self._check_token(call)
        try:
            request = PickRequest.FromString(data)
        except DecodeError as error:
            raise RpcError(Status.INVALID_ARGUMENT, "not a PickRequest") from error
        available = self._table.admitted(
            request.subsvc,
            lambda endpoint: (
                endpoint.state is EndpointState.UP and endpoint.instance.addr not in request.exclude
            ),
        )
        self._rng.shuffle(available)
        ranked = rank_by_delay(available)
        if ranked and request.key:
            preferred = prefer_affine(available, ranked[0], request.key, (), self._clock())
            ranked = [preferred, *(endpoint for endpoint in ranked if endpoint is not preferred)]
        ranked = ranked[: request.nbest or 1]
        if not ranked:
            return PickReply(code=NO_INSTANCE.code, message=NO_INSTANCE.message).SerializeToString()
        return PickReply(
            candidates=[
                Candidate(
                    addr=endpoint.instance.addr,
                    protocol=PROTOCOLS[endpoint.instance.protocol],
                    expected_ms=endpoint.expected_ms(),
                    schema_digest=endpoint.instance.digest,
                )
                for endpoint in ranked
            ]
        ).SerializeToString()

    def _claim_stream(self, report: Report, stream_token: object, *, is_first: bool) -> None:
        """Check that the stream may report the instance: only the newest stream of each may.

        Raises InvalidReportError if a newer stream reports it, RpcError ABORTED if it is unknown.
        """
        key = report.instance.key
        if is_first:
            self._stream_owners[key] = stream_token
        elif self._stream_owners.get(key) is not stream_token:
            raise InvalidReportError(
                "addr: another loader reports it too; each needs its own --advertise"
            )
        elif self._table.get(key) is None:
            # The instance and its schema were removed in the meantime. Only the first report of a
            # stream has the schema, so the loader must open a new stream.
            raise RpcError(Status.ABORTED, "the instance is not known; report it again")

    def _mark_lost(self, instance: Instance) -> None:
        now = self._clock()
        self._publish(
            self._table.mark_lost(instance.key, instance.epoch, EndpointEvent.STREAM_LOST, now)
        )

    def _admit(self, data: bytes, last_report: Report | None, call: CallContext) -> Report:
        try:
            report = self._admission_policy.with_capped_requests(
                decode_report(LoadReport.FromString(data))
            )
        except DecodeError as error:
            raise InvalidReportError("not a LoadReport") from error
        instance = report.instance
        if last_report is None:
            self._admission_policy.check_token(call.metadata, instance.service)
            self._admission_policy.check_address(instance.addr, call.peer)
            if self._table.is_past_epoch(instance.key, instance.epoch):
                message = "instance_epoch: of an earlier life; choose a new one at each start"
                raise ReportRejectedError(RejectReason.PAST_EPOCH, message)
        elif (instance.key, instance.epoch) != (
            last_report.instance.key,
            last_report.instance.epoch,
        ):
            raise InvalidReportError("svc, subsvc, addr, epoch: must stay the same within a stream")
        elif instance.digest != last_report.instance.digest:
            raise InvalidReportError("schema_digest: must stay the same within a stream")
        if instance.addr in self.blocked_addresses:
            raise ReportRejectedError(
                RejectReason.ADDRESS, f"addr: {instance.addr} was forced offline"
            )
        if self._table.get(instance.key) is None:
            self._check_capacity(call.peer)
        if report.document and last_report is None:
            self._store_document(report)
        return report

    def _check_capacity(self, peer: str) -> None:
        """Raise ReportRejectedError unless `peer` may report an instance that is not known yet."""
        policy = self._admission_policy
        if len(self._table) >= policy.max_instances:
            message = f"{policy.max_instances} instances are known: `lb.max_instances`"
            raise ReportRejectedError(RejectReason.CAP, message)
        if self._peer_quota.is_reached(peer):
            limit = policy.max_instances_per_peer
            message = f"{limit} instances of this peer are known: `lb.max_instances_per_peer`"
            raise ReportRejectedError(RejectReason.CAP, message)

    def _store_document(self, report: Report) -> None:
        """Validate the schema document of a report and store it in `documents`.

        Raises ReportRejectedError SCHEMA if it is invalid, CAP if the documents exceed 8 MiB.
        """
        text, digest = report.document, report.instance.digest
        if len(text) > MAX_DOCUMENT_BYTES or document.digest(text) != digest:
            limit_kib = MAX_DOCUMENT_BYTES // 1024
            message = f"schema: must match its digest and be at most {limit_kib} KiB"
            raise ReportRejectedError(RejectReason.SCHEMA, message)
        if digest in self.documents:
            return
        if len(text) + sum(map(len, self.documents.values())) > MAX_DOCUMENTS_BYTES:
            raise ReportRejectedError(RejectReason.CAP, "the hub holds all the schemas it can")
        try:
            service = document.service_from_document(document.parse(text))
            RequestValidator(service.input)
        except DocumentError as error:
            raise ReportRejectedError(RejectReason.SCHEMA, f"schema: {error}") from error
        if service.id != report.instance.service:
            raise ReportRejectedError(
                RejectReason.SCHEMA, f"subsvc: schema is of service {service.id!r}"
            )
        self.documents[digest] = text

    def _publish(self, changes: list[StateChange]) -> None:
        for change in changes:
            if change.after is EndpointState.GONE:
                self._prune_document(change.instance.digest)
                self._rate_limiters.pop(change.instance.key, None)
                self._peer_quota.remove(change.instance.key)
                self._record_lost(change)
            if change.after is EndpointState.GONE:
                self._broadcaster.mark_removed(change)
            else:
                self._broadcaster.mark_changed(change.instance)
            try:
                self._on_change(change)
            except Exception:
                _logger.exception("a change was not taken in by a fault of ours; it goes on")

    def _record_lost(self, change: StateChange) -> None:
        """Record an instance that is gone without a DOWN report, for the original's monitor."""
        if change.reason is not EndpointEvent.REPORTED_DOWN:
            instance = change.instance
            self._lost_records.append((self._clock(), instance.service, instance.addr))

    def _prune_document(self, digest: str) -> None:
        """Drop a schema document that no instance uses."""
        if all(endpoint.instance.digest != digest for endpoint in self._table):
            self.documents.pop(digest, None)
