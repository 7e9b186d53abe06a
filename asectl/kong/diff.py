"""`asectl kong diff`: list what `asectl kong push` would change at a running Kong."""

import argparse

from asectl.kong import admin
from asectl.kong.plan import load_entities, plan, summarize

EXIT_DIFFERS = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    admin.add_arguments(parser)
    parser.add_argument("--exit-code", action="store_true", help="exit 6 when something differs")


def run(args: argparse.Namespace) -> int:
    """Print the changes; errors are those of `asectl kong push`.

    Return 6 if `--exit-code` is set and something differs, else 0.
    """
    options, entities = load_entities(args)
    with admin.open_kong(options, args) as (_, state):
        changes = plan(options, entities, state)
    for change in changes:
        print(change)
    print(summarize(changes))
    return EXIT_DIFFERS if changes and args.exit_code else 0
