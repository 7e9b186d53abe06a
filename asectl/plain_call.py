"""`asectl call SERVICE NAME=VALUE NAME=@FILE @FILE`: a request without an envelope."""

import argparse
import base64
import json
import mimetypes
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from asectl import gateway_apis
from asectl.main import EXIT_FAILED, EXIT_USAGE, Failure
from asectl.progress import progress
from schemas.model.plain import MemberKind, PlainApi, PlainMember
from schemas.model.service import DataType, Service
from schemas.model.text import value_of_text

_File = tuple[str, bytes, str]  # name, data, media type


def send(
    client: httpx.Client, service: Service, args: argparse.Namespace, paths: Mapping[str, str]
) -> int:
    """Send the members `args.members`; print the answer, or write outputs to `paths`.

    Returns 0. Raises Failure: 1 if the gateway reports an error, 2 for wrong arguments; and
    httpx.HTTPError.
    """
    values, files = _read_members(PlainApi(service), args.members)
    headers = {"accept": "application/json"}
    if args.app_id:
        headers["x-app-id"] = args.app_id
    path = f"/v1/{service.id}"
    with progress(lambda: f"waiting for {service.id}"):
        if files:
            fields = {name: _form_text(value) for name, value in values.items()}
            response = client.post(path, data=fields, files=files, headers=headers)
        else:
            response = client.post(path, json=values, headers=headers)
    answer = gateway_apis.read_json(response)
    if not isinstance(answer, dict):
        raise gateway_apis.no_gateway(response, "is no answer")
    if response.status_code != 200:
        raise _problem(response, answer)
    _print_outputs(service, answer, paths)
    return 0


def _read_members(api: PlainApi, texts: list[str]) -> tuple[dict[str, Any], dict[str, _File]]:
    """Return the values and the files that the arguments give. Raises Failure."""
    values: dict[str, Any] = {}
    files: dict[str, _File] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if text.startswith("@"):
            name, value = _only_input(api, text), text
        elif not separator:
            raise Failure(f"{text!a}: write NAME=VALUE, NAME=@FILE or @FILE", EXIT_USAGE)
        member = api.members.get(name)
        if member is None:
            available = ", ".join(api.members)
            raise Failure(f"no member {name!r}; there is: {available}", EXIT_USAGE)
        if name in values or name in files:
            raise Failure(f"{name}: is given twice", EXIT_USAGE)
        if value.startswith("@"):
            files[name] = _read_file(value[1:])
        elif member.is_binary:
            raise Failure(f"{name}: is a file; write {name}=@PATH", EXIT_USAGE)
        else:
            values[name] = _typed(member, value)
    return values, files


def _only_input(api: PlainApi, text: str) -> str:
    """Return the name of the only input, or of the only binary one. Raises Failure."""
    inputs = api.inputs()
    for members in (inputs, [member for member in inputs if member.is_binary]):
        if len(members) == 1:
            return members[0].name
    names = ", ".join(member.name for member in inputs)
    raise Failure(f"{text}: which input? write NAME={text}, of {names}", EXIT_USAGE)


def _read_file(path: str) -> _File:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None
    media_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
    return Path(path).name, data, media_type


def _typed(member: PlainMember, text: str) -> Any:
    """Return the value of an argument, with the type that the schema gives its member."""
    if member.is_json:
        return value_of_text("object", text)
    if member.kind is MemberKind.INPUT:
        return text
    declared = member.schema.get("type", "string")
    types = [declared] if isinstance(declared, str) else declared
    return value_of_text(next((name for name in types if name != "null"), "string"), text)


def _form_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _problem(response: httpx.Response, answer: Mapping[str, Any]) -> Failure:
    if not {"detail", "code", "sid"} <= answer.keys():
        return gateway_apis.no_gateway(response, "is no problem")
    message = f"{answer['detail']} (code {answer['code']}, HTTP {response.status_code})"
    return Failure(f"{message}\n  sid {answer['sid']}", EXIT_FAILED)


def _print_outputs(service: Service, answer: Mapping[str, Any], paths: Mapping[str, str]) -> None:
    """Write the outputs that have a path to it; print text and JSON, and the size of others."""
    printed = {}
    for name, value in answer.items():
        is_binary = service.accepts.get(name, DataType.TEXT) is not DataType.TEXT
        if is_binary:
            data = base64.b64decode(value)
        else:
            data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        if name in paths:
            Path(paths[name]).write_bytes(data)
            print(f"{name}: wrote {len(data)} bytes to {paths[name]}", file=sys.stderr)
        elif is_binary:
            kind = service.accepts[name].key
            print(f"{name}: {len(data)} bytes of {kind}; -o FILE keeps them", file=sys.stderr)
        else:
            printed[name] = value
    if printed:
        print(json.dumps(printed, indent=2, ensure_ascii=False))
