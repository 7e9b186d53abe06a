"""`asectl upgrade`: replace a gateway of this machine by a new process, without a lost request."""

import argparse
import os
import signal
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from asectl import http_client
from asectl.http_client import HttpTarget
from asectl.main import EXIT_FAILED, EXIT_UNREACHABLE, EXIT_USAGE, Failure
from asectl.ports import listens_on
from asectl.progress import progress

_POLL_S = 0.1
_SILENCE_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    http_client.add_url_arguments(parser, "the admin port of the gateway", "http://127.0.0.1:8290")
    http_client.add_token_argument(parser)
    parser.add_argument("--wait", type=float, default=90.0, metavar="S", help="seconds (90)")


def run(args: argparse.Namespace) -> int:
    """Send SIGUSR2 to the gateway and wait until another process serves its ports.

    Raises Failure: exit code 1 if the gateway could not be replaced and serves on, 2 if its process
    is not of this machine or of another user, 4 if no gateway answers.
    """
    admin = HttpTarget.from_args(args)
    before = _describe(admin)
    if before is None or "upgrade" not in before:
        message = f"{admin.url}: does not answer as the admin port of a gateway does"
        raise Failure(message, EXIT_UNREACHABLE)
    pid, attempt = before["pid"], before["upgrade"]["attempt"]
    port = urlsplit(admin.url).port or 0
    if not isinstance(pid, int) or not listens_on(pid, port):  # the signal would end another one
        cure = "run this where the gateway runs, as its user"
        raise Failure(f"pid {pid} of {admin.url} is no process of this machine; {cure}", EXIT_USAGE)
    os.kill(pid, signal.SIGUSR2)
    with progress(lambda: f"the process that replaces pid {pid} starts"):
        after = _wait_for_successor(admin, pid, attempt, args.wait)
    _print_success(before, after)
    return 0


def _wait_for_successor(
    admin: HttpTarget, pid: int, attempt: int, timeout_s: float
) -> Mapping[str, Any]:
    """Return what the process that replaces `pid` says of itself. Raises Failure as `run` does."""
    port = urlsplit(admin.url).port or 0
    deadline, silent_since = time.monotonic() + timeout_s, 0.0
    while time.monotonic() < deadline:
        time.sleep(_POLL_S)
        now = _describe(admin)
        if now is None:  # while one process closes its admin port, a connection may be lost
            silent_since = silent_since or time.monotonic()
            is_gone = time.monotonic() - silent_since > _SILENCE_S and not listens_on(pid, port)
            if is_gone:
                message = f"pid {pid} has left {admin.url}, and nothing answers there"
                hint = "if gateway.admin_port has changed, ask there; else its log says more"
                raise Failure(f"{message}: {hint}", EXIT_UNREACHABLE)
            continue
        silent_since = 0.0
        if now["pid"] != pid:
            return now
        upgrade = now["upgrade"]
        if upgrade["attempt"] > attempt and upgrade["state"] == "failed":
            raise Failure(f"pid {pid} serves on: {upgrade['reason']}", EXIT_FAILED)
    raise Failure(f"pid {pid} still serves after {timeout_s:g} s; its log says more", EXIT_FAILED)


def _describe(admin: HttpTarget) -> Mapping[str, Any] | None:
    """Return what the process at the admin port says of itself, None if nothing does."""
    try:
        info = admin.get("/debug/process").raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None
    return info if isinstance(info, dict) and "pid" in info else None


def _print_success(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    old, new = (f"pid {info['pid']} (version {info['version']})" for info in (before, now))
    print(f"{old} is replaced by {new}; it ends when its requests have ended")
