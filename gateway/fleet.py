"""The gateway's view of its loaders: a hub inside this process, or the frames of one outside."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from random import Random

from atom.caller import GrpcCaller
from config.options import InstanceOptions, LbOptions
from gateway.contracts import Capacity, Catalog
from gateway.metrics import FleetMetrics, Metrics
from lb.balancer import Balancer
from lb.hub import Hub
from lb.life import Change, State
from lb.pick import OwnFirst
from lb.report import Instance
from lb.table import Table
from lb.view import View
from lb.watch import Watch
from rpc.server import Server
from schemas.document import DocumentError

_logger = logging.getLogger("ase.lb")


# What runs at an instance that is gone may still end well; no deadline is longer.
GRACE_S = 3600.0


class Fleet:
    """Every instance this gateway may call.

    `name` tells this gateway from others; `clock` gives seconds that never step back. `picker`
    gives places to requests, as `gateway/parts.py` wants it.
    """

    def __init__(
        self,
        options: LbOptions,
        instances: list[InstanceOptions],
        *,
        name: str,
        catalog: Catalog,
        caller: GrpcCaller,
        metrics: Metrics,
        fleet_metrics: FleetMetrics,
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
        source = _Outside if options.hub else _Inside
        self._source = source(options, name, clock, rng, self._changed)
        self.table = self._source.table
        for told in instances:
            instance = Instance(
                "ase", told.service, told.addr, 0, told.protocol, "", told.total, told.total
            )  # fmt: skip
            self.table.place(instance, clock())
            self._warn(instance)
        self.picker = Balancer(
            self.table, partial(OwnFirst, rng), clock=clock, rng=rng,
            later=asyncio.get_running_loop().call_later, most=options.waiting,
        )  # fmt: skip

    async def start(self) -> int:
        """Begin to listen to loaders, or to follow the hub; return the lb port (0: none of ours).

        Raises OSError when the port cannot be had.
        """
        return await self._source.start()

    async def stop(self) -> None:
        """Stop listening and close every connection to a loader."""
        self._stopping = True
        await self._source.stop()
        for task in self._closing:
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


OnChange = Callable[[Change], None]


class _Inside:
    """A hub in this process: its table is the gateway's, and known from the start."""

    def __init__(
        self,
        options: LbOptions,
        name: str,
        clock: Callable[[], float],
        rng: Random,
        on_change: OnChange,
    ) -> None:
        self._options = options
        self.table = Table(name, silence=options.silence, ttl=options.ttl, ramp=options.ramp)
        self._hub = Hub(self.table, clock=clock, rng=rng, on_change=on_change)
        self.documents = self._hub.documents

    async def start(self) -> int:
        self._server = Server(unary=self._hub.unary(), stream=self._hub.stream())
        port = await self._server.start(self._options.host, self._options.port)
        self._sweeping = asyncio.ensure_future(self._hub.sweep())
        return port

    async def stop(self) -> None:
        self._sweeping.cancel()
        await self._server.stop(0)

    def synced(self) -> bool:
        return True


class _Outside:
    """A hub in another process, followed by its frames; trusted after the first snapshot."""

    def __init__(
        self,
        options: LbOptions,
        name: str,
        clock: Callable[[], float],
        rng: Random,
        on_change: OnChange,
    ) -> None:
        self.table = Table(name, silence=None, ttl=options.ttl, ramp=options.ramp)
        view = View(self.table, name)
        self.documents = view.documents
        self._watch = Watch(
            options.hub, view, gateway=name, clock=clock, rng=rng, on_change=on_change
        )

    async def start(self) -> int:
        self._watching = asyncio.ensure_future(self._watch.run())
        self._sweeping = asyncio.ensure_future(self._watch.sweep())
        return 0

    async def stop(self) -> None:
        self._watching.cancel()
        self._sweeping.cancel()

    def synced(self) -> bool:
        return self._watch.synced
