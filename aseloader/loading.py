"""Load of a wrapper class from a file: a Wrapper, a service function, or one for aiges."""

import importlib.util
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from aseloader import declare
from aseloader.aiges import stand_in
from aseloader.aiges.adapter import adapt, is_aiges_class
from aseloader.aiges.functions import (
    adapt_functions,
    adapt_with_schema,
    has_functions,
    wrap_first_form,
)
from aseloader.functions import wrapper_class_of
from aseloader.mitlab.adapter import TEMPLATE_IMPORT, adapt_template
from aseloader.mitlab.stand_in import install as install_template
from aseloader.wrapper import Wrapper
from schemas.model import document
from schemas.model.document import DocumentError
from schemas.sources.declare import Declaration
from schemas.sources.python_source import ScanError, declaration_from_source

_AIGES_IMPORT: Final = re.compile(r"^\s*(?:from|import) aiges", re.MULTILINE)


class LoadError(Exception):
    """A wrapper class that cannot be found or loaded, or whose `init` failed. `str()` says why."""


def load(spec: str) -> type[Wrapper]:
    """Return the wrapper class that `spec` names: `FILE:Class`, or `FILE` if it has only one.

    A function that `aseloader.service` decorates stands for its class. A Wrapper subclass that the
    file imports counts, too. The file's directory is put first on `sys.path`. Raises LoadError if
    there is no such file or class, or if the file does not load, DeclarationError for a function
    whose signature is no API.
    """
    file, _, name = spec.partition(":")
    path = Path(file).resolve()
    if not path.is_file():
        raise LoadError(f"{file}: no such file; give FILE:Class")
    module_spec = importlib.util.spec_from_file_location(f"wrapper_{path.parent.name}", path)
    if module_spec is None or module_spec.loader is None:
        raise LoadError(f"{file}: not a Python file")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module
    sys.path.insert(0, str(path.parent))
    if _AIGES_IMPORT.search(path.read_text(encoding="utf-8", errors="replace")):
        stand_in.install()
    if TEMPLATE_IMPORT.search(path.read_text(encoding="utf-8", errors="replace")):
        install_template(path)
    try:
        module_spec.loader.exec_module(module)
    except declare.DeclarationError:  # of `aseloader.service`; it names the file and the line
        raise
    except Exception as error:
        raise LoadError(describe_load_error(error, path)) from error
    wrappers = {
        key: wrapper
        for key, value in vars(module).items()
        if (wrapper := wrapper_class_of(value)) is not None
    }
    wrappers = wrappers or _adapt_aiges_wrappers(module, path) or adapt_template(module)
    if name in wrappers:
        return wrappers[name]
    if not name and len(wrappers) == 1:
        return next(iter(wrappers.values()))
    available = ", ".join(wrappers) or "none"
    raise LoadError(f"{spec}: no such Wrapper; in {file} there is: {available}")


def _adapt_aiges_wrappers(module: ModuleType, path: Path) -> dict[str, type[Wrapper]]:
    """Return wrapper classes that serve those of `aiges` in a module, by name.

    Their declarations are read from the source, unless a schema document is beside it; functions of
    a module need one. Raises LoadError for what cannot be read.
    """
    schemas = sorted(path.parent.glob("schema_*.json"))
    wrappers: dict[str, type[Wrapper]] = {}
    for key, value in vars(module).items():
        if is_aiges_class(value) and value.__module__ == module.__name__:
            wrappers[key] = _adapt_aiges_class(value, path, schemas)
    if not wrappers and has_functions(module):
        schema = _find_schema(path)
        try:
            wrappers[path.stem] = adapt_functions(module, schema)
        except DocumentError as error:
            raise LoadError(f"{path.name}: the schema beside it: {error}") from error
    return wrappers


def _adapt_aiges_class(wrapped: type[Any], path: Path, schemas: list[Path]) -> type[Wrapper]:
    """Return a wrapper class for one of aiges.

    The one schema beside it counts if it is of the same service, or if the class declares nothing.
    """
    results = stand_in.installed_results()
    problem: Exception | None = None
    api: Declaration | None = None
    try:
        api = declaration_from_source(path.read_text(encoding="utf-8"), wrapped.__name__)
    except ScanError as error:
        problem = error
    try:
        if len(schemas) == 1:
            schema = schemas[0].read_bytes()
            service = document.service_from_document(document.parse(schema))
            if api is None or not api.outputs or api.id == service.id:
                return adapt_with_schema(wrapped, schema, results)
    except DocumentError as error:
        raise LoadError(f"{schemas[0].name}: {error}") from error
    if api is None:
        raise LoadError(f"{path.name}: {problem}") from problem
    return adapt(wrap_first_form(wrapped), api, results)


def _find_schema(path: Path) -> bytes:
    """Return the schema document beside a file that declares no API. Raises LoadError."""
    candidates = sorted(path.parent.glob("schema_*.json"))
    if len(candidates) != 1:
        hint = "its functions declare no API; put its schema beside it as schema_NAME.json, once"
        raise LoadError(f"{path.name}: {hint}; there is: {len(candidates)}")
    return candidates[0].read_bytes()


def describe_load_error(error: BaseException | None, path: Path) -> str:
    """Return a message with the error and its traceback, from the author's file on."""
    frames = traceback.extract_tb(error.__traceback__ if error else None)
    first_own_frame = next((i for i, f in enumerate(frames) if Path(f.filename) == path), 0)
    lines = traceback.format_list(frames[first_own_frame:]) + traceback.format_exception_only(error)
    return f"{path.name} does not load\n{''.join(lines)}".rstrip()
