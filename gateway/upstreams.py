"""The instances that a gateway may call: of the config, of its own hub, or of remote hubs."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from random import Random

from atom.caller import GrpcCaller
from config.options import InstanceOptions, LbOptions, ServiceOptions
from gateway.handover import HandedOver, KnownInstance
from gateway.hub_discovery import Discovery, EmbeddedHub, FollowedHubs
from gateway.services.catalog import Catalog, SchemaUse
from gateway.services.schema_cache import SchemaCache
from gateway.telemetry.metrics import Metrics, UpstreamMetrics
from lb.balancer.balancer import Balancer
from lb.balancer.policies import policy_factories
from lb.client.orca_subscriber import OrcaSubscriber
from lb.client.remote_hubs import HubChanges
from lb.credentials import HubCredentials, server_certificate
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointState, StateChange
from lb.endpoints.outlier import EjectionCause, EjectionState
from lb.endpoints.report import Instance, ReportMode
from lb.endpoints.traffic import TrafficRules
from lb.hub.admission import AdmissionPolicy
from lb.hub.counters import HubCounts
from schemas.model.document import DocumentError

_logger = logging.getLogger("ase.lb")


# Requests that still run at a removed instance get this time to complete. It is the maximum of the
# deadlines in the config; only the `session_timeout` of a schema can be longer.
DISCONNECT_GRACE_S = 3600.0


class UpstreamCluster:
    """All instances that this gateway may call, and the picker that chooses among them.

    Paths in `options` are relative to `base_dir`. `gateway_name` identifies this gateway at hubs
    and loaders. `hub_counts` are the counters of the hub in this process; None if remote hubs are
    followed. The hub takes no loader at `own_ports`, those of this process. Schemas that loaders
    bring are stored in the `schema_cache`, if there is one. `clock` returns monotonic seconds. Must
    be created in a running event loop.

    `table` has all known instances: those of the config, which do not expire, and those of
    the hubs. `picker` gives requests a slot at one of them. `_disconnect_tasks` close connections
    to removed instances. If `_stopping` is set, state changes are ignored, because the shutdown
    itself causes them.
    """

    def __init__(
        self,
        options: LbOptions,
        instances: list[InstanceOptions],
        services: Mapping[str, ServiceOptions],
        base_dir: Path,
        *,
        gateway_name: str,
        catalog: Catalog,
        schema_cache: SchemaCache | None,
        caller: GrpcCaller,
        metrics: Metrics,
        upstream_metrics: UpstreamMetrics,
        hub_counts: HubCounts | None,
        own_ports: Collection[int],
        weights: Mapping[str, int],
        clock: Callable[[], float],
        rng: Random,
    ) -> None:
        self._accept_schemas = options.accept_schemas
        self._catalog = catalog
        self._schema_cache = schema_cache
        self._caller = caller
        self._metrics = metrics
        self._upstream_metrics = upstream_metrics
        self._disconnect_tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._instances_changed = asyncio.Event()
        self._subscribers: list[OrcaSubscriber] = []
        self._subscriber_tasks: list[asyncio.Future[None]] = []
        self._discovery: Discovery
        if hub_counts is None:
            credentials = HubCredentials.from_options(options, base_dir)
            self._discovery = FollowedHubs(
                options, credentials, gateway_name, clock, rng, self._on_instance_change
            )
        else:
            admission_policy = AdmissionPolicy.from_options(options, services, own_ports)
            certificate = server_certificate(options, base_dir)
            self._discovery = EmbeddedHub(
                options,
                admission_policy,
                certificate,
                hub_counts,
                gateway_name,
                clock,
                rng,
                self._on_instance_change,
            )
        self.table = self._discovery.table
        if options.accept_schemas:
            catalog.set_completeness(self._discovery.is_synced)
        for static_instance in instances:
            self._add_static(static_instance, clock, rng)
        # For previews of picks, which call no loader.
        self.new_preview_policy = policy_factories(rng, lambda *_: None)[options.policy]
        self.table.on_traffic(self.reconcile_contracts)
        self.picker = Balancer(
            self.table,
            policy_factories(rng, self._probe)[options.policy],
            clock=clock,
            rng=rng,
            call_later=asyncio.get_running_loop().call_later,
            max_waiting=options.waiting,
            on_ejection_change=self._on_ejection_change,
            health_check=self._check_health,
            weights=weights,
        )

    async def start(self, hub_socket: socket.socket | None, hub_changes: HubChanges | None) -> None:
        """Start the hub on its listening socket, or to follow remote hubs; subscribe to ORCA.

        `hub_socket` is None if the hub is in another process. `hub_changes` yields the addresses of
        remote hubs if a registry lists them.
        """
        self._subscriber_tasks = [
            asyncio.ensure_future(subscriber.run()) for subscriber in self._subscribers
        ]
        await self._discovery.start(hub_socket, hub_changes)

    async def hand_over(self) -> HandedOver:
        """Send the loaders that report here to the process with the same listening socket.

        Returns those that are up, and the rules of the hub. The instances stay as they are.
        """
        serving = self._serving_instances()
        return HandedOver(sorted(serving), await self._discovery.hand_over())

    def take_over_traffic(self, rules: Iterable[TrafficRules]) -> None:
        """Begin with the traffic rules of the process before."""
        for each in rules:
            self.table.set_traffic(each)

    async def take_back(self) -> None:
        """Take the loaders back after `hand_over`."""
        await self._discovery.take_back()

    async def wait_for_instances(
        self, expected: Collection[KnownInstance], timeout_s: float
    ) -> list[str]:
        """Wait until the expected instances are up, at most for `timeout_s`.

        Returns the services of which none is up then.
        """
        missing = {*expected}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while missing := missing - self._serving_instances():
                    self._instances_changed.clear()
                    await self._instances_changed.wait()
        if missing:
            log_fields = {"missing": sorted(missing)[:20], "after_s": timeout_s}
            _logger.warning("instances of the process before are not known yet", extra=log_fields)
        served = {service for service, _ in self._serving_instances()}
        return sorted({service for service, _ in missing} - served)

    def _serving_instances(self) -> set[KnownInstance]:
        """Return the instances that report to a hub, are up and answer."""
        return {
            (endpoint.instance.service, endpoint.instance.addr)
            for endpoint in self.table
            if endpoint.instance.report_mode is not ReportMode.NONE
            and endpoint.state is EndpointState.UP
            and endpoint.outlier_detector.is_answering()
        }

    async def stop(self) -> None:
        """Stop the hub, or following remote hubs, and close every connection to a loader at once.

        Requires that `start` has completed.
        """
        self._stopping = True
        await self._discovery.stop()
        for task in (*self._disconnect_tasks, *self._subscriber_tasks):
            task.cancel()
        await self._caller.close()

    async def lease(self, request: bytes) -> bytes:
        """Return the hub's reply to a LeaseRequest. Raises RpcError, OSError or LeaseError."""
        return await self._discovery.lease(request)

    def is_synced(self) -> bool:
        """Return whether the instances are known: with remote hubs, after the first snapshot."""
        return self._discovery.is_synced()

    def count_live_instances(self, service_id: str) -> int:
        """Return the number of instances of a service that are up and have the active schema.

        An instance without a digest counts as having the active schema.
        """
        contract = self._catalog.find(service_id)
        accepted_digests = ("", contract.digest if contract else "")
        endpoints = self.table.endpoints_of(service_id)
        return sum(
            endpoint.state is EndpointState.UP and endpoint.instance.digest in accepted_digests
            for endpoint in endpoints
        )

    def _add_static(
        self, options: InstanceOptions, clock: Callable[[], float], rng: Random
    ) -> None:
        """Add an instance of the config, which does not report to a hub.

        It has no digest: it gets requests whichever schema of its service is active.
        """
        total = options.total
        address = (options.service, options.addr, 0, options.protocol)
        instance = Instance("ase", *address, "", total, total)
        self.table.add_static(instance, clock())
        if options.orca:
            subscriber = OrcaSubscriber(instance, options.orca, self.table, clock=clock, rng=rng)
            self._subscribers.append(subscriber)
        self._warn_if_unroutable(instance)

    def _probe(self, endpoint: Endpoint, on_reply: Callable[[int, float], None]) -> None:
        self._caller.probe(endpoint.instance, on_reply)

    def _check_health(self, endpoint: Endpoint, on_result: Callable[[bool], None]) -> None:
        self._caller.check_health(endpoint.instance, on_result)

    def _on_ejection_change(self, endpoint: Endpoint) -> None:
        """Log the change; whether an instance answers decides on the contract of its service."""
        _log_health_change(endpoint)
        self._instances_changed.set()
        if self._accept_schemas:
            self._reconcile_service(endpoint.instance.service)

    def _on_instance_change(self, change: StateChange) -> None:
        """Log and count a state change.

        If schemas of loaders are accepted, reconcile the contract of the service. Close the
        connection to an instance that is gone, in the background. Warn if an instance that joined
        gets no requests.
        """
        if self._stopping:  # the gateway itself ends the reports
            return
        self._instances_changed.set()
        _logger.info("instance %s", change.after.value, extra=change.log_fields())
        self._upstream_metrics.count_state_change(change, self.table)
        if change.after is EndpointState.GONE:
            task = asyncio.ensure_future(
                self._caller.disconnect(change.instance, DISCONNECT_GRACE_S)
            )
            self._disconnect_tasks.add(task)
            task.add_done_callback(self._disconnect_tasks.discard)
        if self._accept_schemas:
            self._reconcile_service(change.instance.service)
        if change.before is EndpointState.GONE:
            self._warn_if_unroutable(change.instance)

    def reconcile_contracts(self) -> None:
        """Activate schemas from loaders for services without a schema file, if enabled."""
        if self._accept_schemas:
            for service_id in {endpoint.instance.service for endpoint in self.table}:
                self._reconcile_service(service_id)

    def _reconcile_service(self, service_id: str) -> None:
        """Activate the schema of the most instances that are UP or SUSPECT.

        Versions that are held back do not count (`lb/endpoints/traffic.py`). An invalid document is
        logged and the active contract stays.
        """
        by_digest: dict[str, list[Endpoint]] = {}
        live_states = (EndpointState.UP, EndpointState.SUSPECT)
        for endpoint in self.table.admitted(service_id, lambda each: each.state in live_states):
            if endpoint.instance.digest:
                by_digest.setdefault(endpoint.instance.digest, []).append(endpoint)
        uses = [
            SchemaUse(
                service_id,
                digest,
                len(endpoints),
                sum(endpoint.outlier_detector.is_answering() for endpoint in endpoints),
            )
            for digest, endpoints in by_digest.items()
        ]
        try:
            changes = self._catalog.reconcile(uses, self._discovery.documents)
        except DocumentError as error:
            _logger.error("schema refused", extra={"reason": str(error)})  # noqa: TRY400
            return
        for change in changes:
            _logger.info(
                "contract switched",
                extra={
                    "service": change.service,
                    "before": change.old_digest[:12],
                    "after": change.new_digest[:12],
                },
            )
            self._metrics.count_contract_change(change)
            contract = self._catalog.find(change.service)
            if contract is not None and self._schema_cache is not None:
                self._schema_cache.store(change.service, contract.schema_document)

    def _warn_if_unroutable(self, instance: Instance) -> None:
        """Log a warning if an instance gets no requests because of its schema, with the cure."""
        contract = self._catalog.find(instance.service)
        log_fields = {"service": instance.service, "instance": instance.addr}
        if contract is None:
            hint = "put its schema into the folder of `schemas`, or use --lb-accept-schemas true"
            _logger.warning("service has no schema", extra={**log_fields, "cure": hint})
        elif instance.digest not in ("", contract.digest):
            active_schema = f"{contract.digest[:12]}, from a {contract.source}"
            hint = f"it gets no traffic while {active_schema}, is active"
            hint = f"{hint}: start the same version, or switch"
            _logger.warning("instance speaks another schema", extra={**log_fields, "cure": hint})


def _log_health_change(endpoint: Endpoint) -> None:
    """Log that an instance was ejected, readmitted, or admitted by its first health check."""
    health = endpoint.outlier_detector
    log_fields = {
        "service": endpoint.instance.service,
        "instance": endpoint.instance.addr,
        "reason": health.cause.value,
    }
    if health.state is EjectionState.EJECTED:
        _logger.warning("instance ejected", extra=log_fields)
    elif health.state is EjectionState.ADMITTED:
        is_first = health.cause is EjectionCause.CHECK_PASSED
        _logger.info("instance admitted" if is_first else "instance readmitted", extra=log_fields)
