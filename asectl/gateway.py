"""`asectl gateway`: run a gateway in this process, or in several workers that share one port."""

import argparse
import asyncio
import gc
import logging
import signal
import ssl
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from asectl import logs, options, process
from asectl.main import EXIT_CONFIG, Failure
from config.options import Config
from gateway.access.exposure import describe_exposure
from gateway.access.proxies import TrustedProxies
from gateway.sockets import ListeningSockets, listen_addresses
from lb.credentials import server_certificate
from lb.hub.admission import AdmissionPolicy
from rpc.addresses import is_loopback

# Options of a hub in its own process.
_HUB_ONLY_OPTIONS = ("lb.admin_host", "lb.admin_port", "lb.admin_hosts")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    options.add_config_arguments(
        parser, ("gateway", "session", "lb", "auth", "usage"), exclude=_HUB_ONLY_OPTIONS
    )
    parser.add_argument("--workers", dest="gateway.workers", help="short for --gateway-workers")
    parser.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)
    # PUBLIC,ADMIN[,GRPC]: descriptors of the listening sockets that a worker inherits.
    parser.add_argument("--worker-sockets", default="", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Run the gateway until it is stopped; return the exit code.

    Raises Failure with exit code 3 if the configuration or a schema file is invalid.
    """
    from gateway.access.key_table import KeySourceError
    from gateway.services import schema_folder
    from gateway.usage.store import UsageStoreError

    config, base = options.load_config(args)
    _check_options(config, base)
    log = logs.setup(config.log_level)
    level = logging.getLogger("ase.access").getEffectiveLevel()
    write_line = log.put if level <= logging.INFO else _discard_line

    async def main(stop: "asyncio.Future[bool]") -> None:
        if config.gateway.workers > 1 and not args.worker_sockets:
            await _serve_with_workers(config, stop)
        else:
            await _serve_in_process(config, base, args, stop, write_line)

    try:
        return process.serve(main, until_stdin_closes=args.until_stdin_closes, trim_heap=True)
    except schema_folder.SchemaFolderError as error:
        raise Failure(f"\n{error}", EXIT_CONFIG) from None
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


async def _serve_in_process(
    config: Config,
    base: Path,
    args: argparse.Namespace,
    stop: "asyncio.Future[bool]",
    write_line: Callable[[logs.LogLine], None],
) -> None:
    from gateway import server
    from gateway.services.reload import ConfigSource

    inherited_sockets = args.worker_sockets
    reload_requested = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload_requested.set)
    config_file = Path(args.config or options.DEFAULT_FILE)
    sources = ConfigSource(lambda: options.resolve_config(args)[:2], config_file, reload_requested)

    def on_ready(addresses: server.Addresses) -> None:
        # Objects alive now stay alive. Unless they are frozen, each full collection traverses them
        # and delays requests by 15 ms.
        gc.collect()
        gc.freeze()
        fields = {
            "gateway": addresses.public,
            "admin": addresses.admin,
            "grpc": addresses.grpc,
            "lb": addresses.lb,
        }
        message = "worker listening" if inherited_sockets else "listening"
        logging.getLogger("ase").info(message, extra=fields)
        if not inherited_sockets:
            logging.getLogger("ase").info("open to", extra=describe_exposure(config))

    sockets = ListeningSockets.inherit(inherited_sockets) if inherited_sockets else None
    await server.run(config, base, on_ready, stop, write_line, sockets, sources)


async def _serve_with_workers(config: Config, stop: "asyncio.Future[bool]") -> None:
    from gateway.workers import Workers

    def on_ready(sockets: ListeningSockets) -> None:
        fields = listen_addresses(config.gateway, sockets)
        worker_fields = {"lb": "", "workers": config.gateway.workers}
        logging.getLogger("ase").info("listening", extra=fields | worker_fields)
        logging.getLogger("ase").info("open to", extra=describe_exposure(config))

    workers = Workers(config.gateway, _start_worker)
    forward_sighup = partial(workers.send_signal, signal.SIGHUP)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, forward_sighup)
    await workers.run(on_ready, stop)


async def _start_worker(sockets: ListeningSockets) -> asyncio.subprocess.Process:
    """Start a worker with this command's arguments and the inherited listening sockets.

    The worker stops when its stdin closes, at the latest when this process ends.
    """
    descriptors = sockets.descriptors()
    arguments = [
        *sys.argv[1:],
        "--until-stdin-closes",
        "--worker-sockets",
        ",".join(map(str, descriptors)),
    ]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "asectl",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        pass_fds=descriptors,
    )


def _discard_line(_: logs.LogLine) -> None:
    """Drop an access-log line: the log level is above INFO."""
