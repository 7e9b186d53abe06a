"""`asectl gateway`: a gateway in this process."""

import argparse
import asyncio
import logging

from asectl import logs, options, process
from asectl.main import EXIT_CONFIG, Failure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    options.add_config(parser, ("gateway", "lb"), without=("lb.admin_port",))
    parser.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)


def run(told: argparse.Namespace) -> int:
    """Serve until stopped."""
    from gateway import folder, serve

    config, base = options.read(told)
    log = logs.setup(config.log_level)
    level = logging.getLogger("ase.access").getEffectiveLevel()
    put = log.put if level <= logging.INFO else _nothing

    def ready(addresses: serve.Addresses) -> None:
        facts = {"gateway": addresses.public, "admin": addresses.admin, "lb": addresses.lb}
        logging.getLogger("ase").info("listening", extra=facts)

    async def main(stop: "asyncio.Future[bool]") -> None:
        await serve.run(config, base, ready, stop, put)

    try:
        return process.serve(main, until_stdin_closes=told.until_stdin_closes)
    except folder.FolderError as error:
        raise Failure(f"\n{error}", EXIT_CONFIG) from None


def _nothing(_: str) -> None:
    """Drop a line: the level is above that of requests."""
