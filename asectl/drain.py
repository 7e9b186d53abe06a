"""`asectl drain`: make a gateway unready, and wait until its requests and sessions have ended."""

import argparse
import re
import time

import httpx

from asectl import http_client
from asectl.admin_port import post
from asectl.http_client import HttpTarget
from asectl.main import EXIT_FAILED, EXIT_UNREACHABLE, Failure

_POLL_S = 0.2
_RUNNING = re.compile(r"^ase_(?:inflight|sessions)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    http_client.add_url_arguments(parser, "the admin port of the gateway", "http://127.0.0.1:8290")
    http_client.add_token_argument(parser)
    parser.add_argument("--undo", action="store_true", help="make it ready again")
    parser.add_argument("--wait", type=float, default=30.0, metavar="S", help="seconds (30)")


def run(args: argparse.Namespace) -> int:
    """Drain the gateway and return 0 when nothing runs there, 1 if something does after `--wait`.

    Whatever asks `/readyz` sends no more requests; those that arrive are served. Raises Failure as
    `admin_port.post`.
    """
    admin = HttpTarget.from_args(args)
    post(admin, "/drain", {"on": not args.undo})
    if args.undo:
        print(f"{admin.url} is ready again")
        return 0
    deadline, shown = time.monotonic() + args.wait, -1
    while True:
        running = _count_running(admin)
        if running != shown:
            print(f"requests and sessions that run: {running}", flush=True)
            shown = running
        if not running:
            return 0
        if time.monotonic() >= deadline:
            return EXIT_FAILED
        time.sleep(_POLL_S)


def _count_running(admin: HttpTarget) -> int:
    try:
        text = admin.get("/metrics").raise_for_status().text
    except httpx.HTTPError as error:
        raise Failure(f"{admin.url}: no metrics to be had ({error})", EXIT_UNREACHABLE) from None
    return int(sum(float(value) for value in _RUNNING.findall(text)))
