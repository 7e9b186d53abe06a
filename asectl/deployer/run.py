"""`asectl deployer`: run the deployer, which brings models into service and keeps them there."""

import argparse
import asyncio
import contextlib
import logging
import os
from pathlib import Path

from asectl import heap, logs, options, process
from asectl.deployer.seed_config import is_seed_config, seed_options
from asectl.main import EXIT_CONFIG, EXIT_FAILED, Failure
from asectl.systemd import notify
from config.options import Config, RegistryOptions, option_fields
from config.source import ConfigError, parse_yaml
from rpc.addresses import dial_host, is_loopback, listen

_logger = logging.getLogger("ase.deploy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags, those of the seed among them."""
    others = tuple(
        f"registry.{field.name}"
        for field in option_fields(RegistryOptions)
        if not field.name.startswith("etcd") or field.name == "etcd_prefix"
    )
    options.add_config_arguments(
        parser, ("deployer", "registry", "kong"), exclude=("schemas", *others)
    )
    for flag, option in (("port", "port"), ("shimlet", "shimlet"), ("pipeline", "pipeline")):
        parser.add_argument(
            f"--{flag}", dest=f"deployer.{option}", help=f"short for --deployer-{option}"
        )
    parser.add_argument(
        "--stop-replicas",
        action="store_true",
        help="stop what runs here at the end; the next start brings it back",
    )
    parser.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Run the deployer until it is stopped. Raises Failure (exit code 3: invalid config)."""
    from deploy.pipelines.catalog import PipelineError
    from deploy.shimlets.catalog import ShimletLoadError
    from gateway.access.key_table import KeySourceError
    from registry.store.interfaces import StoreError

    _take_seed_config(args)
    config, base = options.load_config(args)
    _check_options(config)
    logs.setup(config.log_level, config.log_format)

    async def main(stop: "asyncio.Future[bool]") -> None:
        await _serve(config, base, stop, stops_replicas=args.stop_replicas)

    try:
        return process.serve(main, until_stdin_closes=args.until_stdin_closes, trim_heap=True)
    except StoreError as error:
        raise Failure(f"deployer: {error}", EXIT_FAILED) from None
    except KeySourceError as error:
        raise Failure(f"auth: {error}", EXIT_CONFIG) from None
    except (PipelineError, ShimletLoadError) as error:
        raise Failure(f"deployer: {error}", EXIT_CONFIG) from None


def _take_seed_config(args: argparse.Namespace) -> None:
    """Take the options of a file in the form of Astron xmod-shim, if `--config` is one."""
    if not args.config:
        return
    path = Path(args.config)
    try:
        tree = parse_yaml(path.read_text("utf-8-sig"), args.config).tree
    except (ConfigError, OSError, UnicodeDecodeError):
        return  # said when it is read as ours
    if not is_seed_config(tree):
        return
    values, unknown = seed_options(tree)
    if unknown:
        raise Failure(f"{path}: {', '.join(unknown)}: unknown", EXIT_CONFIG)
    for name, value in values.items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)
    args.config = None


def _check_options(config: Config) -> None:
    deployer = config.deployer
    if not deployer.auth and not is_loopback(deployer.host):
        raise Failure(
            f"deployer.host {deployer.host}: others can reach it, and anyone could run programs "
            "here. Say who may: `auth: key` below `deployer` (then asectl key create --role "
            "publisher --app NAME), or `auth: none` if it is open on purpose",
            EXIT_CONFIG,
        )


async def _serve(
    config: Config, base: Path, stop: "asyncio.Future[bool]", *, stops_replicas: bool
) -> None:
    from asectl.deployer.serve import DeployerProcess, wait_for_store

    deployer_options = config.deployer
    store = await wait_for_store(config, base, stop)
    if store is None:
        return
    with contextlib.closing(listen(deployer_options.host, deployer_options.port)) as http_socket:
        parts = DeployerProcess(config, base, store)
        await parts.load()
        tasks = [asyncio.create_task(work) for work in parts.tasks()]
        http_server = parts.http_server()
        http_task = asyncio.create_task(http_server.serve(sockets=[http_socket]))
        fields = {
            "api": f"http://{dial_host(deployer_options.host)}:{http_socket.getsockname()[1]}",
            "store": config.registry.etcd or str(base / deployer_options.store),
            "shimlet": deployer_options.shimlet,
            "pipeline": deployer_options.pipeline,
            "auth": deployer_options.auth or "none (loopback)",
        }
        heap.freeze_objects()
        _logger.info("listening", extra=fields)
        notify(os.environ, "READY=1")
        try:
            await process.wait_for_stop(stop, tasks)
        finally:
            parts.stop_streams()
            http_server.request_exit()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if stops_replicas:
                await parts.stop_replicas()
            await parts.stop()
            await http_task
            await store.close()
    _logger.info("stopped")
