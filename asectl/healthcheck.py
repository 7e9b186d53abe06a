"""`asectl healthcheck`: is a gateway ready? For a container's HEALTHCHECK."""

import argparse
import urllib.error
import urllib.request

from asectl.main import Failure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--url", default="http://127.0.0.1:8200", help="the gateway (%(default)s)")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds to wait (2)")


def run(told: argparse.Namespace) -> int:
    """Return 0 when `/readyz` says so."""
    url = told.url.rstrip("/") + "/readyz"
    if not url.startswith(("http://", "https://")):
        raise Failure(f"{told.url}: must begin with http:// or https://", 2)
    try:
        with urllib.request.urlopen(url, timeout=told.timeout) as answer:  # noqa: S310 (checked)
            print(answer.read().decode())
    except urllib.error.URLError as error:
        raise Failure(f"{url}: {error}") from None
    return 0
