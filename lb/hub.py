"""The hub: takes the reports of loaders, tells gateways what changed. State lives in its table."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from random import Random

from google.protobuf.message import DecodeError

from lb.affinity import keep
from lb.counts import HubCounts
from lb.fanout import Fanout
from lb.life import Change, Event, State
from lb.pick import rank
from lb.report import PROTOCOLS, Instance, Key, Live, Report, ReportError, read
from lb.table import Table
from lb.trigger import GAP, KEEPALIVE
from lb.trust import Rate, Refusal, RefusedError, Rules
from rpc.server import CallContext, StreamHandler, UnaryHandler
from rpc.status import RpcError, Status
from schemas import document
from schemas.document import DocumentError
from schemas.errors import NO_INSTANCE
from schemas.judge import RequestValidator
from schemas.wire import Candidate, LoadReport, PickReply, PickRequest, ReportControl, WatchRequest

_logger = logging.getLogger("ase.lb")

MAX_DOCUMENT = 256 * 1024
MAX_DOCUMENTS = 8 * 1024 * 1024  # all of them travel in one snapshot

# Keep-alives of all instances together are no more than so many a second.
_KEEPALIVES = 1000
_LONGEST_KEEPALIVE = 1.0
# The original's monitor asks for who went without a farewell: the last of so many seconds.
_ABNORMAL, _ABNORMAL_S = 256, 300.0

_STATUSES = {
    Refusal.UNAUTHENTICATED: Status.UNAUTHENTICATED,
    Refusal.ADDRESS: Status.PERMISSION_DENIED,
    Refusal.EARLIER_LIFE: Status.PERMISSION_DENIED,
    Refusal.CAP: Status.RESOURCE_EXHAUSTED,
    Refusal.RATE: Status.RESOURCE_EXHAUSTED,
}

OnChange = Callable[[Change], None]


class Hub:
    """Serves `ase.v1.LoadBalancer` over a table.

    `rules` say who may report what. `clock` gives seconds that never step back. `on_change` is told
    every change of state; by then `documents` has the schema of the instance that brought one.
    `frame_gap` is the least time between two frames to one gateway, in seconds.
    """

    def __init__(
        self,
        table: Table,
        rules: Rules,
        *,
        clock: Callable[[], float],
        rng: Random,
        on_change: OnChange,
        counts: HubCounts,
        keepalive: float = KEEPALIVE,
        frame_gap: float = 0.002,
    ) -> None:
        self._table = table
        self._rules = rules
        self._clock = clock
        self._rng = rng
        self._on_change = on_change
        self._counts = counts
        self._keepalive = keepalive
        # Whose reports count: after a reconnect, the end of the old stream says nothing.
        self._streams: dict[Key, object] = {}
        self._rates: dict[Key, Rate] = {}
        self._abnormal: deque[tuple[float, str, str]] = deque(maxlen=_ABNORMAL)
        self.blocked: set[str] = set()
        self.documents: dict[str, bytes] = {}
        epoch = rng.getrandbits(63) | 1
        self._fanout = Fanout(
            table, self.documents, epoch=epoch, clock=clock, gap=frame_gap, counts=counts
        )

    def unary(self) -> dict[str, UnaryHandler]:
        """Return the unary methods, by path."""
        return {"/ase.v1.LoadBalancer/Pick": self.pick}

    def stream(self) -> dict[str, StreamHandler]:
        """Return the streaming methods, by path."""
        return {
            "/ase.v1.LoadBalancer/Report": self.report,
            "/ase.v1.LoadBalancer/Watch": self.watch,
        }

    async def run(self) -> None:
        """Let time pass over the table, and tell what changes, for ever."""
        await asyncio.gather(self._sweep(), self._fanout.run())

    async def _sweep(self, period: float = 0.02) -> None:
        then = self._clock()
        while True:
            await asyncio.sleep(period)
            now = self._clock()
            self._table.excuse(now - then - period)
            then = now
            try:
                self._tell(self._table.expire(now))
            except Exception:
                _logger.exception("sweep failed by a fault of ours; it goes on")

    async def report(
        self, requests: AsyncIterator[bytes], call: CallContext
    ) -> AsyncIterator[bytes]:
        """Serve `Report`: one loader, from its first report until its stream ends.

        Raises RpcError: UNAUTHENTICATED or PERMISSION_DENIED for who may not report so,
        INVALID_ARGUMENT for a report or schema that cannot be read, RESOURCE_EXHAUSTED at a cap.
        """
        last: Report | None = None
        me = object()
        refused: tuple[Refusal, str] | None = None
        rate, tuned = Rate(self._rules.most_rate), ReportControl()
        try:
            async for data in requests:
                report = self._admit(data, last, call)
                fits = rate.take(self._clock()) or report.load.live is not Live.UP
                if last is not None and not fits:
                    self._counts.refused(Refusal.RATE)
                    yield self._slowed(report).SerializeToString()
                    continue
                first = last is None
                self._own(report, me, first=first)
                last = report  # whatever comes now, the end of the stream counts
                self._take_in(report)
                wish = self._wish()
                if first or wish != tuned:
                    tuned = wish
                    answer = ReportControl(seq=report.load.seq)
                    answer.MergeFrom(wish)
                    yield answer.SerializeToString()
        except ReportError as error:
            refused = (Refusal.BOUNDS, str(error))
        except RefusedError as error:
            refused = (error.refusal, str(error))
        finally:
            if last is not None and self._streams.get(last.instance.key) is me:
                del self._streams[last.instance.key]
                self._lost(last.instance)
        if refused is not None:
            # Raised here, not in the handler: its frames would keep the report until a collection.
            refusal, words = refused
            self._counts.refused(refusal)
            facts = {"peer": call.peer, "kind": refusal.value, "reason": words}
            _logger.warning("report refused", extra=facts)
            raise RpcError(_STATUSES.get(refusal, Status.INVALID_ARGUMENT), words)

    def admit_once(self, report: Report, call: CallContext) -> None:
        """Take in a report that came by itself, not in a stream. Raises RefusedError."""
        try:
            key = report.instance.key
            self._rules.check_token(call.metadata, report.instance.service)
            self._rules.check_address(report.instance.addr, call.peer)
            known = self._table.get(key)
            if known is None:
                if report.load.live is Live.DOWN:
                    return
                self._check_room()
            elif key in self._streams:
                raise RefusedError(Refusal.ADDRESS, "addr: a loader reports it by a stream")
            else:  # a clock that was set back must not make a report look old
                seq = max(report.load.seq, known.load.seq + 1)
                report = replace(report, load=replace(report.load, seq=seq))
            if not self._rates.setdefault(key, Rate(self._rules.most_rate)).take(self._clock()):
                raise RefusedError(Refusal.RATE, "too many reports")
        except RefusedError as error:
            self._counts.refused(error.refusal)
            raise
        self._take_in(self._rules.capped(report))

    def drop(self, addr: str) -> None:
        """Let go of every instance at an address."""
        for entry in self._table:
            if entry.instance.addr == addr:
                epoch = entry.instance.epoch
                self._tell(self._table.forget(entry.instance.key, epoch, Event.REPORTED_DOWN))

    def abnormal(self) -> list[tuple[float, str, str]]:
        """Return (age in seconds, service, address) of who went without a farewell of late."""
        now = self._clock()
        told = [(now - at, service, addr) for at, service, addr in self._abnormal]
        return [one for one in told if one[0] <= _ABNORMAL_S]

    def _take_in(self, report: Report) -> None:
        known = self._table.get(report.instance.key)
        epoch, seq = report.instance.epoch, report.load.seq
        if known is not None and known.instance.epoch == epoch and seq <= known.load.seq:
            self._counts.refused(Refusal.STALE)
            return
        self._counts.reports += 1
        self._tell(self._table.apply(report, self._clock()))
        self._fanout.touched(report.instance)
        if report.document:
            self._prune(report.instance.digest)

    def _wish(self) -> ReportControl:
        """Return how a loader is to report.

        The more there are, the seldomer it shows its life; under strain, the seldomer its changes.
        """
        every = min(_LONGEST_KEEPALIVE, max(self._keepalive, len(self._table) / _KEEPALIVES))
        self._table.expect(every)
        gap = self._fanout.strain.stretched(GAP)
        return ReportControl(keepalive_ms=round(every * 1000), gap_ms=round(gap * 1000))

    def _slowed(self, report: Report) -> ReportControl:
        """Return what a loader is told that reports too often."""
        gap = max(round(GAP * 1000) + 1, round(2000 / self._rules.most_rate))
        return ReportControl(seq=report.load.seq, gap_ms=gap, code=1, message="too many reports")

    async def watch(
        self, requests: AsyncIterator[bytes], call: CallContext
    ) -> AsyncIterator[bytes]:
        """Serve `Watch`: a snapshot, then a frame whenever something changed, else each second.

        Raises RpcError UNAUTHENTICATED for who may not watch.
        """
        self._check_caller(call)
        wish = WatchRequest.FromString(await anext(aiter(requests)))
        async for frame in self._fanout.follow(wish):
            yield frame

    def _check_caller(self, call: CallContext) -> None:
        try:
            self._rules.check_token(call.metadata)
        except RefusedError as error:
            self._counts.refused(error.refusal)
            raise RpcError(Status.UNAUTHENTICATED, str(error)) from None

    async def pick(self, data: bytes, call: CallContext) -> bytes:
        """Serve `Pick`: addresses of a service, best first, for clients without a picker."""
        self._check_caller(call)
        try:
            wish = PickRequest.FromString(data)
        except DecodeError as error:
            raise RpcError(Status.INVALID_ARGUMENT, "not a PickRequest") from error
        live = [
            entry
            for entry in self._table.service(wish.subsvc)
            if entry.state is State.UP and entry.instance.addr not in wish.exclude
        ]
        self._rng.shuffle(live)
        best = rank(live)
        if best and wish.key:
            first = keep(live, best[0], wish.key, (), self._clock())
            best = [first, *(entry for entry in best if entry is not first)]
        best = best[: wish.nbest or 1]
        if not best:
            return PickReply(code=NO_INSTANCE.code, message=NO_INSTANCE.message).SerializeToString()
        return PickReply(
            candidates=[
                Candidate(
                    addr=entry.instance.addr,
                    protocol=PROTOCOLS[entry.instance.protocol],
                    expected_ms=entry.expected_ms(),
                    schema_digest=entry.instance.digest,
                )
                for entry in best
            ]
        ).SerializeToString()

    def _own(self, report: Report, stream: object, *, first: bool) -> None:
        """Let one stream speak for an address: the one that began last."""
        key = report.instance.key
        if first:
            self._streams[key] = stream
        elif self._streams.get(key) is not stream:
            raise ReportError("addr: another loader reports it too; each needs its own --advertise")
        elif self._table.get(key) is None:
            # It was forgotten meanwhile, and its schema with it: that is in a first report alone.
            raise RpcError(Status.ABORTED, "forgotten; report anew")

    def _lost(self, instance: Instance) -> None:
        now = self._clock()
        self._tell(self._table.lose(instance.key, instance.epoch, Event.STREAM_LOST, now))

    def _admit(self, data: bytes, last: Report | None, call: CallContext) -> Report:
        try:
            report = self._rules.capped(read(LoadReport.FromString(data)))
        except DecodeError as error:
            raise ReportError("not a LoadReport") from error
        instance = report.instance
        if last is None:
            self._rules.check_token(call.metadata, instance.service)
            self._rules.check_address(instance.addr, call.peer)
            if self._table.is_over(instance.key, instance.epoch):
                words = "instance_epoch: of an earlier life; choose a new one at each start"
                raise RefusedError(Refusal.EARLIER_LIFE, words)
        elif (instance.key, instance.epoch) != (last.instance.key, last.instance.epoch):
            raise ReportError("svc, subsvc, addr, epoch: must stay the same within a stream")
        elif instance.digest != last.instance.digest:
            raise ReportError("schema_digest: must stay the same within a stream")
        if instance.addr in self.blocked:
            raise RefusedError(Refusal.ADDRESS, f"addr: {instance.addr} was forced offline")
        if self._table.get(instance.key) is None:
            self._check_room()
        if report.document and last is None:
            self._learn(report)
        return report

    def _check_room(self) -> None:
        most = self._rules.most_instances
        if len(self._table) >= most:
            raise RefusedError(Refusal.CAP, f"{most} instances are known: `lb.max_instances`")

    def _learn(self, report: Report) -> None:
        """Keep a schema document, if it is one and is what its digest says."""
        text, told = report.document, report.instance.digest
        if len(text) > MAX_DOCUMENT or document.digest(text) != told:
            limit = MAX_DOCUMENT // 1024
            words = f"schema: must match its digest and be at most {limit} KiB"
            raise RefusedError(Refusal.SCHEMA, words)
        if told in self.documents:
            return
        if len(text) + sum(map(len, self.documents.values())) > MAX_DOCUMENTS:
            raise RefusedError(Refusal.CAP, "the hub holds all the schemas it can")
        try:
            service = document.service_from_document(document.parse(text))
            RequestValidator(service.input)
        except DocumentError as error:
            raise RefusedError(Refusal.SCHEMA, f"schema: {error}") from error
        if service.id != report.instance.service:
            raise RefusedError(Refusal.SCHEMA, f"subsvc: schema is of service {service.id!r}")
        self.documents[told] = text

    def _tell(self, changes: list[Change]) -> None:
        for change in changes:
            if change.after is State.GONE:
                self._prune(change.instance.digest)
                self._rates.pop(change.instance.key, None)
                self._note(change)
            if change.after is State.GONE:
                self._fanout.left(change)
            else:
                self._fanout.touched(change.instance)
            try:
                self._on_change(change)
            except Exception:
                _logger.exception("a change was not taken in by a fault of ours; it goes on")

    def _note(self, change: Change) -> None:
        """Note who went without a farewell, as the original's monitor tells it."""
        if change.reason is not Event.REPORTED_DOWN:
            instance = change.instance
            self._abnormal.append((self._clock(), instance.service, instance.addr))

    def _prune(self, digest: str) -> None:
        """Drop a schema document that no instance speaks."""
        if all(entry.instance.digest != digest for entry in self._table):
            self.documents.pop(digest, None)
