"""What a design is: its schema, its YAML, an example, and every problem at its field. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from config.source import ConfigError, parse_yaml
from schemas.model import document
from schemas.model.document import DocumentError, Problem
from schemas.output import example
from schemas.sources import api_schema, declare, from_document, python_source
from schemas.sources.python_source import ScanError
from schemas.validation.request_validator import RequestValidator


class DeclarationImportError(Exception):
    """A file is no declaration of an API; `str()` says what is wrong with it, and where."""


@dataclass(frozen=True, slots=True)
class Design:
    """What a tree of `kind: ApiSchema` stands for.

    `problems` are at paths of the tree; the other members are empty while there are any.
    """

    problems: tuple[Problem, ...]
    yaml: str = ""
    schema: str = ""
    service: str = ""
    example: Any = None

    def to_json(self) -> dict[str, Any]:
        """Return the members by name."""
        return {
            "problems": [
                {"path": list(p.path), "message": p.message, "hint": p.hint} for p in self.problems
            ],
            "yaml": self.yaml,
            "schema": self.schema,
            "service": self.service,
            "example": self.example,
        }


def check(tree: Any) -> Design:
    """Return the design of a tree, or its problems."""
    try:
        declaration = api_schema.declaration_from_api_schema(tree)
        schema_document = declare.declaration_to_document(declaration)
        service = document.service_from_document(schema_document)
    except DocumentError as error:
        return Design(tuple(error.problems))
    validator = RequestValidator(service.input)
    try:
        request = example.example_request(service, validator)
    except example.NoExampleError:
        request = None
    text = json.dumps(schema_document, ensure_ascii=False, indent=2) + "\n"
    return Design((), to_yaml(tree), text, service.id, request)


def to_yaml(tree: Mapping[str, Any]) -> str:
    """Return the text of a declaration for `asectl api create`."""
    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True, width=100)


def import_declaration(name: str, text: str) -> dict[str, Any]:
    """Return the tree of a declaration: ApiSchema YAML, `schema.json`, or Python source.

    Python is read and not run. Raises DeclarationImportError.
    """
    suffix = name.rpartition(".")[2]
    try:
        if suffix == "py":
            declaration = python_source.declaration_from_source(text)
        elif suffix == "json":
            declaration, _ = from_document.declaration_from_document(document.parse(text.encode()))
        else:
            declaration = api_schema.declaration_from_api_schema(parse_yaml(text, name).tree)
    except DocumentError as error:
        lines = [f"{'.'.join(map(str, p.path))}: {p.message}" for p in error.problems]
        raise DeclarationImportError("\n".join(lines)) from None
    except ScanError as error:
        lines = [f"{name}:{f.line}:{f.column}: {f.message}" for f in error.findings]
        raise DeclarationImportError("\n".join(lines)) from None
    except ConfigError as error:
        raise DeclarationImportError(str(error)) from None
    return api_schema.declaration_to_api_schema(declaration)
