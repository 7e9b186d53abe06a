"""The model of a service: its inputs, its outputs and how it is called. Values only."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final


class DataType(IntEnum):
    """The data type of a payload. The numbers are those of `protocol.MetaDesc.DataType`."""

    TEXT = 0
    AUDIO = 1
    IMAGE = 2
    VIDEO = 3
    OTHER = 4

    @property
    def key(self) -> str:
        """Return the name of the envelope member with the base64 text, for example `image`."""
        return self.name.lower()

    @classmethod
    def from_number(cls, number: int) -> "DataType":
        """Return the data type with `number`; OTHER if it is not in 0..4."""
        return cls(number) if number in range(5) else cls.OTHER


@dataclass(frozen=True, slots=True)
class Nick:
    """One service nick of `meta.service`.

    `inputs` are its payload streams and `accepts` its expected outputs, by name.
    """

    name: str
    inputs: Mapping[str, DataType]
    accepts: Mapping[str, DataType]


@dataclass(frozen=True, slots=True)
class SubRoute:
    """One sub route of a category service.

    `rules` are pairs of a member path and the accepted values, as strings. The route matches if
    every rule holds. A rule holds if the member has any of its values.
    """

    service_id: str
    priority: int
    rules: tuple[tuple[tuple[str, ...], frozenset[str]], ...]


# A service id is part of paths, file names and labels of metrics: no character of it needs quoting.
SERVICE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
SERVICE_ID_RULE: Final = (
    "must be 1 to 128 letters, digits, '_', '.' and '-', the first no punctuation"
)


@dataclass(frozen=True, slots=True)
class Service:
    """A service as its schema document describes it.

    Attributes:
        input: the document's schemainput, in the dialect of the original; `compile_input` turns it
            into JSON Schema.
        output: the document's schemaoutput, in the dialect of the original.
        deadline: seconds for a request, and the lifetime of a session; None means the gateway's
            defaults.
        read_timeout: the longest time in seconds between two frames of a session; None means the
            gateway's default.
        code_map: maps an error code to the HTTP status that replaces the gateway's own.
        hosts: the hosts, in lower case, at which `routes` are served; empty means any host.
        routes: paths that serve requests in addition to the canonical path of the service.
        sub_routes: the sub routes of a category service, highest priority first; empty for others.
        route_key: suffixes of the member paths whose values form the routing key of a category.
    """

    id: str
    version: str
    sub: str
    nicks: tuple[Nick, ...]
    input: Mapping[str, Any]
    output: Mapping[str, Any]
    description: str = ""
    deadline: float | None = None
    read_timeout: float | None = None
    idempotent: bool = False
    code_map: Mapping[int, int] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    sub_routes: tuple[SubRoute, ...] = ()
    route_key: tuple[str, ...] = ()

    @property
    def inputs(self) -> dict[str, DataType]:
        """Return the payload streams of all nicks, by name."""
        return {name: data_type for nick in self.nicks for name, data_type in nick.inputs.items()}

    @property
    def accepts(self) -> dict[str, DataType]:
        """Return the expected outputs of all nicks, by name."""
        return {name: data_type for nick in self.nicks for name, data_type in nick.accepts.items()}

    @property
    def streaming(self) -> bool:
        """Return whether a request may consist of several frames.

        True if the enum of `header.status` contains 0, or if the schema declares no such enum.
        """
        statuses = (member_schema(self.input, "header", "status") or {}).get("enum")
        return not isinstance(statuses, list) or 0 in statuses


def member_schema(schema: Any, *path: str) -> Mapping[str, Any] | None:
    """Return the schema of the member at `path` below `schema`; None if it is not declared."""
    for name in path:
        members = schema.get("properties") if isinstance(schema, Mapping) else None
        schema = members.get(name) if isinstance(members, Mapping) else None
    return schema if isinstance(schema, Mapping) else None
