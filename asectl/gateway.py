"""`asectl gateway`: a gateway in this process, or in several behind one port."""

import argparse
import asyncio
import gc
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from asectl import logs, options, process
from asectl.main import EXIT_CONFIG, Failure
from config.options import Config
from lb.access import server_tls
from lb.trust import AdmissionPolicy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    options.add_config(parser, ("gateway", "session", "lb"), without=("lb.admin_port",))
    parser.add_argument("--workers", dest="gateway.workers", help="short for --gateway-workers")
    parser.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)
    # A worker's inherited sockets: PUBLIC,ADMIN.
    parser.add_argument("--worker-sockets", default="", help=argparse.SUPPRESS)


def run(told: argparse.Namespace) -> int:
    """Serve until stopped."""
    from gateway import folder

    config, base = options.read(told)
    _check(config, base)
    log = logs.setup(config.log_level)
    level = logging.getLogger("ase.access").getEffectiveLevel()
    put = log.put if level <= logging.INFO else _nothing

    async def main(stop: "asyncio.Future[bool]") -> None:
        if config.gateway.workers > 1 and not told.worker_sockets:
            await _several(config, stop)
        else:
            await _one(config, base, told, stop, put)

    try:
        return process.serve(main, until_stdin_closes=told.until_stdin_closes)
    except folder.SchemaFolderError as error:
        raise Failure(f"\n{error}", EXIT_CONFIG) from None


def _check(config: Config, base: Path) -> None:
    """Refuse what no single option shows. Raises Failure."""
    told = config.gateway
    if told.workers > 1 and not config.lb.hub:
        words = f"gateway.workers: {told.workers} workers need a hub in its own process"
        raise Failure(f"{words}: start `asectl lb`, and give its address as lb.hub", EXIT_CONFIG)
    if bool(told.tls_cert) != bool(told.tls_key):
        raise Failure("gateway.tls_cert and gateway.tls_key: one needs the other", EXIT_CONFIG)
    try:
        AdmissionPolicy.from_options(config.lb, config.services)
        server_tls(config.lb, base)
        if config.lb.hub_ca:
            ssl.create_default_context(cafile=base / config.lb.hub_ca)
    except (ValueError, OSError) as error:
        raise Failure(f"lb: {error}", EXIT_CONFIG) from None
    if told.tls_cert:
        try:
            ssl.create_default_context().load_cert_chain(base / told.tls_cert, base / told.tls_key)
        except (OSError, ssl.SSLError) as error:
            words = f"gateway.tls_cert {told.tls_cert} with {told.tls_key}: {error}"
            raise Failure(words, EXIT_CONFIG) from None


async def _one(
    config: Config,
    base: Path,
    told: argparse.Namespace,
    stop: "asyncio.Future[bool]",
    put: Callable[[logs.Line], None],
) -> None:
    from gateway import serve
    from gateway.reload import ConfigSource

    inherited = told.worker_sockets
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
    file = Path(told.config or options.DEFAULT_FILE)
    sources = ConfigSource(lambda: options.resolved(told)[:2], file, asked)

    def ready(addresses: serve.Addresses) -> None:
        # What is here now stays: looked through with the rest, it held requests up for 15 ms.
        gc.collect()
        gc.freeze()
        facts = {"gateway": addresses.public, "admin": addresses.admin, "lb": addresses.lb}
        kind = "worker listening" if inherited else "listening"
        logging.getLogger("ase").info(kind, extra=facts)

    sockets = None
    if inherited:
        public, private = (socket.socket(fileno=int(number)) for number in inherited.split(","))
        sockets = (public, private)
    await serve.run(config, base, ready, stop, put, sockets, sources)


async def _several(config: Config, stop: "asyncio.Future[bool]") -> None:
    from gateway.serve import listen_urls
    from gateway.workers import Workers

    def ready(public: socket.socket, private: socket.socket) -> None:
        facts = listen_urls(config.gateway, public, private)
        workers = {"lb": "", "workers": config.gateway.workers}
        logging.getLogger("ase").info("listening", extra=facts | workers)

    workers = Workers(config.gateway, _start)
    hang_up = partial(workers.send_signal, signal.SIGHUP)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hang_up)
    await workers.run(ready, stop)


async def _start(public: socket.socket, private: socket.socket) -> asyncio.subprocess.Process:
    """Start a worker with the words of this command; it ends with this process."""
    numbers = (public.fileno(), private.fileno())
    words = [*sys.argv[1:], "--until-stdin-closes", "--worker-sockets", "{},{}".format(*numbers)]
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "asectl", *words, stdin=asyncio.subprocess.PIPE, pass_fds=numbers
    )


def _nothing(_: logs.Line) -> None:
    """Drop a line: the level is above that of requests."""
