"""`asectl kong render`: print the declarative file for a Kong in front of the gateways."""

import argparse

from asectl import options
from asectl.main import EXIT_CONFIG, Failure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    options.add_config_arguments(parser, ("kong",))


def run(args: argparse.Namespace) -> int:
    """Print the file. Raises Failure (exit code 3) if the config cannot be rendered."""
    from deploy import kong
    from gateway.services import schema_folder

    config, base = options.load_config(args)
    try:
        contracts = (
            schema_folder.load_folder(base / config.schemas, {}, 0.0) if config.schemas else []
        )
        print(kong.render(config, [contract.deadline for contract in contracts]), end="")
    except (kong.KongError, schema_folder.SchemaFolderError) as error:
        raise Failure(str(error), EXIT_CONFIG) from None
    return 0
