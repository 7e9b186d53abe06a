"""A schema file of any kind: its canonical document, or all its faults, each where it stands."""

import json
from pathlib import Path as File

from config import source
from config.source import ConfigError, Diagnostic, SourceFile, SourceLocation
from schemas import api, declare, document, scan
from schemas.document import DocumentError, DocumentPath

# A file is read whole; nobody's schema is larger.
MAX_FILE = 1024 * 1024
SUFFIXES = (".json", ".yaml", ".yml")


def read(file: File) -> bytes:
    """Return the canonical document that a file declares: JSON, YAML (`kind: ApiSchema`) or Python.

    Raises OSError, or ConfigError with every fault of the file.
    """
    raw = file.read_bytes()
    name = str(file)
    if len(raw) > MAX_FILE:
        words = f"is larger than {MAX_FILE // 1024} KiB"
        raise ConfigError(name, [], [Diagnostic(words)])
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(name, [], [Diagnostic(f"is not UTF-8: {error.reason}")]) from None
    if file.suffix == ".py":
        return _of_python(text, name)
    return _of_json(text, name) if file.suffix == ".json" else _of_yaml(text, name)


def refused(file: File, error: DocumentError) -> ConfigError:
    """Return the faults of a file whose document cannot be served, each where it stands."""
    text = file.read_text(encoding="utf-8", errors="replace")
    return _placed(_located(text, str(file)), error)


def _of_json(text: str, name: str) -> bytes:
    try:
        return document.canonical(document.parse(text.encode()))
    except DocumentError as error:
        cause = error.__cause__
        if isinstance(cause, json.JSONDecodeError):
            fault = Diagnostic(f"not JSON: {cause.msg}", SourceLocation(cause.lineno, cause.colno))
            raise ConfigError(name, text.splitlines(), [fault]) from None
        raise _placed(_located(text, name), error) from None


def _of_yaml(text: str, name: str) -> bytes:
    told = source.parse_yaml(text, name)
    try:
        return document.canonical(
            declare.declaration_to_document(api.declaration_from_api_schema(told.tree))
        )
    except DocumentError as error:
        raise _placed(told, error) from None
    except (TypeError, ValueError) as error:  # a number that is none, half a character
        raise ConfigError(name, [], [Diagnostic(f"cannot be written as JSON: {error}")]) from None


def _of_python(text: str, name: str) -> bytes:
    try:
        return document.canonical(
            declare.declaration_to_document(scan.declaration_from_source(text))
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(name, [], [Diagnostic(f"cannot be written as JSON: {error}")]) from None
    except scan.ScanError as error:
        faults = [
            Diagnostic(f.message, SourceLocation(f.line, f.column), f.hint) for f in error.findings
        ]
        raise ConfigError(name, text.splitlines(), faults) from None


def _located(text: str, name: str) -> SourceFile:
    """Return a JSON text with its places: it is YAML but for tabs, which stand between values."""
    try:
        return source.parse_yaml(text.replace("\t", " "), name)
    except ConfigError:
        return SourceFile(name, text.splitlines())


def _placed(told: SourceFile, error: DocumentError) -> ConfigError:
    faults = [
        Diagnostic(_said(p.path, p.message), _place(told, p.path), p.hint) for p in error.problems
    ]
    return ConfigError(told.name, told.lines, faults)


def _said(path: DocumentPath, message: str) -> str:
    """Say what is wrong, after the last names of the way there."""
    shown = ".".join(str(part) for part in path[-2:])
    return f"{shown}: {message}" if shown else message


def _place(told: SourceFile, path: DocumentPath) -> SourceLocation | None:
    """Return where a path stands: its key, or what is nearest to it."""
    for length in range(len(path), -1, -1):
        near = path[:length]
        place = told.locations.get((*near, "")) or (told.locations.get(near) if near else None)
        if place is not None:
            return place
    return None
