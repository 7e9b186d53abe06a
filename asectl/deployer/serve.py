"""The deployer's parts, put together: store, engine, shimlets, pipelines, the HTTP API."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from random import SystemRandom
from typing import Any, Final

from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asectl.registry.key_authorizer import KeyAuthorizer
from asectl.registry.serve import etcd_servers
from atom.grpc_health import check_health
from config.options import Config, DeployerOptions, LbOptions
from deploy.engine.activator import Activator, ActivatorSettings
from deploy.engine.autoscaler import Autoscaler
from deploy.engine.engine import DeploymentEngine, EngineSettings
from deploy.engine.events import Event, EventBus
from deploy.engine.leadership import Leadership, SharedLeadership, SoleLeadership
from deploy.engine.load_view import LoadView
from deploy.engine.metrics import DeployMetrics
from deploy.engine.pipeline import Pipeline
from deploy.engine.repository import DeploymentRepository
from deploy.http_api import DeployApi
from deploy.kong.position_sync import KongPositions
from deploy.models.puller import ModelPuller
from deploy.models.subscription import ModelSubscription
from deploy.pipelines.catalog import load_pipelines
from deploy.positions.catalog import PositionCatalog, find_model_token
from deploy.positions.http_api import PositionApi
from deploy.shimlets.catalog import load_shimlets
from deploy.shimlets.docker import DockerShimlet
from deploy.shimlets.interface import Shimlet, ShimletError
from deploy.shimlets.kubernetes import KubernetesShimlet
from deploy.shimlets.kubernetes_api import ClusterAccess, KubernetesApi
from deploy.shimlets.process import ProcessShimlet
from deploy.shimlets.ray import RayShimlet
from deploy.shimlets.supervisor import SupervisorShimlet
from deploy.workloads.quantities import parse_memory
from deploy.workloads.quota import Quota
from deploy.workloads.traffic import traffic_shares
from gateway.access.key_store import KeyFile, KeyStore
from gateway.access.key_watch import watch_keys
from gateway.server import HttpServer, admin_server
from gateway.telemetry.admin import AdminAccess
from gateway.telemetry.console import console_routes
from lb.client.remote_hubs import RemoteHubs
from lb.client.traffic_sender import TrafficSender
from lb.credentials import HubCredentials
from lb.endpoints.lifecycle import StateChange
from lb.endpoints.traffic import TrafficRules
from registry.access import Authorizer, OpenAuthorizer
from registry.store.etcd import EtcdStore
from registry.store.interfaces import Store, StoreLockedError
from registry.store.sqlite import SqliteStore

_logger = logging.getLogger("ase.deploy")

_MAX_HTTP_CONNECTIONS: Final = 500
_CONSOLE_FOLDER: Final = Path(__file__).parent / "console_page"
_STOP_INTERVAL_S: Final = 0.1
_LOCK_INTERVAL_S: Final = 0.2


async def open_store(config: Config, base: Path) -> Store:
    """Return the store of the options, open. Raises StoreError."""
    if config.registry.etcd:
        etcd_store = EtcdStore(etcd_servers(config.registry, base), config.deployer.etcd_prefix)
        await etcd_store.open()
        return etcd_store
    store = SqliteStore(base / config.deployer.store)
    replaced = await store.open()
    if replaced:
        _logger.error("store restored", extra={"reason": replaced})
    return store


def create_shimlets(
    options: DeployerOptions, base: Path, credentials: HubCredentials
) -> dict[str, Shimlet]:
    """Return the runtimes that there are; `credentials` are for the hubs.

    Raises ShimletLoadError.
    """
    built_in: Mapping[str, Callable[[], Shimlet]] = {
        "process": lambda: ProcessShimlet(
            (base / options.state).absolute(),
            (base / options.models).resolve(),
            options.loader_host,
            options.grace,
            options.max_log,
            credentials,
        ),
        "docker": lambda: DockerShimlet(
            options.docker,
            options.docker_network,
            options.loader_host,
            options.grace,
            credentials.token,
        ),
        "ray": lambda: RayShimlet(
            options.ray, (base / options.models).resolve(), options.grace, credentials.token
        ),
        "supervisor": lambda: SupervisorShimlet(
            options.supervisor,
            (base / options.supervisor_folder).absolute(),
            (base / options.models).resolve(),
            options.loader_host,
            options.grace,
            options.max_log,
            credentials,
        ),
        "k8s": lambda: KubernetesShimlet(
            partial(_connect, options, base), options.grace, options.token_secret
        ),
    }
    return load_shimlets(built_in)


def _connect(options: DeployerOptions, base: Path) -> KubernetesApi:
    """Return a client of the cluster of the options. Raises ShimletError."""
    path = options.kubeconfig or os.environ.get("KUBECONFIG", "")
    access = ClusterAccess.of_pod(os.environ) if not path else None
    if access is None:
        access = ClusterAccess.of_kubeconfig(base / (path or Path.home() / ".kube/config"))
    return KubernetesApi(access, options.namespace)


class DeployerProcess:
    """The deployer of one process. Call `load`, then run `tasks`."""

    def __init__(self, config: Config, base: Path, store: Store) -> None:
        """Put the parts together.

        Raises KeySourceError, PipelineError, ShimletLoadError, and OSError for the certificates.
        """
        options = self._options = config.deployer
        self._config = config
        self._store = store
        self._repository = DeploymentRepository(store)
        self._bus = EventBus()
        self._bus.add_sink(_log_event)
        credentials = HubCredentials.from_options(config.lb, base.absolute())
        self._shimlets = create_shimlets(options, base, credentials)
        pipelines, default_pipeline = load_pipelines(options.pipeline, base)
        self._hubs = _create_hubs(config, base, self._on_instance_change)
        self._load_view = LoadView(self._hubs.table, check_health)
        settings = engine_settings(options, default_pipeline, (base / options.models).resolve())
        self._shared: SharedLeadership | None = None
        if not isinstance(store, SqliteStore):
            name = f"{socket.gethostname()}:{options.port}#{os.getpid()}"
            self._shared = SharedLeadership(store, name, time.monotonic, self._on_elected)
        self._leadership: Leadership = self._shared or SoleLeadership()
        self._traffic = _create_traffic_sender(config, base, self._rules)
        self._puller = self._create_puller(settings)
        self._stopping = asyncio.Event()
        self._engine = self._create_engine(pipelines, settings)
        self._activator = self._create_activator(credentials)
        self._autoscaler = self._create_autoscaler(settings)
        self._keys: KeyFile | None = None
        authorizer: Authorizer = OpenAuthorizer()
        if options.auth == "key":
            self._keys = KeyFile(KeyStore(base / config.auth.keys))
            authorizer = KeyAuthorizer(self._keys)
        self._api = self._create_api(pipelines, settings, authorizer)
        api = self._api
        catalog = PositionCatalog(store, self._repository, api.complete, api.check_quota, time.time)
        self._positions = PositionApi(
            catalog,
            self._repository,
            self._shimlets,
            self._load_view,
            self._bus,
            authorizer,
            store,
            self._stopping,
        )
        self._subscription = self._create_subscription(catalog)
        self._kong = KongPositions(config, catalog.positions, self._leadership, time.monotonic)

    def _create_subscription(self, catalog: PositionCatalog) -> ModelSubscription | None:
        options = self._options
        if not options.subscribe:
            return None
        return ModelSubscription(
            options.subscribe,
            options.subscribe_key,
            options.subscribe_applications,
            self._store,
            catalog,
            self._bus,
            self._leadership,
        )

    def _create_autoscaler(self, settings: EngineSettings) -> Autoscaler:
        return Autoscaler(
            self._repository,
            self._load_view,
            self._bus,
            self._leadership,
            settings.quota,
            can_sleep=self._activator.is_ready,
            clock=time.monotonic,
            now=time.time,
        )

    def _create_puller(self, settings: EngineSettings) -> ModelPuller:
        options = self._options
        return ModelPuller(
            settings.models,
            options.model_sources,
            parse_memory(options.max_model),
            partial(find_model_token, self._store),
            self._repository.model_digests,
        )

    def _create_activator(self, credentials: HubCredentials) -> Activator:
        return Activator(
            self._repository,
            self._store,
            self._load_view,
            self._hubs.documents,
            self._bus,
            self._leadership,
            activator_settings(self._options),
            credentials,
            clock=time.monotonic,
            now=time.time,
        )

    def _create_engine(
        self, pipelines: Mapping[str, Pipeline], settings: EngineSettings
    ) -> DeploymentEngine:
        return DeploymentEngine(
            self._repository,
            self._shimlets,
            pipelines,
            self._load_view,
            self._bus,
            self._leadership,
            settings,
            traffic=self._traffic,
            puller=self._puller,
            clock=time.monotonic,
            now=time.time,
        )

    def _create_api(
        self, pipelines: Mapping[str, Pipeline], settings: EngineSettings, authorizer: Authorizer
    ) -> DeployApi:
        metrics = CollectorRegistry()
        metrics.register(
            DeployMetrics(
                self._repository, self._engine, self._bus, self._leadership, self._autoscaler
            )
        )
        return DeployApi(
            self._repository,
            self._shimlets,
            pipelines,
            self._load_view,
            self._bus,
            authorizer,
            settings,
            metrics,
            time.time,
            self._stopping,
        )

    def http_server(self) -> HttpServer:
        """Return the server of the HTTP API."""
        routes = [Route("/livez", _livez), Route("/readyz", self._readyz)]
        routes += [*self._positions.routes(), *console_routes(_CONSOLE_FOLDER)]
        application = self._api.application(version("athena-serving"), routes)
        options = replace(self._config.gateway, admin_connections=_MAX_HTTP_CONNECTIONS)
        host_names = (self._options.host, *self._options.admin_hosts)
        # The API asks for keys itself.
        return admin_server(application, options, AdminAccess("deployer", host_names, ""))

    async def load(self) -> None:
        """Read all records, and start to follow the hubs. Raises StoreError and OSError."""
        await self._activator.start()
        await self._repository.load()
        await self._hubs.follow(None)

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs as long as the deployer does."""
        works = [self._repository.follow(), self._engine.run(), self._traffic.run()]
        works += [self._autoscaler.run(), self._activator.run()]
        if self._config.kong.positions:
            works.append(self._kong.run())
        if self._subscription is not None:
            works.append(self._subscription.run())
        if self._shared is not None:
            works.append(self._shared.run())
        if self._keys is not None:
            works.append(watch_keys(self._keys))
        return works

    def stop_streams(self) -> None:
        """End the streams of events."""
        self._stopping.set()

    async def stop_replicas(self) -> None:
        """Stop all replicas; what is wanted stays as it is."""
        for deployment_id in self._repository.ids():
            for shimlet in self._shimlets.values():
                try:
                    await _stop_replicas(shimlet, deployment_id)
                except ShimletError as error:
                    fields = {"deployment": deployment_id, "reason": str(error)}
                    _logger.warning("replicas not stopped", extra=fields)

    async def stop(self) -> None:
        """Give up the leadership, and release what is open. What it has started runs on."""
        if self._shared is not None:
            await self._shared.resign()
        await self._hubs.stop()
        await self._puller.close()
        for shimlet in self._shimlets.values():
            await shimlet.close()

    def _rules(self) -> TrafficRules | None:
        """Return the shares of all revisions; None if another deployer leads."""
        if not self._leadership.is_leader:
            return None
        entries = map(self._repository.get, self._repository.ids())
        return TrafficRules(self._repository.owner, 0, traffic_shares(entries))

    def _on_elected(self) -> None:
        self._engine.notify_all()

    def _on_instance_change(self, change: StateChange) -> None:
        """Publish the change, and look at all deployments: one may wait for this instance."""
        self._bus.publish("lb.instance", "", **change.log_fields())
        self._engine.notify_all()

    async def _readyz(self, _: Request) -> Response:
        problem = self._repository.problem
        status = {"status": "ready", "leader": self._leadership.is_leader}
        if problem:
            status = {"status": "store lost", "reason": problem}
        return JSONResponse(status, 503 if problem else 200)


async def _stop_replicas(shimlet: Shimlet, deployment_id: str) -> None:
    """Stop the replicas of a deployment in one runtime. Raises ShimletError."""
    if deployment_id in await shimlet.list_deployments():
        await shimlet.delete(deployment_id)
        while await shimlet.status(deployment_id):
            await asyncio.sleep(_STOP_INTERVAL_S)
            await shimlet.delete(deployment_id)


def engine_settings(options: DeployerOptions, pipeline: str, models: Path) -> EngineSettings:
    """Return the settings of the engine."""
    quota = Quota(
        options.replicas,
        options.cpu,
        parse_memory(options.memory) if options.memory else 0,
        options.accelerators,
    )
    return EngineSettings(
        options.shimlet,
        pipeline,
        options.hubs,
        options.gateway.rstrip("/"),
        quota,
        options.resync,
        options.retention,
        models,
    )


def activator_settings(options: DeployerOptions) -> ActivatorSettings:
    """Return the settings of the activator."""
    host, _, port = options.activator.rpartition(":")
    return ActivatorSettings(
        tuple(options.hubs.split(",")),
        host,
        int(port),
        options.activator_advertise,
        options.wake_timeout,
        options.wake_waiting,
    )


def _hub_options(config: Config) -> LbOptions:
    return replace(config.lb, hub=config.deployer.hubs)


def _create_hubs(
    config: Config, base: Path, on_change: Callable[[StateChange], None]
) -> RemoteHubs:
    lb = _hub_options(config)
    return RemoteHubs(
        lb,
        HubCredentials.from_options(lb, base),
        f"deployer-{socket.gethostname()}-{os.getpid()}",
        time.monotonic,
        SystemRandom(),
        on_change,
    )


def _create_traffic_sender(
    config: Config, base: Path, get_rules: Callable[[], TrafficRules | None]
) -> TrafficSender:
    lb = _hub_options(config)
    return TrafficSender(
        lb.hub.split(","),
        HubCredentials.from_options(lb, base),
        get_rules,
        lambda: int(time.time() * 1000),
    )


def _log_event(event: Event) -> None:
    if event.topic == "service.status":
        _logger.info("deployment %s", event.data["status"], extra=_event_fields(event))
    elif event.topic == "pipeline.step" and event.data["state"] != "running":
        _logger.info("step %s", event.data["state"], extra=_event_fields(event))


def _event_fields(event: Event) -> dict[str, Any]:
    fields = {name: value for name, value in event.data.items() if value not in ("", None)}
    # `message` is the log line's own.
    fields = {("text" if name == "message" else name): value for name, value in fields.items()}
    return {"deployment": event.subject, **fields}


async def _livez(_: Request) -> Response:
    return JSONResponse({"status": "alive"})


async def wait_for_store(config: Config, base: Path, stop: "asyncio.Future[bool]") -> Store | None:
    """Return the store; while another deployer has its file, wait. None: stopped meanwhile.

    Raises StoreError.
    """
    is_logged = False
    while not stop.done():
        try:
            return await open_store(config, base)
        except StoreLockedError as error:
            if not is_logged:
                _logger.info("another deployer leads; waiting", extra={"reason": str(error)})
            is_logged = True
        await asyncio.wait((stop,), timeout=_LOCK_INTERVAL_S)
    return None
