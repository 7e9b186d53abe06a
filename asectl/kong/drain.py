"""`asectl kong drain ADDR`: take a gateway out of a running Kong."""

import argparse
from dataclasses import replace

from asectl import options
from asectl.kong import admin
from asectl.main import Failure
from deploy.kong.document import target
from deploy.kong.entities import DRAINED_TAG, REGISTERED_TAG, Change


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("addr", metavar="HOST:PORT", help="the gateway, as in kong.gateways")
    parser.add_argument(
        "--remove", action="store_true", help="remove it; else it gets no requests (weight 0)"
    )
    admin.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Drain or remove the gateway. Raises Failure, as `kong push`.

    Requests that Kong has sent to it run on. It stays drained until `kong register`, whatever
    `kong push` finds in the config.
    """
    kong_options = options.load_config(args)[0].kong
    with admin.open_kong(kong_options, args) as (kong, state):
        present = admin.find_target(kong_options, state, args.addr)
        if present is None:
            raise Failure(f"Kong has no target {args.addr} of ours")
        if args.remove:
            admin.apply(kong, [Change("delete", present)])
            return 0
        members = target(kong_options, args.addr, 0)
        members["tags"] += [DRAINED_TAG, *([REGISTERED_TAG] * present.has_tag(REGISTERED_TAG))]
        admin.apply(kong, [Change("update", replace(present, body=members), ("weight",))])
    return 0
