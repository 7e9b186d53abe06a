"""`asectl registry`: run the registry of configuration and discovery."""

import argparse
import asyncio
import logging
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from asectl import heap, logs, options, process
from asectl.main import EXIT_CONFIG, EXIT_FAILED, Failure
from asectl.registry.serve import RegistryProcess, open_store
from asectl.registry_flags import CLIENT_OPTIONS
from asectl.systemd import notify
from config.options import Config
from rpc.addresses import dial_host, is_loopback, listen

_logger = logging.getLogger("ase.registry")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    options.add_config_arguments(parser, ("registry",), exclude=(*CLIENT_OPTIONS, "schemas"))
    parser.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Run the registry until it is stopped. Raises Failure (exit code 3: invalid config)."""
    from gateway.access.key_table import KeySourceError
    from registry.store.interfaces import StoreError

    config, base = options.load_config(args)
    _check_options(config)
    logs.setup(config.log_level, config.log_format)

    async def main(stop: "asyncio.Future[bool]") -> None:
        await _serve(config, base, stop)

    try:
        return process.serve(main, until_stdin_closes=args.until_stdin_closes, trim_heap=True)
    except StoreError as error:
        raise Failure(f"registry: {error}", EXIT_FAILED) from None
    except KeySourceError as error:
        raise Failure(f"auth: {error}", EXIT_CONFIG) from None
    except OSError as error:
        if error.filename is None and config.registry.tls_cert:
            raise Failure(f"registry.tls_cert: {error}", EXIT_CONFIG) from None
        raise


def _check_options(config: Config) -> None:
    registry = config.registry
    if bool(registry.tls_cert) != bool(registry.tls_key):
        raise Failure("registry.tls_cert and registry.tls_key: one needs the other", EXIT_CONFIG)
    if bool(registry.etcd_cert) != bool(registry.etcd_key):
        raise Failure("registry.etcd_cert and registry.etcd_key: one needs the other", EXIT_CONFIG)
    if registry.etcd_cert and not registry.etcd_ca:
        raise Failure(
            "registry.etcd_cert: certificates are shown over TLS; set registry.etcd_ca", EXIT_CONFIG
        )
    if bool(registry.etcd_user) != bool(registry.etcd_password):
        message = "registry.etcd_user and registry.etcd_password: one needs the other"
        raise Failure(message, EXIT_CONFIG)
    if not registry.auth and not is_loopback(registry.host):
        raise Failure(
            f"registry.host {registry.host}: others can reach it, and anyone could change what all "
            "gateways run. Say who may: `auth: key` below `registry` (then asectl key create "
            "--role publisher --app NAME), or `auth: none` if it is open on purpose",
            EXIT_CONFIG,
        )


async def _serve(config: Config, base: Path, stop: "asyncio.Future[bool]") -> None:
    registry_options = config.registry
    http_socket = listen(registry_options.host, registry_options.http_port)
    store, presence = await open_store(registry_options, base)
    parts = RegistryProcess(config, base, store, presence)
    await parts.load()
    port = await parts.start_grpc()
    tasks = [asyncio.create_task(_logged(work)) for work in parts.tasks()]
    http_server = parts.http_server()
    http_task = asyncio.create_task(http_server.serve(sockets=[http_socket]))
    scheme = "https" if registry_options.tls_cert else "http"
    host = dial_host(registry_options.host)
    fields = {
        "registry": f"{host}:{port}",
        "api": f"{scheme}://{host}:{http_socket.getsockname()[1]}",
        "store": registry_options.etcd or str(base / registry_options.store),
        "auth": registry_options.auth or "none (loopback)",
    }
    heap.freeze_objects()
    _logger.info("listening", extra=fields)
    notify(os.environ, "READY=1")
    try:
        await process.wait_for_stop(stop, tasks)
    finally:
        http_server.request_exit()
        await parts.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await http_task
        await presence.close()
        await store.close()
    _logger.info("stopped")


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    """Run a part of the registry that must not end; log why it did."""
    started_at = time.monotonic()
    try:
        await work
    except Exception:
        ran_s = round(time.monotonic() - started_at, 1)
        _logger.exception("a part of the registry failed by a fault of ours", extra={"ran": ran_s})
        raise
