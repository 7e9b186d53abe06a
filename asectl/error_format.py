"""Format the errors found in files as text, JSON, SARIF or GitHub workflow commands."""

import argparse
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from config.source import ConfigError, Diagnostic, SourceLocation

FileErrors = list[tuple[Path, ConfigError]]


def add_format_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--format`, the output format of errors."""
    parser.add_argument(
        "--format",
        default="text",
        choices=tuple(_FORMATS),
        help="the output format of errors (%(default)s)",
    )


def unreadable_file(name: str, error: OSError | UnicodeDecodeError) -> ConfigError:
    """Return the error of a file that cannot be read, as one of its contents."""
    message = getattr(error, "strerror", None) or str(error)
    return ConfigError(name, [], [Diagnostic(message)])


def format_errors(file_errors: FileErrors, file_count: int, format_name: str) -> str:
    """Return the errors found in `file_count` checked files, in the format `format_name`.

    `file_errors` holds only the files that have errors.
    """
    return _FORMATS[format_name](file_errors, file_count)


def _text(file_errors: FileErrors, file_count: int) -> str:
    lines = [str(error) for _, error in file_errors]
    error_count = sum(len(error.diagnostics) for _, error in file_errors)
    lines.append(
        f"{error_count} error{'s' * (error_count != 1)} in "
        f"{file_count} file{'s' * (file_count != 1)}"
    )
    return "\n".join(lines)


def _flatten(file_errors: FileErrors) -> Iterator[tuple[Path, Diagnostic, SourceLocation]]:
    for path, error in file_errors:
        for fault in error.diagnostics:
            yield path, fault, fault.location or SourceLocation(1, 1)


def _json(file_errors: FileErrors, file_count: int) -> str:
    errors = [
        {
            "file": str(path), "line": place.line, "column": place.column,
            "message": fault.message, "hint": fault.hint,
        }
        for path, fault, place in _flatten(file_errors)
    ]  # fmt: skip
    return json.dumps({"files": file_count, "errors": errors}, indent=2)


def _github(file_errors: FileErrors, _: int) -> str:
    """Return GitHub workflow commands: GitHub shows each error as an annotation of its line."""
    return "\n".join(
        f"::error file={_escape_property(str(path))},line={place.line},col={place.column}"
        f"::{_escape_data(_message(fault))}"
        for path, fault, place in _flatten(file_errors)
    )


def _message(fault: Diagnostic) -> str:
    return f"{fault.message}; {fault.hint}" if fault.hint else fault.message


def _escape_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")


def _sarif_text(text: str) -> str:
    """Escape placeholders and links of a SARIF message (SARIF 2.1.0, 3.11.5 and 3.11.6)."""
    for character in "\\[]":
        text = text.replace(character, "\\" + character)
    return text.replace("{", "{{").replace("}", "}}")


def _sarif(file_errors: FileErrors, _: int) -> str:
    results = [
        {
            "ruleId": "file",
            "level": "error",
            "message": {"text": _sarif_text(_message(fault))},
            "locations": [_location(path, place)],
        }
        for path, fault, place in _flatten(file_errors)
    ]
    rules = [{"id": "file", "shortDescription": {"text": "what a file must not say"}}]
    driver: dict[str, Any] = {
        "name": "asectl", "version": version("athena-serving"), "rules": rules,
    }  # fmt: skip
    run: dict[str, Any] = {"tool": {"driver": driver}, "results": results}
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2)


def _location(path: Path, place: SourceLocation) -> dict[str, Any]:
    region = {"startLine": place.line, "startColumn": place.column}
    uri = quote(path.as_posix())  # RFC 3986
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}


_FORMATS = {"text": _text, "json": _json, "sarif": _sarif, "github": _github}
