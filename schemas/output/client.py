"""Rendering of a typed client for one service, as Python source without dependencies. Pure.

The client needs only the standard library.
"""

import keyword
import re
from typing import Any

from schemas.output.python_text import docstring_body
from schemas.sources.declare import Declaration, Param

_RESERVED_NAMES = (
    "response",
    "event",
    "line",
    "field",
    "value",
    "envelope",
    "header",
    "json",
    "base64",
    "Any",
)
_TYPES = {"integer": "int", "number": "float", "boolean": "bool", "string": "str"}


def render_client(api: Declaration) -> str:
    """Return the source of the client module.

    It has a function `call`, whose arguments are the inputs and parameters of `api`. For a
    streaming service it also has `stream`, with the same arguments, which yields each result.
    """
    argument_names = _IdentifierAllocator()
    inputs = [(argument_names.allocate(member.name), member) for member in api.inputs]
    params = [(argument_names.allocate(member.name), member) for member in api.params]
    arguments = [f"{name}: bytes" for name, member in inputs if member.required]
    arguments += ["*", "url: str", "app_id: str"]
    arguments += [
        f"{name}: {_type_annotation(member)}" for name, member in params if member.required
    ]
    arguments += [f"{name}: bytes | None = None" for name, member in inputs if not member.required]
    arguments += [
        f"{name}: {_type_annotation(member)} | None = None"
        for name, member in params
        if not member.required
    ]
    output_names = _IdentifierAllocator()
    outputs = [(output_names.allocate(member.name), member) for member in api.outputs]
    bytes_type = "bytes | None" if api.streaming else "bytes"  # a result may lack some outputs
    fields = [
        f"    {name}: {'Any' if member.format == 'json' else bytes_type}"
        for name, member in outputs
    ]
    return (_MODULE_TEMPLATE + (_STREAM_TEMPLATE if api.streaming else "")).format(
        id=api.id,
        doc=docstring_body(api.description.partition("\n")[0] or f"Call {api.id}."),
        imports="from collections.abc import Iterator\n" if api.streaming else "",
        fields="\n".join(fields) or "    pass",
        arguments="".join(
            f"    {argument},\n" for argument in [*arguments, "timeout: float = 30.0"]
        ),
        params=", ".join(f"{member.name!r}: {name}" for name, member in params),
        payload=", ".join(
            f"{member.name!r}: ({member.data_type.key!r}, {name})" for name, member in inputs
        ),
        outputs=", ".join(
            f"{name}=_output(payload, {member.name!r}, {member.data_type.key!r})"
            for name, member in outputs
        ),
    )


class _IdentifierAllocator:
    """Allocates unique Python identifiers that do not clash with names of the client module."""

    def __init__(self) -> None:
        self._used = {
            "url",
            "app_id",
            "timeout",
            "payload",
            "self",
            "inputs",
            "params",
            *_RESERVED_NAMES,
        }

    def allocate(self, name: str) -> str:
        """Return an unused identifier derived from `name`, and reserve it.

        Other characters become "_"; "_" is appended until the result is unused and not a keyword.
        """
        identifier = re.sub(r"\W", "_", name)
        identifier = f"_{identifier}" if identifier[:1].isdigit() else identifier
        while not identifier or keyword.iskeyword(identifier) or identifier in self._used:
            identifier += "_"
        self._used.add(identifier)
        return identifier


def _type_annotation(param: Param) -> str:
    choices: Any = param.rules.get("enum")
    if choices and all(isinstance(choice, str) for choice in choices):
        return f"Literal[{', '.join(map(repr, choices))}]"
    declared_type: object = param.rules.get("type", "")
    type_names = str(declared_type).split("|")
    if all(name in _TYPES for name in type_names):
        return " | ".join(_TYPES[name] for name in type_names)
    return "Any"


_MODULE_TEMPLATE = '''"""A client of the service {id}, made from its schema."""

import base64
import json
import urllib.error
import urllib.request
{imports}from dataclasses import dataclass
from typing import Any, Literal  # noqa: F401


class ServiceError(Exception):
    """The service refused or failed: `status` of HTTP, `code`, `sid` of the request."""

    def __init__(self, status: int, code: int, message: str, sid: str) -> None:
        super().__init__(f"{{code}}: {{message}} (sid {{sid}})")
        self.status = status
        self.code = code
        self.sid = sid


@dataclass(frozen=True)
class Answer:
    """The outputs of the service."""

{fields}


def call(
{arguments}) -> Answer:
    """{doc}"""
    inputs: dict[str, tuple[str, bytes | None]] = {{{payload}}}
    params: dict[str, Any] = {{{params}}}
    with _post(url, app_id, params, inputs, "application/json", timeout) as response:
        return _parse(json.load(response))


def _post(
    url: str,
    app_id: str,
    params: dict[str, Any],
    inputs: dict[str, tuple[str, bytes | None]],
    accept: str,
    timeout: float,
) -> Any:
    body = {{
        "header": {{"app_id": app_id, "status": 3}},
        "parameter": {{{id!r}: {{k: v for k, v in params.items() if v is not None}}}},
        "payload": {{
            name: {{key: base64.b64encode(data).decode()}}
            for name, (key, data) in inputs.items()
            if data is not None
        }},
    }}
    request = urllib.request.Request(
        url.rstrip("/") + "/v1/private/" + {id!r},
        data=json.dumps(body).encode(),
        headers={{"content-type": "application/json", "accept": accept}},
    )
    try:
        return urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        raise _service_error(error) from None


def _parse(envelope: dict[str, Any]) -> Answer:
    payload: dict[str, Any] = envelope.get("payload", {{}})
    return Answer({outputs})


def _service_error(error: urllib.error.HTTPError) -> ServiceError:
    try:
        header: dict[str, Any] = json.load(error)["header"]
    except (ValueError, KeyError, TypeError):
        header = {{}}
    message = str(header.get("message", error.reason))
    return ServiceError(error.code, int(header.get("code", 0)), message, str(header.get("sid", "")))


def _output(payload: dict[str, Any], name: str, key: str) -> Any:
    data = payload.get(name, {{}}).get(key)
    if isinstance(data, str) and payload[name].get("format") != "json":
        return base64.b64decode(data)
    return data
'''

_STREAM_TEMPLATE = '''

def stream(
{arguments}) -> Iterator[Answer]:
    """Call the service and yield each result when it arrives."""
    inputs: dict[str, tuple[str, bytes | None]] = {{{payload}}}
    params: dict[str, Any] = {{{params}}}
    event = ""
    with _post(url, app_id, params, inputs, "text/event-stream", timeout) as response:
        for line in response:
            field, _, value = line.decode().rstrip().partition(": ")
            event = value if field == "event" else event
            if field == "data" and event != "end":
                envelope: dict[str, Any] = json.loads(value)
                header = envelope["header"]
                if header["code"]:
                    raise ServiceError(200, header["code"], header["message"], header["sid"])
                yield _parse(envelope)
    if event != "end":
        raise ConnectionError("the event stream ended early")
'''
