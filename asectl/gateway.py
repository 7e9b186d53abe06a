"""`asectl gateway`: run a gateway in this process, or in several workers that share one port."""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from asectl import heap, logs, options, process, registry_link, systemd
from asectl.main import EXIT_CONFIG, Failure
from asectl.registry_flags import SERVER_OPTIONS, add_registry_argument
from asectl.registry_link import (
    HUB_SERVICE,
    INNER_HUB_PROTOCOL,
    RegistryLink,
    reachable_address,
)
from config.options import Config
from gateway.access.exposure import describe_exposure
from gateway.access.proxies import TrustedProxies
from gateway.handover import KnownInstance, Predecessor, TakeoverError
from gateway.lifecycle import Lifecycle, LifecycleSettings
from gateway.sockets import (
    SOCKET_NAMES,
    ListeningSockets,
    inherit_sockets,
    listen_addresses,
    open_sockets,
    worker_sockets,
)
from lb.client.remote_hubs import REGISTRY_HUBS
from lb.credentials import server_certificate
from lb.hub.admission import AdmissionPolicy
from rpc.addresses import is_loopback

# What a process inherits from the one that has started it.
_SOCKETS_FLAG, _PREDECESSOR_FLAG = "--inherited-sockets", "--predecessor"
_EXPECTED_FLAG = "--expected-instances"
_MAX_EXPECTED = 1000  # an argument has at most 128 KiB
# Programs that are the first of a container and end it when the process that they started ends.
_CONTAINER_INITS = ("catatonit", "docker-init", "dumb-init", "podman-init", "s6-svscan", "tini")
# Options of a hub in its own process.
_HUB_ONLY_OPTIONS = ("lb.admin_host", "lb.admin_port", "lb.admin_hosts")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    options.add_config_arguments(
        parser,
        ("gateway", "session", "lb", "auth", "usage", "traces", "registry"),
        exclude=(*_HUB_ONLY_OPTIONS, *SERVER_OPTIONS),
    )
    add_registry_argument(parser)
    parser.add_argument("--workers", dest="gateway.workers", help="short for --gateway-workers")
    parser.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)
    # What a process inherits that this one has started: as a worker, or to replace it.
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(_SOCKETS_FLAG, default="", help=argparse.SUPPRESS)
    parser.add_argument(_PREDECESSOR_FLAG, type=int, default=-1, help=argparse.SUPPRESS)
    parser.add_argument(_EXPECTED_FLAG, default="[]", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Run the gateway until it is stopped; return the exit code.

    Raises Failure with exit code 3 if the configuration or a schema file is invalid.
    """
    from gateway.access.key_table import KeySourceError
    from gateway.services import schema_folder
    from gateway.usage.store import UsageStoreError

    link = registry_link.prepare(
        args,
        "gateway",
        lambda config: (config.gateway.host, config.gateway.port),
        registry_link.check_generation,
        takes_schemas=True,
    )
    config, base = options.load_config(args)
    if link is not None and not config.lb.hub and link.lists_hubs():
        setattr(args, "lb.hub", REGISTRY_HUBS)
        config, base = options.load_config(args)
    if link is None and config.lb.hub == REGISTRY_HUBS:
        raise Failure("lb.hub: registry: no registry is named; give registry.servers", EXIT_CONFIG)
    _check_options(config, base)
    log = logs.setup(config.log_level, config.log_format)
    if link is not None:
        link.log_fetch()
    level = logging.getLogger("ase.access").getEffectiveLevel()
    write_line = log.put if level <= logging.INFO else _discard_line

    inherited = inherit_sockets(args.inherited_sockets) or _systemd_sockets()
    notify = partial(systemd.notify, os.environ)
    settings = LifecycleSettings(_start_successor, _why_not_replaceable(args), args.worker, notify)
    predecessor = Predecessor(args.predecessor) if args.predecessor >= 0 else None
    expected = [(service, addr) for service, addr in json.loads(args.expected_instances)]

    async def main(stop: "asyncio.Future[bool]") -> None:
        lifecycle = Lifecycle(stop, settings, predecessor, expected)
        sockets = worker_sockets(inherited) if args.worker else open_sockets(config, inherited)
        if config.gateway.workers > 1 and not args.worker:
            await _serve_with_workers(config, sockets, lifecycle)
        else:
            await _serve_in_process(config, base, args, sockets, lifecycle, write_line, link)

    try:
        return process.serve(main, until_stdin_closes=args.until_stdin_closes, trim_heap=True)
    except schema_folder.SchemaFolderError as error:
        raise Failure(f"\n{error}", EXIT_CONFIG) from None
    except TakeoverError as error:
        raise Failure(str(error)) from None
    except KeySourceError as error:
        raise Failure(f"auth: {error}", EXIT_CONFIG) from None
    except UsageStoreError as error:
        raise Failure(f"usage.store: {error}", EXIT_CONFIG) from None


def _check_options(config: Config, base: Path) -> None:
    """Check what no single option can show: combinations of options, and the files they name.

    Raises Failure with exit code 3.
    """
    from gateway.server import certificate_files

    gateway_options = config.gateway
    if gateway_options.workers > 1 and not config.lb.hub:
        message = (
            f"gateway.workers: {gateway_options.workers} workers need a hub in its own process"
        )
        raise Failure(f"{message}: start `asectl lb`, and give its address as lb.hub", EXIT_CONFIG)
    if bool(gateway_options.tls_cert) != bool(gateway_options.tls_key):
        raise Failure("gateway.tls_cert and gateway.tls_key: one needs the other", EXIT_CONFIG)
    _check_mtls(config)
    for name in ("trusted_proxies", "proxy_protocol"):
        try:
            TrustedProxies(getattr(gateway_options, name))
        except ValueError as error:
            raise Failure(f"gateway.{name}: {error}", EXIT_CONFIG) from None
    if not config.auth.methods and not is_loopback(gateway_options.host):
        raise Failure(
            f"gateway.host {gateway_options.host}: others can reach it, and anyone could call. "
            "Say who may: `auth: key` in ase.yaml (then asectl key create --app NAME), or "
            "`auth: none` if it is open on purpose",
            EXIT_CONFIG,
        )
    try:
        AdmissionPolicy.from_options(config.lb, config.services)
        server_certificate(config.lb, base)
        if config.lb.hub_ca:
            ssl.create_default_context(cafile=base / config.lb.hub_ca)
    except (ValueError, OSError) as error:
        raise Failure(f"lb: {error}", EXIT_CONFIG) from None
    _check_jwt(config)
    _check_traces(config)
    if gateway_options.cors_credentials and "*" in config.session.origins:
        raise Failure(
            "gateway.cors_credentials: not with `*` in session.origins: any page could call as "
            "whoever visits it; name the origins",
            EXIT_CONFIG,
        )
    if gateway_options.tls_cert:
        try:
            certificate_files(gateway_options, base).server_context()
        except OSError as error:
            raise Failure(f"gateway.tls_cert: {error}", EXIT_CONFIG) from None


def _check_mtls(config: Config) -> None:
    """Check that certificates of clients can be verified. Raises Failure with exit code 3."""
    if bool(config.gateway.tls_ca) != ("mtls" in config.auth.methods):
        message = "auth.methods: mtls needs gateway.tls_ca, the CA of clients, and only mtls does"
        raise Failure(message, EXIT_CONFIG)
    if config.gateway.tls_ca and not config.gateway.tls_cert:
        message = "gateway.tls_ca: clients show certificates over https; set gateway.tls_cert"
        raise Failure(message, EXIT_CONFIG)
    app_by_name: dict[str, str] = {}
    for app, app_options in config.apps.items():
        for name in app_options.certificates:
            other = app_by_name.setdefault(name, app)
            if other != app:
                message = f"apps: the certificate name {name!r} is that of {other} and of {app}"
                raise Failure(message, EXIT_CONFIG)


def _check_jwt(config: Config) -> None:
    """Check that tokens can be verified. Raises Failure with exit code 3."""
    if "jwt" not in config.auth.methods:
        return
    if not config.auth.jwks:
        raise Failure("auth.jwks: a file or URL of public keys is needed for jwt", EXIT_CONFIG)
    if find_spec("jwt") is None or find_spec("cryptography") is None:
        hint = "pip install 'athena-serving[gateway,jwt]'"
        raise Failure(f"auth.methods: jwt needs PyJWT and cryptography: {hint}", EXIT_CONFIG)


def _check_traces(config: Config) -> None:
    """Check that spans can be sent. Raises Failure with exit code 3."""
    endpoint = config.traces.endpoint
    if not endpoint:
        return
    if not endpoint.startswith(("http://", "https://")):
        raise Failure(
            f"traces.endpoint {endpoint}: must begin with http:// or https://", EXIT_CONFIG
        )
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.proto") is None:
        hint = "pip install 'athena-serving[gateway,otel]'"
        raise Failure(f"traces.endpoint needs opentelemetry-proto: {hint}", EXIT_CONFIG)


async def _serve_in_process(
    config: Config,
    base: Path,
    args: argparse.Namespace,
    sockets: ListeningSockets,
    lifecycle: Lifecycle,
    write_line: Callable[[logs.LogLine], None],
    link: RegistryLink | None,
) -> None:
    from gateway import server
    from gateway.services.reload import ConfigSource

    requests = lifecycle.reload_requests
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, requests.request)
    config_file = Path(args.config or options.DEFAULT_FILE)
    sources = ConfigSource(lambda: options.resolve_config(args)[:2], config_file, requests)

    def on_ready(addresses: server.Addresses) -> None:
        heap.freeze_objects()
        fields = {
            "gateway": addresses.public,
            "admin": addresses.admin,
            "grpc": addresses.grpc,
            "lb": addresses.lb,
        }
        message = "worker listening" if args.worker else "listening"
        logging.getLogger("ase").info(message, extra=fields)
        if not args.worker:
            logging.getLogger("ase").info("open to", extra=describe_exposure(config))
        if link is not None:
            port = sockets.public.getsockname()[1]
            link.listen_at(reachable_address(config.gateway.host, port))
            tasks.append(link.follow(requests))
            tasks.extend(_register(link, config, sockets))

    follows_registry = link is not None and config.lb.hub == REGISTRY_HUBS
    hub_changes = link.hub_changes() if link is not None and follows_registry else None
    tasks: list[asyncio.Task[None]] = []
    try:
        await server.run(
            config, base, sockets, lifecycle, on_ready, write_line, sources, hub_changes
        )
    finally:
        if link is not None and tasks:
            await link.leave(tasks)


def _register(
    link: RegistryLink, config: Config, sockets: ListeningSockets
) -> list["asyncio.Task[None]"]:
    """Register the gateway, and the hub inside it, for loaders."""
    options = config.gateway
    port = sockets.public.getsockname()[1]
    scheme = "https" if options.tls_cert else "http"
    address = reachable_address(options.host, port)
    tasks = [link.register(link.version.service, address, scheme)]
    if sockets.lb is not None:
        address = reachable_address(config.lb.host, sockets.lb.getsockname()[1])
        tasks.append(link.register(HUB_SERVICE, address, INNER_HUB_PROTOCOL))
    return tasks


async def _serve_with_workers(
    config: Config, sockets: ListeningSockets, lifecycle: Lifecycle
) -> None:
    from gateway.workers import Workers

    def on_ready() -> None:
        fields = listen_addresses(config.gateway, sockets)
        worker_fields = {"lb": "", "workers": config.gateway.workers}
        logging.getLogger("ase").info("listening", extra=fields | worker_fields)
        logging.getLogger("ase").info("open to", extra=describe_exposure(config))

    workers = Workers(config.gateway, sockets, lifecycle, _start_worker)
    forward_sighup = partial(workers.send_signal, signal.SIGHUP)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, forward_sighup)
    await workers.run(on_ready)


async def _start_worker(
    sockets: ListeningSockets, expected: list[KnownInstance]
) -> asyncio.subprocess.Process:
    """Start a worker with this command's arguments and the inherited listening sockets.

    It serves once it knows the `expected` instances. It stops when its stdin closes, at the latest
    when this process ends.
    """
    return await asyncio.create_subprocess_exec(
        *_own_command(sockets),
        "--worker",
        "--until-stdin-closes",
        _EXPECTED_FLAG,
        json.dumps(expected[:_MAX_EXPECTED]),
        stdin=asyncio.subprocess.PIPE,
        pass_fds=sockets.descriptors(),
        env=systemd.environment_of_child(os.environ),
    )


def _start_successor(sockets: ListeningSockets, descriptor: int) -> "subprocess.Popen[bytes]":
    """Start the process that replaces this one, with the same arguments.

    Its code is what is installed now. It outlives this process: asyncio would end it.
    """
    return subprocess.Popen(  # noqa: S603 (our own command line)
        [*_own_command(sockets), _PREDECESSOR_FLAG, str(descriptor)],
        pass_fds=[*sockets.descriptors(), descriptor],
        env=systemd.environment_of_successor(os.environ),
    )


def _own_command(sockets: ListeningSockets) -> list[str]:
    """Return the command line of this process for another one, which inherits the sockets."""
    arguments = iter(sys.argv[1:])
    kept = []
    for argument in arguments:
        if argument in (_SOCKETS_FLAG, _PREDECESSOR_FLAG):
            next(arguments)
        else:
            kept.append(argument)
    # -P: not the code that lies in the working directory (docs.python.org, "Command line").
    return [sys.executable, "-P", "-m", "asectl", *kept, _SOCKETS_FLAG, sockets.to_text()]


def _systemd_sockets() -> dict[str, socket.socket]:
    """Return the sockets that systemd has opened. Raises Failure (exit code 3)."""
    try:
        return systemd.listening_sockets(os.environ, os.getpid(), SOCKET_NAMES)
    except systemd.SocketNameError as error:
        raise Failure(f"systemd: {error}", EXIT_CONFIG) from None


def _why_not_replaceable(args: argparse.Namespace) -> str:
    """Return why no process may replace this one, or "" if one may."""
    if os.getpid() == 1:
        return "the container ends with pid 1: replace the container"
    with contextlib.suppress(OSError):
        parent = Path(f"/proc/{os.getppid()}/comm").read_text().strip()
        if parent in _CONTAINER_INITS:
            return f"the container ends with the child of {parent}: replace the container"
    if args.until_stdin_closes:
        return "the process that started this one would end it: start that one anew"
    return ""


def _discard_line(_: logs.LogLine) -> None:
    """Drop an access-log line: the log level is above INFO."""
