"""Rendering of a typed TypeScript client of one service, as a module that needs `fetch`. Pure."""

import json
from typing import Final

from schemas.output.client_api import ClientApi, ClientMember, ValueKind
from schemas.output.typescript_client_text import MODULE
from schemas.output.typescript_types import property_name, typescript_type

_INPUT_TYPES: Final = {ValueKind.FILE: "FileInput", ValueKind.TEXT: "string"}
_OUTPUT_TYPES: Final = {ValueKind.FILE: "Uint8Array", ValueKind.TEXT: "string"}
_READERS: Final = {
    ValueKind.FILE: "readFile({value})",
    ValueKind.TEXT: "readText({value})",
    ValueKind.JSON: "{value} as Outputs[{name}]",
}


def render_client(api: ClientApi) -> str:
    """Return the source of the client module.

    It has the class `Client` with `call` and `stream`, the types `Members` and `Outputs`, the class
    `Problem`, and `fileFrom`, which reads a file by its path in Node.
    """
    texts = {
        "ID": json.dumps(api.service_id),
        "DOC": _comment(api.description),
        "MEMBERS": "".join(map(_member, api.members)),
        "OUTPUTS": "".join(map(_output, api.outputs)),
        "FILES": _names(api, ValueKind.FILE),
        "JSON_INPUTS": _names(api, ValueKind.JSON),
        "PARSED": "".join(map(_parsed, api.outputs)),
        "IS_IDEMPOTENT": json.dumps(api.idempotent),
        "RETRIED": "[409, 429, 502, 503]" if api.idempotent else "[429, 503]",
    }
    parts = MODULE.split("@@")
    return "".join(part if index % 2 == 0 else texts[part] for index, part in enumerate(parts))


def _names(api: ClientApi, kind: ValueKind) -> str:
    return json.dumps([member.name for member in api.members if member.kind is kind])


def _member(member: ClientMember) -> str:
    member_type = _INPUT_TYPES.get(member.kind) or typescript_type(member.schema)
    mark = "" if member.required else "?"
    return f"{_doc(member)}  {property_name(member.name)}{mark}: {member_type};\n"


def _output(output: ClientMember) -> str:
    output_type = _OUTPUT_TYPES.get(output.kind) or typescript_type(output.schema)
    return f"{_doc(output)}  {property_name(output.name)}?: {output_type};\n"


def _parsed(output: ClientMember) -> str:
    name = json.dumps(output.name)
    reader = _READERS[output.kind].format(value=f"members[{name}]", name=name)
    return f"    {name}: {reader},\n"


def _doc(member: ClientMember) -> str:
    return f"  /** {_comment(member.description)} */\n" if member.description else ""


def _comment(text: str) -> str:
    """Return a text that does not end the comment that it stands in."""
    return "".join(char if char.isprintable() else " " for char in text).replace("*/", "* /")
