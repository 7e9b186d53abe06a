"""`asectl lb`: run a hub in its own process, shared by several gateways."""

import argparse
import asyncio
import logging
import os
import signal
import time
from random import SystemRandom
from typing import TYPE_CHECKING

from asectl import heap, logs, options, process, registry_link
from asectl.main import EXIT_CONFIG, Failure
from asectl.registry_flags import SERVER_OPTIONS, add_registry_argument
from asectl.registry_link import HUB_PROTOCOL, HUB_SERVICE, RegistryLink, reachable_address
from asectl.systemd import notify
from config.options import Config
from lb.credentials import ServerCertificate, server_certificate
from lb.hub.admission import AdmissionPolicy
from rpc.addresses import dial_host, listen

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from lb.endpoints.lifecycle import StateChange
    from lb.endpoints.table import EndpointTable
    from lb.hub.service import Hub

# Options that have no effect in a hub: the gateways read them.
_GATEWAY_ONLY_OPTIONS = (
    "lb.hub", "lb.accept_schemas", "lb.schema_cache", "lb.wait", "lb.waiting", "lb.hub_ca",
    "lb.hub_cert", "lb.hub_key", "schemas",
)  # fmt: skip

_logger = logging.getLogger("ase.lb")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    options.add_config_arguments(
        parser, ("lb", "registry"), exclude=(*_GATEWAY_ONLY_OPTIONS, *SERVER_OPTIONS)
    )
    add_registry_argument(parser)
    parser.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Run the hub until it is stopped. Raises Failure (exit code 3) if the config is invalid."""
    link = registry_link.prepare(
        args,
        HUB_SERVICE,
        lambda config: (config.lb.host, config.lb.port),
        registry_link.check_generation,
        takes_schemas=False,
    )
    config, base = options.load_config(args)
    try:
        own_ports = {config.lb.port, config.lb.admin_port} - {0}
        admission_policy = AdmissionPolicy.from_options(config.lb, config.services, own_ports)
        certificate = server_certificate(config.lb, base)
    except (ValueError, OSError) as error:
        raise Failure(f"lb: {error}", EXIT_CONFIG) from None
    logs.setup(config.log_level, config.log_format)
    if link is not None:
        link.log_fetch()

    async def main(stop: "asyncio.Future[bool]") -> None:
        await _serve(config, admission_policy, certificate, stop, link)

    return process.serve(main, until_stdin_closes=args.until_stdin_closes, trim_heap=True)


async def _serve(
    config: Config,
    admission_policy: AdmissionPolicy,
    certificate: ServerCertificate | None,
    stop: "asyncio.Future[bool]",
    link: RegistryLink | None,
) -> None:
    from prometheus_client import CollectorRegistry

    from gateway.server import admin_server
    from gateway.telemetry import admin
    from gateway.telemetry.process_info import process_info
    from lb.aiges.service import AigesLbService
    from rpc.server import Server

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _log_hangup)
    registry = CollectorRegistry()
    hub, table = _build_hub(config, admission_policy, registry)
    admin_socket = listen(config.lb.admin_host, config.lb.admin_port)
    aiges_service = AigesLbService(hub, table, admission_policy, config.lb.policy, time.time_ns)
    server = Server(
        unary=hub.unary_methods() | aiges_service.unary_methods(), stream=hub.stream_methods()
    )
    port = await server.start(config.lb.host, config.lb.port, certificate)
    admin_http_server = admin_server(
        admin.build_app(registry, table, time.monotonic, None, process_info("hub", config)),
        config.gateway,
        admin.AdminAccess(
            "lb", (config.lb.admin_host, *config.lb.admin_hosts), config.lb.admin_token
        ),
    )
    hub_task = asyncio.create_task(hub.run())
    admin_task = asyncio.create_task(admin_http_server.serve(sockets=[admin_socket]))
    fields = {
        "lb": f"{dial_host(config.lb.host)}:{port}",
        "admin": f"http://{dial_host(config.lb.admin_host)}:{admin_socket.getsockname()[1]}",
    }
    heap.freeze_objects()
    _logger.info("listening", extra=fields)
    notify(os.environ, "READY=1")
    tasks = []
    if link is not None:
        address = reachable_address(config.lb.host, port)
        tasks = [link.follow_until_restart(), link.register(HUB_SERVICE, address, HUB_PROTOCOL)]
    try:
        await stop
    finally:
        if link is not None:
            await link.leave(tasks)
        hub_task.cancel()
        admin_http_server.request_exit()
        await server.stop(0)
        await admin_task
    _logger.info("stopped")


def _log_hangup() -> None:
    reason = "certificates are read when their files change, all else at the next start"
    _logger.info("nothing to reload", extra={"reason": reason})


def _build_hub(
    config: Config, admission_policy: AdmissionPolicy, registry: "CollectorRegistry"
) -> "tuple[Hub, EndpointTable]":
    """Return a hub and its endpoint table; register the metrics of the hub in `registry`."""
    from gateway.telemetry.metrics import UpstreamMetrics
    from lb.endpoints.table import EndpointTable
    from lb.hub.counters import HubCounts
    from lb.hub.service import Hub

    table = EndpointTable(silence_timeout=config.lb.silence, ttl=config.lb.ttl, ramp=config.lb.ramp)
    counts = HubCounts()
    metrics = UpstreamMetrics(registry, counts)

    def on_change(change: "StateChange") -> None:
        _logger.info("instance %s", change.after.value, extra=change.log_fields())
        metrics.count_state_change(change, table)

    hub = Hub(
        table,
        admission_policy,
        clock=time.monotonic,
        rng=SystemRandom(),
        on_change=on_change,
        counts=counts,
    )
    return hub, table
