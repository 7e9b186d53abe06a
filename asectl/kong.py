"""`asectl kong render`: the declarative file for a Kong before our gateways."""

import argparse

from asectl import options
from asectl.main import EXIT_CONFIG, Failure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    options.add_config_arguments(parser, ("kong",))


def run(args: argparse.Namespace) -> int:
    """Print the file."""
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
