"""`asectl api check`: every fault of schema files, where it stands, for people and for machines."""

import argparse
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from asectl.main import EXIT_CONFIG
from config.source import ConfigError, Fault, Place
from gateway import files, folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="schema files, or folders of them")
    parser.add_argument(
        "--format", default="text", choices=("text", "json", "sarif", "github"),
        help="how faults are told (%(default)s)",
    )  # fmt: skip


def run(told: argparse.Namespace) -> int:
    """Print the faults; return 3 when there are any."""
    paths = [path for name in told.files for path in _files(Path(name))]
    found = [(path, error) for path in paths if (error := _checked(path)) is not None]
    print(_FORMATS[told.format](found, len(paths)))
    return EXIT_CONFIG if found else 0


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(one for one in path.iterdir() if one.suffix in files.SUFFIXES)
    else:
        yield path


def _checked(path: Path) -> ConfigError | None:
    try:
        folder.read(path, {}, 0.0)
    except ConfigError as error:
        return error
    except OSError as error:
        return ConfigError(str(path), [], [Fault(error.strerror or str(error))])
    return None


_Found = list[tuple[Path, ConfigError]]


def _text(found: _Found, count: int) -> str:
    lines = [str(error) for _, error in found]
    faults = sum(len(error.faults) for _, error in found)
    lines.append(f"{faults} error{'s' * (faults != 1)} in {count} file{'s' * (count != 1)}")
    return "\n".join(lines)


def _flat(found: _Found) -> Iterator[tuple[Path, Fault, Place]]:
    for path, error in found:
        for fault in error.faults:
            yield path, fault, fault.place or Place(1, 1)


def _json(found: _Found, count: int) -> str:
    told = [
        {
            "file": str(path), "line": place.line, "column": place.column,
            "message": fault.message, "hint": fault.hint,
        }
        for path, fault, place in _flat(found)
    ]  # fmt: skip
    return json.dumps({"files": count, "errors": told}, indent=2)


def _github(found: _Found, _: int) -> str:
    """As GitHub's workflow commands: a fault becomes a note in the change."""
    return "\n".join(
        f"::error file={path},line={place.line},col={place.column}::{_escaped(fault)}"
        for path, fault, place in _flat(found)
    )


def _escaped(fault: Fault) -> str:
    words = f"{fault.message}; {fault.hint}" if fault.hint else fault.message
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _sarif(found: _Found, _: int) -> str:
    results = [
        {
            "ruleId": "schema",
            "level": "error",
            "message": {"text": f"{fault.message}; {fault.hint}" if fault.hint else fault.message},
            "locations": [_location(path, place)],
        }
        for path, fault, place in _flat(found)
    ]
    rules = [{"id": "schema", "shortDescription": {"text": "a schema file that cannot be served"}}]
    driver: dict[str, Any] = {
        "name": "asectl api check", "version": version("athena-serving"), "rules": rules,
    }  # fmt: skip
    run: dict[str, Any] = {"tool": {"driver": driver}, "results": results}
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2)


def _location(path: Path, place: Place) -> dict[str, Any]:
    region = {"startLine": place.line, "startColumn": place.column}
    return {"physicalLocation": {"artifactLocation": {"uri": path.as_posix()}, "region": region}}


_FORMATS = {"text": _text, "json": _json, "sarif": _sarif, "github": _github}
