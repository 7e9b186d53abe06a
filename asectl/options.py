"""Declare the product's options as flags of a command, and load the config they result in."""

import argparse
import contextlib
import logging
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from asectl.main import EXIT_CONFIG, Failure
from config import layers, resolve, source
from config.options import SECTIONS, Config, RegistryOptions, meta_of, option_fields

# Options outside the sections that have a flag.
TOP_LEVEL_OPTIONS = ("schemas", "log_level", "log_format")
DEFAULT_FILE = "ase.yaml"
# The registry's config file, in errors and origins.
_SHARED_NAME = f"registry:{DEFAULT_FILE}"

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
    with _config_errors_as_failure():
        config, base, _ = resolve_config(args)
    links = resolve.service_links(os.environ)
    if links:
        _logger.warning(
            "%d variables are links of a Kubernetes Service, and are ignored: %s, ...; the pod's "
            "enableServiceLinks: false removes them",
            len(links),
            min(links),
        )
    return config, base


def load_own_config(args: argparse.Namespace) -> tuple[Config, Path]:
    """Return the config of this host alone, without that of a registry, as `load_config`."""
    with _config_errors_as_failure():
        config, base, _ = _resolve_own(args)
    return config, base


@contextlib.contextmanager
def _config_errors_as_failure() -> Iterator[None]:
    try:
        yield
    except (source.ConfigError, OSError, UnicodeDecodeError) as error:
        message = f"config: {error}" if isinstance(error, OSError) else f"\n{error}"
        raise Failure(message, EXIT_CONFIG) from None


def registry_cache(own: RegistryOptions, base: Path) -> Path:
    """Return the folder of the configuration that was taken from a registry."""
    return (base / own.cache).absolute()


def read_file(folder: Path, name: str) -> str:
    """Return the text of a file that a config names, by the folder of the config."""
    return (folder / name).read_text("utf-8")


def resolve_config(args: argparse.Namespace) -> tuple[Config, Path, dict[str, str]]:
    """Return the config, the folder that its relative paths start from, and the options' origins.

    The folder is that of the config file, or the working directory if the flag `--schemas` is set.
    Origins are those of `config.resolve.resolve_with_origins`. Raises ConfigError, OSError or
    UnicodeDecodeError.

    With `registry.servers` the file that was last taken from the registry is a layer below; paths
    of this host are absolute then, and the folder is that of the registry's files.
    """
    config, base, origins = _resolve_own(args)
    if not config.registry.servers:
        return config, base, origins
    return _resolve_layers(args, config.registry, base, origins)


def _resolve_layers(
    args: argparse.Namespace, own: RegistryOptions, base: Path, own_origins: dict[str, str]
) -> tuple[Config, Path, dict[str, str]]:
    """Return the config of this host above that of the registry, see `resolve_config`."""
    folder = registry_cache(own, base) / "current"
    parsed, flags, _ = _read_own(args)
    read_shared = partial(_read_file_of_either, base, folder)
    shared = source.SourceFile(_SHARED_NAME)
    shared_path = folder / DEFAULT_FILE
    if shared_path.is_file():
        shared = source.parse_yaml(shared_path.read_text(encoding="utf-8-sig"), _SHARED_NAME)
    _, shared_origins = resolve.resolve_with_origins(shared, {}, {}, read_shared)
    # What decides which registry it is cannot come from there.
    shared.tree = {k: v for k, v in (shared.tree or {}).items() if k != "registry"}
    origins = {**shared_origins, **own_origins}
    if "schemas" not in origins and (folder / "schemas").is_dir():
        shared.tree["schemas"], origins["schemas"] = "schemas", _SHARED_NAME
    merged = layers.merge_sources(shared, parsed)
    config, _ = resolve.resolve_with_origins(merged, os.environ, flags, read_shared)

    def place(name: str, value: str) -> str:
        is_own = name in own_origins or not (name in shared_origins or (folder / value).exists())
        return str((base if is_own else folder).absolute() / value)

    return layers.place_paths(config, place), folder, origins


def _read_file_of_either(own: Path, shared: Path, name: str) -> str:
    """Return the text of a file of this host, or of the registry's if there is none."""
    return read_file(own if (own / name).is_file() else shared, name)


def _resolve_own(args: argparse.Namespace) -> tuple[Config, Path, dict[str, str]]:
    parsed, flags, path = _read_own(args)
    config, origins = resolve.resolve_with_origins(
        parsed, os.environ, flags, partial(read_file, path.parent)
    )
    return config, Path() if "schemas" in flags else path.parent, origins


def _read_own(
    args: argparse.Namespace,
) -> tuple[source.SourceFile | None, dict[str, str], Path]:
    """Return the config file of this host, the flags, and the path of the file."""
    path = Path(args.config or DEFAULT_FILE)
    flags = {
        name: value
        for name, value in vars(args).items()
        if value is not None and ("." in name or name in TOP_LEVEL_OPTIONS)
    }
    parsed = None
    if args.config or path.is_file():
        parsed = source.parse_yaml(path.read_text(encoding="utf-8-sig"), str(path))
    return parsed, flags, path
