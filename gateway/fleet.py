"""The gateway's view of its loaders: a hub inside this process, or the frames of one outside."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from random import Random
from typing import Any

from atom.caller import GrpcCaller
from config.options import InstanceOptions, LbOptions
from gateway.contracts import Capacity, Catalog, Contract
from gateway.metrics import FleetMetrics, Metrics
from lb.balancer import Balancer, Ticket
from lb.hub import Hub
from lb.report import Instance
from lb.table import Change, State, Table
from lb.view import View
from lb.watch import Watch
from rpc.server import Server
from schemas.document import DocumentError

_logger = logging.getLogger("ase.lb")


class Fleet:
    """Every instance this gateway may call.

    `name` tells this gateway from others; `clock` gives seconds that never step back.
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
        drain: float,
    ) -> None:
        self._options = options
        self._catalog = catalog
        self._caller = caller
        self._metrics = metrics
        self._fleet_metrics = fleet_metrics
        self._clock = clock
        self._drain = drain
        follows = bool(options.hub)
        self.table = Table(silence=None if follows else options.silence, ttl=options.ttl)
        for told in instances:
            instance = Instance("ase", told.service, told.addr, 0, told.protocol, "", told.total)
            self.table.place(instance, clock())
        self._balancer = Balancer(self.table, gateway=name, rng=rng)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: Server | None = None
        self._watch: Watch | None = None
        self._documents: dict[str, bytes]
        if follows:
            view = View(self.table, name)
            self._documents = view.documents
            self._watch = Watch(
                options.hub, view, gateway=name, clock=clock, rng=rng, on_change=self._changed
            )
            self._hub = None
        else:
            self._hub = Hub(
                self.table, clock=clock, epoch=rng.getrandbits(63) | 1, on_change=self._changed
            )
            self._documents = self._hub.documents

    async def start(self) -> int:
        """Begin to listen to loaders, or to follow the hub; return the lb port (0: none of ours).

        Raises OSError when the port cannot be had.
        """
        if self._watch is not None:
            self._spawn(self._watch.run())
            self._spawn(self._expire())
            return 0
        assert self._hub is not None  # noqa: S101 (one of the two, by construction)
        self._server = Server(unary=self._hub.unary(), stream=self._hub.stream())
        port = await self._server.start(self._options.host, self._options.port)
        self._spawn(self._hub.sweep())
        return port

    async def stop(self) -> None:
        """Stop listening and close every connection to a loader."""
        for task in self._tasks:
            task.cancel()
        if self._server is not None:
            await self._server.stop(0)
        await self._caller.close()

    def synced(self) -> bool:
        """Return whether the view can be trusted: at once inside, after a snapshot outside."""
        return self._watch is None or self._watch.synced

    def pick(self, contract: Contract, exclude: Collection[str]) -> Ticket:
        """Return a place for a request; raises AseError 20002."""
        return self._balancer.acquire(contract.service.id, contract.digest, exclude)

    def live(self, service_id: str) -> int:
        """Return how many instances of a service take requests."""
        return sum(1 for entry in self.table.service(service_id) if entry.state is State.UP)

    def _changed(self, change: Change) -> None:
        _logger.info("instance %s", change.after.value, extra=change.facts())
        self._fleet_metrics.changed(change, self.table)
        if change.after is State.GONE:
            self._spawn(self._caller.forget(change.instance, self._drain))
        if self._options.accept_schemas:
            self._settle(change.instance.service)
        if change.before is State.GONE:
            self._warn(change.instance)

    def _settle(self, service_id: str) -> None:
        totals: dict[str, int] = {}
        for entry in self.table.service(service_id):
            if entry.state is State.UP and entry.instance.digest:
                digest = entry.instance.digest
                totals[digest] = totals.get(digest, 0) + entry.instance.total
        capacities = [Capacity(service_id, digest, total) for digest, total in totals.items()]
        try:
            switches = self._catalog.settle(capacities, self._documents)
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
            cure = "put its schema into the folder `schemas`, or set lb.accept_schemas"
            _logger.warning("service has no schema", extra={**facts, "cure": cure})
        elif instance.digest not in ("", contract.digest):
            cure = f"the active schema is {contract.digest[:12]}, from {contract.source}"
            _logger.warning("instance speaks another schema", extra={**facts, "cure": cure})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            for change in self.table.expire(self._clock()):
                self._changed(change)
