"""`asectl kong push`: set up a running Kong, with a database or without, by its Admin API."""

import argparse

from asectl.kong import admin
from asectl.kong.plan import load_entities, plan, summarize


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    admin.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Make the changes and print them.

    Raises Failure: exit code 2 if Kong cannot be reached or refuses a change, 3 for an error in the
    config.
    """
    options, entities = load_entities(args)
    with admin.open_kong(options, args) as (kong, state):
        changes = plan(options, entities, state)
        if changes:
            admin.apply(kong, changes)
        print(summarize(changes))
    return 0
