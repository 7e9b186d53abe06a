"""What the registry checks of a file before it takes it: what a gateway would check."""

import json
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any, Final

from config import resolve, source
from config.source import ConfigError, Diagnostic, SourceFile, SourceLocation
from gateway.services import schema_folder
from gateway.services.catalog import Contract
from registry.records import FileKind
from schemas.output.diff import compare

_CONFIG_FILES: Final = ("ase.yaml", "ase.yml")
_CONTENT_TYPES: Final = {
    ".json": "application/json",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".toml": "application/toml",
    ".txt": "text/plain; charset=utf-8",
    ".py": "text/x-python; charset=utf-8",
}
_BINARY: Final = "application/octet-stream"
_SECRET: Final = "secret"  # noqa: S105 (it stands for those that the registry must not read)


class _AnyVariables(dict[str, str]):
    """An environment in which every variable that a secret refers to has a value."""

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ARG002 (as dict.get)
        """Return a value for any name."""
        return _SECRET


def inspect_file(name: str, content: bytes) -> tuple[FileKind, str, list[str]]:
    """Return the kind of a file, its content type, and its faults.

    `ase.yaml` must be a valid configuration, an API schema one that a gateway loads; other JSON and
    YAML files must be that. Secrets are not looked up.
    """
    path = PurePosixPath(name)
    content_type = _CONTENT_TYPES.get(path.suffix, "")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        faults = [f"{name}: is not UTF-8: {error.reason}"] if content_type else []
        return FileKind.CONFIG, content_type or _BINARY, faults
    content_type = content_type or "text/plain; charset=utf-8"
    try:
        if path.suffix == ".json":
            tree: Any = _parse_json(text, name)
        elif path.suffix in (".yaml", ".yml"):
            parsed = source.parse_yaml(text, name)
            tree = parsed.tree
            if path.name in _CONFIG_FILES:
                resolve.resolve(parsed, _AnyVariables(), {}, lambda _: _SECRET)
        else:
            tree = None
        if _is_schema(tree):
            load_schema(name, content)
            return FileKind.SCHEMA, content_type, []
    except ConfigError as error:
        return FileKind.CONFIG, content_type, [str(error)]
    return FileKind.CONFIG, content_type, []


def find_breaks(name: str, old: bytes, new: bytes) -> list[str]:
    """Return what breaks clients of an API from one content of its schema file to another."""
    documents = [json.loads(load_schema(name, content).schema_document) for content in (old, new)]
    return [f"{name}: {change}" for change in compare(*documents) if change.breaking]


def load_schema(name: str, content: bytes) -> Contract:
    """Return the contract of the content of a schema file. Raises ConfigError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PurePosixPath(name).name
        path.write_bytes(content)
        try:
            return schema_folder.load_file(path, {}, 0.0)
        except ConfigError as error:
            lines = content.decode("utf-8", "replace").splitlines()
            raise ConfigError(name, lines, list(error.diagnostics)) from None


def _is_schema(tree: Any) -> bool:
    if not isinstance(tree, dict):
        return False
    return tree.get("kind") == "ApiSchema" or {"meta", "schemainput"} <= {*tree}


def _parse_json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        location = SourceLocation(error.lineno, error.colno)
        diagnostic = Diagnostic(f"not JSON: {error.msg}", location)
        raise ConfigError(name, text.splitlines(), [diagnostic]) from None
    except (RecursionError, ValueError) as error:  # nested too deep, or thousands of digits
        diagnostic = Diagnostic(f"cannot be read: {error}")
        raise ConfigError(name, SourceFile(name).lines, [diagnostic]) from None
