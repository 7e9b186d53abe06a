"""Rendering of a typed Python client of one service, as a module that needs httpx alone. Pure."""

from typing import Final

from schemas.output.client_api import ClientApi, ClientMember, ValueKind
from schemas.output.python_client_text import ASYNC_REWRITES, CLIENT, MODULE
from schemas.output.python_text import docstring_body
from schemas.output.python_types import IdentifierAllocator, PythonTypes, optional

# Names of the module, and of what stands inside its functions.
_RESERVED: Final = (
    "Any", "AsyncClient", "AsyncIterator", "Client", "File", "FileInput", "Iterator", "Literal",
    "Mapping", "NotRequired", "Outputs", "Path", "PathLike", "Problem", "Self", "TypedDict",
    "asyncio", "base64", "bool", "bytes", "dataclass", "dict", "float", "httpx", "int", "json",
    "list", "members", "mimetypes", "self", "str", "time", "uuid",
)  # fmt: skip
_FILE: Final = "FileInput"


def render_client(api: ClientApi) -> str:
    """Return the source of the client module.

    It has the classes `Client` and `AsyncClient`, each with `call` and `stream`, whose arguments
    are the members of a request; `Outputs`, `Problem` and `File`.
    """
    types = PythonTypes(IdentifierAllocator(_RESERVED))
    arguments, members = _arguments(api, types)
    fields, parsed = _outputs(api, types)
    texts = {
        "ID": repr(api.service_id),
        "TITLE": docstring_body(api.service_id),
        "DOC": docstring_body(api.description),
        "ARGUMENTS": "".join(f"        {line},\n" for line in ["*", *arguments] if arguments),
        "MEMBERS": "".join(f"            {member},\n" for member in members),
        "FILES": repr(_names(api, ValueKind.FILE)),
        "JSON_INPUTS": repr(_names(api, ValueKind.JSON)),
        "IS_IDEMPOTENT": repr(api.idempotent),
        "RETRIED": "(409, 429, 502, 503)" if api.idempotent else "(429, 503)",
        "RETRIED_ERRORS": "httpx.TransportError" if api.idempotent else "httpx.ConnectError",
    }
    client = _fill(CLIENT, texts)
    async_client = client
    for sync_text, async_text in ASYNC_REWRITES:
        async_client = async_client.replace(sync_text, async_text)
    return _fill(
        MODULE,
        texts
        | {
            "DEFINITIONS": "".join(f"{text}\n\n\n" for text in types.definitions),
            "FIELDS": "\n".join(fields) or "    pass",
            "PARSED": "\n".join(parsed),
            "CLIENT": client,
            "ASYNC_CLIENT": async_client,
        },
    )


_READERS: Final = {
    ValueKind.FILE: "_read_file",
    ValueKind.TEXT: "_read_text",
    ValueKind.JSON: "",
}


def _names(api: ClientApi, kind: ValueKind) -> tuple[str, ...]:
    return tuple(member.name for member in api.members if member.kind is kind)


def _arguments(api: ClientApi, types: PythonTypes) -> tuple[list[str], list[str]]:
    """Return the arguments, and the members of the request made of them."""
    names = IdentifierAllocator(_RESERVED)
    arguments, members = [], []
    for member in api.members:
        name = names.allocate(member.name)
        annotation = _input_type(member, types)
        is_required = member.required
        arguments.append(
            f"{name}: {annotation if is_required else f'{optional(annotation)} = None'}"
        )
        members.append(f"{member.name!r}: {name}")
    return arguments, members


def _outputs(api: ClientApi, types: PythonTypes) -> tuple[list[str], list[str]]:
    """Return the fields of `Outputs`, and the arguments that make it of the members of an answer.

    A field hides what has its name from the annotations of those after it.
    """
    annotations = [optional(_output_type(output, types)) for output in api.outputs]
    names = IdentifierAllocator([*_RESERVED, *types.class_names])
    fields, parsed = [], []
    for output, annotation in zip(api.outputs, annotations, strict=True):
        name = names.allocate(output.name)
        fields.append(f"    {name}: {annotation} = None{_comment(output)}")
        parsed.append(f"        {name}={_READERS[output.kind]}(members.get({output.name!r})),")
    return fields, parsed


def _input_type(member: ClientMember, types: PythonTypes) -> str:
    if member.kind is ValueKind.FILE:
        return _FILE
    return (
        "str"
        if member.kind is ValueKind.TEXT
        else types.annotation(member.schema, member.type_name)
    )


def _output_type(output: ClientMember, types: PythonTypes) -> str:
    if output.kind is ValueKind.FILE:
        return "bytes"
    return (
        "str"
        if output.kind is ValueKind.TEXT
        else types.annotation(output.schema, output.type_name)
    )


def _comment(output: ClientMember) -> str:
    """Return the description of an output as a comment, if it can stand on the line."""
    is_plain = output.description.isprintable() and len(output.description) <= 60
    return f"  # {output.description}" if is_plain and output.description else ""


def _fill(template: str, texts: dict[str, str]) -> str:
    """Return a template with each `@@NAME@@` replaced; a text is not searched again."""
    parts = template.split("@@")
    return "".join(part if index % 2 == 0 else texts[part] for index, part in enumerate(parts))
