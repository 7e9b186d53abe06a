"""`asectl kong render`: print the declarative file for a Kong in front of the gateways."""

import argparse
from typing import Any

from asectl import options
from asectl.main import EXIT_CONFIG, Failure
from config.options import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    options.add_config_arguments(parser, ("kong",))


def run(args: argparse.Namespace) -> int:
    """Print the file. Raises Failure (exit code 3) if the config cannot be rendered."""
    from deploy.kong.document import dump

    print(dump(load_document(args)[1]), end="")
    return 0


def load_document(args: argparse.Namespace) -> tuple[Config, dict[str, Any]]:
    """Return the config of the flags, and the Kong file for it.

    Raises Failure (exit code 3) if there is an error in the config or in the schemas that it names.
    """
    from deploy.kong import document
    from gateway.services import schema_folder

    config, base = options.load_config(args)
    try:
        contracts = (
            schema_folder.load_folder(base / config.schemas, {}, 0.0) if config.schemas else []
        )
        deadlines = [contract.deadline for contract in contracts]
        return config, document.make_document(config, deadlines)
    except (document.KongError, schema_folder.SchemaFolderError) as error:
        raise Failure(str(error), EXIT_CONFIG) from None
