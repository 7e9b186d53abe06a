"""A schema file of any kind: its canonical document, or all its faults, each where it stands."""

import json
from pathlib import Path as File

from config import source
from config.source import ConfigError, Diagnostic, SourceFile, SourceLocation
from schemas.model import document
from schemas.model.document import DocumentError, DocumentPath
from schemas.sources import api_schema, declare, python_source

# A file is read whole; nobody's schema is larger.
MAX_FILE_BYTES = 1024 * 1024
SUFFIXES = (".json", ".yaml", ".yml")


def read_schema(file: File) -> bytes:
    """Return the canonical document that a file declares: JSON, YAML (`kind: ApiSchema`) or Python.

    Raises OSError, or ConfigError with every fault of the file.
    """
    raw = file.read_bytes()
    name = str(file)
    if len(raw) > MAX_FILE_BYTES:
        message = f"is larger than {MAX_FILE_BYTES // 1024} KiB"
        raise ConfigError(name, [], [Diagnostic(message)])
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(name, [], [Diagnostic(f"is not UTF-8: {error.reason}")]) from None
    if file.suffix == ".py":
        return _parse_python(text, name)
    return _parse_json(text, name) if file.suffix == ".json" else _parse_yaml(text, name)


def to_config_error(file: File, error: DocumentError) -> ConfigError:
    """Return the faults of a file whose document cannot be served, each where it stands."""
    text = file.read_text(encoding="utf-8", errors="replace")
    return _to_config_error(_parse_json_source(text, str(file)), error)


def _parse_json(text: str, name: str) -> bytes:
    try:
        return document.canonical(document.parse(text.encode()))
    except DocumentError as error:
        cause = error.__cause__
        if isinstance(cause, json.JSONDecodeError):
            diagnostic = Diagnostic(
                f"not JSON: {cause.msg}", SourceLocation(cause.lineno, cause.colno)
            )
            raise ConfigError(name, text.splitlines(), [diagnostic]) from None
        raise _to_config_error(_parse_json_source(text, name), error) from None


def _parse_yaml(text: str, name: str) -> bytes:
    source_file = source.parse_yaml(text, name)
    try:
        return document.canonical(
            declare.declaration_to_document(
                api_schema.declaration_from_api_schema(source_file.tree)
            )
        )
    except DocumentError as error:
        raise _to_config_error(source_file, error) from None
    except (TypeError, ValueError) as error:  # a number that is none, half a character
        raise ConfigError(name, [], [Diagnostic(f"cannot be written as JSON: {error}")]) from None


def _parse_python(text: str, name: str) -> bytes:
    try:
        return document.canonical(
            declare.declaration_to_document(python_source.declaration_from_source(text))
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(name, [], [Diagnostic(f"cannot be written as JSON: {error}")]) from None
    except python_source.ScanError as error:
        diagnostics = [
            Diagnostic(f.message, SourceLocation(f.line, f.column), f.hint) for f in error.findings
        ]
        raise ConfigError(name, text.splitlines(), diagnostics) from None


def _parse_json_source(text: str, name: str) -> SourceFile:
    """Return a JSON text with its places: it is YAML but for tabs, which stand between values."""
    try:
        return source.parse_yaml(text.replace("\t", " "), name)
    except ConfigError:
        return SourceFile(name, text.splitlines())


def _to_config_error(source_file: SourceFile, error: DocumentError) -> ConfigError:
    diagnostics = [
        Diagnostic(_format_message(p.path, p.message), _find_location(source_file, p.path), p.hint)
        for p in error.problems
    ]
    return ConfigError(source_file.name, source_file.lines, diagnostics)


def _format_message(path: DocumentPath, message: str) -> str:
    """Say what is wrong, after the last names of the way there."""
    path_tail = ".".join(str(part) for part in path[-2:])
    return f"{path_tail}: {message}" if path_tail else message


def _find_location(source_file: SourceFile, path: DocumentPath) -> SourceLocation | None:
    """Return where a path stands: its key, or what is nearest to it."""
    for length in range(len(path), -1, -1):
        prefix = path[:length]
        location = source_file.locations.get((*prefix, "")) or (
            source_file.locations.get(prefix) if prefix else None
        )
        if location is not None:
            return location
    return None
