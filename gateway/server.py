"""A gateway in one process: it creates the parts, serves, and stops without losing a request."""

import asyncio
import contextlib
import logging
import resource
import secrets
import socket
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, cast

import uvicorn
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from atom.caller import GrpcCaller
from config.options import Config, GatewayOptions, SessionOptions
from gateway.access.control import AccessControl
from gateway.access.proxies import TrustedProxies
from gateway.context import GatewayContext
from gateway.grpc.port import GrpcPort
from gateway.grpc.service import GatewayService
from gateway.handover import OBSTACLE_DRAINED, HandedOver, TakeoverError
from gateway.http import app
from gateway.http.connection import HttpConnection
from gateway.http.cors import CorsPolicy
from gateway.http.memory_limits import BodyBudget, UnreadOutput
from gateway.http.server_context import FastPathContext, Limits, ServerContext
from gateway.http.tls import Certificate
from gateway.lifecycle import Lifecycle
from gateway.request.answer_store import AnswerStore
from gateway.request.interfaces import Dependencies
from gateway.request.record import RequestIdGenerator, RequestRecord
from gateway.request.response import HttpResponse, finish_with_error
from gateway.request.shutdown import DrainState, Shutdown
from gateway.request.traces import Tracer
from gateway.services import schema_folder
from gateway.services.catalog import Catalog, Contract, ContractChange
from gateway.services.reload import ConfigReloader, ConfigSource
from gateway.services.schema_cache import SchemaCache
from gateway.sockets import ListeningSockets, listen_addresses, max_connections
from gateway.streaming.sse import EventStream
from gateway.streaming.upgrade import WebSocketUpgrader
from gateway.telemetry import admin
from gateway.telemetry.access_log import AccessLog, loggable_target
from gateway.telemetry.admin import AdminAccess, AdminGuard, Debugging
from gateway.telemetry.balancer_metrics import BalancerMetrics
from gateway.telemetry.explanations import Explanations
from gateway.telemetry.memory_metrics import CutLog, MemoryMetrics
from gateway.telemetry.metrics import Metrics, UpstreamMetrics
from gateway.telemetry.operations import Operations
from gateway.telemetry.process_info import process_info
from gateway.telemetry.recorder import Recorder
from gateway.telemetry.session_metrics import SessionMetrics
from gateway.telemetry.tracing import Tracing
from gateway.unary.request_head import UnaryHeadCache
from gateway.upstreams import UpstreamCluster
from gateway.usage.writer import UsageWriter, open_writer
from lb.balancer.explanation import explain_candidates, preview_picks
from lb.client.remote_hubs import HubChanges
from lb.credentials import ServerCertificate
from lb.hub.counters import HubCounts
from rpc.addresses import dial_host
from rpc.certificate import CertificateFiles
from rpc.listener import Address, Listener, ListenerSettings
from schemas.model.errors import AseError

_logger = logging.getLogger("ase.gateway")

# Instances in the explanation of a request.
_MAX_CANDIDATES = 20
# The loaders of a process that is replaced connect here within this time, or have gone.
_TAKEOVER_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of a running gateway: two URLs, host:port for gRPC clients and of its hub.

    `grpc` is empty if gRPC clients are not served, `lb` if the hub is in another process.
    """

    public: str
    admin: str
    grpc: str
    lb: str


async def run(
    config: Config,
    base_dir: Path,
    sockets: ListeningSockets,
    lifecycle: Lifecycle,
    on_ready: Callable[[Addresses], None],
    write_log_line: Callable[[str], None],
    config_source: ConfigSource,
    hub_changes: HubChanges | None = None,
) -> None:
    """Serve on `sockets` until `lifecycle.shutdown` completes, then drain as it says.

    Paths in the config are relative to `base_dir`. `config_source` is where config and schemas are
    reloaded from while the gateway serves. `hub_changes` yields the hubs if a registry lists them.
    `write_log_line` is called with each line of the access log. If this process replaces another
    one, it accepts requests once the loaders report here. Raises SchemaFolderError if the schemas
    are invalid, TakeoverError if a service of the process that is to be replaced has no instance
    here, ConnectionError if that process ends before.
    """
    predecessor = lifecycle.predecessor
    gateway = _build(config, base_dir, write_log_line, lifecycle)
    if gateway.usage_writer is not None:
        gateway.usage_writer.start()
    gateway.tracing.start()
    await gateway.upstreams.start(sockets.lb, hub_changes)
    tasks: list[asyncio.Task[None]] = []
    try:
        expected = lifecycle.expected_instances
        if predecessor is not None:
            handed_over = await predecessor.announce_listening()
            gateway.upstreams.take_over_traffic(handed_over.traffic)
            expected = handed_over.instances
        if missing := await gateway.upstreams.wait_for_instances(expected, _TAKEOVER_TIMEOUT_S):
            raise TakeoverError(
                f"no instance of {', '.join(missing)} is known here within "
                f"{_TAKEOVER_TIMEOUT_S:g} s, and the process before has some"
            )
        tasks += [
            asyncio.create_task(gateway.public_server.serve(sockets=[sockets.public])),
            asyncio.create_task(gateway.admin_server.serve(sockets=[sockets.admin])),
        ]
        if sockets.grpc is not None:
            await gateway.grpc_port.start(sockets.grpc)
        watchers = gateway.access.watchers(gateway.name, gateway.upstreams.lease)
        tasks += [asyncio.create_task(watcher) for watcher in watchers]
        reloader = gateway.create_reloader(config_source, config, base_dir)
        tasks.append(asyncio.create_task(reloader.run()))
        on_ready(_addresses(config, sockets))
        lifecycle.begin(_RunningGateway(sockets, gateway.upstreams, gateway.readiness))
        if predecessor is not None:
            await predecessor.announce_ready()
        await _drain(gateway, config.gateway, await lifecycle.shutdown)
        await asyncio.gather(tasks[0], gateway.grpc_port.stop(config.gateway.drain))
        gateway.admin_server.request_exit()
        await tasks[1]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await gateway.upstreams.stop()
        if gateway.usage_writer is not None:
            await asyncio.to_thread(gateway.usage_writer.stop)
        await asyncio.to_thread(gateway.tracing.stop)
    _logger.info("stopped")


async def _drain(gateway: "_Gateway", options: GatewayOptions, shutdown: Shutdown) -> None:
    """Become unready, and stop to accept connections as `shutdown` says."""
    lame_duck_s = 0.0 if shutdown is Shutdown.IMMEDIATE else options.lame_duck
    gateway.readiness.drain_state.draining = True
    _logger.info("draining", extra={"lame_duck_s": lame_duck_s})
    await gateway.grpc_port.stop_serving()
    if shutdown is Shutdown.REPLACED:
        gateway.public_server.stop_accepting()
        gateway.grpc_port.stop_accepting()
        gateway.admin_server.request_exit()
    await asyncio.sleep(lame_duck_s)
    gateway.public_server.request_exit()


def _addresses(config: Config, sockets: ListeningSockets) -> Addresses:
    addresses = listen_addresses(config.gateway, sockets)
    lb = f"{dial_host(config.lb.host)}:{sockets.lb.getsockname()[1]}" if sockets.lb else ""
    return Addresses(addresses["gateway"], addresses["admin"], addresses["grpc"], lb)


class _RunningGateway:
    """What a process that replaces this one takes over: `gateway.handover.Replaceable`."""

    def __init__(
        self, sockets: ListeningSockets, upstreams: UpstreamCluster, readiness: app.Readiness
    ) -> None:
        self.sockets = sockets
        self._upstreams = upstreams
        self._readiness = readiness

    def find_obstacle(self) -> str:
        """Return why it must not be replaced now, or ""."""
        return OBSTACLE_DRAINED if self._readiness.is_drained else ""

    async def hand_over_reports(self) -> HandedOver:
        """Send the loaders that report here to the new process; return what that has to know."""
        return await self._upstreams.hand_over()

    async def take_back_reports(self) -> None:
        """Receive the reports of the loaders again."""
        await self._upstreams.take_back()


@dataclass(frozen=True, slots=True)
class _Gateway:
    """The parts of a gateway process that are started, stopped or reloaded.

    `name` is what hubs and loaders call it.
    """

    name: str
    catalog: Catalog
    access: AccessControl
    usage_writer: UsageWriter | None
    tracing: Tracing
    metrics: Metrics
    upstreams: UpstreamCluster
    readiness: app.Readiness
    public_server: "HttpServer"
    grpc_port: GrpcPort
    admin_server: "HttpServer"

    def create_reloader(
        self, source: ConfigSource, config: Config, base_dir: Path
    ) -> ConfigReloader:
        """Return what reloads config, schemas and certificate."""
        certificate = self.public_server.certificate
        return ConfigReloader(
            source,
            config,
            base_dir,
            self.catalog,
            certificate,
            self.access.apply_limits,
            self.apply_reload,
        )

    def apply_reload(self, outcome: str, changes: list[ContractChange]) -> None:
        """Count a reload and its changes; reconcile contracts if a service lost its schema file."""
        self.metrics.count_reload(outcome)
        for change in changes:
            self.metrics.count_contract_change(change)
        if any(not change.new_digest for change in changes):
            self.upstreams.reconcile_contracts()


def _build(
    config: Config, base_dir: Path, write_log_line: Callable[[str], None], lifecycle: Lifecycle
) -> _Gateway:
    """Create the parts of a gateway and connect them.

    Raises SchemaFolderError if the schemas are invalid, KeySourceError if keys cannot be read,
    UsageStoreError.
    """
    options, clock = config.gateway, time.monotonic
    cache_path = config.lb.schema_cache
    schema_cache = SchemaCache(base_dir / cache_path) if cache_path else None
    catalog = _load_catalog(config, base_dir, schema_cache)
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    gateway_name = f"{socket.gethostname()}-{secrets.token_hex(4)}"
    caller = GrpcCaller(gateway_name, options.max_output)
    upstreams = _create_upstreams(
        config, base_dir, gateway_name, catalog, schema_cache, caller, metrics, registry
    )
    BalancerMetrics(registry, upstreams.picker, upstreams.table)
    usage_writer, used_by_key = open_writer(config.usage, base_dir, time.time)
    readiness = app.Readiness(upstreams.is_synced)
    debugging = _debugging(config, gateway_name, catalog, upstreams, readiness)
    tracing = Tracing(config.traces, registry)
    access_log = _access_log(write_log_line, usage_writer, debugging, tracing, options.slow)
    access = AccessControl.open(config, base_dir, used_by_key)
    dependencies = _dependencies(config, catalog, upstreams, caller, access, tracing.tracer)
    session_metrics = SessionMetrics(registry, access_log, clock)
    context = _context(
        dependencies, metrics, access_log, session_metrics, config.session, access.proxies
    )
    unread_output = UnreadOutput(options.max_unread, CutLog(_log_cut_clients, clock).add)
    body_budget = BodyBudget(options.max_bodies)
    grpc_port = _grpc_port(context, session_metrics, config, base_dir)
    MemoryMetrics(registry, unread_output, body_budget, grpc_port.memory)
    return _Gateway(
        gateway_name,
        catalog,
        access,
        usage_writer,
        tracing,
        metrics,
        upstreams,
        readiness,
        public_server(
            context,
            readiness,
            session_metrics,
            config.session,
            unread_output=unread_output,
            body_budget=body_budget,
            count_live_instances=upstreams.count_live_instances,
            base_dir=base_dir,
        ),
        grpc_port,
        _admin_server(config, registry, upstreams, catalog, debugging, readiness, lifecycle),
    )


def _access_log(
    write_line: Callable[[str], None],
    usage_writer: UsageWriter | None,
    debugging: Debugging,
    tracing: Tracing,
    slow: float,
) -> AccessLog:
    on_record = usage_writer.add if usage_writer is not None else None
    explain = debugging.explanations.add
    access_log = AccessLog(write_line, time.time, on_record, explain, slow, tracing.on_record)
    debugging.recorder.attach(access_log)
    return access_log


def _dependencies(
    config: Config,
    catalog: Catalog,
    upstreams: UpstreamCluster,
    caller: GrpcCaller,
    access: AccessControl,
    tracer: Tracer | None,
) -> Dependencies:
    options = config.gateway
    return Dependencies(
        options,
        catalog,
        upstreams.picker,
        config.lb.wait,
        caller,
        time.monotonic,
        RequestIdGenerator(secrets.token_hex),
        _log_internal_error,
        AnswerStore(options.answer_window, options.max_answers),
        access.authenticator,
        access.limiter,
        tracer,
    )


def _context(
    dependencies: Dependencies,
    metrics: Metrics,
    access_log: AccessLog,
    session_metrics: SessionMetrics,
    options: SessionOptions,
    proxies: TrustedProxies,
) -> GatewayContext:
    open_event_stream = partial(
        EventStream,
        dependencies=dependencies,
        session_metrics=session_metrics,
        options=options,
        call_later=asyncio.get_running_loop().call_later,
    )
    return GatewayContext(
        dependencies, metrics, access_log, open_event_stream, options.origins, proxies
    )


def _grpc_port(
    context: GatewayContext, session_metrics: SessionMetrics, config: Config, base_dir: Path
) -> GrpcPort:
    options = config.gateway
    service = GatewayService(context, session_metrics, config.session)
    is_tls = options.grpc and bool(options.tls_cert)
    certificate = ServerCertificate(certificate_files(options, base_dir)) if is_tls else None
    max_connections = _max_grpc_connections(options)
    return GrpcPort(service, options, certificate, max_connections, proxy_header_senders(options))


def public_server(
    context: GatewayContext,
    readiness: app.Readiness,
    session_metrics: SessionMetrics,
    session_options: SessionOptions,
    *,
    unread_output: UnreadOutput,
    body_budget: BodyBudget,
    count_live_instances: Callable[[str], int],
    base_dir: Path,
) -> "HttpServer":
    """Return the server of the public port: connections, ASGI application and WebSockets.

    `count_live_instances` returns the number of live instances of a service id. Paths of
    certificate and key are relative to `base_dir`.
    """
    options = context.dependencies.options
    head_cache = UnaryHeadCache(options.consumer_header)
    cors = CorsPolicy(session_options.origins, options)
    server_context = ServerContext(
        limits=_public_limits(options),
        reject_request=partial(_reject_request, context=context),
        fast_path=FastPathContext(context, head_cache) if options.once_lane else None,
        upgrader=WebSocketUpgrader(context, session_metrics, session_options),
        drain_state=readiness.drain_state,
        unread_output=unread_output,
        body_budget=body_budget,
        cors=cors,
    )
    application = app.build_app(
        context, readiness, count_live_instances, session_options.origins, cors
    )
    protocol = partial(HttpConnection, server_context=server_context)
    certificate = None
    if options.tls_cert:
        certificate = Certificate(certificate_files(options, base_dir))
    listener = None
    sends_proxy_header = proxy_header_senders(options)
    if certificate is not None or sends_proxy_header is not None:
        listener = ListenerSettings(
            certificate,
            server_context.limits.max_connections,
            options.tls_handshake_timeout,
            sends_proxy_header,
        )
    return http_server(application, options, protocol, listener, certificate)


class HttpServer(uvicorn.Server):
    """A uvicorn server that does not handle signals, with a certificate that can be replaced.

    It wakes once a second, for the Date header, instead of ten times to see whether it is to exit.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        listener: ListenerSettings | None,
        certificate: Certificate | None,
    ) -> None:
        super().__init__(config)
        self._exit_requested = asyncio.Event()
        self._listener_settings = listener
        self.certificate = certificate

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: the command that runs the process handles its signals."""
        yield

    def stop_accepting(self) -> None:
        """Accept no more connections; those that are open are served on."""
        for server in self.servers:
            server.close()

    def request_exit(self) -> None:
        """Stop to accept connections, and end when the requests have ended; see uvicorn."""
        self.should_exit = True
        self._exit_requested.set()

    async def main_loop(self) -> None:
        """Renew the default headers each second, until the exit is requested."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._exit_requested.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on the sockets, as uvicorn does, or with handshakes of our own."""
        settings = self._listener_settings
        if settings is None:
            await super().startup(sockets)
            return
        await self.lifespan.startup()
        state = self.server_state
        listener = Listener(settings, self._create_connection, state.connections, state.tasks)
        for sock in sockets or ():
            listener.listen(sock, self.config.backlog)
        self.servers = [cast("asyncio.base_events.Server", listener)]
        self.started = True

    def _create_connection(self, source: Address | None) -> asyncio.Protocol:
        create_protocol: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return create_protocol(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            source=source,
        )


def certificate_files(options: GatewayOptions, base_dir: Path) -> CertificateFiles:
    """Return the files of the certificate of the public port, by paths from `base_dir`.

    A client may connect without a certificate; the pages of the gateway need none.
    """
    ca = base_dir / options.tls_ca if options.tls_ca else None
    cert, key = base_dir / options.tls_cert, base_dir / options.tls_key
    return CertificateFiles(cert, key, ca, needs_client=False)


def proxy_header_senders(options: GatewayOptions) -> Callable[[str], bool] | None:
    """Return whether the connections of an IP address begin with a PROXY header; None: none do."""
    networks = options.proxy_protocol
    return TrustedProxies(networks).is_trusted if networks else None


def http_server(
    application: ASGIApp,
    options: GatewayOptions,
    http: Any = "httptools",
    listener: ListenerSettings | None = None,
    certificate: Certificate | None = None,
) -> HttpServer:
    """Return a server for an application.

    `http` is uvicorn's protocol class or its name. Without `listener` the server uses plain HTTP,
    whatever the options; `certificate` is that of `listener`.
    """
    config = uvicorn.Config(
        application,
        http=http,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(options.keep_alive),
        timeout_graceful_shutdown=max(1, int(options.drain)),
    )
    return HttpServer(config, listener, certificate)


def admin_access(options: GatewayOptions) -> AdminAccess:
    """Return who may use the admin API of a gateway."""
    host_names = (options.admin_host, *options.admin_hosts)
    return AdminAccess("gateway", host_names, options.admin_token)


def admin_server(
    application: ASGIApp,
    options: GatewayOptions,
    access: AdminAccess,
    certificate: Certificate | None = None,
) -> HttpServer:
    """Return the server of an admin application, for those who have access.

    Its port has the limits of the public port, except for the number of connections. It has TLS
    with a `certificate`.
    """
    limits = replace(_limits(options), max_connections=options.admin_connections)
    server_context = ServerContext(
        limits,
        reject_request=_reject_admin_request,
        fast_path=None,
        upgrader=None,
        drain_state=DrainState(),
        unread_output=UnreadOutput(
            options.max_unread, CutLog(_log_cut_clients, time.monotonic).add
        ),
        body_budget=BodyBudget(options.max_bodies),
        cors=CorsPolicy([], options),
        body_methods=frozenset({b"POST", b"PUT"}),
    )
    guarded_application = AdminGuard(application, access)
    protocol = partial(HttpConnection, server_context=server_context)
    listener = None
    if certificate is not None:
        listener = ListenerSettings(
            certificate, limits.max_connections, options.tls_handshake_timeout, None
        )
    return http_server(guarded_application, options, protocol, listener, certificate)


def _reject_admin_request(error: AseError, client_ip: str, _: bytes) -> HttpResponse:
    now = time.monotonic()
    return finish_with_error(
        error, RequestRecord(secrets.token_hex(16), now, client_ip=client_ip), now
    )


def _create_upstreams(
    config: Config,
    base_dir: Path,
    gateway_name: str,
    catalog: Catalog,
    schema_cache: SchemaCache | None,
    caller: GrpcCaller,
    metrics: Metrics,
    registry: CollectorRegistry,
) -> UpstreamCluster:
    rng = Random(SystemRandom().getrandbits(64))  # noqa: S311 (for load balancing only)
    hub_counts = HubCounts() if not config.lb.hub else None
    return UpstreamCluster(
        config.lb,
        config.instances,
        config.services,
        base_dir,
        gateway_name=gateway_name,
        catalog=catalog,
        schema_cache=schema_cache,
        caller=caller,
        metrics=metrics,
        upstream_metrics=UpstreamMetrics(registry, hub_counts),
        hub_counts=hub_counts,
        own_ports=_own_ports(config),
        weights={name: app.weight for name, app in config.apps.items() if app.weight != 1},
        clock=time.monotonic,
        rng=rng,
    )


def _own_ports(config: Config) -> set[int]:
    """Return the ports of this process, at which no loader can be."""
    gateway = config.gateway
    grpc_ports = {gateway.grpc_port} if gateway.grpc else set[int]()
    return ({gateway.port, gateway.admin_port, config.lb.port} | grpc_ports) - {0}


def _load_catalog(config: Config, base_dir: Path, schema_cache: SchemaCache | None) -> Catalog:
    services, default_deadline = config.services, config.gateway.deadline
    files = (
        schema_folder.load_folder(base_dir / config.schemas, services, default_deadline)
        if config.schemas
        else []
    )
    remembered: list[Contract] = []
    if schema_cache is not None and config.lb.accept_schemas:
        remembered = schema_cache.load(services, default_deadline)
    return Catalog(files, services, default_deadline, remembered)


def _log_internal_error(sid: str, error: Exception) -> None:
    _logger.error("request failed by a fault of ours", extra={"sid": sid}, exc_info=error)


def _log_cut_clients(clients: int, unread_bytes: int) -> None:
    _logger.warning(
        "clients disconnected: too much is unread",
        extra={"clients": clients, "bytes": unread_bytes, "limit": "gateway.max_unread"},
    )


def _admin_server(
    config: Config,
    registry: CollectorRegistry,
    upstreams: UpstreamCluster,
    catalog: Catalog,
    debugging: Debugging,
    readiness: app.Readiness,
    lifecycle: Lifecycle,
) -> "HttpServer":
    reload_requests = lifecycle.reload_requests
    operations = Operations(
        upstreams.picker, upstreams.table, readiness.set_drained, reload_requests.reload
    )
    digests, describe_process = partial(_active_digests, catalog), process_info("gateway", config)

    def describe() -> dict[str, Any]:
        ours = {
            "generation": reload_requests.generation,
            "upgrade": lifecycle.upgrade.to_json(),
        }
        return describe_process() | ours

    application = admin.build_app(
        registry, upstreams.table, time.monotonic, digests, describe, debugging, operations
    )
    return admin_server(application, config.gateway, admin_access(config.gateway))


def _debugging(
    config: Config,
    gateway_name: str,
    catalog: Catalog,
    upstreams: UpstreamCluster,
    readiness: app.Readiness,
) -> Debugging:
    """Return what explains requests and picks, and what records them."""

    def find_candidates(service_id: str, called: Collection[str]) -> list[dict[str, Any]]:
        contract = catalog.find(service_id)
        digest = contract.digest if contract is not None else ""
        candidates = explain_candidates(
            upstreams.table, service_id, digest, time.monotonic(), called, _MAX_CANDIDATES
        )
        return [candidate.to_json() for candidate in candidates]

    explanations = Explanations(
        config.gateway.explained, find_candidates, time.monotonic, time.time
    )
    recorder = Recorder(
        gateway_name,
        config.lb,
        endpoints=upstreams.table,
        clock=time.monotonic,
        wall_clock=time.time,
        is_stopping=lambda: readiness.drain_state.draining,
    )
    return Debugging(explanations, partial(_preview, catalog, upstreams), recorder)


def _preview(
    catalog: Catalog, upstreams: UpstreamCluster, service_id: str
) -> list[dict[str, Any]] | None:
    """Return the instances that the next requests of a service would get, None without it."""
    contract = catalog.find(service_id)
    if contract is None:
        return None
    candidates = preview_picks(
        upstreams.table, service_id, contract.digest, upstreams.new_preview_policy, time.monotonic()
    )
    return [candidate.to_json() for candidate in candidates]


def _active_digests(catalog: Catalog) -> dict[str, str]:
    return {contract.service.id: contract.digest for contract in catalog}


def _limits(options: GatewayOptions) -> Limits:
    return Limits(
        max_target=options.max_request_line,
        max_header_bytes=options.max_header_bytes,
        max_headers=options.max_headers,
        header_timeout=options.header_timeout,
        max_body=options.max_body,
        body_timeout=options.body_timeout,
        min_body_rate=options.min_body_rate,
        min_chunk=options.min_chunk,
        stall_timeout=options.write_timeout,
        idle_timeout=options.keep_alive,
        max_connections=min(
            options.max_connections, _max_connections() - _max_grpc_connections(options)
        ),
    )


def _public_limits(options: GatewayOptions) -> Limits:
    limits = _limits(options)
    if limits.max_connections < options.max_connections:
        hint = "raise the limit of open files, as by ulimit -n"
        log_fields = {"connections": limits.max_connections, "cure": hint}
        _logger.info("max_connections lowered to the limit of open files", extra=log_fields)
    return limits


def _max_connections() -> int:
    """Return the number of client connections that this process can have."""
    return max_connections(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _max_grpc_connections(options: GatewayOptions) -> int:
    """Return the number of connections of gRPC clients, at most a quarter of all; 0 without."""
    return min(options.grpc_connections, _max_connections() // 4) if options.grpc else 0


def _reject_request(
    error: AseError, client_ip: str, target: bytes, *, context: GatewayContext
) -> HttpResponse:
    """Answer, count and log a request that was rejected by its head.

    The log has its target as received, without the query and user information.
    """
    return context.fail(error, context.new_record("", loggable_target(target), client_ip))
