"""What a generated client has to know of a service: its members and outputs, with types. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from schemas.model.plain import MemberKind, PlainApi
from schemas.model.service import DataType, Service, member_schema
from schemas.output import plain_openapi


class ValueKind(Enum):
    """How a value travels: a file as bytes, a text, any value of JSON, or a parameter.

    In a form, a parameter that is a text stands as it is, and a JSON value that is one in quotes.
    """

    FILE = "file"
    TEXT = "text"
    JSON = "json"
    PARAMETER = "parameter"


@dataclass(frozen=True, slots=True)
class ClientMember:
    """A member of a request, or an output.

    `schema` is its JSON Schema, without null: a member that is null is left out. `type_name` is
    what a type of its own is called. `description` is its first line of words, or "". An output is
    never `required`: a loader may leave it out.
    """

    name: str
    type_name: str
    kind: ValueKind
    schema: Mapping[str, Any]
    description: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class ClientApi:
    """The members of a service's requests, required ones first, and its outputs.

    If it is `idempotent`, a client may repeat a request that may have run.
    """

    service_id: str
    description: str
    idempotent: bool
    members: tuple[ClientMember, ...]
    outputs: tuple[ClientMember, ...]


def client_api(service: Service, standard_schema: Mapping[str, Any]) -> ClientApi:
    """Return what a client has to know; `standard_schema` is that of the service's envelopes."""
    api = PlainApi(service)
    name = plain_openapi.component_name(service.id)
    schemas = plain_openapi.component_schemas(service, standard_schema, name)
    request, answer = schemas[f"{name}Request"], schemas[f"{name}Answer"]
    required = request.get("required", ())
    members = []
    for member in api.members.values():
        kind = ValueKind.PARAMETER
        if member.kind is MemberKind.INPUT:
            kind = ValueKind.JSON if member.is_json else ValueKind.TEXT
            kind = ValueKind.FILE if member.is_binary else kind
        schema = request["properties"].get(member.name, {})
        suffix = " options" if member.kind is MemberKind.OUTPUT_OPTIONS else ""
        members.append(
            ClientMember(
                member.name,
                f"{member.name}{suffix}",
                kind,
                plain_openapi.without_null(schema),
                _first_line(member.schema),
                member.name in required,
            )
        )
    outputs = []
    for output in api.outputs.values():
        kind = ValueKind.TEXT if output.data_type is DataType.TEXT else ValueKind.FILE
        kind = ValueKind.JSON if output.is_json else kind
        schema = answer["properties"][output.name]
        declared = member_schema(service.output, "payload", output.name) or {}
        description = _first_line(declared)
        outputs.append(ClientMember(output.name, output.name, kind, schema, description))
    return ClientApi(
        service.id,
        service.description.partition("\n")[0] or f"Call {service.id}.",
        service.idempotent,
        tuple(sorted(members, key=lambda member: not member.required)),
        tuple(outputs),
    )


def _first_line(schema: Mapping[str, Any]) -> str:
    return str(schema.get("description") or "").partition("\n")[0]
