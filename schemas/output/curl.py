"""The shortest command line that calls a service without an envelope. Pure."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from schemas.model.plain import PlainApi
from schemas.model.service import DataType, Service

_ENDINGS = {DataType.IMAGE: "png", DataType.AUDIO: "wav", DataType.VIDEO: "mp4"}
_TEXT = "hello"
_BEARER_FLAG = ' -H "Authorization: Bearer $ASE_API_KEY"'


def curl_command(
    service: Service,
    base_url: str,
    example: Mapping[str, Any] | None,
    sample: str = "",
    *,
    takes_bearer: bool = False,
) -> str:
    """Return a curl command that calls `service` at the gateway `base_url`.

    With `takes_bearer` it sends the key or token of a variable of the shell.
    `sample` is the path of a file for the one input that is binary; "" leaves PATH to the reader.
    `example` is a plain request, for a service that takes several inputs, or none.
    """
    api = PlainApi(service)
    call = f"curl -sS {base_url}/v1/{service.id}{_BEARER_FLAG if takes_bearer else ''}"
    required = [member for member in api.members.values() if member.name in (example or {})]
    inputs = [member for member in required if member.data_key]
    others = [member for member in required if not member.data_key and _is_required(member.schema)]
    if len(inputs) == 1 and not others:
        (member,) = inputs
        if member.is_binary:
            return f"{call} -F {member.name}=@{shlex.quote(sample or 'PATH')}{_output(api)}"
        if not member.is_json:
            text = str((example or {}).get(member.name, _TEXT))
            return f"{call} -d {shlex.quote(f'{member.name}={text}')}"
    body = shlex.quote(json.dumps(example or {}, ensure_ascii=False))
    return f"{call} -H 'Content-Type: application/json' -d {body}"


def _is_required(schema: Mapping[str, Any]) -> bool:
    """Return whether a parameter has no default, so that the example has it for a reason."""
    return "default" not in schema


def _output(api: PlainApi) -> str:
    """Return the flag that writes the one binary output to a file; "" without such an output."""
    output = api.file_output()
    if output is None or output.data_type is DataType.TEXT:
        return ""
    ending = next(iter(output.encodings), _ENDINGS.get(output.data_type, "bin"))
    return f" -o {output.name}.{ending}"
