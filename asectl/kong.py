"""`asectl kong render`: the declarative file for a Kong before our gateways."""

import argparse

from asectl import options
from asectl.main import EXIT_CONFIG, Failure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    options.add_config(parser, ("kong",))


def run(told: argparse.Namespace) -> int:
    """Print the file."""
    from deploy import kong

    config, _ = options.read(told)
    try:
        print(kong.render(config), end="")
    except kong.KongError as error:
        raise Failure(str(error), EXIT_CONFIG) from None
    return 0
