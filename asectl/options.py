"""Declare the product's options as flags of a command, and load the config they result in."""

import argparse
import logging
import os
from functools import partial
from pathlib import Path
from typing import Any

from asectl.main import EXIT_CONFIG, Failure
from config import resolve, source
from config.options import SECTIONS, Config, meta_of, option_fields

# Options outside the sections that have a flag.
TOP_LEVEL_OPTIONS = ("schemas", "log_level", "log_format")
DEFAULT_FILE = "ase.yaml"

_logger = logging.getLogger("ase.config")


def add_config_arguments(
    parser: argparse.ArgumentParser, sections: tuple[str, ...], *, exclude: tuple[str, ...] = ()
) -> None:
    """Add `--config`, a flag for every option of the sections, `schemas` and the log level.

    `exclude` holds the dotted names of options that have no effect in the command.
    """
    parser.add_argument(
        "-c", "--config", metavar="FILE", help=f"the config file (default: {DEFAULT_FILE}, if any)"
    )
    for section in sections:
        for option in option_fields(SECTIONS[section]):
            if f"{section}.{option.name}" not in exclude:
                _add_option(parser, f"{section}.{option.name}", option)
    for option in option_fields(Config):
        if option.name in TOP_LEVEL_OPTIONS and option.name not in exclude:
            _add_option(parser, option.name, option)


def _add_option(parser: argparse.ArgumentParser, option_name: str, option: Any) -> None:
    if meta_of(option).secret:
        place = f"{resolve.variable_name(option_name)}, or {option_name} in the config file"
        refuse_secret(parser, resolve.flag_name(option_name), place)
        return
    parser.add_argument(
        resolve.flag_name(option_name),
        dest=option_name,
        metavar=option_name.rpartition(".")[2].upper(),
        help=f"{meta_of(option).help.replace('%', '%%')} ({_describe_default(option)})",
    )


def refuse_secret(parser: argparse.ArgumentParser, flag: str, place: str) -> None:
    """Declare a hidden flag that is always rejected; the error says to set the secret in `place`.

    The arguments of a process are visible to every user of the machine.
    """

    def refuse(_: str) -> str:
        raise argparse.ArgumentTypeError(
            f"a secret on the command line is in the list of processes; set {place}"
        )

    parser.add_argument(flag, type=refuse, help=argparse.SUPPRESS)


def _describe_default(option: Any) -> str:
    default = option.default_factory() if callable(option.default_factory) else option.default
    return "default: none" if default in ("", [], None) else f"default: {default}"


def load_config(args: argparse.Namespace) -> tuple[Config, Path]:
    """Return the config, and the folder that its relative paths start from.

    Raises Failure (exit code 3) with every error in the config and its location.
    """
    try:
        config, base, _ = resolve_config(args)
    except (source.ConfigError, OSError, UnicodeDecodeError) as error:
        message = f"config: {error}" if isinstance(error, OSError) else f"\n{error}"
        raise Failure(message, EXIT_CONFIG) from None
    links = resolve.service_links(os.environ)
    if links:
        _logger.warning(
            "%d variables are links of a Kubernetes Service, and are ignored: %s, ...; the pod's "
            "enableServiceLinks: false removes them",
            len(links),
            min(links),
        )
    return config, base


def read_file(folder: Path, name: str) -> str:
    """Return the text of a file that a config names, by the folder of the config."""
    return (folder / name).read_text("utf-8")


def resolve_config(args: argparse.Namespace) -> tuple[Config, Path, dict[str, str]]:
    """Return the config, the folder that its relative paths start from, and the options' origins.

    The folder is that of the config file, or the working directory if the flag `--schemas` is set.
    Origins are those of `config.resolve.resolve_with_origins`. Raises ConfigError, OSError or
    UnicodeDecodeError.
    """
    path = Path(args.config or DEFAULT_FILE)
    flags = {
        name: value
        for name, value in vars(args).items()
        if value is not None and ("." in name or name in TOP_LEVEL_OPTIONS)
    }
    parsed = None
    if args.config or path.is_file():
        parsed = source.parse_yaml(path.read_text(encoding="utf-8-sig"), str(path))
    config, origins = resolve.resolve_with_origins(
        parsed, os.environ, flags, partial(read_file, path.parent)
    )
    return config, Path() if "schemas" in flags else path.parent, origins
