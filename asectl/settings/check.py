"""`asectl config check`: report every error in config files and in the schemas they name."""

import argparse
import os
from functools import partial
from pathlib import Path

from asectl import error_format, options
from asectl.api.check import find_schema_error, schema_files
from asectl.main import EXIT_CONFIG
from config import resolve, source
from config.source import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help=f"config files ({options.DEFAULT_FILE})",
    )
    parser.add_argument(
        "-c", "--config", action="append", metavar="FILE", help="a config file, as FILE"
    )
    error_format.add_format_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the errors; return 3 if there are any, else 0."""
    file_errors: error_format.FileErrors = []
    file_count = 0
    for name in [*args.files, *(args.config or ())] or [options.DEFAULT_FILE]:
        path = Path(name)
        file_count += 1
        try:
            parsed = source.parse_yaml(path.read_text(encoding="utf-8-sig"), name)
            config = resolve.resolve(
                parsed, os.environ, {}, partial(options.read_file, path.parent)
            )
        except ConfigError as error:
            file_errors.append((path, error))
            continue
        except (OSError, UnicodeDecodeError) as error:
            file_errors.append((path, error_format.unreadable_file(name, error)))
            continue
        if config.schemas:
            folder = path.parent / config.schemas
            for schema_path in schema_files(folder):
                file_count += 1
                schema_error = find_schema_error(schema_path)
                if schema_error is not None:
                    file_errors.append((schema_path, schema_error))
    print(error_format.format_errors(file_errors, file_count, args.format))
    return EXIT_CONFIG if file_errors else 0
