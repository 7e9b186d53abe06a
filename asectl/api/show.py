"""`asectl api show`: a schema in any of its forms."""

import argparse
import json
import sys
from typing import Any

import yaml

from asectl.api import sources
from gateway.contracts import Contract
from schemas import api, openapi, recall, render
from schemas.openapi import Operation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    sources.add_source(parser, "schema", "a schema file, or a service")
    sources.add_url(parser)
    parser.add_argument(
        "--as",
        dest="form",
        default="text",
        choices=("text", "json", "yaml", "python", "jsonschema", "openapi"),
        help="text for people, schema.json, ApiSchema, an aseloader wrapper, ... (%(default)s)",
    )


def run(told: argparse.Namespace) -> int:
    """Print it; what the form cannot hold is named on stderr."""
    contract = sources.contract(told.schema, told.url)
    text, lost = _FORMS[told.form](contract)
    print(text)
    for place in lost:
        print(f"asectl: {told.form} cannot hold {place}", file=sys.stderr)
    return 0


_Form = tuple[str, list[str]]


def _json(contract: Contract) -> _Form:
    return json.dumps(json.loads(contract.schema_document), ensure_ascii=False, indent=2), []


def _yaml(contract: Contract) -> _Form:
    declared, lost = recall.declaration_from_document(json.loads(contract.schema_document))
    told = yaml.safe_dump(
        api.declaration_to_api_schema(declared), sort_keys=False, allow_unicode=True
    )
    return told.rstrip(), lost


def _python(contract: Contract) -> _Form:
    declared, lost = recall.declaration_from_document(json.loads(contract.schema_document))
    source, more = render.render_wrapper(declared)
    return source.rstrip(), [*lost, *more]


def _jsonschema(contract: Contract) -> _Form:
    told = openapi.to_standard_schema(contract.validator.schema, contract.service)
    return json.dumps(told, ensure_ascii=False, indent=2), []


def _openapi(contract: Contract) -> _Form:
    operation = Operation(contract.service, contract.validator.schema)
    told = openapi.build_document([operation], title=contract.service.id, version="1")
    return json.dumps(told, ensure_ascii=False, indent=2), []


def _text(contract: Contract) -> _Form:
    service = contract.service
    declared, _ = recall.declaration_from_document(json.loads(contract.schema_document))
    lines = [
        f"{service.id} {service.version}  {service.description}".rstrip(),
        f"POST /v1/private/{service.id}   digest {contract.digest}",
    ]
    if service.streaming:
        lines.append("streams: by WebSocket (GET), or with Accept: text/event-stream")
    lines += [
        f"  param   {param.name:<16} {_rules(dict(param.rules), param.required)}"
        for param in declared.params
    ]
    for stream in declared.inputs:
        most = f"at most {stream.max_bytes} bytes"
        words = ", ".join([stream.data_type.key, *stream.encodings, most])
        lines.append(f"  input   {stream.name:<16} {words}{' required' * stream.required}")
    lines += [
        f"  output  {stream.name:<16} {stream.data_type.key} {stream.format}".rstrip()
        for stream in declared.outputs
    ]
    lines += [f"  way     {route.service_id}" for route in service.sub_routes]
    return "\n".join(lines), []


def _rules(rules: dict[str, Any], required: bool) -> str:
    kind = rules.pop("type", "any")
    words = [f"{key} {value}" for key, value in rules.items() if key != "comment"]
    return "  ".join([str(kind), *words, *(["required"] if required else [])])


_FORMS = {
    "text": _text, "json": _json, "yaml": _yaml, "python": _python, "jsonschema": _jsonschema,
    "openapi": _openapi,
}  # fmt: skip
