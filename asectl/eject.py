"""`asectl eject ADDR --for 10m`: give an instance no requests for a time."""

import argparse
from typing import Any

from asectl import http_client
from asectl.admin_port import post
from asectl.durations import parse_duration
from asectl.http_client import HttpTarget

_DEFAULT_S = 600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    add_instance_arguments(parser)
    parser.add_argument(
        "--for",
        dest="seconds",
        type=parse_duration,
        default=_DEFAULT_S,
        metavar="TIME",
        help="as 30s, 10m, 12h or 7d, the longest (10m)",
    )


def add_instance_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the instance and the gateways that are asked."""
    parser.add_argument("addr", metavar="HOST:PORT", help="the instance, as asectl lb state has it")
    parser.add_argument("--service", default="", help="of this service alone")
    http_client.add_url_arguments(
        parser, "the admin port of the gateway; each gateway decides for itself",
        "http://127.0.0.1:8290",
    )  # fmt: skip
    http_client.add_token_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Eject the instance, and print what the gateway has ejected. Raises Failure as `change`."""
    changed = change(args, "/lb/eject", {"seconds": args.seconds})
    for instance in changed:
        print(f"{instance['service']} {instance['instance']} is ejected for {args.seconds:g} s")
    return 0


def change(args: argparse.Namespace, path: str, members: dict[str, Any]) -> list[dict[str, str]]:
    """Return the instances that a gateway has changed.

    Raises Failure as `admin_port.post`.
    """
    body = {"instance": args.addr, "service": args.service, **members}
    return list(post(HttpTarget.from_args(args), path, body)["changed"])
