"""`asectl api check`: every fault of schema files, where it stands, for people and for machines."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from asectl import faults
from asectl.main import EXIT_CONFIG
from config.source import ConfigError, Diagnostic
from gateway import files, folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="schema files, or folders of them")
    faults.add_format(parser)


def run(told: argparse.Namespace) -> int:
    """Print the faults; return 3 when there are any."""
    paths = [path for name in told.files for path in files_of(Path(name))]
    found = [(path, error) for path in paths if (error := fault_of(path)) is not None]
    print(faults.told(found, len(paths), told.format))
    return EXIT_CONFIG if found else 0


def files_of(path: Path) -> Iterator[Path]:
    """Yield a file, or the schema files of a folder."""
    if path.is_dir():
        yield from sorted(one for one in path.iterdir() if one.suffix in files.SUFFIXES)
    else:
        yield path


def fault_of(path: Path) -> ConfigError | None:
    """Return the faults of a schema file, None for none."""
    try:
        folder.load_file(path, {}, 0.0)
    except ConfigError as error:
        return error
    except OSError as error:
        return ConfigError(str(path), [], [Diagnostic(error.strerror or str(error))])
    return None
