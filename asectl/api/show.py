"""`asectl api show`: print a schema in one of several formats."""

import argparse
import json
import sys
from typing import Any

import yaml

from asectl.api import sources
from asectl.http_client import HttpTarget
from gateway.services.catalog import Contract
from schemas.output import openapi, render
from schemas.output.openapi import Operation
from schemas.sources import api_schema, from_document


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    sources.add_source_argument(parser, "schema", "a schema file, or a service")
    sources.add_url_arguments(parser)
    parser.add_argument(
        "--as",
        dest="form",
        default="text",
        choices=("text", "json", "yaml", "python", "jsonschema", "openapi"),
        help="text for people, schema.json, ApiSchema, an aseloader wrapper, ... (%(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the schema; list on stderr each part of it that the format cannot represent."""
    contract = sources.load_contract(args.schema, HttpTarget.from_args(args))
    text, unsupported = _RENDERERS[args.form](contract)
    print(text)
    for path in unsupported:
        print(f"asectl: {args.form} cannot hold {path}", file=sys.stderr)
    return 0


_Rendering = tuple[str, list[str]]


def _json(contract: Contract) -> _Rendering:
    return json.dumps(json.loads(contract.schema_document), ensure_ascii=False, indent=2), []


def _yaml(contract: Contract) -> _Rendering:
    declaration, unsupported = from_document.declaration_from_document(
        json.loads(contract.schema_document)
    )
    text = yaml.safe_dump(
        api_schema.declaration_to_api_schema(declaration), sort_keys=False, allow_unicode=True
    )
    return text.rstrip(), unsupported


def _python(contract: Contract) -> _Rendering:
    declaration, unsupported = from_document.declaration_from_document(
        json.loads(contract.schema_document)
    )
    source, also_unsupported = render.render_wrapper(declaration)
    return source.rstrip(), [*unsupported, *also_unsupported]


def _jsonschema(contract: Contract) -> _Rendering:
    schema = openapi.to_standard_schema(contract.validator.schema, contract.service)
    return json.dumps(schema, ensure_ascii=False, indent=2), []


def _openapi(contract: Contract) -> _Rendering:
    operation = Operation(contract.service, contract.validator.schema)
    document = openapi.build_document([operation], title=contract.service.id, version="1")
    return json.dumps(document, ensure_ascii=False, indent=2), []


def _text(contract: Contract) -> _Rendering:
    service = contract.service
    declaration, _ = from_document.declaration_from_document(json.loads(contract.schema_document))
    lines = [
        f"{service.id} {service.version}  {service.description}".rstrip(),
        f"POST /v1/private/{service.id}   digest {contract.digest}",
    ]
    if service.streaming:
        lines.append("streams: by WebSocket (GET), or with Accept: text/event-stream")
    lines += [
        f"  param   {param.name:<16} {_describe_rules(dict(param.rules), param.required)}"
        for param in declaration.params
    ]
    for stream in declaration.inputs:
        size_limit = f"at most {stream.max_bytes} bytes"
        details = ", ".join([stream.data_type.key, *stream.encodings, size_limit])
        lines.append(f"  input   {stream.name:<16} {details}{' required' * stream.required}")
    lines += [
        f"  output  {stream.name:<16} {stream.data_type.key} {stream.format}".rstrip()
        for stream in declaration.outputs
    ]
    lines += [f"  way     {route.service_id}" for route in service.sub_routes]
    return "\n".join(lines), []


def _describe_rules(rules: dict[str, Any], required: bool) -> str:
    kind = rules.pop("type", "any")
    parts = [f"{key} {value}" for key, value in rules.items() if key != "comment"]
    return "  ".join([str(kind), *parts, *(["required"] if required else [])])


_RENDERERS = {
    "text": _text, "json": _json, "yaml": _yaml, "python": _python, "jsonschema": _jsonschema,
    "openapi": _openapi,
}  # fmt: skip
