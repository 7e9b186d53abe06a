"""The model of a service: what it takes, what it gives, how it is called. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class DataType(IntEnum):
    """The kind of a payload; the numbers are those of `protocol.MetaDesc.DataType`."""

    TEXT = 0
    AUDIO = 1
    IMAGE = 2
    VIDEO = 3
    OTHER = 4

    @property
    def key(self) -> str:
        """The member that holds the base64 text in an envelope, for example `image`."""
        return self.name.lower()

    @classmethod
    def from_number(cls, number: int) -> "DataType":
        """Return the type with that number; what is not in 0..4 is OTHER."""
        return cls(number) if number in range(5) else cls.OTHER


@dataclass(frozen=True, slots=True)
class Nick:
    """One service nick of `meta.service`: its payload streams and its expected outputs."""

    name: str
    inputs: Mapping[str, DataType]
    accepts: Mapping[str, DataType]


@dataclass(frozen=True, slots=True)
class SubRoute:
    """One way of a category service. Every rule must hold; a rule holds for any of its values."""

    service_id: str
    priority: int
    rules: tuple[tuple[tuple[str, ...], frozenset[str]], ...]


@dataclass(frozen=True, slots=True)
class Service:
    """A service as its schema document tells it.

    `input` and `output` are the document's schemainput and schemaoutput, in the dialect of the
    original; `compile.py` turns the first into JSON Schema. `deadline` is in seconds, None = the
    gateway's default, which is that of a session, too; `read_timeout` is the longest between two
    frames of one. `routes` are paths that it is asked by beside its own, at one of `hosts`
    (none: at any). `code_map` maps a code to the HTTP status that replaces ours.
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
        """Return the payload streams of all nicks."""
        return {name: data_type for nick in self.nicks for name, data_type in nick.inputs.items()}

    @property
    def accepts(self) -> dict[str, DataType]:
        """Return the expected outputs of all nicks."""
        return {name: data_type for nick in self.nicks for name, data_type in nick.accepts.items()}

    @property
    def streaming(self) -> bool:
        """Return whether its requests may come in many frames; one that does not say may."""
        statuses = (member_schema(self.input, "header", "status") or {}).get("enum")
        return not isinstance(statuses, list) or 0 in statuses


def member_schema(schema: Any, *path: str) -> Mapping[str, Any] | None:
    """Return the schema of a member within a schema of objects; None where it says nothing."""
    for name in path:
        members = schema.get("properties") if isinstance(schema, Mapping) else None
        schema = members.get(name) if isinstance(members, Mapping) else None
    return schema if isinstance(schema, Mapping) else None
