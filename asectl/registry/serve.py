"""The registry's parts, put together: store, state, subscribers, providers, both ports."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asectl.registry.inspection import find_breaks, inspect_file
from asectl.registry.key_authorizer import KeyAuthorizer
from config.options import Config, RegistryOptions
from gateway.access.key_store import KeyFile, KeyStore
from gateway.access.key_watch import watch_keys
from gateway.http.tls import Certificate
from gateway.server import HttpServer, admin_server
from gateway.telemetry.admin import AdminAccess
from gateway.telemetry.exposition import metrics_response
from lb.credentials import ServerCertificate
from registry.access import Authorizer, OpenAuthorizer
from registry.grpc_service import RegistryService
from registry.http_api import RegistryApi, build_api
from registry.metrics import RegistryMetrics
from registry.providers import Present, ProviderLeases
from registry.service import Registry
from registry.store.etcd import EtcdPresence, EtcdStore
from registry.store.etcd_cluster import EtcdServers
from registry.store.interfaces import Presence, Store, StoreError
from registry.store.memory_presence import MemoryPresence
from registry.store.sqlite import SqliteStore
from registry.subscribers import Subscribers
from rpc.certificate import CertificateFiles
from rpc.server import Server

_logger = logging.getLogger("ase.registry")

_MAX_HTTP_CONNECTIONS: Final = 2000
_CERTIFICATE_INTERVAL_S: Final = 1.0


async def open_store(options: RegistryOptions, base: Path) -> tuple[Store, Presence]:
    """Return the store and the presence of the options, open. Raises StoreError."""
    if options.etcd:
        servers = etcd_servers(options, base)
        etcd_store = EtcdStore(servers, options.etcd_prefix)
        await etcd_store.open()
        return etcd_store, EtcdPresence(servers, options.etcd_prefix)
    store = SqliteStore(base / options.store, options.history)
    try:
        replaced = await store.open()
    except StoreError:
        await store.close()
        raise
    if replaced:
        _logger.error("store restored", extra={"store": options.store, "reason": replaced})
    return store, MemoryPresence()


def etcd_servers(options: RegistryOptions, base: Path) -> EtcdServers:
    """Return the members of the options, and the credentials for them."""
    files = (options.etcd_ca, options.etcd_cert, options.etcd_key)
    ca, cert, key = (str(base / path) if path else "" for path in files)
    members = tuple(options.etcd.split(","))
    return EtcdServers(members, ca, cert, key, options.etcd_user, options.etcd_password)


class RegistryProcess:
    """The registry of one process. Call `load`, then `start_grpc` and run `tasks`."""

    def __init__(self, config: Config, base: Path, store: Store, presence: Presence) -> None:
        """Put the parts together. Raises KeySourceError, and OSError for the certificate."""
        self._options = config.registry
        self._config = config
        self._store = store
        self._registry = Registry(store, inspect_file, time.time)
        self._present = Present(presence)
        self._subscribers = Subscribers(self._registry, presence, self._present, time.time)
        self._leases = ProviderLeases(presence, time.monotonic)
        self._registry.on_change(lambda _: self._present.notify())
        self._keys: KeyFile | None = None
        authorizer: Authorizer = OpenAuthorizer()
        if config.registry.auth == "key":
            self._keys = KeyFile(KeyStore(base / config.auth.keys))
            authorizer = KeyAuthorizer(self._keys)
        self._certificate: ServerCertificate | None = None
        self._http_certificate: Certificate | None = None
        if config.registry.tls_cert:
            paths = (base / config.registry.tls_cert, base / config.registry.tls_key)
            self._certificate = ServerCertificate(CertificateFiles(*paths))
            self._http_certificate = Certificate(CertificateFiles(*paths))
        self._metrics = CollectorRegistry()
        self._metrics.register(RegistryMetrics(self._registry, self._subscribers, self._present))
        grpc_service = RegistryService(
            self._registry,
            self._subscribers,
            self._present,
            self._leases,
            authorizer,
            time.time,
        )
        self._server = Server(
            unary=grpc_service.unary_methods(),
            stream=grpc_service.stream_methods(),
            max_connections=config.registry.max_subscribers,
        )
        backup = self._make_backup if isinstance(store, SqliteStore) else None
        self._api = RegistryApi(self._registry, self._present, authorizer, find_breaks, backup)

    @property
    def revision(self) -> int:
        """The revision of the records."""
        return self._registry.state.revision

    async def load(self) -> None:
        """Read all records. Raises StoreError."""
        await self._registry.load()

    async def start_grpc(self) -> int:
        """Listen for subscribers and providers; return the port. Raises OSError."""
        return await self._server.start(self._options.host, self._options.port, self._certificate)

    def application(self) -> Starlette:
        """Return the application of the HTTP API."""
        routes = [
            Route("/livez", _livez),
            Route("/readyz", self._readyz),
            Route("/metrics", self._show_metrics),
        ]
        return build_api(self._api, routes, version("athena-serving"))

    def http_server(self) -> HttpServer:
        """Return the server of the HTTP API."""
        options = replace(self._config.gateway, admin_connections=_MAX_HTTP_CONNECTIONS)
        host_names = (self._options.host, *self._options.admin_hosts)
        access = AdminAccess("registry", host_names, "")  # the API asks for keys itself
        return admin_server(self.application(), options, access, self._http_certificate)

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs as long as the registry does."""
        works = [
            self._registry.follow_store(),
            self._subscribers.run(),
            self._present.follow(),
            self._leases.run(),
        ]
        if self._http_certificate is not None:
            works.append(_watch_certificate(self._http_certificate))
        if self._keys is not None:
            works.append(watch_keys(self._keys))
        if isinstance(self._store, SqliteStore) and self._options.backup_interval:
            works.append(self._back_up_regularly(self._store))
        return works

    def stop_streams(self) -> None:
        """End the streams of those that watch."""
        self._api.stopping.set()

    async def stop(self) -> None:
        """End the streams of subscribers, providers and watchers."""
        self.stop_streams()
        await self._server.stop(0)

    async def _back_up_regularly(self, store: SqliteStore) -> None:
        while True:
            await asyncio.sleep(self._options.backup_interval)
            try:
                path = await store.backup()
                _logger.info("backup made", extra={"file": str(path)})
            except StoreError as error:
                _logger.error("no backup made", extra={"reason": str(error)})  # noqa: TRY400

    async def _make_backup(self) -> str:
        assert isinstance(self._store, SqliteStore)  # noqa: S101 (see the constructor)
        return str(await self._store.backup())

    async def _readyz(self, _: Request) -> Response:
        problem = self._registry.store_problem
        status = {"status": "ready"} if not problem else {"status": "store lost", "reason": problem}
        return JSONResponse(status, 503 if problem else 200)

    async def _show_metrics(self, request: Request) -> Response:
        return metrics_response(self._metrics, request)


async def _watch_certificate(certificate: Certificate) -> None:
    """Read the certificate of the HTTP API again when its files change, forever."""
    while True:
        await asyncio.sleep(_CERTIFICATE_INTERVAL_S)
        try:
            if certificate.reload(force=False):
                _logger.info("certificate reloaded", extra={"files": str(certificate)})
        except OSError as error:
            message = "certificate refused; the old one is served"
            _logger.error(message, extra={"reason": str(error)})  # noqa: TRY400


async def _livez(_: Request) -> Response:
    return JSONResponse({"status": "alive"})
