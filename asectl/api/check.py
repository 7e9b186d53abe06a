"""`asectl api check`: report every error in schema files with its location, in several formats."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from asectl import error_format
from asectl.main import EXIT_CONFIG
from config.source import ConfigError, Diagnostic
from gateway.services import schema_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="schema files, or folders of them")
    error_format.add_format_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the errors; return 3 if there are any, else 0."""
    paths = [path for name in args.files for path in schema_files(Path(name))]
    file_errors = [
        (path, error) for path in paths if (error := find_schema_error(path)) is not None
    ]
    print(error_format.format_errors(file_errors, len(paths), args.format))
    return EXIT_CONFIG if file_errors else 0


def schema_files(path: Path) -> Iterator[Path]:
    """Yield `path` itself if it is a file, or the schema files of a folder, ordered by name."""
    if path.is_dir():
        yield from schema_folder.schema_files(path)
    else:
        yield path


def find_schema_error(path: Path) -> ConfigError | None:
    """Return the errors in a schema file, or why it cannot be read; None if there are none."""
    try:
        schema_folder.load_file(path, {}, 0.0)
    except ConfigError as error:
        return error
    except OSError as error:
        return ConfigError(str(path), [], [Diagnostic(error.strerror or str(error))])
    return None
