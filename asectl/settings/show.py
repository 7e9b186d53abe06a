"""`asectl config show`: print the options of a config with their values and origins."""

import argparse

from asectl import options
from asectl.main import EXIT_CONFIG, Failure
from asectl.output import add_output_argument, print_output
from asectl.table import align
from config import describe
from config.options import SECTIONS
from config.source import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "--effective", action="store_true", help="those that are left at their defaults too"
    )
    add_output_argument(parser)
    options.add_config_arguments(parser, tuple(SECTIONS))


def run(args: argparse.Namespace) -> int:
    """Print one line per option; options left at their defaults only with `--effective`."""
    try:
        config, _, origins = options.resolve_config(args)
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        raise Failure(f"\n{error}", EXIT_CONFIG) from None
    effective_options = [
        option
        for option in describe.effective_options(config, origins)
        if args.effective or option.origin != describe.DEFAULT_ORIGIN
    ]
    entries = [
        {"option": option.name, "value": option.value, "origin": option.origin}
        for option in effective_options
    ]
    rows = [
        (option.name, describe.format_value(option.value), option.origin)
        for option in effective_options
    ]
    lines = align(rows) or ["every option is at its default (--effective shows them)"]
    print_output(args.output, entries, lines)
    return 0
