"""`asectl loader run`: serve a Wrapper as a loader process."""

import argparse
import asyncio
import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from asectl import logs, process
from asectl.loader_registration import LoaderRegistration, add_loader_registry_arguments
from asectl.main import EXIT_CONFIG, EXIT_FAILED, EXIT_USAGE, Failure
from asectl.options import refuse_secret
from asectl.systemd import notify
from config.options import ADDR
from lb.endpoints.report import SERVICE_VARIABLE, VERSION, VERSION_VARIABLE

if TYPE_CHECKING:
    from aseloader.processes.status_pipe import StatusWriter
    from aseloader.run import LoaderOptions
    from aseloader.wrapper import Wrapper

_DEFAULT_HUB = "127.0.0.1:8220"
_TOKEN_VARIABLE = "ASE_LB_TOKEN"  # noqa: S105 (the name of an environment variable)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("wrapper", nargs="?", metavar="FILE:Class", help="the Wrapper to serve")
    parser.add_argument(
        "--plugin",
        type=Path,
        metavar="LIBRARY",
        help="a shared library with the original's interface in C, instead of a Wrapper",
    )
    parser.add_argument(
        "--schema", type=Path, metavar="FILE", help="the schema document of the plugin"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=_parse_port, default=0, help="port; 0 (the default) takes a free one"
    )
    parser.add_argument(
        "--advertise",
        default="",
        metavar="HOST:PORT",
        help="what gateways dial where it differs: in containers, behind NAT (port 0: our own)",
    )
    parser.add_argument(
        "--model-version",
        type=_parse_version,
        default="",
        metavar="NAME",
        help=f"the version in load reports, for shares of the requests (${VERSION_VARIABLE})",
    )
    parser.add_argument(
        "--service",
        default="",
        metavar="ID",
        help=f"serve under this service id (the Wrapper's, or ${SERVICE_VARIABLE})",
    )
    _add_hub_arguments(parser)
    add_loader_registry_arguments(parser)
    parser.add_argument(
        "--processes",
        type=_positive_int,
        default=0,
        metavar="N",
        help="processes that run the wrapper (the Wrapper's)",
    )
    _add_serving_arguments(parser)
    for flag, kind in (("--status-fd", int), ("--process-index", int), ("--shared-inputs", Path)):
        parser.add_argument(flag, type=kind, help=argparse.SUPPRESS)  # for `--processes`
    parser.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)


def _add_serving_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of what the loader accepts, shows and logs."""
    parser.add_argument(
        "--total",
        type=_positive_int,
        default=0,
        metavar="N",
        help="requests, or batches, at a time (the Wrapper's)",
    )
    parser.add_argument(
        "--queue",
        type=_non_negative_int,
        default=-1,
        metavar="N",
        help="requests that may wait for their turn (the Wrapper's)",
    )
    parser.add_argument(
        "--set",
        action="append",
        type=_key_value,
        default=[],
        metavar="KEY=VALUE",
        help="an entry of init's config",
    )
    parser.add_argument(
        "--max-message",
        type=_positive_int,
        default=32 * 1024 * 1024,
        metavar="BYTES",
        help="bytes of a request or an output (%(default)s); at least the gateway.max_body and "
        "gateway.max_output of its gateways",
    )
    parser.add_argument(
        "--metrics-port",
        type=_parse_port,
        default=-1,
        metavar="PORT",
        help="serve /metrics, /livez and /readyz there, on --host; 0 takes a free port",
    )
    parser.add_argument("--drain", type=float, default=30.0, help="seconds for what runs (30)")
    parser.add_argument(
        "--log-level",
        default="info",
        choices=("debug", "info", "warning", "error"),
        help="least level that is logged (info)",
    )
    parser.add_argument(
        "--log-format",
        default="json",
        choices=("json", "text"),
        help="how lines are logged: for programs, or for people (json)",
    )


def _add_hub_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags for the hubs that the loader reports to."""
    parser.add_argument(
        "--lb",
        metavar="HOST:PORT,...",
        help=f"the hubs to report to (those of the registry, else {_DEFAULT_HUB})",
    )
    parser.add_argument(
        "--lb-token-file",
        default="",
        metavar="FILE",
        help=f"file of the hubs' `lb.token`; else it is in the environment, as {_TOKEN_VARIABLE}",
    )
    refuse_secret(parser, "--lb-token", f"{_TOKEN_VARIABLE}, or --lb-token-file FILE")
    for name, description in (
        ("ca", "CA of the hubs' certificates: they speak TLS"),
        ("cert", "our certificate, for hubs that ask for one"),
        ("key", "the key of that certificate"),
    ):
        help_text = f"{description} (PEM file)"
        parser.add_argument(f"--lb-{name}", default="", metavar="FILE", help=help_text)


def run(args: argparse.Namespace) -> int:
    """Run the loader until it is stopped; return the exit code.

    Raises Failure if the Wrapper cannot be loaded or its declaration is invalid.
    """
    from aseloader import run as loader
    from aseloader.declare import DeclarationError
    from aseloader.loading import LoadError, load
    from aseloader.log_context import SidFilter
    from aseloader.metrics import continue_process_metrics
    from aseloader.processes.status_pipe import StatusWriter
    from aseloader.renaming import as_service

    if (args.wrapper is None) == (args.plugin is None):
        raise Failure("give FILE:Class, or --plugin LIBRARY --schema FILE", EXIT_USAGE)
    _parse_hubs(args.lb or "")
    status = None if args.status_fd is None else StatusWriter(args.status_fd)
    if args.process_index is not None:
        continue_process_metrics(args.process_index)
    flush = logs.setup(args.log_level, args.log_format, SidFilter()).finish
    try:
        wrapper_class = _load_plugin(args) if args.plugin else load(args.wrapper)
        if args.service:
            os.environ[SERVICE_VARIABLE] = args.service  # for the processes of the wrapper too
        wrapper_class = as_service(wrapper_class, os.environ.get(SERVICE_VARIABLE, ""))
        registration = LoaderRegistration.prepare(args, wrapper_class.service)
        options = _loader_options(args, status, registration)
        tasks: list[asyncio.Task[None]] = []

        def on_ready(addr: str) -> None:
            if status is not None:  # a process of a loader, which says it itself
                status.write(0.0, 0.0)
                return
            fields = {"service": wrapper_class.service, "addr": addr, "lb": args.lb}
            if registration is not None:
                tasks.extend(registration.start(addr))
                fields |= registration.urls()
            logging.getLogger("ase.loader").info("listening", extra=fields)
            notify(os.environ, "READY=1")

        async def main(stop: "asyncio.Future[bool]") -> None:
            if registration is not None:
                stop.add_done_callback(lambda _: registration.leave())
            try:
                if not await loader.run(wrapper_class, options, on_ready, stop):
                    _exit_leaving_threads(flush)
            finally:
                for task in tasks:
                    task.cancel()

        return process.serve(main, until_stdin_closes=args.until_stdin_closes)
    except (LoadError, DeclarationError) as error:
        raise Failure(str(error)) from None


def _loader_options(
    args: argparse.Namespace,
    status: "StatusWriter | None",
    registration: LoaderRegistration | None,
) -> "LoaderOptions":
    """Return the options of a loader; `args.lb` names its hubs afterwards. Raises Failure."""
    from aseloader.run import LoaderOptions
    from lb.credentials import HubCredentials

    hub_changes = None
    if args.lb is None:
        args.lb = (registration.hubs() if registration is not None else "") or _DEFAULT_HUB
        hub_changes = registration.hub_changes() if registration is not None else None
    return LoaderOptions(
        host=args.host,
        port=args.port,
        advertise=args.advertise,
        version=args.model_version or os.environ.get(VERSION_VARIABLE, ""),
        hubs=_parse_hubs(args.lb),
        hub_changes=hub_changes,
        credentials=HubCredentials(
            _read_token(args.lb_token_file), args.lb_ca, args.lb_cert, args.lb_key
        ),
        total=args.total,
        queue=args.queue,
        drain=args.drain,
        max_message=args.max_message,
        metrics_port=args.metrics_port,
        config=(registration.config() if registration is not None else {}) | _read_config(args),
        processes=args.processes,
        source=_wrapper_source(args),
        shared_inputs=args.shared_inputs,
        status=status,
    )


def _read_config(args: argparse.Namespace) -> dict[str, str]:
    """Return the argument of `init`; that of a loader's process is in its environment."""
    from aseloader.processes.pool import CONFIG_VARIABLE

    config: dict[str, str] = json.loads(os.environ.pop(CONFIG_VARIABLE, "{}"))
    return config | dict(args.set)


def _wrapper_source(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the arguments by which another process finds the same wrapper, and logs alike."""
    wrapper = (
        ("--plugin", str(args.plugin), "--schema", str(args.schema))
        if args.plugin
        else (args.wrapper,)
    )
    return (*wrapper, "--log-level", args.log_level, "--log-format", args.log_format)


def _load_plugin(args: argparse.Namespace) -> "type[Wrapper]":
    """Return the wrapper class of `--plugin`. Raises Failure if it cannot be served."""
    from aseloader.aiges.plugin import PluginError, plugin_wrapper
    from schemas.model.document import DocumentError

    if args.schema is None:
        raise Failure("--plugin needs --schema FILE: a library declares no API", EXIT_USAGE)
    try:
        return plugin_wrapper(args.plugin, args.schema.read_bytes())
    except DocumentError as error:
        raise Failure(f"{args.schema}: {error}", EXIT_CONFIG) from None
    except PluginError as error:
        raise Failure(str(error)) from None


def _parse_hubs(text: str) -> tuple[str, ...]:
    """Return the addresses of `--lb`. Raises Failure (exit code 2) for one that is none."""
    hubs = tuple(hub.strip() for hub in text.split(",") if hub.strip())
    for hub in hubs:
        if not re.fullmatch(ADDR[0], hub):
            raise Failure(f"--lb {hub}: must be {ADDR[1]}", EXIT_USAGE)
    return hubs


def _read_token(file: str) -> str:
    """Return the hubs' token: the text of `file`, or if "" the environment variable's value.

    Raises Failure (exit code 3) if the file is unreadable, not ASCII or empty.
    """
    if not file:
        return os.environ.get(_TOKEN_VARIABLE, "")
    try:
        token = Path(file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"--lb-token-file: {error}", EXIT_CONFIG) from None
    if not token:
        raise Failure(f"--lb-token-file: {file} is empty", EXIT_CONFIG)
    return token


def _parse_port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("must be 0 to 65535")
    return int(text)


def _parse_version(text: str) -> str:
    if not VERSION.fullmatch(text):
        raise argparse.ArgumentTypeError("must be up to 128 letters, digits, '.', '_', ':', '-'")
    return text


def _non_negative_int(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("must be 0 or more")
    return int(text)


def _positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return int(text)


def _key_value(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise argparse.ArgumentTypeError("must be KEY=VALUE")
    return key, value


def _exit_leaving_threads(flush: Callable[[], None]) -> None:
    """Exit at once although a thread of the wrapper still runs.

    A normal exit would wait for that thread forever. `os._exit` skips the atexit handlers, so
    `flush` writes the queued log lines first.
    """
    logging.getLogger("ase.loader").error("a thread of the wrapper still runs; leaving it")
    flush()
    os._exit(EXIT_FAILED)
