"""`asectl call`: one request to a service, its fields and types learnt from its schema."""

import argparse
import base64
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from asectl import stream
from asectl.main import EXIT_FAILED, EXIT_UNREACHABLE, Failure
from schemas import document
from schemas.document import DocumentError
from schemas.errors import BAD_MODE
from schemas.service import DataType, Service


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("service", help="the service's id")
    parser.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="[INPUT=]PATH",
        help="the file of an input; the name may be left out when there is one",
    )
    parser.add_argument("-p", action="append", default=[], metavar="NAME=VALUE", help="a parameter")
    parser.add_argument(
        "-o", action="append", default=[], metavar="[OUTPUT=]PATH", help="where to write an output"
    )
    parser.add_argument("--url", default="http://127.0.0.1:8200", help="the gateway (%(default)s)")
    parser.add_argument("--app-id", default="demo", help="who calls (%(default)s)")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait (60)")
    stream.add_arguments(parser)


def run(told: argparse.Namespace) -> int:
    """Call, print what came as JSON, write what did not."""
    paths: dict[str, str] = {}
    if told.realtime and not told.ws:
        raise Failure("--realtime goes with --ws", 2)
    try:
        with httpx.Client(base_url=told.url, timeout=told.timeout, trust_env=False) as client:
            service = _learn(client, told.service)
            paths = _paths(service, told.o)
            if told.ws or told.sse:
                return stream.run(service, request(service, told), told, paths)
            answer = client.post(f"/v1/private/{service.id}", json=request(service, told))
            envelope: dict[str, Any] = answer.json()
            envelope["header"]["code"], envelope["header"]["message"]
    except httpx.HTTPError as error:
        raise Failure(f"{told.url}: {error}", EXIT_UNREACHABLE) from None
    except (ValueError, KeyError, TypeError, DocumentError):
        raise Failure(f"{told.url}: no gateway answers there", EXIT_UNREACHABLE) from None
    header = envelope["header"]
    if header["code"] != 0:
        words = f"{header['message']} (code {header['code']}, HTTP {answer.status_code})"
        words += "\n  by this command: --ws, or --sse" if header["code"] == BAD_MODE.code else ""
        raise Failure(f"{words}\n  sid {header['sid']}", EXIT_FAILED)
    _show(service, envelope.get("payload", {}), paths)
    return 0


def _learn(client: httpx.Client, service_id: str) -> Service:
    answer = client.get(f"/v1/apis/{service_id}/schema")
    if answer.status_code != 200:
        known = [line["service"] for line in client.get("/v1/apis").json()["apis"]]
        raise Failure(f"no service {service_id!r}; there is: {', '.join(known) or 'none'}")
    return document.service_from_document(answer.json())


def request(service: Service, told: argparse.Namespace) -> dict[str, Any]:
    """Return the envelope for the command's files and parameters. Raises Failure."""
    return {
        "header": {"app_id": told.app_id, "status": 3},
        "parameter": _parameters(service, told.p),
        "payload": _payload(service, told.file),
    }


def _parameters(service: Service, given: list[str]) -> dict[str, dict[str, Any]]:
    rules = {
        (nick.name, name): rule
        for nick in service.nicks
        for name, rule in _properties(service.input, "parameter", nick.name).items()
    }
    owner = {name: nick for nick, name in rules}
    parameters: dict[str, dict[str, Any]] = {}
    for entry in given:
        name, _, text = entry.partition("=")
        if name not in owner:
            known = ", ".join(each for each in owner if each not in service.accepts)
            raise Failure(f"no parameter {name!r}; there is: {known}", 2)
        value = _typed(rules[owner[name], name].get("type", "string"), text)
        parameters.setdefault(owner[name], {})[name] = value
    return parameters


def _typed(kind: str, text: str) -> Any:
    """Return a parameter's value; what does not fit its type goes as it is: the gateway tells."""
    if kind in ("integer", "number", "boolean", "object", "array"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _payload(service: Service, given: list[str]) -> dict[str, dict[str, Any]]:
    names = list(service.inputs)
    payload: dict[str, dict[str, Any]] = {}
    for entry in given:
        name, path = _named(entry, names, "input")
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise Failure(f"{path}: {error.strerror}") from None
        payload[name] = _stream(service, name, Path(path).suffix.lstrip(".").lower(), data)
    return payload


def _named(entry: str, names: list[str], what: str) -> tuple[str, str]:
    """Read NAME=PATH, or PATH alone where there is one name. Raises Failure."""
    head, equals, tail = entry.partition("=")
    if equals and head in names:
        return head, tail
    if not equals and len(names) == 1:
        return names[0], entry
    raise Failure(f"{entry}: no {what} of that name; write NAME=PATH, of {', '.join(names)}", 2)


def _stream(service: Service, name: str, suffix: str, data: bytes) -> dict[str, Any]:
    """Return a payload member; its `encoding` is the file's ending where the schema knows it."""
    rules = _properties(service.input, "payload", name)
    known = rules.get("encoding", {}).get("enum", ())
    told: dict[str, Any] = {"encoding": suffix} if suffix in known else {}
    if "status" in rules:
        told["status"] = 3
    return told | {service.inputs[name].key: base64.b64encode(data).decode()}


def _properties(tree: Mapping[str, Any], *path: str) -> dict[str, Any]:
    for member in path:
        tree = tree.get("properties", {}).get(member, {})
    found: dict[str, Any] = tree.get("properties", {})
    return found


def _paths(service: Service, given: list[str]) -> dict[str, str]:
    """Return where each output goes; PATH alone is for the one that is not text."""
    pictures = [name for name, kind in service.accepts.items() if kind is not DataType.TEXT]
    names = list(service.accepts)
    return dict(_named(e, names if "=" in e else pictures or names, "output") for e in given)


def _show(service: Service, payload: Mapping[str, Any], paths: dict[str, str]) -> None:
    """Write outputs to their paths; print the others, or say how large they are."""
    shown = {}
    for name, told in payload.items():
        kind = service.accepts.get(name, DataType.OTHER)
        value = told.get(kind.key)
        embedded = not isinstance(value, str)
        data = json.dumps(value, indent=2).encode() if embedded else base64.b64decode(value)
        if name in paths:
            Path(paths[name]).write_bytes(data)
            print(f"{name}: wrote {len(data)} bytes to {paths[name]}", file=sys.stderr)
        elif embedded or kind is DataType.TEXT:
            shown[name] = value if embedded else data.decode("utf-8", "replace")
        else:
            print(f"{name}: {len(data)} bytes of {kind.key}; -o FILE keeps them", file=sys.stderr)
    if shown:
        print(json.dumps(shown, indent=2, ensure_ascii=False))
