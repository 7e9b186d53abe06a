"""The plain form of a service: its parameters and inputs as members of one object. Pure.

Names: an input has its own name. A parameter, or the options of an output, has its own name too;
if an input or another nick has the same, it is NICK.NAME. A member of the header that the schema
requires, other than app id and status, is header.NAME.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from schemas.model import request_header
from schemas.model.service import DataType, Service, member_schema

_UTF8_NAMES: Final = ("utf8", "utf-8")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]")


class MemberKind(Enum):
    """What a plain member is."""

    PARAMETER = "parameter"
    OUTPUT_OPTIONS = "output options"
    INPUT = "input"
    HEADER = "header"


@dataclass(frozen=True, slots=True)
class PlainMember:
    """A member of the plain form, and where it is in the envelope.

    `schema` is that of the envelope's member. `data_type` is None unless it is an input; `is_json`:
    the input takes a JSON value. `attributes` are the declared members of an input or of output
    options, `encodings` the values of `encoding` that the schema lists; `text_encoding` is the one
    among them that means UTF-8, or "". `data_key` names the member of an input with its data.
    """

    name: str
    kind: MemberKind
    path: tuple[str, ...]
    schema: Mapping[str, Any]
    data_type: DataType | None
    is_json: bool
    attributes: frozenset[str]
    encodings: tuple[str, ...]
    text_encoding: str
    data_key: str
    is_binary: bool


@dataclass(frozen=True, slots=True)
class PlainOutput:
    """An output: its name and kind; the encodings that a request may ask for, as the schema lists.

    `options_member` is the plain name of its options. `is_json`: it always is a JSON value.
    """

    name: str
    data_type: DataType
    encodings: tuple[str, ...]
    options_member: str
    is_json: bool


class PlainApi:
    """The plain form of one service.

    `members` are the members of a request by their plain names, `outputs` those of an answer.
    """

    def __init__(self, service: Service) -> None:
        self.members = {member.name: member for member in _plain_members(service)}
        self._names_by_prefix = sorted(
            (
                (prefix, member.name)
                for member in self.members.values()
                for prefix in _prefixes(member)
            ),
            key=lambda item: -len(item[0]),
        )

        self.outputs = _plain_outputs(service, self.members)

    def inputs(self) -> list[PlainMember]:
        """Return the inputs."""
        return [member for member in self.members.values() if member.kind is MemberKind.INPUT]

    def locate(self, path: str) -> tuple[str, str]:
        """Return the plain name and the JSON pointer (RFC 6901) of a path in the envelope.

        `path` is as in `$.payload.text.text`. The name and the pointer are "" for a part of the
        envelope that is no plain member.
        """
        for prefix, name in self._names_by_prefix:
            if path == prefix or (path.startswith(prefix) and path[len(prefix)] in ".["):
                steps = _STEP.findall(path[len(prefix) :])
                rest = ["".join(step) for step in steps]
                return ".".join([name, *rest]), json_pointer([name, *rest])
        return "", ""

    def raw_inputs(self) -> tuple[list[PlainMember], list[PlainMember]]:
        """Return the inputs that a whole body may be: the binary ones, and those of text."""
        inputs = self.inputs()
        texts = [member for member in inputs if not (member.is_binary or member.is_json)]
        return [member for member in inputs if member.is_binary], texts

    def file_output(self) -> PlainOutput | None:
        """Return the output that may be a body of its own; None if there is no such output.

        It is the only one that is no text, or the only output, if it is text and no JSON.
        """
        outputs = [*self.outputs.values()]
        binary = [output for output in outputs if output.data_type is not DataType.TEXT]
        if len(binary) == 1:
            return binary[0]
        return outputs[0] if len(outputs) == 1 and not outputs[0].is_json else None


def json_pointer(steps: Iterable[str]) -> str:
    """Return the JSON pointer (RFC 6901) of the member that `steps` lead to."""
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)


def _plain_members(service: Service) -> Iterator[PlainMember]:
    counts: dict[str, int] = dict.fromkeys(service.inputs, 1)
    parameters = [
        (nick.name, name, dict(schema), name in nick.accepts)
        for nick in service.nicks
        for name, schema in _declared_parameters(service, nick.name, nick.accepts)
    ]
    for _, name, _, _ in parameters:
        counts[name] = counts.get(name, 0) + 1
    for name, data_type in service.inputs.items():
        schema = dict(member_schema(service.input, "payload", name) or {})
        data_schema = member_schema(schema, data_type.key) or {}
        is_json = data_schema.get("contentMediaType") == "application/json"
        yield _member(name, MemberKind.INPUT, ("payload", name), schema, data_type, is_json)
    for nick, name, schema, is_options in sorted(parameters, key=lambda item: item[3]):
        kind = MemberKind.OUTPUT_OPTIONS if is_options else MemberKind.PARAMETER
        plain_name = name if counts[name] == 1 else f"{nick}.{name}"
        yield _member(plain_name, kind, ("parameter", nick, name), schema)

    for name in request_header.required_names(service):
        if name not in request_header.APP_ID_NAMES and name != "status":
            schema = dict(member_schema(service.input, "header", name) or {})
            yield _member(f"header.{name}", MemberKind.HEADER, ("header", name), schema)


def _member(
    name: str,
    kind: MemberKind,
    path: tuple[str, ...],
    schema: Mapping[str, Any],
    data_type: DataType | None = None,
    is_json: bool = False,
) -> PlainMember:
    properties = schema.get("properties")
    attributes = frozenset(properties) if isinstance(properties, Mapping) else frozenset()
    values = (member_schema(schema, "encoding") or {}).get("enum")
    encodings = tuple(map(str, values)) if isinstance(values, list) else ()
    return PlainMember(
        name,
        kind,
        path,
        schema,
        data_type,
        is_json,
        attributes,
        encodings,
        next((value for value in encodings if value.lower() in _UTF8_NAMES), ""),
        data_type.key if data_type is not None else "",
        is_binary=data_type not in (None, DataType.TEXT),
    )


def _declared_parameters(
    service: Service, nick: str, accepts: Mapping[str, DataType]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    properties = (member_schema(service.input, "parameter", nick) or {}).get("properties")
    declared = properties if isinstance(properties, Mapping) else {}
    for name, schema in declared.items():
        yield name, schema if isinstance(schema, Mapping) else {}
    for name in accepts:
        if name not in declared:
            yield name, {}


def _plain_outputs(service: Service, members: Mapping[str, PlainMember]) -> dict[str, PlainOutput]:
    outputs: dict[str, PlainOutput] = {}
    for member in members.values():
        if member.kind is MemberKind.OUTPUT_OPTIONS:
            name = member.path[2]
            output_schema = member_schema(service.output, "payload", name)
            formats = (member_schema(output_schema, "format") or {}).get("enum")
            outputs[name] = PlainOutput(
                name, service.accepts[name], member.encodings, member.name, formats == ["json"]
            )
    return outputs


def _prefixes(member: PlainMember) -> Iterator[str]:
    """Yield the paths of a member in the envelope; an input also has that of its data."""
    path = _json_path(member.path)
    yield path
    if member.data_type is not None:
        yield _json_path((*member.path, member.data_type.key))


def _json_path(parts: tuple[str, ...]) -> str:
    return "$" + "".join(f".{part}" if part.isidentifier() else f"[{part!r}]" for part in parts)
