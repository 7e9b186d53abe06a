"""The hub: takes the reports of loaders, tells gateways what changed. State lives in its table."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from random import Random

from google.protobuf.message import DecodeError

from lb.follower import Follower
from lb.life import Change, Event, State
from lb.pick import rank
from lb.report import PROTOCOLS, Instance, Key, Report, ReportError, read
from lb.table import Table
from rpc.server import Call, Stream, Unary
from rpc.status import RpcError, Status
from schemas import document
from schemas.compile import compile_input
from schemas.document import DocumentError
from schemas.errors import NO_INSTANCE
from schemas.validate import Validator
from schemas.wire import Candidate, LoadReport, PickReply, PickRequest, ReportControl, WatchRequest

_logger = logging.getLogger("ase.lb")

MAX_INSTANCES = 10_000
MAX_DOCUMENT = 256 * 1024
MAX_DOCUMENTS = 8 * 1024 * 1024  # all of them travel in one snapshot

OnChange = Callable[[Change], None]


class Hub:
    """Serves `ase.v1.LoadBalancer` over a table.

    `clock` gives seconds that never step back. `on_change` is told every change of state; by then
    `documents` has the schema of the instance that brought one. `frame_gap` is the least time
    between two frames to one gateway, in seconds.
    """

    def __init__(
        self,
        table: Table,
        *,
        clock: Callable[[], float],
        rng: Random,
        on_change: OnChange,
        frame_gap: float = 0.005,
    ) -> None:
        self._table = table
        self._clock = clock
        self._rng = rng
        self._epoch = rng.getrandbits(63) | 1
        self._on_change = on_change
        self._frame_gap = frame_gap
        self._followers: set[Follower] = set()
        # Whose reports count: after a reconnect, the end of the old stream says nothing.
        self._streams: dict[Key, object] = {}
        self.documents: dict[str, bytes] = {}

    def unary(self) -> dict[str, Unary]:
        """Return the unary methods, by path."""
        return {"/ase.v1.LoadBalancer/Pick": self.pick}

    def stream(self) -> dict[str, Stream]:
        """Return the streaming methods, by path."""
        return {
            "/ase.v1.LoadBalancer/Report": self.report,
            "/ase.v1.LoadBalancer/Watch": self.watch,
        }

    async def sweep(self, period: float = 0.02) -> None:
        """Let time pass over the table, for ever."""
        while True:
            await asyncio.sleep(period)
            try:
                self._tell(self._table.expire(self._clock()))
            except Exception:
                _logger.exception("sweep failed by a fault of ours; it goes on")

    async def report(self, requests: AsyncIterator[bytes], call: Call) -> AsyncIterator[bytes]:
        """Serve `Report`: one loader, from its first report until its stream ends.

        Raises RpcError INVALID_ARGUMENT for a report or schema that cannot be read, and
        RESOURCE_EXHAUSTED beyond the cap on instances.
        """
        last: Report | None = None
        me = object()
        refusal = ""
        try:
            async for data in requests:
                report = self._admit(data, last)
                self._own(report, me, first=last is None)
                self._tell(self._table.apply(report, self._clock()))
                for follower in self._followers:
                    follower.touched(report.instance)
                if report.document:
                    self._prune(report.instance.digest)
                if last is None:
                    yield ReportControl(seq=report.load.seq).SerializeToString()
                last = report
        except ReportError as error:
            refusal = str(error)
        finally:
            if last is not None and self._streams.get(last.instance.key) is me:
                del self._streams[last.instance.key]
                self._lost(last.instance)
        if refusal:
            # Raised here, not in the handler: its frames would keep the report until a collection.
            _logger.warning("report refused", extra={"peer": call.peer, "reason": refusal})
            raise RpcError(Status.INVALID_ARGUMENT, refusal)

    async def watch(self, requests: AsyncIterator[bytes], _call: Call) -> AsyncIterator[bytes]:
        """Serve `Watch`: a snapshot, then a frame whenever something changed, else each second."""
        wish = WatchRequest.FromString(await anext(aiter(requests)))
        changed = asyncio.Event()
        services = tuple(wish.subsvc)
        follower = Follower(wish.gateway, services, list(self._table), changed.set)
        self._followers.add(follower)
        try:
            while True:
                changed.clear()
                frame = follower.take(self._table, self.documents, self._clock())
                frame.hub_epoch = self._epoch
                yield frame.SerializeToString()
                await asyncio.sleep(self._frame_gap)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await changed.wait()
        finally:
            self._followers.discard(follower)

    async def pick(self, data: bytes, _call: Call) -> bytes:
        """Serve `Pick`: addresses of a service, best first, for clients without a picker."""
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
        best = rank(live)[: wish.nbest or 1]
        if not best:
            return PickReply(code=NO_INSTANCE.code, message=NO_INSTANCE.words).SerializeToString()
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

    def _admit(self, data: bytes, last: Report | None) -> Report:
        try:
            report = read(LoadReport.FromString(data))
        except DecodeError as error:
            raise ReportError("not a LoadReport") from error
        if last is not None and report.instance.key != last.instance.key:
            raise ReportError("svc, subsvc, addr: must stay the same within a stream")
        known = self._table.get(report.instance.key) is not None
        if not known and len(self._table) >= MAX_INSTANCES:
            raise RpcError(Status.RESOURCE_EXHAUSTED, f"{MAX_INSTANCES} instances are known")
        if report.document:
            self._learn(report)
        return report

    def _learn(self, report: Report) -> None:
        """Keep a schema document, if it is one and is what its digest says."""
        text, told = report.document, report.instance.digest
        if len(text) > MAX_DOCUMENT or document.digest(text) != told:
            limit = MAX_DOCUMENT // 1024
            raise ReportError(f"schema: must match its digest and be at most {limit} KiB")
        if told in self.documents:
            return
        if len(text) + sum(map(len, self.documents.values())) > MAX_DOCUMENTS:
            raise RpcError(Status.RESOURCE_EXHAUSTED, "the hub holds all the schemas it can")
        try:
            service = document.read(document.parse(text))
            Validator(compile_input(service.input))
        except DocumentError as error:
            raise ReportError(f"schema: {error}") from error
        if service.id != report.instance.service:
            raise ReportError(f"subsvc: schema is of service {service.id!r}")
        self.documents[told] = text

    def _tell(self, changes: list[Change]) -> None:
        for change in changes:
            if change.after is State.GONE:
                self._prune(change.instance.digest)
            for follower in self._followers:
                if change.after is State.GONE:
                    follower.left(change)
                else:
                    follower.touched(change.instance)
            self._on_change(change)

    def _prune(self, digest: str) -> None:
        """Drop a schema document that no instance speaks."""
        if all(entry.instance.digest != digest for entry in self._table):
            self.documents.pop(digest, None)
