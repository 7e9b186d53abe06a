"""`asectl api check`: every fault of schema files, where it stands, for people and for machines."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from asectl import faults
from asectl.main import EXIT_CONFIG
from config.source import ConfigError, Diagnostic
from gateway.services import schema_file, schema_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="schema files, or folders of them")
    faults.add_format_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the faults; return 3 when there are any."""
    paths = [path for name in args.files for path in schema_files(Path(name))]
    file_errors = [
        (path, error) for path in paths if (error := find_schema_error(path)) is not None
    ]
    print(faults.format_errors(file_errors, len(paths), args.format))
    return EXIT_CONFIG if file_errors else 0


def schema_files(path: Path) -> Iterator[Path]:
    """Yield a file, or the schema files of a folder."""
    if path.is_dir():
        yield from sorted(entry for entry in path.iterdir() if entry.suffix in schema_file.SUFFIXES)
    else:
        yield path


def find_schema_error(path: Path) -> ConfigError | None:
    """Return the faults of a schema file, None for none."""
    try:
        schema_folder.load_file(path, {}, 0.0)
    except ConfigError as error:
        return error
    except OSError as error:
        return ConfigError(str(path), [], [Diagnostic(error.strerror or str(error))])
    return None
