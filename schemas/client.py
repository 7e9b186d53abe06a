"""A typed client of one service, as Python source that needs the standard library alone. Pure."""

import keyword
import re
from typing import Any

from schemas.declare import Declaration, Param

_LOCALS = ("answer", "event", "line", "field", "value", "told", "header", "json", "base64", "Any")
_TYPES = {"integer": "int", "number": "float", "boolean": "bool", "string": "str"}


def python(api: Declaration) -> str:
    """Return the module: a function `call`, its arguments the inputs and the parameters.

    Of a service that streams there is `stream` too: the same, and each result as it comes.
    """
    names = _Names()
    inputs = [(names.of(told.name), told) for told in api.inputs]
    params = [(names.of(told.name), told) for told in api.params]
    arguments = [f"{name}: bytes" for name, told in inputs if told.required]
    arguments += ["*", "url: str", "app_id: str"]
    arguments += [f"{name}: {_type(told)}" for name, told in params if told.required]
    arguments += [f"{name}: bytes | None = None" for name, told in inputs if not told.required]
    arguments += [
        f"{name}: {_type(told)} | None = None" for name, told in params if not told.required
    ]
    members = _Names()
    outputs = [(members.of(told.name), told) for told in api.outputs]
    bytes_ = "bytes | None" if api.streams else "bytes"  # a result need not have every output
    fields = [f"    {name}: {'Any' if told.format == 'json' else bytes_}" for name, told in outputs]
    return (_SOURCE + (_STREAM if api.streams else "")).format(
        id=api.id,
        doc=(api.description.partition("\n")[0] or f"Call {api.id}.").replace('"""', "'''"),
        imports="from collections.abc import Iterator\n" if api.streams else "",
        fields="\n".join(fields) or "    pass",
        arguments="".join(
            f"    {argument},\n" for argument in [*arguments, "timeout: float = 30.0"]
        ),
        params=", ".join(f"{told.name!r}: {name}" for name, told in params),
        payload=", ".join(f"{told.name!r}: ({told.kind.key!r}, {name})" for name, told in inputs),
        outputs=", ".join(
            f"{name}=_output(payload, {told.name!r}, {told.kind.key!r})" for name, told in outputs
        ),
    )


class _Names:
    """Names that are names in Python, each once, and none of the module's own."""

    def __init__(self) -> None:
        self._taken = {"url", "app_id", "timeout", "payload", "self", "given", "params", *_LOCALS}

    def of(self, name: str) -> str:
        """Return a name for a name."""
        told = re.sub(r"\W", "_", name)
        told = f"_{told}" if told[:1].isdigit() else told
        while not told or keyword.iskeyword(told) or told in self._taken:
            told += "_"
        self._taken.add(told)
        return told


def _type(param: Param) -> str:
    words: Any = param.rules.get("enum")
    if words and all(isinstance(word, str) for word in words):
        return f"Literal[{', '.join(map(repr, words))}]"
    told: object = param.rules.get("type", "")
    names = str(told).split("|")
    if all(name in _TYPES for name in names):
        return " | ".join(_TYPES[name] for name in names)
    return "Any"


_SOURCE = '''"""A client of the service {id}, made from its schema."""

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
    """What the service gave."""

{fields}


def call(
{arguments}) -> Answer:
    """{doc}"""
    given: dict[str, tuple[str, bytes | None]] = {{{payload}}}
    params: dict[str, Any] = {{{params}}}
    with _ask(url, app_id, params, given, "application/json", timeout) as answer:
        return _answer(json.load(answer))


def _ask(
    url: str,
    app_id: str,
    params: dict[str, Any],
    given: dict[str, tuple[str, bytes | None]],
    accept: str,
    timeout: float,
) -> Any:
    body = {{
        "header": {{"app_id": app_id, "status": 3}},
        "parameter": {{{id!r}: {{k: v for k, v in params.items() if v is not None}}}},
        "payload": {{
            name: {{key: base64.b64encode(data).decode()}}
            for name, (key, data) in given.items()
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
        raise _refused(error) from None


def _answer(told: dict[str, Any]) -> Answer:
    payload: dict[str, Any] = told.get("payload", {{}})
    return Answer({outputs})


def _refused(error: urllib.error.HTTPError) -> ServiceError:
    try:
        header: dict[str, Any] = json.load(error)["header"]
    except (ValueError, KeyError, TypeError):
        header = {{}}
    words = str(header.get("message", error.reason))
    return ServiceError(error.code, int(header.get("code", 0)), words, str(header.get("sid", "")))


def _output(payload: dict[str, Any], name: str, key: str) -> Any:
    told = payload.get(name, {{}}).get(key)
    if isinstance(told, str) and payload[name].get("format") != "json":
        return base64.b64decode(told)
    return told
'''

_STREAM = '''

def stream(
{arguments}) -> Iterator[Answer]:
    """Call it, and yield each result as it comes."""
    given: dict[str, tuple[str, bytes | None]] = {{{payload}}}
    params: dict[str, Any] = {{{params}}}
    event = ""
    with _ask(url, app_id, params, given, "text/event-stream", timeout) as answer:
        for line in answer:
            field, _, value = line.decode().rstrip().partition(": ")
            event = value if field == "event" else event
            if field == "data" and event != "end":
                told: dict[str, Any] = json.loads(value)
                header = told["header"]
                if header["code"]:
                    raise ServiceError(200, header["code"], header["message"], header["sid"])
                yield _answer(told)
    if event != "end":
        raise ConnectionError("the events broke off before their end")
'''
