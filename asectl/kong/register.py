"""`asectl kong register ADDR`: add a gateway to a running Kong, or take it back after a drain."""

import argparse
from dataclasses import replace

from asectl import options
from asectl.kong import admin
from asectl.main import EXIT_USAGE, Failure
from config.options import KongOptions
from deploy.kong.document import DEFAULT_WEIGHT, KongError, parse_gateway, target, upstream_name
from deploy.kong.entities import REGISTERED_TAG, Change, Entity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("addr", metavar="HOST:PORT", help="the gateway, as Kong reaches it")
    parser.add_argument("--weight", type=int, help=f"that of kong.gateways, else {DEFAULT_WEIGHT}")
    admin.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Add the gateway to the upstream, or give it its weight. Raises Failure, as `kong push`."""
    kong_options = options.load_config(args)[0].kong
    addr, weight, is_listed = _find_weight(kong_options, args.addr, args.weight)
    members = target(kong_options, addr, weight)
    with admin.open_kong(kong_options, args) as (kong, state):
        present = admin.find_target(kong_options, state, addr)
        if not is_listed:
            members["tags"].append(REGISTERED_TAG)
        if present is None:
            upstream = upstream_name(kong_options)
            change = Change("create", Entity("targets", f"{upstream}/{addr}", upstream, members))
        else:
            change = Change("update", replace(present, body=members), ("weight",))
        admin.check_conflicts(kong_options, [change], state)
        admin.apply(kong, [change])
    return 0


def _find_weight(kong_options: KongOptions, addr: str, weight: int | None) -> tuple[str, int, bool]:
    """Return address and weight of a gateway, and whether `kong.gateways` lists it.

    Raises Failure for an address or a weight that is none.
    """
    try:
        addr, given_weight = parse_gateway(addr if weight is None else f"{addr} weight={weight}")
        listed = dict(map(parse_gateway, kong_options.gateways))
    except KongError as error:
        raise Failure(str(error).replace("kong.gateways ", ""), EXIT_USAGE) from None
    is_listed = addr in listed
    return addr, listed[addr] if is_listed and weight is None else given_weight, is_listed
