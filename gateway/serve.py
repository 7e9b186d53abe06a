"""A whole gateway in one process: open its parts, serve, and leave without losing a request."""

import asyncio
import contextlib
import errno
import logging
import resource
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from atom.caller import GrpcCaller
from config.options import Config, GatewayOptions
from gateway import admin, app, folder
from gateway.access import AccessLog, loggable_target
from gateway.answers import Answer, failure
from gateway.contracts import Catalog, Switch
from gateway.door import Door, Limits
from gateway.fleet import Fleet
from gateway.ids import Ids
from gateway.lane import Lane
from gateway.metrics import FleetMetrics, Metrics
from gateway.parts import Parts
from gateway.picks import PickMetrics
from gateway.protocol import DoorProtocol
from gateway.record import Record
from gateway.reload import Reload, Sources
from gateway.sessions import Sessions
from gateway.upgrade import Sockets
from lb.counts import HubCounts
from schemas.errors import AseError

_logger = logging.getLogger("ase.gateway")

# Descriptors that clients cannot take, of a large limit.
_KEPT_FILES = 1024


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running gateway listens; `lb` is empty when its hub is in another process."""

    public: str
    admin: str
    lb: str


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises OSError whose `filename` is host:port when it cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return socket.create_server(found[0][4][:2], family=found[0][0], backlog=2048)
    except OSError as error:
        words = error.strerror or str(error)
        raise OSError(error.errno or errno.EINVAL, words, f"{host}:{port}") from error


async def run(
    config: Config,
    base: Path,
    ready: Callable[[Addresses], None],
    stop: Awaitable[bool],
    log_line: Callable[[str], None],
    sockets: tuple[socket.socket, socket.socket] | None = None,
    sources: Sources | None = None,
) -> None:
    """Serve until `stop`, then drain; `base` is what paths in the config start from.

    `sockets` are those of the public and the admin port, where they were opened by another process.
    `sources` are where config and schemas are read anew from, while it serves.
    `log_line` takes each line of the access log. `stop` tells whether to leave gently: unready at
    once, accept for `lame_duck` seconds more, and only then close the door. What runs gets `drain`
    seconds either way. Raises OSError for a port that cannot be had, FolderError for bad schemas.
    """
    options, clock, rng = config.gateway, time.monotonic, SystemRandom()
    catalog = _catalog(config, base)
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    name = f"{socket.gethostname()}-{rng.getrandbits(32):08x}"
    caller = GrpcCaller(name)
    public, private = sockets or _listened(options)
    fleet = _fleet(config, base, name, catalog, caller, metrics, registry)
    PickMetrics(registry, fleet.picker, fleet.table)
    ids = Ids(secrets.token_hex)
    parts = Parts(options, catalog, fleet.picker, config.lb.wait, caller, clock, ids, _on_fault)
    log = AccessLog(log_line, time.time)
    lane = Lane(parts, metrics, log, Sessions(registry, log, clock), config.session)
    readiness = app.Readiness(fleet.synced)
    door = Door(
        limits=_public_limits(options),
        refuse=partial(_refuse, lane=lane),
        lane=lane if options.once_lane else None,
        sockets=Sockets(lane, config.session),
        draining=lambda: readiness.draining,
    )
    served = app.build(lane, readiness, fleet.live)
    serving = http_server(served, options, partial(DoorProtocol, door=door), tls=base)
    active = partial(_active, catalog)
    watching = admin_server(admin.build(registry, fleet.table, clock, active), options)
    lb_port = await fleet.start()
    tasks = [
        asyncio.create_task(serving.serve(sockets=[public])),
        asyncio.create_task(watching.serve(sockets=[private])),
    ]
    if sources is not None:
        renewed = partial(_renewed, metrics=metrics, fleet=fleet)
        tasks.append(asyncio.create_task(Reload(sources, config, base, catalog, renewed).run()))
    try:
        ready(_addresses(config, public, private, lb_port))
        gently = await stop
        readiness.draining = True
        _logger.info("draining", extra={"lame_duck_s": options.lame_duck if gently else 0})
        if gently:
            await asyncio.sleep(options.lame_duck)
        serving.should_exit = True
        await tasks[0]
        watching.should_exit = True
        await tasks[1]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await fleet.stop()
    _logger.info("stopped")


class HttpServer(uvicorn.Server):
    """A uvicorn server that leaves signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: whoever runs the process handles its signals."""
        yield


def http_server(
    served: ASGIApp,
    options: GatewayOptions,
    http: Any = "httptools",
    tls: Path | None = None,
) -> HttpServer:
    """Return a server for an application.

    `http` is uvicorn's protocol class or its name. `tls` is what the paths of certificate and key
    start from; without it the server speaks plain HTTP, whatever the options.
    """
    secure = tls is not None and bool(options.tls_cert)
    return HttpServer(
        uvicorn.Config(
            served,
            http=http,
            ssl_certfile=tls / options.tls_cert if tls and secure else None,
            ssl_keyfile=tls / options.tls_key if tls and secure else None,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(options.keep_alive),
            timeout_graceful_shutdown=max(1, int(options.drain)),
        )
    )


def admin_server(served: ASGIApp, options: GatewayOptions) -> HttpServer:
    """Return the server of an admin application: its port has the limits of the public one."""
    limits = replace(_limits(options), connections=options.admin_connections)
    door = Door(limits, refuse=_refuse_admin, lane=None, sockets=None, draining=lambda: False)
    guarded = admin.HostGuard(served, [options.admin_host, *options.admin_hosts])
    return http_server(guarded, options, partial(DoorProtocol, door=door))


def _refuse_admin(error: AseError, client: str, _: bytes) -> Answer:
    now = time.monotonic()
    return failure(error, Record(secrets.token_hex(16), now, client=client), now)


def _listened(options: GatewayOptions) -> tuple[socket.socket, socket.socket]:
    public = listen(options.host, options.port)
    return public, listen(options.admin_host, options.admin_port)


def _fleet(
    config: Config,
    base: Path,
    name: str,
    catalog: Catalog,
    caller: GrpcCaller,
    metrics: Metrics,
    registry: CollectorRegistry,
) -> Fleet:
    rng = Random(SystemRandom().getrandbits(64))  # noqa: S311 (draws and ties)
    counts = HubCounts() if not config.lb.hub else None
    return Fleet(
        config.lb,
        config.instances,
        config.services,
        base,
        name=name,
        catalog=catalog,
        caller=caller,
        metrics=metrics,
        fleet_metrics=FleetMetrics(registry, counts),
        counts=counts,
        clock=time.monotonic,
        rng=rng,
    )


def _catalog(config: Config, base: Path) -> Catalog:
    services, default = config.services, config.gateway.deadline
    files = folder.load(base / config.schemas, services, default) if config.schemas else []
    return Catalog(files, services, default)


def _renewed(outcome: str, switches: list[Switch], *, metrics: Metrics, fleet: Fleet) -> None:
    metrics.reloaded(outcome)
    for switch in switches:
        metrics.switched(switch)
    if any(not switch.after for switch in switches):
        fleet.settle()


def _on_fault(sid: str, error: Exception) -> None:
    _logger.error("request failed by a fault of ours", extra={"sid": sid}, exc_info=error)


def _active(catalog: Catalog) -> dict[str, str]:
    return {contract.service.id: contract.digest for contract in catalog}


def _limits(options: GatewayOptions) -> Limits:
    return Limits(
        target=options.max_request_line,
        header_bytes=options.max_header_bytes,
        headers=options.max_headers,
        head=options.header_timeout,
        body=options.max_body,
        body_time=options.body_timeout,
        rate=options.min_body_rate,
        stalled=options.write_timeout,
        idle=options.keep_alive,
        connections=min(options.max_connections, _most_connections()),
    )


def _public_limits(options: GatewayOptions) -> Limits:
    limits = _limits(options)
    if limits.connections < options.max_connections:
        cure = "raise the limit of open files, as by ulimit -n"
        facts = {"connections": limits.connections, "cure": cure}
        _logger.info("max_connections lowered to the limit of open files", extra=facts)
    return limits


def _most_connections() -> int:
    """Return how many clients the limit of open files allows, with a share kept for all else.

    Loaders, hubs, logs and the admin API need descriptors when clients have taken all theirs.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, files - min(_KEPT_FILES, max(files // 4, 16)))


def _refuse(error: AseError, client: str, target: bytes, *, lane: Lane) -> Answer:
    """Answer and note a request that was refused by its head; its path is told as it came."""
    record = lane.record("", loggable_target(target), client)
    answer = failure(error, record, lane.parts.clock())
    lane.note(record)
    return answer


def bound(options: GatewayOptions, public: socket.socket, private: socket.socket) -> dict[str, str]:
    """Return the addresses of the public and the admin port, as a client of this machine asks."""
    scheme = "https" if options.tls_cert else "http"
    return {
        "gateway": f"{scheme}://{dialled(options.host)}:{public.getsockname()[1]}",
        "admin": f"http://{dialled(options.admin_host)}:{private.getsockname()[1]}",
    }


def _addresses(
    config: Config, public: socket.socket, private: socket.socket, lb_port: int
) -> Addresses:
    told = bound(config.gateway, public, private)
    lb = f"{dialled(config.lb.host)}:{lb_port}" if lb_port else ""
    return Addresses(told["gateway"], told["admin"], lb)


def dialled(host: str) -> str:
    """Return the host to dial, from this machine, for one that is listened on."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
