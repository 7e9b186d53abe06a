"""Rendering of a typed client for one service, as Python source without dependencies. Pure.

The client needs only the standard library.
"""

import keyword
import re
from typing import Any

from schemas.model import request_header
from schemas.model.service import Service, member_schema
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
    "status",
    "json",
    "base64",
    "Any",
)
_TYPES = {"integer": "int", "number": "float", "boolean": "bool", "string": "str"}


def render_client(api: Declaration, service: Service) -> str:
    """Return the source of the client module.

    It has a function `call`, whose arguments are the inputs and parameters of `api`, and the header
    members that the schema of `service`, the same API, requires. For a streaming service it also
    has `stream`, with the same arguments, which yields each result.
    """
    argument_names = _IdentifierAllocator()
    inputs = [(argument_names.allocate(member.name), member) for member in api.inputs]
    params = [(argument_names.allocate(member.name), member) for member in api.params]
    header_members = [
        (argument_names.allocate(member.name), member) for member in _required_header(service)
    ]
    arguments = [f"{name}: bytes" for name, member in inputs if member.required]
    arguments += ["*", "url: str", "app_id: str"]
    arguments += [f"{name}: {_type_annotation(member)}" for name, member in header_members]
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
        header=_header_display(service, header_members),
        params=", ".join(
            f"({_nick_name(service, member)!r}, {member.name!r}): {name}" for name, member in params
        ),
        payload=", ".join(
            f"{member.name!r}: ({member.data_type.key!r}, {name})" for name, member in inputs
        ),
        outputs=", ".join(
            f"{name}=_output(payload, {member.name!r}, {member.data_type.key!r})"
            for name, member in outputs
        ),
    )


def _required_header(service: Service) -> list[Param]:
    """Return the required members of the header that are not set by every client."""
    rules = member_schema(service.input, "header") or {}
    names = [
        name
        for name in request_header.required_names(service)
        if name not in (*request_header.APP_ID_NAMES, "status")
    ]
    return [Param(name, member_schema(rules, name) or {}, required=True) for name in names]


def _header_display(service: Service, header_members: list[tuple[str, Param]]) -> str:
    """Return the members of the request's header as the inside of a dict display."""
    app_id_names = request_header.app_id_names(service)
    values = {
        name: "app_id" if name in app_id_names else repr(value)
        for name, value in request_header.build_header(service, "").items()
    }
    values |= {member.name: name for name, member in header_members}
    return ", ".join(f"{name!r}: {value}" for name, value in values.items())


def _nick_name(service: Service, param: Param) -> str:
    """Return the nick whose parameters include `param`."""
    return next(
        nick.name
        for nick in service.nicks
        if member_schema(service.input, "parameter", nick.name, param.name) is not None
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
    params: dict[tuple[str, str], Any] = {{{params}}}
    header: dict[str, Any] = {{{header}}}
    with _post(url, header, params, inputs, "application/json", timeout) as response:
        return _parse(json.load(response))


def _post(
    url: str,
    header: dict[str, Any],
    params: dict[tuple[str, str], Any],
    inputs: dict[str, tuple[str, bytes | None]],
    accept: str,
    timeout: float,
) -> Any:
    parameter: dict[str, dict[str, Any]] = {{}}
    for (nick, name), value in params.items():
        if value is not None:
            parameter.setdefault(nick, {{}})[name] = value
    body = {{
        "header": header,
        "parameter": parameter,
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
    params: dict[tuple[str, str], Any] = {{{params}}}
    header: dict[str, Any] = {{{header}}}
    event = ""
    with _post(url, header, params, inputs, "text/event-stream", timeout) as response:
        for line in response:
            field, _, value = line.decode().rstrip().partition(": ")
            event = value if field == "event" else event
            if field == "data" and event != "end":
                envelope: dict[str, Any] = json.loads(value)
                status = envelope["header"]
                if status["code"]:
                    raise ServiceError(200, status["code"], status["message"], status["sid"])
                yield _parse(envelope)
    if event != "end":
        raise ConnectionError("the event stream ended early")
'''
