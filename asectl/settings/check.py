"""`asectl config check`: every fault of a config file and of the schemas it names."""

import argparse
import os
from pathlib import Path

from asectl import faults, options
from asectl.api.check import fault_of, files_of
from asectl.main import EXIT_CONFIG
from config import resolve, source
from config.source import ConfigError, Diagnostic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "files",
        nargs="*",
        default=[options.DEFAULT_FILE],
        metavar="FILE",
        help=f"config files ({options.DEFAULT_FILE})",
    )
    faults.add_format(parser)


def run(told: argparse.Namespace) -> int:
    """Print the faults; return 3 when there are any."""
    found: faults.Found = []
    count = 0
    for name in told.files:
        path = Path(name)
        count += 1
        try:
            config = resolve.resolve(
                source.parse_yaml(path.read_text(encoding="utf-8"), name), os.environ, {}
            )
        except ConfigError as error:
            found.append((path, error))
            continue
        except (OSError, UnicodeDecodeError) as error:
            words = getattr(error, "strerror", None) or str(error)
            found.append((path, ConfigError(name, [], [Diagnostic(words)])))
            continue
        if config.schemas:
            folder = path.parent / config.schemas
            for schema in files_of(folder):
                count += 1
                fault = fault_of(schema)
                if fault is not None:
                    found.append((schema, fault))
    print(faults.told(found, count, told.format))
    return EXIT_CONFIG if found else 0
