"""`asectl reload`: have a gateway read config, schemas and certificate again."""

import argparse
from typing import Any

from asectl import http_client
from asectl.admin_port import post
from asectl.http_client import HttpTarget
from asectl.main import EXIT_CONFIG, Failure
from asectl.table import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    http_client.add_url_arguments(parser, "the admin port of the gateway", "http://127.0.0.1:8290")
    http_client.add_token_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Reload, and print what changed.

    Raises Failure: exit code 3, with the errors, if the gateway refuses config, schemas or
    certificate, and goes on with the one it had; else as `admin_port.post`.
    """
    outcome = post(HttpTarget.from_args(args), "/reload", {})
    refusals = []
    if outcome["outcome"] == "refused":
        kept = "options and schemas stay as they were"
        refusals.append(f"reload refused; {kept}\n{outcome['reason']}")
    else:
        for line in _describe(outcome):
            print(printable(line), flush=True)
    if outcome["certificate"]:
        refusals.append(f"certificate refused; the old one is served: {outcome['certificate']}")
    if refusals:
        raise Failure("\n".join(map(printable, refusals)), EXIT_CONFIG)
    return 0


def _describe(outcome: dict[str, Any]) -> list[str]:
    changed = "reloaded" if outcome["outcome"] == "done" else "nothing changed"
    lines = [f"{changed}; generation {outcome['generation']}"]
    lines += [
        f"{verb} {', '.join(outcome[verb])}"
        for verb in ("added", "changed", "removed")
        if outcome[verb]
    ]
    if outcome["restart_required"]:
        names = ", ".join(outcome["restart_required"])
        lines.append(f"at the next start alone, or by asectl upgrade: {names}")
    return lines
