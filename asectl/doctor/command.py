"""`asectl doctor`: check this machine, the config, and the gateway that runs with it."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from asectl import http_client, options
from asectl.doctor import local, running
from asectl.doctor.check_result import CheckResult, Level, format_results
from asectl.http_client import HttpTarget
from asectl.main import EXIT_FAILED, Failure
from asectl.output import add_output_argument, print_output
from asectl.progress import progress
from config.options import Config
from rpc.addresses import dial_host


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "--url", default="", help="the admin port of the gateway; else that of the config"
    )
    http_client.add_ca_argument(parser)
    http_client.add_token_argument(parser)
    add_output_argument(parser)
    options.add_config_arguments(parser, ("gateway", "session", "lb", "auth", "usage", "traces"))


def run(args: argparse.Namespace) -> int:
    """Print the results; return 1 if a check has failed, else 0."""
    with progress(lambda: "checking"):
        results = list(_check(args))
    content = {"results": [result.to_json() for result in results]}
    print_output(args.output, content, format_results(results))
    return EXIT_FAILED if any(result.level is Level.FAILED for result in results) else 0


def _check(args: argparse.Namespace) -> Iterator[CheckResult]:
    try:
        config, base = options.load_config(args)
    except Failure as failure:
        cure = "asectl config check lists every error"
        yield CheckResult(Level.FAILED, "config", str(failure).strip(), cure)
        config, base = Config(), Path()
    else:
        path = Path(args.config or options.DEFAULT_FILE)
        text = str(path) if path.is_file() else f"no {path}; every option has its default"
        yield CheckResult(Level.OK, "config", text)
    machine_results = list(local.check_machine())
    yield from machine_results
    if any(result.level is Level.FAILED for result in machine_results):
        return  # the other checks need the packages
    yield local.check_limits(config)
    yield from local.check_files(config, base)
    yield from local.check_names(config)
    args.url = args.url or _admin_url(config)
    yield from running.check_gateway(config, HttpTarget.from_args(args), _public(config))


def _admin_url(config: Config) -> str:
    return f"http://{dial_host(config.gateway.admin_host)}:{config.gateway.admin_port}"


def _public(config: Config) -> HttpTarget:
    """Return the public port of this host; its certificate names another one."""
    scheme = "https" if config.gateway.tls_cert else "http"
    url = f"{scheme}://{dial_host(config.gateway.host)}:{config.gateway.port}"
    return HttpTarget(url, verify=False)
