"""`asectl kong check FILE`: list every error of a declarative Kong file, with its line."""

import argparse
from pathlib import Path

from asectl import error_format
from asectl.main import EXIT_CONFIG
from config.source import ConfigError
from deploy.kong.check import check_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="Kong files, YAML or JSON")
    error_format.add_format_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the errors; return 3 if there are any, else 0."""
    file_errors: error_format.FileErrors = []
    for name in args.files:
        path = Path(name)
        try:
            check_text(path.read_text(encoding="utf-8-sig"), name)
        except ConfigError as error:
            file_errors.append((path, error))
        except (OSError, UnicodeDecodeError) as error:
            file_errors.append((path, error_format.unreadable_file(name, error)))
    print(error_format.format_errors(file_errors, len(args.files), args.format))
    return EXIT_CONFIG if file_errors else 0
