"""Read schema files of any format into canonical documents, or report all their errors."""

import io
import json
import tokenize
from functools import partial
from pathlib import Path as File
from typing import Any

from config import source
from config.source import ConfigError, ConfigPath, Diagnostic, SourceFile, SourceLocation
from schemas.model import document
from schemas.model.document import DocumentError, DocumentPath
from schemas.sources import api_schema, declare, python_source

# A larger file is rejected; no schema needs more.
MAX_FILE_BYTES = 1024 * 1024
# Keywords whose values are of the type of their member.
_VALUE_KEYWORDS = frozenset(
    {"enum", "enums", "const", "constVal", "default", "defaultVal", "examples"}
)
_METADATA_VALUES = frozenset({"deadline", "idempotent", "streams"})  # numbers and booleans
# Suffixes of the schema files of a folder. A Python file is read only if it is named.
SUFFIXES = (".json", ".yaml", ".yml")


def read_schema(file: File) -> bytes:
    """Return the canonical document of a schema file: JSON, YAML (`kind: ApiSchema`) or Python.

    A file is Python with the suffix `.py`, JSON with `.json`, otherwise YAML. Raises OSError, or
    ConfigError with all errors of the file.
    """
    raw = file.read_bytes()
    name = str(file)
    if len(raw) > MAX_FILE_BYTES:
        message = f"is larger than {MAX_FILE_BYTES // 1024} KiB"
        raise ConfigError(name, [], [Diagnostic(message)])
    if file.suffix == ".py":
        return _parse_python(_decode_python(raw, name), file)
    try:
        text = raw.decode("utf-8-sig")  # Windows' editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        raise ConfigError(name, [], [Diagnostic(f"is not UTF-8: {error.reason}")]) from None
    return _parse_json(text, name) if file.suffix == ".json" else _parse_yaml(text, name)


def to_config_error(file: File, error: DocumentError) -> ConfigError:
    """Return the problems of a file's document as a ConfigError with their locations in the file.

    The file is read again. Raises OSError.
    """
    text = file.read_text(encoding="utf-8-sig", errors="replace")
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
                api_schema.declaration_from_api_schema(_with_declared_texts(source_file))
            )
        )
    except DocumentError as error:
        raise _to_config_error(source_file, error) from None
    except (TypeError, ValueError) as error:  # NaN, an unpaired surrogate
        raise ConfigError(name, [], [Diagnostic(f"cannot be written as JSON: {error}")]) from None


def _with_declared_texts(source_file: SourceFile) -> Any:
    """Return the tree; where texts are declared, numbers and booleans are as they are written.

    `version: 1.10` is the text "1.10", and so is a value of a member of `type: string`.
    """

    def convert(node: Any, path: ConfigPath, as_text: bool) -> Any:
        if isinstance(node, list):
            return [convert(item, (*path, index), as_text) for index, item in enumerate(node)]
        if not isinstance(node, dict):
            return source_file.texts.get(path, node) if as_text else node
        is_string = node.get("type") == "string"
        return {
            key: convert(
                value,
                (*path, key),
                (is_string and key in _VALUE_KEYWORDS)
                or (path == ("metadata",) and key not in _METADATA_VALUES),
            )
            for key, value in node.items()
        }

    return convert(source_file.tree, (), False)


def _decode_python(raw: bytes, name: str) -> str:
    """Return the text of a Python file in the encoding that it declares (PEP 263)."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        return raw.decode(encoding)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ConfigError(name, [], [Diagnostic(f"cannot be decoded: {error}")]) from None


def _parse_python(text: str, file: File) -> bytes:
    name = str(file)
    try:
        declaration = python_source.declaration_from_source(
            text, read_module=partial(_read_module, file.parent)
        )
        return document.canonical(declare.declaration_to_document(declaration))
    except (TypeError, ValueError) as error:
        raise ConfigError(name, [], [Diagnostic(f"cannot be written as JSON: {error}")]) from None
    except python_source.ScanError as error:
        diagnostics = [
            Diagnostic(f.message, SourceLocation(f.line, f.column), f.hint) for f in error.findings
        ]
        raise ConfigError(name, text.splitlines(), diagnostics) from None


def _read_module(folder: File, module_name: str) -> str | None:
    """Return the source of a module in `folder`, where Python would look for it first, or None."""
    parts = module_name.lstrip(".").split(".")
    if module_name.startswith("..") or not all(part.isidentifier() for part in parts):
        return None
    stem = folder.joinpath(*parts)
    for file in (stem.with_suffix(".py"), stem / "__init__.py"):
        if file.is_file() and file.stat().st_size <= MAX_FILE_BYTES:
            try:
                return _decode_python(file.read_bytes(), str(file))
            except (ConfigError, OSError):
                return None
    return None


def _parse_json_source(text: str, name: str) -> SourceFile:
    """Return a JSON text with the locations of its values; without any if it is not YAML.

    JSON is YAML, except that YAML does not allow tabs between values. They are replaced by spaces.
    """
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
    """Return `message` with the last two parts of `path` in front."""
    path_tail = ".".join(str(part) for part in path[-2:])
    return f"{path_tail}: {message}" if path_tail else message


def _find_location(source_file: SourceFile, path: DocumentPath) -> SourceLocation | None:
    """Return the location of a path in a file.

    It is that of the key, else of the value, else of the nearest enclosing one; None if there is
    none. `locations` has the location of a key under the path of its value and "".
    """
    for length in range(len(path), -1, -1):
        prefix = path[:length]
        location = source_file.locations.get((*prefix, "")) or (
            source_file.locations.get(prefix) if prefix else None
        )
        if location is not None:
            return location
    return None
