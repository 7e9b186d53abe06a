"""Stands in for the loaders of deployments that sleep, and wakes them at the first request.

The activator reports their services to the hubs, as a loader does, with the share 0
(`deploy/workloads/traffic.py`): gateways send it requests only while no replica serves. It starts a
replica, waits until that serves, and then answers that it is full: the gateway sends the request to
the replica. So requests do not pass through here, and neither gateways nor hubs know of sleep.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Final

from google.protobuf.message import DecodeError

from deploy.engine import commands
from deploy.engine.events import EventBus
from deploy.engine.leadership import Leadership
from deploy.engine.load_view import LoadView
from deploy.engine.repository import DeploymentRepository
from deploy.workloads.activation import (
    ACTIVATION,
    ActivationRecord,
    activator_version,
    may_sleep,
)
from deploy.workloads.phases import DeploymentPhase
from deploy.workloads.records import DeploymentEntry
from lb.credentials import HubCredentials
from lb.endpoints.report import Instance, Report, ServingState
from lb.reporter.limiter import ConcurrencyLimiter
from lb.reporter.reporter import Reporter
from registry.store.interfaces import ConflictError, Store, StoreError, Transaction
from rpc.addresses import advertised_address
from rpc.health import SERVICE as HEALTH
from rpc.health import HealthService
from rpc.server import CallContext, Server, first_request
from rpc.status import RpcError, Status
from schemas import wire
from schemas.model.errors import LOADER_FULL
from schemas.wire import LoaderInput, ProbeReply

_logger = logging.getLogger("ase.deploy")

AUTHOR: Final = "activator"
_INTERVAL_S: Final = 1.0
_WAKING_INTERVAL_S: Final = 0.05
# Gateways learn of a replica when we do, and check its health before they send it requests.
_SETTLE_S: Final = 0.25
# A request is answered so much before its deadline: the gateway must not take us for dead.
_DEADLINE_MARGIN_S: Final = 0.25
_STOP_GRACE_S: Final = 1.0
_MAX_RECEIVED: Final = 256 * 1024 * 1024  # bytes of all requests that wait


@dataclass(frozen=True, slots=True)
class ActivatorSettings:
    """What the deployer's options say.

    `hubs` are what it reports to. It listens on `host` and `port`, and gateways dial `advertise`,
    if that is not "". A request waits for `timeout` seconds, and `waiting` of a deployment at most.
    """

    hubs: tuple[str, ...]
    host: str
    port: int
    advertise: str
    timeout: float
    waiting: int


class Activator:
    """Stands in for deployments as long as this deployer leads. Call `start`, then `run`.

    `documents` are the schema documents that loaders have reported, by digest. `_records` are those
    of the store by deployment, None while they are not known; `_stand_ins` report them. `_wakings`
    bring up the first replica of a deployment, by its id. `address` is what gateways dial. `clock`
    is monotonic, `now` returns the Unix time.
    """

    def __init__(
        self,
        repository: DeploymentRepository,
        store: Store,
        load_view: LoadView,
        documents: Mapping[str, bytes],
        bus: EventBus,
        leadership: Leadership,
        settings: ActivatorSettings,
        credentials: HubCredentials,
        *,
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._repository = repository
        self._store = store
        self._load_view = load_view
        self._documents = documents
        self._bus = bus
        self._leadership = leadership
        self._settings = settings
        self._credentials = credentials
        self._clock = clock
        self._now = now
        self._records: dict[str, ActivationRecord] | None = None
        self._stand_ins: dict[str, _StandIn] = {}
        self._wakings: dict[str, _Waking] = {}
        self.address = ""
        health = HealthService(("ase.v1.Loader", HEALTH), wire.POOL)
        self._server = Server(
            unary={
                "/ase.v1.Loader/Infer": self._infer,
                "/ase.v1.Loader/Probe": self._probe,
            }
            | health.unary_methods(),
            stream={"/ase.v1.Loader/Session": self._session} | health.stream_methods(),
            max_received=_MAX_RECEIVED,
        )

    async def start(self) -> None:
        """Listen. Raises OSError if the address cannot be bound."""
        host, settings = self._settings.host, self._settings
        port = await self._server.start(host, settings.port)
        self.address = advertised_address(settings.advertise, host, port)

    async def run(self) -> None:
        """Work forever; at the end, waiting requests are answered that they may try again."""
        try:
            while True:
                try:
                    await self.look()
                except ConflictError:
                    self._records = None  # another deployer leads, or has led
                except StoreError as error:
                    _logger.warning("activator waits", extra={"reason": str(error)})
                except Exception:
                    _logger.exception("activator failed by a fault of ours; it goes on")
                await asyncio.sleep(_INTERVAL_S)
        finally:
            for waking in self._wakings.values():
                waking.task.cancel()
            await self._withdraw_except(())
            await self._server.stop(_STOP_GRACE_S)

    def is_ready(self, deployment_id: str) -> bool:
        """Return whether hubs know that requests of a deployment without replicas come here."""
        version = activator_version(deployment_id)
        return (
            deployment_id not in self._wakings and self._load_view.instance_of(version) is not None
        )

    async def look(self) -> None:
        """Stand in for the deployments of now. Raises StoreError and ConflictError."""
        if not self._leadership.is_leader:
            self._records = None
            await self._withdraw_except(())
            return
        entries = {each: self._repository.get(each) for each in self._repository.ids()}
        sleepers = {name: entry for name, entry in entries.items() if may_sleep(entry)}
        if self._records is None:
            self._records = await self._read_records()
        for name in self._records.keys() - sleepers.keys():
            await self._commit(Transaction(deletes=frozenset({ACTIVATION + name})))
            del self._records[name]
        await self._withdraw_except(self._records)
        for name, entry in sleepers.items():
            await self._stand_in_for(name, entry, self._records)

    async def _stand_in_for(
        self, name: str, entry: DeploymentEntry, records: dict[str, ActivationRecord]
    ) -> None:
        """Report a deployment as its replicas have done last, and remember that."""
        record = records.get(name)
        services = {s.record.service for other, s in self._stand_ins.items() if other != name}
        if entry.status.service in services:
            return  # of two deployments of one service, one may sleep
        instance = self._load_view.instance_of(entry.status.serving)
        document = self._documents.get(instance.digest) if instance is not None else None
        if instance is not None and (document is not None or not instance.digest):
            observed = ActivationRecord(instance.service, instance.svc, instance.digest)
            if observed != record:
                if document is not None:
                    await self._store.put_content(instance.digest, document)
                await self._commit(Transaction({ACTIVATION + name: observed.to_bytes()}))
                record = records[name] = observed
        if record is None:
            return
        present = self._stand_ins.get(name)
        if present is not None and present.record == record:
            return
        if present is not None:
            await present.withdraw()
        document = await self._store.get_content(record.digest) if record.digest else b""
        self._stand_ins[name] = _StandIn(
            activator_version(name),
            record,
            document or b"",
            self.address,
            self._settings,
            self._credentials,
            self._clock,
        )

    async def _read_records(self) -> dict[str, ActivationRecord]:
        entries = await self._store.read(ACTIVATION)
        return {
            key.removeprefix(ACTIVATION): ActivationRecord.from_bytes(entry.value)
            for key, entry in entries.items()
        }

    async def _commit(self, transaction: Transaction) -> None:
        guarded = Transaction(transaction.puts, transaction.deletes, self._leadership.guard())
        await self._store.commit(guarded)

    async def _withdraw_except(self, names: "Mapping[str, object] | tuple[()]") -> None:
        ended = [name for name in self._stand_ins if name not in names]
        await asyncio.gather(*(self._stand_ins.pop(name).withdraw() for name in ended))

    # Requests

    async def _infer(self, data: bytes, call: CallContext) -> bytes:
        return await self._hold(data, call)

    async def _session(
        self, messages: AsyncIterator[bytes], call: CallContext
    ) -> AsyncIterator[bytes]:
        yield await self._hold(await first_request(messages), call)

    async def _probe(self, _data: bytes, _call: CallContext) -> bytes:
        waiting = sum(stand_in.limiter.inflight for stand_in in self._stand_ins.values())
        return ProbeReply(in_flight=waiting).SerializeToString()

    async def _hold(self, data: bytes, call: CallContext) -> bytes:
        """Hold a request until a replica serves its service, or cannot. It never returns.

        Raises RpcError RESOURCE_EXHAUSTED with the code 10110: the gateway tries another instance.
        """
        try:
            service = LoaderInput.FromString(data).serviceId
        except DecodeError as error:
            raise RpcError(Status.INVALID_ARGUMENT, "not a LoaderInput") from error
        gateway = call.metadata.get("ase-gateway", "")
        for name, stand_in in self._stand_ins.items():
            if stand_in.record.service == service and stand_in.limiter.try_acquire(gateway):
                try:
                    await self._wait_awake(name, call.time_remaining)
                finally:
                    stand_in.limiter.release(gateway, 0.0, succeeded=False)
                break
        raise RpcError(Status.RESOURCE_EXHAUSTED, f"{LOADER_FULL.code}: try another instance")

    async def _wait_awake(self, name: str, remaining_s: float | None) -> None:
        """Return when the request may go to a replica, or has waited too long."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waking = self._wakings.get(name)
        if waking is None:
            waking = self._wakings[name] = _Waking(asyncio.create_task(self._wake(name)))
        waking.waiters.append(waiter)
        timeout = self._settings.timeout
        if remaining_s is not None:
            timeout = min(timeout, remaining_s - _DEADLINE_MARGIN_S)
        await asyncio.wait({waiter}, timeout=max(0.0, timeout))
        waiter.cancel()

    async def _wake(self, name: str) -> None:
        """Start the first replica of a deployment, and let requests go to it as it has slots."""
        began_at = self._clock()
        try:
            if await self._bring_up(name):
                took_s = round(self._clock() - began_at, 3)
                self._bus.publish("service.woken", name, seconds=took_s)
                _logger.info("woken", extra={"deployment": name, "after_s": took_s})
            waiters = self._wakings[name].waiters
            while waiters:
                await self._bring_up(name)  # it may have gone again
                self._release(waiters, self._repository.get(name).status.serving)
                await asyncio.sleep(_WAKING_INTERVAL_S)
        except (TimeoutError, StoreError, _NotWokenError) as error:
            reason = str(error) or f"no replica serves after {self._settings.timeout:g} s"
            _logger.warning("not woken", extra={"deployment": name, "reason": reason})
        finally:
            for waiter in self._wakings.pop(name).waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def _bring_up(self, name: str) -> bool:
        """Return when a replica serves, and whether none did before.

        Raises TimeoutError, StoreError and _NotWokenError.
        """
        is_new = False
        async with asyncio.timeout(self._settings.timeout):
            while not self._serves(name):
                is_new = True
                await self._start_replica(name)
                await asyncio.sleep(_WAKING_INTERVAL_S)
            if is_new:
                await asyncio.sleep(_SETTLE_S)
        return is_new

    def _serves(self, name: str) -> bool:
        entry = self._repository.get(name)
        wants_any = entry.wanted is not None and entry.wanted.spec.replicas > 0
        return wants_any and self._load_view.instance_of(entry.status.serving) is not None

    def _release(self, waiters: deque[asyncio.Future[None]], revision: str) -> None:
        """Let as many requests go as the replicas of a revision have free slots."""
        load = self._load_view.load_of_versions({revision})
        free = load.slots - load.requests
        while waiters and (free > 0 or waiters[0].done()):
            waiter = waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1

    async def _start_replica(self, name: str) -> None:
        """Start a replica if none is wanted.

        Raises StoreError, and _NotWokenError if none will serve.
        """
        entry = self._repository.get(name)
        wanted, status = entry.wanted, entry.status
        if wanted is None or wanted.is_deleting:
            raise _NotWokenError("it is being deleted")
        if wanted.spec.replicas == 0:
            transaction = commands.scale(entry, name, 1, AUTHOR, self._now())
            if transaction is not None:
                with contextlib.suppress(ConflictError):  # somebody has changed it: look again
                    await self._repository.commit(transaction)
                    self._bus.publish("service.scaled", name, before=0, replicas=1)
        elif status.generation == wanted.generation and status.phase is DeploymentPhase.FAILED:
            raise _NotWokenError(status.reason)


class _NotWokenError(Exception):
    """No replica of a deployment will serve; `str()` says why."""


@dataclass(frozen=True, slots=True)
class _Waking:
    """The task that brings up a replica, and the requests that wait for it."""

    task: asyncio.Task[None]
    waiters: deque[asyncio.Future[None]] = field(default_factory=deque)


class _StandIn:
    """Reports one service in place of its loaders; it takes requests up to the limit."""

    def __init__(
        self,
        version: str,
        record: ActivationRecord,
        document: bytes,
        address: str,
        settings: ActivatorSettings,
        credentials: HubCredentials,
        clock: Callable[[], float],
    ) -> None:
        self.record = record
        self.limiter = ConcurrencyLimiter(settings.waiting, self._on_change)
        self._document = document
        rng = SystemRandom()
        self._instance = Instance(
            record.svc,
            record.service,
            address,
            rng.getrandbits(63) | 1,
            "native",
            record.digest,
            settings.waiting,
            settings.waiting,
            version=version,
        )
        self._reporter = Reporter(
            list(settings.hubs),
            self._build_report,
            self.limiter,
            clock=clock,
            rng=rng,
            credentials=credentials,
        )
        self._reporter.start()

    async def withdraw(self) -> None:
        """Leave the hubs."""
        self.limiter.set_serving_state(ServingState.DOWN)
        await self._reporter.shutdown()

    def _on_change(self) -> None:
        self._reporter.notify_change()

    def _build_report(self, is_first: bool) -> Report:
        document = self._document if is_first else b""
        return Report(self._instance, self.limiter.next_load(), document)
