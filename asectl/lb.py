"""`asectl lb`: a hub in its own process, for more than one gateway."""

import argparse
import asyncio
import logging
import time
from random import SystemRandom

from asectl import logs, options, process
from asectl.main import EXIT_CONFIG, Failure
from config.options import Config
from lb.access import server_tls
from lb.trust import AdmissionPolicy
from rpc.server import Tls

# Options of picking, which gateways do.
_GATEWAYS_OWN = (
    "lb.hub", "lb.accept_schemas", "lb.wait", "lb.waiting", "lb.hub_ca",
    "lb.hub_cert", "lb.hub_key", "schemas",
)  # fmt: skip

_logger = logging.getLogger("ase.lb")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    options.add_config(parser, ("lb",), without=_GATEWAYS_OWN)
    parser.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)


def run(told: argparse.Namespace) -> int:
    """Serve until stopped."""
    config, base = options.read(told)
    try:
        rules, tls = (
            AdmissionPolicy.from_options(config.lb, config.services),
            server_tls(config.lb, base),
        )
    except (ValueError, OSError) as error:
        raise Failure(f"lb: {error}", EXIT_CONFIG) from None
    logs.setup(config.log_level)

    async def main(stop: "asyncio.Future[bool]") -> None:
        await _serve(config, rules, tls, stop)

    return process.serve(main, until_stdin_closes=told.until_stdin_closes)


async def _serve(
    config: Config, rules: AdmissionPolicy, tls: Tls | None, stop: "asyncio.Future[bool]"
) -> None:
    from prometheus_client import CollectorRegistry

    from gateway import admin
    from gateway.metrics import UpstreamMetrics
    from gateway.serve import admin_server, dial_host, listen
    from lb.counts import HubCounts
    from lb.front import AigesLbService
    from lb.hub import Hub
    from lb.life import StateChange
    from lb.table import EndpointTable
    from rpc.server import Server

    table = EndpointTable(silence_timeout=config.lb.silence, ttl=config.lb.ttl, ramp=config.lb.ramp)
    registry = CollectorRegistry()
    counts = HubCounts()
    metrics = UpstreamMetrics(registry, counts)

    def on_change(change: StateChange) -> None:
        _logger.info("instance %s", change.after.value, extra=change.log_fields())
        metrics.count_state_change(change, table)

    hub = Hub(
        table, rules, clock=time.monotonic, rng=SystemRandom(), on_change=on_change, counts=counts
    )
    private = listen("127.0.0.1", config.lb.admin_port)
    front = AigesLbService(hub, table, rules, config.lb.policy, time.time_ns)
    server = Server(unary=hub.unary_methods() | front.unary_methods(), stream=hub.stream_methods())
    port = await server.start(config.lb.host, config.lb.port, tls)
    watching = admin_server(admin.build_app(registry, table, time.monotonic, None), config.gateway)
    running = asyncio.create_task(hub.run())
    serving = asyncio.create_task(watching.serve(sockets=[private]))
    facts = {
        "lb": f"{dial_host(config.lb.host)}:{port}",
        "admin": f"http://127.0.0.1:{private.getsockname()[1]}",
    }
    _logger.info("listening", extra=facts)
    try:
        await stop
    finally:
        running.cancel()
        watching.should_exit = True
        await server.stop(0)
        await serving
    _logger.info("stopped")
