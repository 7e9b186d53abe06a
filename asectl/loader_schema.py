"""`asectl loader schema`: print the schema document of a Wrapper, for the operator's folder."""

import argparse

from asectl.main import Failure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("wrapper", metavar="FILE:Class", help="the Wrapper to read")


def run(args: argparse.Namespace) -> int:
    """Print the document. Raises Failure if the Wrapper is invalid or cannot be loaded."""
    from aseloader.declare import DeclarationError, schema
    from aseloader.loading import LoadError, load

    try:
        print(schema(load(args.wrapper)).decode())
    except (LoadError, DeclarationError) as error:
        raise Failure(str(error)) from None
    return 0
