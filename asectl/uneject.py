"""`asectl uneject ADDR`: end the ejection of an instance, if it passes a health check."""

import argparse

from asectl import eject
from asectl.main import Failure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    eject.add_instance_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Let the instance be checked now. Raises Failure if it is not ejected, or as `eject`."""
    changed = eject.change(args, "/lb/uneject", {})
    if not changed:
        raise Failure(f"{args.addr} is not ejected")
    for instance in changed:
        print(f"{instance['service']} {instance['instance']} gets requests if it passes a check")
    return 0
