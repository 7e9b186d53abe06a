"""The gateway's view of its loaders: a hub inside this process, or the frames of one outside."""

import asyncio
import logging
import time
from collections import ChainMap
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Protocol

from atom.caller import GrpcCaller
from config.options import InstanceOptions, LbOptions, ServiceOptions
from gateway.contracts import Capacity, Catalog
from gateway.metrics import FleetMetrics, Metrics
from lb.access import Access, server_tls
from lb.arms import policies
from lb.balancer import Balancer
from lb.counts import HubCounts
from lb.entry import Entry
from lb.front import Front
from lb.health import Standing
from lb.hub import Hub
from lb.life import Change, State
from lb.report import Instance
from lb.subscriber import OrcaSubscriber
from lb.table import Table
from lb.trust import Rules
from lb.view import View, Vouchers
from lb.watch import Watch
from rpc.server import Server, Tls
from schemas.document import DocumentError

_logger = logging.getLogger("ase.lb")


# What runs at an instance that is gone may still end well; no deadline is longer.
GRACE_S = 3600.0


class Fleet:
    """Every instance this gateway may call.

    Paths in options start from `base`. `name` tells this gateway from others; `clock` gives seconds
    that never step back. `counts`: of the hub in this process, None where hubs are followed.
    `picker` gives places to requests, as `gateway/parts.py` wants it.
    """

    def __init__(
        self,
        options: LbOptions,
        instances: list[InstanceOptions],
        services: Mapping[str, ServiceOptions],
        base: Path,
        *,
        name: str,
        catalog: Catalog,
        caller: GrpcCaller,
        metrics: Metrics,
        fleet_metrics: FleetMetrics,
        counts: HubCounts | None,
        clock: Callable[[], float],
        rng: Random,
    ) -> None:
        self._accept_schemas = options.accept_schemas
        self._catalog = catalog
        self._caller = caller
        self._metrics = metrics
        self._fleet_metrics = fleet_metrics
        self._closing: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._subscribers: list[OrcaSubscriber] = []
        self._subscribing: list[asyncio.Future[None]] = []
        self._source: Source
        if counts is None:
            access = Access.of(options, base)
            self._source = Outside(options, access, name, clock, rng, self._changed)
        else:
            rules, tls = Rules.of(options, services), server_tls(options, base)
            self._source = Inside(options, rules, tls, counts, name, clock, rng, self._changed)
        self.table = self._source.table
        for told in instances:
            instance = Instance(
                "ase", told.service, told.addr, 0, told.protocol, "", told.total, told.total
            )
            self.table.place(instance, clock())
            if told.orca:
                self._subscribers.append(
                    OrcaSubscriber(instance, told.orca, self.table, clock=clock, rng=rng)
                )
            self._warn(instance)
        self.picker = Balancer(
            self.table,
            policies(rng, self._probe)[options.policy],
            clock=clock,
            rng=rng,
            later=asyncio.get_running_loop().call_later,
            most=options.waiting,
            on_health=_on_health,
        )

    async def start(self) -> int:
        """Begin to listen to loaders, or to follow the hub; return the lb port (0: none of ours).

        Raises OSError when the port cannot be had.
        """
        self._subscribing = [asyncio.ensure_future(told.run()) for told in self._subscribers]
        return await self._source.start()

    async def stop(self) -> None:
        """Stop listening and close every connection to a loader."""
        self._stopping = True
        await self._source.stop()
        for task in (*self._closing, *self._subscribing):
            task.cancel()
        await self._caller.close()

    def synced(self) -> bool:
        """Return whether the view can be trusted."""
        return self._source.synced()

    def live(self, service_id: str) -> int:
        """Return how many instances of a service take requests."""
        contract = self._catalog.find(service_id)
        speaking = ("", contract.digest if contract else "")
        entries = self.table.service(service_id)
        return sum(e.state is State.UP and e.instance.digest in speaking for e in entries)

    def _probe(self, entry: Entry, answer: Callable[[int, float], None]) -> None:
        self._caller.probe(entry.instance, answer)

    def _changed(self, change: Change) -> None:
        if self._stopping:  # it is we who hang up
            return
        _logger.info("instance %s", change.after.value, extra=change.facts())
        self._fleet_metrics.changed(change, self.table)
        if change.after is State.GONE:
            closing = asyncio.ensure_future(self._caller.forget(change.instance, GRACE_S))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        if self._accept_schemas:
            self._settle(change.instance.service)
        if change.before is State.GONE:
            self._warn(change.instance)

    def settle(self) -> None:
        """Let loaders bring the schemas of services that have no file any more."""
        if self._accept_schemas:
            for service in {entry.instance.service for entry in self.table}:
                self._settle(service)

    def _settle(self, service_id: str) -> None:
        totals: dict[str, int] = {}
        for entry in self.table.service(service_id):
            if entry.state in (State.UP, State.SUSPECT) and entry.instance.digest:
                digest = entry.instance.digest
                totals[digest] = totals.get(digest, 0) + entry.instance.total
        capacities = [Capacity(service_id, digest, total) for digest, total in totals.items()]
        try:
            switches = self._catalog.settle(capacities, self._source.documents)
        except DocumentError as error:
            _logger.error("schema refused", extra={"reason": str(error)})  # noqa: TRY400
            return
        for switch in switches:
            _logger.info(
                "contract switched",
                extra={
                    "service": switch.service,
                    "before": switch.before[:12],
                    "after": switch.after[:12],
                },
            )
            self._metrics.switched(switch)

    def _warn(self, instance: Instance) -> None:
        """Say why an instance that joined gets no traffic."""
        contract = self._catalog.find(instance.service)
        facts = {"service": instance.service, "instance": instance.addr}
        if contract is None:
            cure = "put its schema into the folder of `schemas`, or use --lb-accept-schemas true"
            _logger.warning("service has no schema", extra={**facts, "cure": cure})
        elif instance.digest not in ("", contract.digest):
            active = f"{contract.digest[:12]}, from a {contract.source}"
            cure = (
                f"it gets no traffic while {active}, is active: start the same version, or switch"
            )
            _logger.warning("instance speaks another schema", extra={**facts, "cure": cure})


def _on_health(entry: Entry) -> None:
    """Tell that an instance was ejected, or is back."""
    health = entry.health
    facts = {
        "service": entry.instance.service,
        "instance": entry.instance.addr,
        "reason": health.reason.value,
    }
    if health.standing is Standing.EJECTED:
        _logger.warning("instance ejected", extra=facts)
    elif health.standing is Standing.IN:
        _logger.info("instance readmitted", extra=facts)


OnChange = Callable[[Change], None]


class Source(Protocol):
    """Where a fleet hears of its instances."""

    table: Table
    documents: Mapping[str, bytes]

    async def start(self) -> int:
        """Begin to listen; return the lb port (0: none of ours)."""

    async def stop(self) -> None:
        """Hear no more."""

    def synced(self) -> bool:
        """Return whether the table can be trusted."""


class Inside:
    """A hub in this process: its table is the gateway's, and known from the start."""

    def __init__(
        self,
        options: LbOptions,
        rules: Rules,
        tls: Tls | None,
        counts: HubCounts,
        name: str,
        clock: Callable[[], float],
        rng: Random,
        on_change: OnChange,
    ) -> None:
        self._options = options
        self._tls = tls
        self.table = Table(name, silence=options.silence, ttl=options.ttl, ramp=options.ramp)
        self._hub = Hub(self.table, rules, clock=clock, rng=rng, on_change=on_change, counts=counts)
        self._front = Front(self._hub, self.table, rules, options.policy, time.time_ns)
        self.documents: Mapping[str, bytes] = self._hub.documents

    async def start(self) -> int:
        """Open the lb port."""
        unary = self._hub.unary() | self._front.unary()
        self._server = Server(unary=unary, stream=self._hub.stream())
        port = await self._server.start(self._options.host, self._options.port, self._tls)
        self._running = asyncio.ensure_future(self._hub.run())
        return port

    async def stop(self) -> None:
        """Close it."""
        self._running.cancel()
        await self._server.stop(0)

    def synced(self) -> bool:
        """Return True: there is nobody else who could know more."""
        return True


class Outside:
    """Hubs in other processes, followed by their frames; trusted after the first snapshot."""

    def __init__(
        self,
        options: LbOptions,
        access: Access,
        name: str,
        clock: Callable[[], float],
        rng: Random,
        on_change: OnChange,
    ) -> None:
        self.table = Table(name, silence=None, ttl=options.ttl, ramp=options.ramp)
        vouchers: Vouchers = {}
        self._watches: list[Watch] = []
        documents: list[dict[str, bytes]] = []
        for hub in options.hub.split(","):
            view = View(self.table, name, vouchers)
            documents.append(view.documents)
            self._watches.append(
                Watch(
                    hub,
                    view,
                    gateway=name,
                    clock=clock,
                    rng=rng,
                    on_change=on_change,
                    access=access,
                )
            )
        self.documents: Mapping[str, bytes] = ChainMap(*documents)

    async def start(self) -> int:
        """Follow them."""
        self._tasks = [asyncio.ensure_future(watch.run()) for watch in self._watches]
        self._tasks.append(asyncio.ensure_future(self._watches[0].sweep()))
        return 0

    async def stop(self) -> None:
        """Follow them no more."""
        for task in self._tasks:
            task.cancel()

    def synced(self) -> bool:
        """Return whether one of them told of the fleet."""
        return any(watch.synced for watch in self._watches)
