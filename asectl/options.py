"""The product's options as flags of a command, and the config they lead to."""

import argparse
import os
from pathlib import Path
from typing import Any

from asectl.main import EXIT_CONFIG, Failure
from config import resolve, source
from config.options import SECTIONS, Config, meta_of, option_fields

DEFAULT_FILE = "ase.yaml"


def add_config(
    parser: argparse.ArgumentParser, sections: tuple[str, ...], *, without: tuple[str, ...] = ()
) -> None:
    """Add `--config`, a flag for every option of the sections, `schemas` and the log level.

    `without` names options that mean nothing to the command.
    """
    parser.add_argument(
        "-c", "--config", metavar="FILE", help=f"the config file (default: {DEFAULT_FILE}, if any)"
    )
    for section in sections:
        for told in option_fields(SECTIONS[section]):
            if f"{section}.{told.name}" not in without:
                _add(parser, f"{section}.{told.name}", told)
    for told in option_fields(Config):
        if told.name in ("schemas", "log_level") and told.name not in without:
            _add(parser, told.name, told)


def _add(parser: argparse.ArgumentParser, dotted: str, told: Any) -> None:
    if meta_of(told).secret:
        place = f"{resolve.variable_name(dotted)}, or {dotted} in the config file"
        refuse_secret(parser, resolve.flag_name(dotted), place)
        return
    parser.add_argument(
        resolve.flag_name(dotted),
        dest=dotted,
        metavar=dotted.rpartition(".")[2].upper(),
        help=f"{meta_of(told).help.replace('%', '%%')} ({_default(told)})",
    )


def refuse_secret(parser: argparse.ArgumentParser, flag: str, place: str) -> None:
    """Declare a flag that only says where its secret belongs: `place`.

    The words of a command line are shown to every user of the machine.
    """

    def refuse(_: str) -> str:
        raise argparse.ArgumentTypeError(
            f"a secret on the command line is in the list of processes; set {place}"
        )

    parser.add_argument(flag, type=refuse, help=argparse.SUPPRESS)


def _default(told: Any) -> str:
    default = told.default_factory() if callable(told.default_factory) else told.default
    return "default: none" if default in ("", [], None) else f"default: {default}"


def read(told: argparse.Namespace) -> tuple[Config, Path]:
    """Return the config, and the folder that its paths start from.

    Raises Failure (exit code 3) with every fault of the file in its place.
    """
    try:
        config, base, _ = resolved(told)
    except (source.ConfigError, OSError, UnicodeDecodeError) as error:
        words = f"config: {error}" if isinstance(error, OSError) else f"\n{error}"
        raise Failure(words, EXIT_CONFIG) from None
    return config, base


def resolved(told: argparse.Namespace) -> tuple[Config, Path, dict[str, str]]:
    """Return the config, the folder that its paths start from, and the origin of what was told.

    Raises ConfigError, OSError or UnicodeDecodeError.
    """
    path = Path(told.config or DEFAULT_FILE)
    flags = {
        name: value
        for name, value in vars(told).items()
        if value is not None and ("." in name or name in ("schemas", "log_level"))
    }
    parsed = None
    if told.config or path.is_file():
        parsed = source.parse_yaml(path.read_text(encoding="utf-8"), str(path))
    config, origins = resolve.resolve_with_origins(parsed, os.environ, flags)
    return config, Path() if "schemas" in flags else path.parent, origins
