"""`asectl call`: send one request to a service, with the fields and types of its schema."""

import argparse
import base64
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from asectl import gateway_apis, http_client, plain_call, stream
from asectl.http_client import HttpTarget
from asectl.main import EXIT_FAILED, EXIT_UNREACHABLE, Failure
from asectl.progress import progress
from schemas.model import request_header
from schemas.model.errors import BAD_MODE
from schemas.model.service import DataType, Service
from schemas.model.text import value_of_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("service", help="the service's id")
    parser.add_argument(
        "members",
        nargs="*",
        metavar="NAME=VALUE|NAME=@FILE|@FILE",
        help="parameters and inputs; sends a request without an envelope",
    )
    parser.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="[INPUT=]PATH",
        help="the file of an input, in an envelope; the name may be left out when there is one",
    )
    parser.add_argument(
        "-p", action="append", default=[], metavar="NAME=VALUE", help="a parameter, in an envelope"
    )
    parser.add_argument(
        "-o", action="append", default=[], metavar="[OUTPUT=]PATH", help="where to write an output"
    )
    http_client.add_url_arguments(parser)
    http_client.add_key_argument(parser)
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a member of the request's header, as uid=u1",
    )
    parser.add_argument(
        "--app-id", help="who calls (demo; of a request without an envelope: the key's, if any)"
    )
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait (60)")
    stream.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Call the service; write outputs to their `-o` paths, print the other text and JSON outputs.

    Return 0. Raises Failure: exit code 1 if the gateway reports an error, 2 for wrong arguments,
    4 if no gateway answers.
    """
    paths: dict[str, str] = {}
    if args.realtime and not args.ws:
        raise Failure("--realtime goes with --ws", 2)
    if args.members and (args.file or args.p or args.header or args.ws or args.sse):
        raise Failure(f"{args.members[0]}: with --file, -p, --header, --ws and --sse only flags", 2)
    try:
        target = HttpTarget.from_args(args)
        if args.app_id is None:
            args.app_id = "" if args.members and (target.bearer or target.cert) else "demo"
        with target.client(args.timeout) as client:
            service = gateway_apis.fetch_service(client, args.service)
            paths = _output_paths(service, args.o)
            if args.ws or args.sse:
                return stream.run(service, build_envelope(service, args), args, paths)
            if args.members:
                return plain_call.send(client, service, args, paths)
            envelope = build_envelope(service, args)
            with progress(lambda: f"waiting for {service.id}"):
                response = client.post(
                    f"/v1/private/{service.id}",
                    json=envelope,
                    headers={"accept": "application/json"},
                )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Failure(f"{args.url}: {error}", EXIT_UNREACHABLE) from None
    answer = gateway_apis.read_json(response)
    header = answer.get("header") if isinstance(answer, dict) else None
    if not isinstance(header, dict) or not {"code", "message", "sid"} <= header.keys():
        raise gateway_apis.no_gateway(response, "is no envelope")
    if header["code"] != 0:
        message = f"{header['message']} (code {header['code']}, HTTP {response.status_code})"
        message += "\n  by this command: --ws, or --sse" if header["code"] == BAD_MODE.code else ""
        raise Failure(f"{message}\n  sid {header['sid']}", EXIT_FAILED)
    _print_outputs(service, answer.get("payload", {}), paths)
    return 0


def build_envelope(service: Service, args: argparse.Namespace) -> dict[str, Any]:
    """Return the request envelope for the command's files and parameters. Raises Failure."""
    arguments = (("-p", args.p), ("--header", args.header), ("--app-id", [args.app_id]))
    for flag, texts in arguments:
        for text in texts:
            if not _is_utf8(text):
                raise Failure(f"{flag} {text!a}: is not UTF-8", 2)
    return {
        "header": request_header.build_header(service, args.app_id) | _header(service, args.header),
        "parameter": _parameters(service, args.p),
        "payload": _payload(service, args.file),
    }


def _header(service: Service, entries: list[str]) -> dict[str, Any]:
    """Return the members that `--header` gives; the gateway reports those that are not declared."""
    rules = _properties(service.input, "header")
    pairs = [entry.partition("=")[::2] for entry in entries]
    return {
        name: value_of_text(rules.get(name, {}).get("type", "string"), text) for name, text in pairs
    }


def _parameters(service: Service, entries: list[str]) -> dict[str, dict[str, Any]]:
    rules = {
        (nick.name, name): rule
        for nick in service.nicks
        for name, rule in _properties(service.input, "parameter", nick.name).items()
    }
    nick_by_parameter = {name: nick for nick, name in rules}
    parameters: dict[str, dict[str, Any]] = {}
    for entry in entries:
        name, _, text = entry.partition("=")
        if name not in nick_by_parameter:
            names = ", ".join(
                parameter for parameter in nick_by_parameter if parameter not in service.accepts
            )
            raise Failure(f"no parameter {name!r}; there is: {names}", 2)
        value = value_of_text(rules[nick_by_parameter[name], name].get("type", "string"), text)
        parameters.setdefault(nick_by_parameter[name], {})[name] = value
    return parameters


def _payload(service: Service, entries: list[str]) -> dict[str, dict[str, Any]]:
    names = list(service.inputs)
    payload: dict[str, dict[str, Any]] = {}
    for entry in entries:
        name, path = _split_entry(entry, names, "input")
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise Failure(f"{path}: {error.strerror}") from None
        payload[name] = _payload_part(service, name, Path(path).suffix.lstrip(".").lower(), data)
    return payload


def _is_utf8(text: str) -> bool:
    """Return whether an argument can be sent: bytes that are not UTF-8 become lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _split_entry(entry: str, names: list[str], label: str) -> tuple[str, str]:
    """Split NAME=PATH. PATH alone is allowed if `names` holds exactly one name. Raises Failure."""
    head, separator, tail = entry.partition("=")
    if separator and head in names:
        return head, tail
    if not separator and len(names) == 1:
        return names[0], entry
    raise Failure(f"{entry}: no {label} of that name; write NAME=PATH, of {', '.join(names)}", 2)


def _payload_part(service: Service, name: str, suffix: str, data: bytes) -> dict[str, Any]:
    """Return a payload member with `data` in base64.

    If the schema allows `suffix`, the file name's suffix, as an encoding, it is the `encoding`. If
    the schema has a `status`, it is 3: the only frame.
    """
    rules = _properties(service.input, "payload", name)
    encodings = rules.get("encoding", {}).get("enum", ())
    part: dict[str, Any] = {"encoding": suffix} if suffix in encodings else {}
    if "status" in rules:
        part["status"] = 3
    return part | {service.inputs[name].key: base64.b64encode(data).decode()}


def _properties(tree: Mapping[str, Any], *path: str) -> dict[str, Any]:
    for key in path:
        tree = tree.get("properties", {}).get(key, {})
    properties: dict[str, Any] = tree.get("properties", {})
    return properties


def _output_paths(service: Service, entries: list[str]) -> dict[str, str]:
    """Return the file path of each output.

    PATH alone means the only output that is not text; if all are text, the only output.
    """
    binary_names = [name for name, kind in service.accepts.items() if kind is not DataType.TEXT]
    names = list(service.accepts)
    return dict(
        _split_entry(entry, names if "=" in entry else binary_names or names, "output")
        for entry in entries
    )


def _print_outputs(service: Service, payload: Mapping[str, Any], paths: dict[str, str]) -> None:
    """Write the outputs that have a path to it and print the others.

    Text and JSON outputs are printed to stdout as one JSON object. Of binary outputs, the size in
    bytes is printed to stderr.
    """
    text_outputs = {}
    for name, part in payload.items():
        kind = service.accepts.get(name, DataType.OTHER)
        value = part.get(kind.key)
        is_embedded = stream.is_embedded_json(part, value)
        data = json.dumps(value, indent=2).encode() if is_embedded else base64.b64decode(value)
        if name in paths:
            Path(paths[name]).write_bytes(data)
            print(f"{name}: wrote {len(data)} bytes to {paths[name]}", file=sys.stderr)
        elif is_embedded or kind is DataType.TEXT:
            text_outputs[name] = value if is_embedded else data.decode("utf-8", "replace")
        else:
            print(f"{name}: {len(data)} bytes of {kind.key}; -o FILE keeps them", file=sys.stderr)
    if text_outputs:
        print(json.dumps(text_outputs, indent=2, ensure_ascii=False))
