"""`asectl kong register ADDR`: add a gateway to a running Kong, or take it back after a drain."""

import argparse
from dataclasses import replace

from asectl import options
from asectl.kong import admin
from asectl.main import EXIT_USAGE, Failure
from deploy.kong.document import DEFAULT_WEIGHT, KongError, parse_gateway, target, upstream_name
from deploy.kong.entities import REGISTERED_TAG, Change, Entity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("addr", metavar="HOST:PORT", help="the gateway, as Kong reaches it")
    parser.add_argument(
        "--weight", type=int, default=DEFAULT_WEIGHT, help="its part of the requests (%(default)s)"
    )
    admin.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Add the gateway to the upstream, or give it its weight. Raises Failure, as `kong push`."""
    kong_options = options.load_config(args)[0].kong
    try:
        addr, weight = parse_gateway(f"{args.addr} weight={args.weight}")
    except KongError as error:
        raise Failure(str(error).replace("kong.gateways ", ""), EXIT_USAGE) from None
    members = target(kong_options, addr, weight)
    with admin.open_kong(kong_options, args) as (kong, state):
        present = admin.find_target(kong_options, state, addr)
        if present is None or present.has_tag(REGISTERED_TAG):
            members["tags"].append(REGISTERED_TAG)
        if present is None:
            upstream = upstream_name(kong_options)
            change = Change("create", Entity("targets", f"{upstream}/{addr}", upstream, members))
        else:
            change = Change("update", replace(present, body=members), ("weight",))
        admin.apply(kong, [change])
    return 0
